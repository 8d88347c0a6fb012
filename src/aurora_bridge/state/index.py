"""The index file: what was seen, the latest state of each subject, and what may have been forgotten.

A claim is written ahead of its event, in one transaction with the look-up of what is known of its fingerprint, for a
whole burst at once. Ordinary claims are never written again: `settled` is the number up to which all were seen and
answered, and only the others carry their standing. Claims that an ended process left above that number are in doubt.

Not fsynced at each commit (`synchronous=NORMAL`): the death of the process loses nothing, and that of the machine makes
the rest of the day one of which the index "cannot know" (`forgotten_us`).

Age is counted in running time, by the monotonic clock: a mark a minute says which number was the last then, and a row
expires by its number. A jump of the wall clock lets nothing expire.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from aurora_bridge.state.database import Format, open_database
from aurora_bridge.webhook.claims import Claim, Latest
from aurora_bridge.webhook.recurrence import Standing

FILE = "index.db"
SLICES = 256
"""Expiry goes through the fingerprints in as many slices: each is a short transaction."""
_SCHEMA = """
CREATE TABLE seen (
    fingerprint TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
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
    time_us INTEGER NOT NULL,
    seq INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE doubts (low INTEGER NOT NULL, high INTEGER NOT NULL);
CREATE TABLE marks (ran_us INTEGER PRIMARY KEY, wall_us INTEGER NOT NULL, seq INTEGER NOT NULL);
CREATE TABLE state (
    last_seq INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    ran_us INTEGER NOT NULL,
    forgotten_us INTEGER NOT NULL,
    boot TEXT NOT NULL
);
INSERT INTO state VALUES (0, 0, 0, 0, '')
"""
_PAGE_BYTES = 1024  # a claim touches a page of its own, so a small page is little to write
_FORMAT = Format(_SCHEMA, 1, _PAGE_BYTES, "NORMAL", checkpoint_pages=16_000)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_FIND = """SELECT s.fingerprint, s.seq, s.standing, s.repeat, s.time_us, s.id_ms, s.attempt_us, s.attempt
FROM json_each(?) AS j CROSS JOIN seen AS s ON s.fingerprint = j.value->>0"""
_FIND_LATEST = """SELECT l.family_key, l.fingerprint, l.time_us
FROM json_each(?) AS j CROSS JOIN latest AS l ON l.family_key = j.value->>4"""
_CLAIM_LATEST = """INSERT INTO latest SELECT value->>4, value->>0, value->>2, value->>1 FROM json_each(?) AS j
WHERE NOT EXISTS (SELECT 1 FROM seen WHERE fingerprint = j.value->>0)
ON CONFLICT DO UPDATE SET fingerprint=excluded.fingerprint, time_us=excluded.time_us, seq=excluded.seq
WHERE excluded.time_us >= latest.time_us"""
_CLAIM = """INSERT INTO seen SELECT value->>0, value->>1, 0, 0, value->>2, value->>3, value->>2, 1 FROM json_each(?)
WHERE true ON CONFLICT DO NOTHING"""
_REWRITE = """INSERT OR REPLACE INTO seen SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5,
value->>6, value->>7 FROM json_each(?)"""
_UPDATE = """UPDATE seen SET standing = j.value->>2, attempt_us = j.value->>3, attempt = j.value->>4
FROM json_each(?) AS j WHERE seen.fingerprint = j.value->>0 AND seen.seq = j.value->>1"""
_SET_LATEST = "INSERT OR REPLACE INTO latest SELECT value->>0, value->>1, value->>2, value->>3 FROM json_each(?)"
_DROP_LATEST = "DELETE FROM latest WHERE family_key IN (SELECT value FROM json_each(?))"
_SETTLE = "UPDATE state SET last_seq=?, settled=?"


class Found(NamedTuple):
    """What the index knows of a burst of claims."""

    rows: dict[str, Claim]
    latest: dict[str, Latest]


class State(NamedTuple):
    """What the index was opened with."""

    last_seq: int
    ran_us: int
    forgotten_us: int
    """Wall clock up to which events may have been forgotten."""
    doubts: tuple[tuple[int, int], ...]
    """Ranges of numbers that ended processes left in doubt: above the first, up to the second."""


def open_index(directory: Path, max_bytes: int, now_us: int) -> tuple[sqlite3.Connection, State]:
    """Open the index of a state directory. Raises `StateError`."""
    path = directory / FILE
    replaced = not path.exists() and any(directory.glob(f"{FILE}.broken-*"))
    connection = open_database(path, _FORMAT, max_bytes)
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
    last_seq, settled, ran_us, forgotten_us, before = connection.execute("SELECT * FROM state").fetchone()
    if last_seq > settled:
        connection.execute("INSERT INTO doubts VALUES (?, ?)", (settled, last_seq))
        if before != boot:
            forgotten_us = now_us
    if replaced or (last_seq == 0 and any(directory.glob(f"{FILE}.broken-*"))):
        forgotten_us = now_us
    # One number is left open while a process lives, so that its death shows even when it was idle.
    connection.execute(
        "UPDATE state SET last_seq=?, settled=?, forgotten_us=?, boot=?", (last_seq + 1, last_seq, forgotten_us, boot)
    )
    doubts = tuple(connection.execute("SELECT low, high FROM doubts"))
    return connection, State(last_seq + 1, ran_us, forgotten_us, doubts)


def encode_claims(claims: Iterable[Claim]) -> tuple[str, str]:
    """Return the claims of a burst for `claim`: all, and those of states."""
    rows = [(c.fingerprint, c.seq, c.time_us, c.id_ms, c.family_key) for c in claims]
    return _json(rows), _json([row for row in rows if row[4] is not None])


Answer = tuple[list[tuple[Any, ...]], list[tuple[str, str, int]]]


def claim(db: sqlite3.Connection, rows: str, states: str, last_seq: int, settled: int) -> Answer:
    """Look up a burst of claims, and write those ahead whose fingerprint is new."""
    known = db.execute(_FIND, (rows,)).fetchall()
    latest = []
    if states != "[]":
        latest = db.execute(_FIND_LATEST, (states,)).fetchall()
        db.execute(_CLAIM_LATEST, (states,))
    db.execute(_CLAIM, (rows,))
    db.execute(_SETTLE, (last_seq, settled))
    return known, latest


class Writes(NamedTuple):
    """What a burst of verdicts and answers has to write, encoded."""

    rewritten: str
    updates: str
    latest: str
    dropped: str
    last_seq: int
    settled: int


def encode_writes(
    rewritten: Sequence[Claim],
    updates: Iterable[Claim],
    restored: dict[str, Latest | None],
    *,
    last_seq: int,
    settled: int,
) -> Writes:
    """Encode a write: claims that differ from what was written ahead, standings, and latest states set back."""
    latest: list[tuple[str, str, int, int]] = [
        (c.family_key, c.fingerprint, c.time_us, c.seq) for c in rewritten if c.family_key is not None
    ]
    latest += [(key, state.fingerprint, state.time_us, last_seq) for key, state in restored.items() if state]
    return Writes(
        _json(
            [
                (c.fingerprint, c.seq, c.standing.value, int(c.repeat), c.time_us, c.id_ms, c.attempt_us, c.attempt)
                for c in rewritten
            ]
        ),
        _json([(c.fingerprint, c.seq, c.standing.value, c.attempt_us, c.attempt) for c in updates]),
        _json(latest),
        _json([key for key, state in restored.items() if state is None]),
        last_seq,
        settled,
    )


def write(db: sqlite3.Connection, writes: Writes) -> None:
    """Write what `encode_writes` encoded."""
    for sql, rows in zip((_REWRITE, _UPDATE, _SET_LATEST, _DROP_LATEST), writes, strict=False):
        if rows != "[]":
            db.execute(sql, (rows,))
    db.execute(_SETTLE, writes[4:])


def close(db: sqlite3.Connection, last_seq: int, settled: int, ran_us: int) -> None:
    """Note a clean end: nothing is in doubt but what says so."""
    db.execute("UPDATE state SET last_seq=?, settled=?, ran_us=?", (last_seq, settled, ran_us))


def found(answer: Answer, state: State) -> Found:
    """Decode the answer of `claim`, with the standing that a claim of an ended process really has."""
    rows = {}
    for fingerprint, seq, stored, repeat, time_us, id_ms, attempt_us, attempt in answer[0]:
        standing = Standing(stored)
        if standing is Standing.CLAIMED:
            in_doubt = any(low < seq <= high for low, high in state.doubts)
            standing = Standing.DOUBTFUL if in_doubt else Standing.SEEN
        rows[fingerprint] = Claim(
            fingerprint, None, seq, time_us, id_ms, attempt_us, standing, repeat=bool(repeat), attempt=attempt
        )
    return Found(rows, {key: Latest(fingerprint, time_us) for key, fingerprint, time_us in answer[1]})


# Expiry.


def mark(db: sqlite3.Connection, ran_us: int, wall_us: int) -> None:
    """Note which number is the last now."""
    db.execute("UPDATE state SET ran_us=?", (ran_us,))
    db.execute("INSERT OR IGNORE INTO marks SELECT ?, ?, last_seq FROM state", (ran_us, wall_us))


def expired_seq(db: sqlite3.Connection, ran_us: int) -> int:
    """Return the last number that is older than running time `ran_us`, 0 for none."""
    row = db.execute("SELECT seq FROM marks WHERE ran_us < ? ORDER BY ran_us DESC LIMIT 1", (ran_us,)).fetchone()
    return int(row[0]) if row else 0


def expire(db: sqlite3.Connection, number: int, seq: int) -> int:
    """Delete what is not younger than `seq` in one of the slices; return how many fingerprints that were."""
    low, high = f"{number:02x}", f"{number:02x}~"
    db.execute("DELETE FROM latest WHERE family_key >= ? AND family_key < ? AND seq <= ?", (low, high, seq))
    return db.execute(
        "DELETE FROM seen WHERE fingerprint >= ? AND fingerprint < ? AND seq <= ?", (low, high, seq)
    ).rowcount


def oldest_tenth(db: sqlite3.Connection) -> tuple[int, int] | None:
    """Return number and wall clock of the mark up to which to forget when the file is full."""
    sql = "SELECT seq, wall_us FROM marks ORDER BY ran_us LIMIT 1 OFFSET (SELECT count(*) / 10 FROM marks)"
    row = db.execute(sql).fetchone()
    return (int(row[0]), int(row[1])) if row else None


def forget_marks(db: sqlite3.Connection, seq: int) -> None:
    """Drop the marks and doubts of what has expired."""
    db.execute("DELETE FROM marks WHERE seq <= ?", (seq,))
    db.execute("DELETE FROM doubts WHERE high <= ?", (seq,))


def forget(db: sqlite3.Connection, wall_us: int) -> None:
    """Note that events up to a wall-clock time may be forgotten."""
    db.execute("UPDATE state SET forgotten_us=max(forgotten_us, ?)", (wall_us,))


def used_bytes(db: sqlite3.Connection) -> int:
    """Return how much of the file is in use."""
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    return int(pages - free) * _PAGE_BYTES


def owe(db: sqlite3.Connection, fingerprints: Sequence[str], doubts: Sequence[tuple[int, int]]) -> None:
    """Note that claims in doubt are durable after all, since the spool holds their events."""
    for low, high in doubts:
        db.execute(
            "UPDATE seen SET standing=? WHERE fingerprint IN (SELECT value FROM json_each(?)) AND standing=? "
            "AND seq > ? AND seq <= ?",
            (Standing.OWED.value, _json(fingerprints), Standing.CLAIMED.value, low, high),
        )


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
