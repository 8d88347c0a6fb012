"""The index file: what was seen, the latest state of each subject, and what may have been forgotten.

A burst of claims is written ahead as one entry of the `journal`, in one transaction with the look-up of what is known
of its fingerprints: cheap, since it is appended. Finished claims follow into `seen` and `latest` by groups, and the
journal is cut behind them. What a start finds in the journal was under way when the process before it died: in doubt.

Not fsynced at each commit (`synchronous=NORMAL`): the death of the process loses nothing, and that of the machine makes
the rest of the day one of which the index "cannot know" (`forgotten_us`).

Age is counted in running time, by the monotonic clock: a mark a minute says which number was the last then, and a row
expires by its number. A jump of the wall clock lets nothing expire.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from aurora_bridge.dedup.claims import Claim, FollowedState, Latest
from aurora_bridge.dedup.following import Followed, Knowledge, news
from aurora_bridge.dedup.recurrence import Standing
from aurora_bridge.state.database import Format, make_durable, open_and_read

FILE = "index.db"
SLICES = 256
"""Expiry goes through the fingerprints in as many slices: each is a short transaction."""
_SCHEMA = """
CREATE TABLE journal (number INTEGER PRIMARY KEY, rewritten INTEGER NOT NULL, claims TEXT NOT NULL);
CREATE TABLE seen (
    fingerprint TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    standing INTEGER NOT NULL,
    repeat INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    id_ms INTEGER NOT NULL,
    attempt_us INTEGER NOT NULL,
    attempt INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE latest (
    family_key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    first_seq INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE followed (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE instances (name TEXT PRIMARY KEY, time_us INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE marks (ran_us INTEGER PRIMARY KEY, wall_us INTEGER NOT NULL, seq INTEGER NOT NULL);
CREATE TABLE state (
    last_seq INTEGER NOT NULL,
    ran_us INTEGER NOT NULL,
    forgotten_us INTEGER NOT NULL,
    boot TEXT NOT NULL,
    clean INTEGER NOT NULL
);
INSERT INTO state VALUES (0, 0, 0, '', 1)
"""
_PAGE_BYTES = 4096
_FORMAT = Format(_SCHEMA, 3, _PAGE_BYTES, "NORMAL", cache_kib=16_000, checkpoint_pages=8_000)
_FORGET_INSTANCES_US = 30 * 86_400_000_000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

Row = tuple[str, int, int, int, int, int, int, int, int, str | None]
"""A claim: fingerprint, seq, first_seq, standing, repeat, time_us, id_ms, attempt_us, attempt, family_key."""
_FAMILY_KEY = 9
Proposal = tuple[str, int, int, int, str | None]
"""A claim as it was proposed, as if its fingerprint were new: fingerprint, seq, time_us, id_ms, family_key."""
_CHUNK = 64
"""Rows a statement: fewer steps, each of which gives up the GIL, and no JSON to take apart."""
_FIND = """SELECT s.fingerprint, s.seq, s.first_seq, s.standing, s.repeat, s.time_us, s.id_ms, s.attempt_us, s.attempt
FROM json_each(?) AS j CROSS JOIN seen AS s ON s.fingerprint = j.value"""
_FIND_LATEST = """SELECT l.family_key, l.fingerprint, l.first_seq
FROM json_each(?) AS j CROSS JOIN latest AS l ON l.family_key = j.value"""
_JOURNAL = "INSERT INTO journal VALUES (?, ?, ?)"
_LEARN = """ON CONFLICT DO UPDATE SET
seq=excluded.seq, first_seq=excluded.first_seq, standing=excluded.standing, repeat=excluded.repeat,
time_us=excluded.time_us, id_ms=excluded.id_ms, attempt_us=excluded.attempt_us, attempt=excluded.attempt
WHERE excluded.seq >= seen.seq"""
_LEARN_LATEST = """ON CONFLICT DO UPDATE SET
fingerprint=excluded.fingerprint, first_seq=excluded.first_seq
WHERE excluded.first_seq >= latest.first_seq"""
_FIND_LATEST_TIME = """SELECT l.family_key, s.time_us FROM json_each(?) AS j
CROSS JOIN latest AS l ON l.family_key = j.value CROSS JOIN seen AS s ON s.fingerprint = l.fingerprint"""
_INSTANCE = """INSERT INTO instances VALUES (?, ?)
ON CONFLICT DO UPDATE SET time_us = max(time_us, excluded.time_us)"""
_CHECKPOINT = """INSERT OR REPLACE INTO followed
SELECT value->>0, value->>1, value->>2 FROM json_each(?)"""
_UNLEARNED = f"""SELECT json_group_array(json(value)) FROM json_each(?1) AS j
WHERE NOT EXISTS (SELECT 1 FROM seen WHERE fingerprint = j.value->>0
AND (NOT ?2 OR seq > j.value->>1 OR seq = j.value->>1 AND standing != {Standing.CLAIMED.value}))"""  # noqa: S608 - constants
_CUT = "DELETE FROM journal WHERE number < ?"

Answer = tuple[list[tuple[Any, ...]], list[tuple[str, str, int]]]


class State(NamedTuple):
    """What the index was opened with."""

    last_seq: int
    ran_us: int
    forgotten_us: int
    """Wall clock up to which events may have been forgotten."""
    in_doubt: tuple[str, ...]
    """Fingerprints that were under way when the process before this one died."""
    forgotten_before_us: int
    """What `forgotten_us` would be but for this start: what holds again once Kafka and the spool were read."""
    positions: dict[tuple[str, int], int]
    """By topic and partition: the offset up to which Kafka's records are known."""
    instances: dict[str, int]
    """Instances whose records were read, and the time of the latest, in microseconds since the epoch."""


def open_index(
    directory: Path, max_bytes: int, now_us: int, *, first_knows: bool = False
) -> tuple[sqlite3.Connection, State]:
    """Open the index of a state directory. Raises `StateError`.

    `first_knows` says that a new index knows all there is: nothing was published before.
    """
    path = directory / FILE
    new = not path.exists()
    broken = len(list(directory.glob(f"{FILE}.broken-*")))
    connection, _ = open_and_read(path, _FORMAT, max_bytes, _peek)
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
    connection.execute("BEGIN IMMEDIATE")
    last_seq, ran_us, forgotten_us, boot_before, clean = connection.execute("SELECT * FROM state").fetchone()
    in_doubt = _replay(connection)
    (newest,) = connection.execute(
        "SELECT coalesce(max(seq), 0) FROM seen WHERE fingerprint IN (SELECT value FROM json_each(?))",
        (_json(in_doubt),),
    ).fetchone()
    last_seq = max(last_seq, newest)
    forgotten_before_us = forgotten_us
    put_aside_now = len(list(directory.glob(f"{FILE}.broken-*"))) > broken
    if put_aside_now or (new and not first_knows) or (not clean and boot_before != boot):
        forgotten_us = now_us
    connection.execute("UPDATE state SET last_seq=?, forgotten_us=?, boot=?, clean=0", (last_seq, forgotten_us, boot))
    connection.execute("DELETE FROM instances WHERE time_us < ?", (now_us - _FORGET_INSTANCES_US,))
    positions = {(topic, partition): at for topic, partition, at in connection.execute("SELECT * FROM followed")}
    instances = dict(connection.execute("SELECT name, time_us FROM instances").fetchall())
    state = State(last_seq, ran_us, forgotten_us, tuple(in_doubt), forgotten_before_us, positions, instances)
    connection.execute("COMMIT")
    make_durable(connection)  # else a machine that dies soon leaves the file of before, whose end was clean
    return connection, state


def _peek(db: sqlite3.Connection) -> None:
    db.execute("SELECT count(*) FROM state, journal").fetchone()


def _replay(db: sqlite3.Connection) -> list[str]:
    """Learn from the journal what was under way; return its fingerprints.

    An entry holds a claim for every delivery of its burst, as if its fingerprint were new; one whose fingerprint was
    known is none, unless it was written again.
    """
    fingerprints: dict[str, None] = {}
    for number, rewritten, text in db.execute(
        "SELECT number, rewritten, claims FROM journal ORDER BY number"
    ).fetchall():
        (unlearned,) = db.execute(_UNLEARNED, (text, rewritten)).fetchone()
        found: dict[str, Row] = {}
        for claim in orjson.loads(unlearned):
            if rewritten:
                found[claim[0]] = tuple(claim)
            elif claim[0] not in found:  # of copies that came together, the first is the claim
                fingerprint, seq, time_us, id_ms, family_key = claim
                claimed = Standing.CLAIMED.value
                found[fingerprint] = (fingerprint, seq, seq, claimed, 0, time_us, id_ms, time_us, 1, family_key)
        _take_over(db, found.values())
        fingerprints.update(dict.fromkeys(found))
        db.execute("DELETE FROM journal WHERE number = ?", (number,))
    db.execute(
        "UPDATE seen SET standing=? WHERE fingerprint IN (SELECT value FROM json_each(?)) AND standing=?",
        (Standing.DOUBTFUL.value, _json(list(fingerprints)), Standing.CLAIMED.value),
    )
    return list(fingerprints)


def rows_of(claims: Iterable[Claim]) -> list[Row]:
    """Return claims as they stand."""
    return [
        (
            c.fingerprint,
            c.seq,
            c.first_seq,
            int(c.standing),
            int(c.repeat),
            c.time_us,
            c.id_ms,
            c.attempt_us,
            c.attempt,
            c.family_key,
        )
        for c in claims
    ]


def proposals_of(claims: Iterable[Claim]) -> list[Proposal]:
    """Return claims as they were proposed."""
    return [(c.fingerprint, c.seq, c.time_us, c.id_ms, c.family_key) for c in claims]


def claim(db: sqlite3.Connection, number: int, claims: Sequence[Proposal]) -> Answer:
    """Write a burst of claims ahead; return what is known of their fingerprints and families."""
    db.execute(_JOURNAL, (number, 0, _json(claims)))
    known = db.execute(_FIND, (_json([row[0] for row in claims]),)).fetchall()
    families = [row[4] for row in claims if row[4] is not None]
    latest = db.execute(_FIND_LATEST, (_json(families),)).fetchall() if families else []
    return known, latest


def rewrite(db: sqlite3.Connection, number: int, claims: Sequence[Row]) -> None:
    """Write claims ahead that differ from how their burst was written."""
    db.execute(_JOURNAL, (number, 1, _json(claims)))


def learn(db: sqlite3.Connection, claims: Sequence[Row], last_seq: int, cut: int) -> None:
    """Take finished claims over, and cut the journal below the entry `cut`."""
    _take_over(db, claims)
    db.execute(_CUT, (cut,))
    db.execute("UPDATE state SET last_seq=?", (last_seq,))


def _take_over(db: sqlite3.Connection, claims: Iterable[Row]) -> None:
    """Write claims into `seen`, and the states among them into `latest`."""
    rows = list(claims)
    _insert(db, "seen", 9, _LEARN, [row[:_FAMILY_KEY] for row in rows])
    states = [
        (family_key, fingerprint, first_seq)
        for fingerprint, _, first_seq, standing, *_, family_key in rows
        if family_key is not None and standing != Standing.REFUSED
    ]
    _insert(db, "latest", 3, _LEARN_LATEST, states)


def _insert(db: sqlite3.Connection, table: str, width: int, conflict: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows by chunks of a fixed number, of which the last is filled up with rows that are left out."""
    sql = _insertion(table, width, conflict)
    for start in range(0, len(rows), _CHUNK):
        values = list(chain.from_iterable(rows[start : start + _CHUNK]))
        db.execute(sql, values + [None] * (width * _CHUNK - len(values)))


@cache
def _insertion(table: str, width: int, conflict: str) -> str:
    row = f"({','.join('?' * width)})"
    rows = ",".join([row] * _CHUNK)
    return f"INSERT INTO {table} SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL {conflict}"  # noqa: S608 - constants


def close(db: sqlite3.Connection, ran_us: int) -> None:
    """Note a clean end."""
    db.execute("UPDATE state SET ran_us=?, clean=1", (ran_us,))


def known_claims(answer: Answer) -> dict[str, Claim]:
    """Decode what `claim` found of fingerprints."""
    return {
        fingerprint: Claim(
            fingerprint,
            None,
            seq,
            time_us,
            id_ms,
            attempt_us,
            Standing(standing),
            bool(repeat),
            attempt,
            first_seq,
            changed=False,
        )
        for fingerprint, seq, first_seq, standing, repeat, time_us, id_ms, attempt_us, attempt in answer[0]
    }


def known_states(answer: Answer) -> dict[str, Latest]:
    """Decode what `claim` found of families."""
    return {key: Latest(fingerprint, first_seq) for key, fingerprint, first_seq in answer[1]}


# What others published.


def follow(
    db: sqlite3.Connection, records: Sequence[tuple[int, Followed]], last_seq: int, instance: str
) -> list[FollowedState]:
    """Take over what records in Kafka tell, each with a number; those of `instance` are ours.

    Return the states among them that are the latest of their families now. `last_seq` is noted with them: what is
    claimed after the next start must come behind.
    """
    # Sorted, here and below: neighbours share a page, of which there are more than memory keeps.
    fingerprints = _json(sorted({record.fingerprint for _, record in records}))
    families = _json(sorted({record.family_key for _, record in records if record.family_key is not None}))
    known = {
        row[0]: Knowledge(Standing(row[3]), row[5], row[6]) for row in db.execute(_FIND, (fingerprints,)).fetchall()
    }
    latest_us = dict(db.execute(_FIND_LATEST_TIME, (families,)).fetchall())
    rows: dict[str, tuple[Any, ...]] = {}
    states: dict[str, FollowedState] = {}
    resolved = []
    for seq, record in records:
        standing = news(known.get(record.fingerprint), record, ours=record.instance == instance)
        if standing is None:
            continue
        family_key = record.family_key
        if family_key is not None and record.time_us >= latest_us.get(family_key, 0):  # else it came out of a spool
            latest_us[family_key] = record.time_us
            states[family_key] = FollowedState(family_key, record.fingerprint, seq, record.time_us)
        if standing is Standing.OWED:
            resolved.append(record.fingerprint)
            continue
        known[record.fingerprint] = Knowledge(standing, record.time_us, record.id_ms)
        times = (record.time_us, record.id_ms, record.time_us, record.attempt)
        rows[record.fingerprint] = (record.fingerprint, seq, seq, int(standing), 0, *times)
    _insert(db, "seen", 9, _LEARN, sorted(rows.values()))
    _insert(db, "latest", 3, _LEARN_LATEST, [states[family][:3] for family in sorted(states)])
    owe(db, resolved)
    db.execute("UPDATE state SET last_seq=max(last_seq, ?)", (last_seq,))
    instances = {record.instance: record.time_us for _, record in records}
    db.executemany(_INSTANCE, instances.items())
    return list(states.values())


def checkpoint(db: sqlite3.Connection, positions: Sequence[tuple[str, int, int]]) -> None:
    """Note up to which offsets the topics are known."""
    db.execute(_CHECKPOINT, (_json(positions),))


def remember(db: sqlite3.Connection, wall_us: int) -> None:
    """Note that nothing after a wall-clock time is forgotten any more."""
    db.execute("UPDATE state SET forgotten_us=?", (wall_us,))


# Expiry.


def mark(db: sqlite3.Connection, ran_us: int, wall_us: int, last_seq: int) -> None:
    """Note which number is the last now."""
    db.execute("UPDATE state SET ran_us=?", (ran_us,))
    db.execute("INSERT OR IGNORE INTO marks VALUES (?, ?, ?)", (ran_us, wall_us, last_seq))


def expired_seq(db: sqlite3.Connection, ran_us: int) -> int:
    """Return the last number that is older than running time `ran_us`, 0 for none."""
    row = db.execute("SELECT seq FROM marks WHERE ran_us < ? ORDER BY ran_us DESC LIMIT 1", (ran_us,)).fetchone()
    return int(row[0]) if row else 0


def expire(db: sqlite3.Connection, number: int, seq: int) -> int:
    """Delete what is not younger than `seq` in one of the slices; return how many fingerprints that were."""
    low, high = f"{number:02x}", f"{number:02x}~"
    db.execute("DELETE FROM latest WHERE family_key >= ? AND family_key < ? AND first_seq <= ?", (low, high, seq))
    return db.execute(
        "DELETE FROM seen WHERE fingerprint >= ? AND fingerprint < ? AND seq <= ?", (low, high, seq)
    ).rowcount


def oldest_tenth(db: sqlite3.Connection) -> tuple[int, int] | None:
    """Return number and wall clock of the mark up to which to forget when the file is full."""
    sql = "SELECT seq, wall_us FROM marks ORDER BY ran_us LIMIT 1 OFFSET (SELECT count(*) / 10 FROM marks)"
    row = db.execute(sql).fetchone()
    return (int(row[0]), int(row[1])) if row else None


def forget_marks(db: sqlite3.Connection, seq: int) -> None:
    """Drop the marks of what has expired."""
    db.execute("DELETE FROM marks WHERE seq <= ?", (seq,))


def forget(db: sqlite3.Connection, wall_us: int) -> None:
    """Note that events up to a wall-clock time may be forgotten."""
    db.execute("UPDATE state SET forgotten_us=max(forgotten_us, ?)", (wall_us,))


def used_bytes(db: sqlite3.Connection) -> int:
    """Return how much of the file is in use."""
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    return int(pages - free) * _PAGE_BYTES


def doubtful(db: sqlite3.Connection, fingerprints: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return which of the fingerprints stand in doubt, each with time and millisecond of its event's id."""
    return db.execute(
        "SELECT fingerprint, time_us, id_ms FROM seen WHERE fingerprint IN (SELECT value FROM json_each(?)) "
        "AND standing=?",
        (_json(fingerprints), Standing.DOUBTFUL.value),
    ).fetchall()


def owe(db: sqlite3.Connection, fingerprints: Sequence[str]) -> None:
    """Note that events in doubt are durable after all, and their answers owed."""
    db.execute(
        "UPDATE seen SET standing=? WHERE fingerprint IN (SELECT value FROM json_each(?)) AND standing=?",
        (Standing.OWED.value, _json(fingerprints), Standing.DOUBTFUL.value),
    )


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
