"""The index's file: what it gives back after every kind of end, and what it forgets."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from shutil import copyfile
from typing import Final

import pytest

from aurora_bridge.dedup import index
from aurora_bridge.dedup.claims import Claim, Latest
from aurora_bridge.dedup.following import Followed
from aurora_bridge.dedup.recurrence import Standing
from tests.models.desk import Rows

ROOM: Final = 2**20
NOW: Final = 1_795_454_645_123_456  # 2026-11-23T17:24:05.123456Z
MINUTE: Final = 60_000_000
FINISHED: Final = (Standing.SEEN, Standing.OWED, Standing.DOUBTFUL, Standing.REFUSED)
A, B, C = (digit * 32 for digit in "abc")
FAMILY: Final = "f" * 32


def claim(
    fingerprint: str, seq: int, *, standing: Standing = Standing.CLAIMED, family: str | None = FAMILY, id_ms: int = 0
) -> Claim:
    """Return a claim, received as many microseconds after NOW as its number says."""
    return Claim(fingerprint, family, seq, NOW + seq, id_ms, NOW + seq, standing, first_seq=seq)


class Index:
    """An open index, used as the daemon uses it: each step is a transaction."""

    def __init__(self, connection: sqlite3.Connection, state: index.State) -> None:
        self.db = connection
        self.state = state
        self._entries = 0

    def ask(self, *claims: Claim) -> int:
        """Write a burst ahead; return the number of its entry."""
        self._entries += 1
        self._answer = self._commit(lambda db: index.claim(db, self._entries, index.proposals_of(claims)))
        return self._entries

    def rewrite(self, *claims: Claim) -> None:
        """Write claims ahead that differ from how their burst was written."""
        self._entries += 1
        self._commit(lambda db: index.rewrite(db, self._entries, index.rows_of(claims)))

    def learn(self, *claims: Claim, cut: int = 0) -> None:
        """Take finished claims over, and cut the journal below an entry."""
        last_seq = max(one.seq for one in claims)
        self._commit(lambda db: index.learn(db, index.rows_of(claims), last_seq, cut))

    def row(self, fingerprint: str) -> Claim | None:
        """Look a fingerprint up."""
        return index.known_claims(self._look_up(fingerprint, None)).get(fingerprint)

    def latest(self, family: str = FAMILY) -> Latest | None:
        """Look a family up."""
        return index.known_states(self._look_up(A, family)).get(family)

    def standing(self, fingerprint: str) -> Standing | None:
        """Return how the last claim on a fingerprint stands."""
        row = self.row(fingerprint)
        return row.standing if row else None

    def answer(self) -> index.Answer:
        """Return what the last `ask` found."""
        return self._answer

    def follow(self, *records: Followed, first: int) -> None:
        """Take records in Kafka over, numbered from `first`."""
        self.db.execute("BEGIN IMMEDIATE")
        index.follow(self.db, list(enumerate(records, first)), first + len(records) - 1, "me")
        self.db.execute("COMMIT")

    def close_clean(self) -> None:
        """Note a clean end."""
        self._commit(lambda db: index.close(db, 0))

    def _look_up(self, fingerprint: str, family: str | None) -> index.Answer:
        self.db.execute("BEGIN")
        try:
            return index.claim(self.db, 1_000_000, index.proposals_of([claim(fingerprint, 0, family=family)]))
        finally:
            self.db.execute("ROLLBACK")

    def _commit(self, job: Callable[[sqlite3.Connection], index.Answer | None]) -> index.Answer:
        self.db.execute("BEGIN IMMEDIATE")
        answer = job(self.db)
        self.db.execute("COMMIT")
        return answer or ([], [])


@contextmanager
def life(directory: Path, *, now: int = NOW, max_bytes: int = ROOM, first_knows: bool = True) -> Iterator[Index]:
    """Open the index; at the end it is left as a process leaves it that dies."""
    connection, state = index.open_index(directory, max_bytes, now, first_knows=first_knows)
    with closing(connection):
        yield Index(connection, state)


# Written ahead.


def test_a_burst_is_written_ahead_in_the_transaction_of_its_look_up(tmp_path: Path) -> None:
    with life(tmp_path) as first:
        first.db.execute("BEGIN")
        index.claim(first.db, 1, index.proposals_of([claim(A, 1)]))
        first.db.execute("ROLLBACK")
        first.ask(claim(B, 2))
    with life(tmp_path) as second:
        assert second.state.in_doubt == (B,)


def test_a_look_up_finds_what_was_known_before_its_own_burst(tmp_path: Path) -> None:
    with life(tmp_path) as daemon:
        daemon.ask(claim(A, 1))
        assert daemon.answer() == ([], [])
        daemon.learn(claim(A, 1, standing=Standing.SEEN))
        daemon.ask(claim(A, 2), claim(B, 3))
        assert index.known_claims(daemon.answer()).keys() == {A}
        assert index.known_states(daemon.answer()) == {FAMILY: Latest(A, 1)}


def test_what_was_under_way_when_the_process_died_is_in_doubt_with_its_id_and_the_latest_state(tmp_path: Path) -> None:
    with life(tmp_path) as first:
        first.ask(claim(A, 1, id_ms=7))
    with life(tmp_path) as second:
        row = second.row(A)
        assert row is not None
        assert (row.standing, row.time_us, row.id_ms) == (Standing.DOUBTFUL, NOW + 1, 7)
        assert second.latest() == Latest(A, 1)
        assert second.state.in_doubt == (A,)


def test_each_crash_leaves_its_own_doubts(tmp_path: Path) -> None:
    for number, fingerprint in enumerate((A, B, C), start=1):
        with life(tmp_path) as daemon:
            assert daemon.state.in_doubt == ((A, B, C)[number - 2 : number - 1] if number > 1 else ())
            daemon.ask(claim(fingerprint, number))
    with life(tmp_path) as last:
        assert [last.standing(fingerprint) for fingerprint in (A, B, C)] == [Standing.DOUBTFUL] * 3


def test_a_clean_end_leaves_no_doubt(tmp_path: Path) -> None:
    with life(tmp_path) as first:
        first.ask(claim(A, 1), claim(B, 2))
        first.learn(claim(A, 1, standing=Standing.SEEN), claim(B, 2, standing=Standing.REFUSED))
        first.close_clean()
    with life(tmp_path) as second:
        assert second.state.in_doubt == ()
        assert [second.standing(fingerprint) for fingerprint in (A, B, C)] == [Standing.SEEN, Standing.REFUSED, None]


def test_what_is_learned_is_in_no_doubt_though_its_neighbours_in_the_journal_are(tmp_path: Path) -> None:
    with life(tmp_path) as first:
        first.ask(claim(A, 1), claim(B, 2))
        first.learn(claim(A, 1, standing=Standing.OWED))
    with life(tmp_path) as second:
        assert (second.standing(A), second.standing(B)) == (Standing.OWED, Standing.DOUBTFUL)


def test_another_delivery_of_what_is_known_is_no_claim(tmp_path: Path) -> None:
    """It was a duplicate, or died before it was judged: then it was not sent."""
    with life(tmp_path) as first:
        first.learn(claim(A, 1, standing=Standing.SEEN))
        first.ask(claim(A, 2))
    with life(tmp_path) as second:
        row = second.row(A)
        assert row is not None
        assert (row.standing, row.seq, second.state.in_doubt) == (Standing.SEEN, 1, ())


def test_a_claim_that_was_written_again_counts_as_written_then(tmp_path: Path) -> None:
    with life(tmp_path) as first:
        first.learn(claim(A, 1, standing=Standing.SEEN))
        first.ask(claim(A, 2))
        first.rewrite(claim(A, 2, id_ms=9))
    with life(tmp_path) as second:
        row = second.row(A)
        assert row is not None
        assert (row.standing, row.seq, row.id_ms) == (Standing.DOUBTFUL, 2, 9)


def test_a_new_claim_that_was_written_again_counts_as_written_then(tmp_path: Path) -> None:
    """Its burst passed unjudged, with an id of a millisecond; in the journal it stands as an ordinary one first."""
    with life(tmp_path) as first:
        first.ask(claim(A, 1))
        first.rewrite(claim(A, 1, id_ms=9))
    with life(tmp_path) as second:
        row = second.row(A)
        assert row is not None
        assert (row.standing, row.id_ms) == (Standing.DOUBTFUL, 9)


def test_a_learned_claim_that_was_written_again_is_in_no_doubt(tmp_path: Path) -> None:
    with life(tmp_path) as first:
        first.ask(claim(A, 1))
        first.rewrite(claim(A, 1, id_ms=9))
        first.learn(claim(A, 1, id_ms=9, standing=Standing.SEEN))
    with life(tmp_path) as second:
        assert (second.standing(A), second.state.in_doubt) == (Standing.SEEN, ())


@pytest.mark.parametrize("bursts", [1, 2])
def test_of_copies_under_way_the_first_counts(tmp_path: Path, bursts: int) -> None:
    """The others joined it: the event has its id and its time."""
    copies = [claim(A, 1, id_ms=1), claim(A, 2, id_ms=2)]
    with life(tmp_path) as first:
        for burst in [copies] if bursts == 1 else [[copy] for copy in copies]:
            first.ask(*burst)
    with life(tmp_path) as second:
        row = second.row(A)
        assert row is not None
        assert (row.time_us, row.id_ms) == (NOW + 1, 1)


def test_the_journal_is_cut_below_an_entry(tmp_path: Path) -> None:
    with life(tmp_path) as first:
        first.ask(claim(A, 1))
        entry = first.ask(claim(B, 2))
        first.ask(claim(C, 3))
        first.learn(claim("d" * 32, 4, standing=Standing.SEEN), cut=entry)
    with life(tmp_path) as second:
        assert second.state.in_doubt == (B, C)


def test_numbers_go_on_after_every_kind_of_end(tmp_path: Path) -> None:
    with life(tmp_path) as first:
        first.ask(claim(A, 5))
    with life(tmp_path) as second:
        assert second.state.last_seq == 5
        second.learn(claim(B, 9, standing=Standing.SEEN))
        second.close_clean()
    with life(tmp_path) as third:
        assert third.state.last_seq == 9


# Learned.


def test_a_newer_claim_is_not_overwritten_by_an_older_one(tmp_path: Path) -> None:
    with life(tmp_path) as daemon:
        daemon.learn(claim(A, 2, standing=Standing.SEEN))
        daemon.learn(claim(A, 1, standing=Standing.OWED))
        assert daemon.standing(A) is Standing.SEEN
        daemon.learn(claim(A, 2, standing=Standing.OWED))
        assert daemon.standing(A) is Standing.OWED


def test_a_refused_state_is_not_the_latest(tmp_path: Path) -> None:
    with life(tmp_path) as daemon:
        daemon.learn(claim(A, 1, standing=Standing.SEEN))
        daemon.learn(claim(B, 2, standing=Standing.REFUSED))
        assert (daemon.standing(B), daemon.latest()) == (Standing.REFUSED, Latest(A, 1))


def test_the_latest_state_is_the_last_by_its_first_attempt_in_whatever_order_it_is_learned(tmp_path: Path) -> None:
    with life(tmp_path) as daemon:
        daemon.learn(claim(B, 2, standing=Standing.SEEN))
        daemon.learn(claim(A, 1, standing=Standing.SEEN))
        assert daemon.latest() == Latest(B, 2)
        daemon.learn(claim(C, 3, standing=Standing.DOUBTFUL))
        assert daemon.latest() == Latest(C, 3)


def test_what_the_spool_holds_was_in_doubt_and_is_owed(tmp_path: Path) -> None:
    with life(tmp_path) as first:
        first.learn(claim(C, 1, standing=Standing.SEEN))
        first.ask(claim(A, 2), claim(B, 3))
    with life(tmp_path) as second:
        index.owe(second.db, [A, C])
        found = [second.standing(fingerprint) for fingerprint in (A, B, C)]
        assert found == [Standing.OWED, Standing.DOUBTFUL, Standing.SEEN]


def test_ten_thousand_random_claims_leave_what_two_dictionaries_would_hold(tmp_path: Path) -> None:
    random, rows = Random(4), Rows()
    fingerprints = [f"{random.getrandbits(128):032x}" for _ in range(400)]
    families = [f"{random.getrandbits(128):032x}" for _ in range(60)]
    with life(tmp_path) as daemon:
        for batch in range(100):
            claims = [
                Claim(
                    random.choice(fingerprints),
                    random.choice([None, *families]),
                    batch * 100 + random.randrange(300),
                    NOW + random.randrange(10**9),
                    random.choice([0, random.randrange(2**41)]),
                    NOW + random.randrange(10**9),
                    random.choice(FINISHED),
                    repeat=random.random() < 0.5,
                    attempt=random.randrange(1, 7),
                    first_seq=random.randrange(batch * 100 + 300),
                )
                for _ in range(100)
            ]
            daemon.learn(*claims)
            rows.learn(claims)
            if batch % 10 == 9:
                _expire(daemon, batch * 50)
                rows.expire(batch * 50)
                assert {one: _facts(daemon.row(one)) for one in fingerprints} == {
                    one: _facts(rows.row(one)) for one in fingerprints
                }
                assert {one: daemon.latest(one) for one in families} == {one: rows.state(one) for one in families}


def _facts(row: Claim | None) -> tuple[object, ...] | None:
    if row is None:
        return None
    return row.seq, row.first_seq, row.standing, row.repeat, row.time_us, row.id_ms, row.attempt_us, row.attempt


# Forgotten.


def _expire(daemon: Index, seq: int, slices: Iterable[int] = range(index.SLICES)) -> int:
    return sum(index.expire(daemon.db, number, seq) for number in slices)


def test_what_is_old_expires_by_its_number_slice_by_slice(tmp_path: Path) -> None:
    with life(tmp_path) as daemon:
        daemon.learn(claim(A, 1, standing=Standing.SEEN), claim(B, 2, standing=Standing.SEEN, family=None))
        daemon.learn(claim(C, 3, standing=Standing.SEEN, family="e" * 32))
        assert _expire(daemon, 2, [0xAA]) == 1
        assert [daemon.standing(one) for one in (A, B, C)] == [None, Standing.SEEN, Standing.SEEN]
        assert _expire(daemon, 2) == 1
        assert [daemon.standing(one) for one in (A, B, C)] == [None, None, Standing.SEEN]
        assert (daemon.latest(), daemon.latest("e" * 32)) == (None, Latest(C, 3))


def test_a_number_is_old_by_running_time_whatever_the_wall_clock_says(tmp_path: Path) -> None:
    with life(tmp_path) as daemon:
        index.mark(daemon.db, 1 * MINUTE, NOW + 365 * 86_400_000_000, 10)
        index.mark(daemon.db, 2 * MINUTE, NOW - 365 * 86_400_000_000, 20)
        assert index.expired_seq(daemon.db, 1 * MINUTE) == 0
        assert index.expired_seq(daemon.db, 2 * MINUTE) == 10
        assert index.expired_seq(daemon.db, 3 * MINUTE) == 20
        index.forget_marks(daemon.db, 10)
        assert index.expired_seq(daemon.db, 2 * MINUTE) == 0


def test_running_time_goes_on_from_the_last_mark_after_a_crash_and_from_the_end_after_a_clean_one(
    tmp_path: Path,
) -> None:
    with life(tmp_path) as first:
        index.mark(first.db, 5 * MINUTE, NOW, 1)
    with life(tmp_path) as second:
        assert second.state.ran_us == 5 * MINUTE
        index.close(second.db, 6 * MINUTE)
    with life(tmp_path) as third:
        assert third.state.ran_us == 6 * MINUTE


def test_the_oldest_tenth_is_told_by_its_marks(tmp_path: Path) -> None:
    with life(tmp_path) as daemon:
        assert index.oldest_tenth(daemon.db) is None
        for number in range(30):
            index.mark(daemon.db, number * MINUTE, NOW + number, 100 * number)
        assert index.oldest_tenth(daemon.db) == (300, NOW + 3)


def test_what_was_forgotten_early_is_remembered_to_be(tmp_path: Path) -> None:
    with life(tmp_path) as first:
        assert first.state.forgotten_us == 0
        index.forget(first.db, NOW)
        index.forget(first.db, NOW - 1)
        first.close_clean()
    with life(tmp_path) as second:
        assert second.state.forgotten_us == NOW


@pytest.fixture
def boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says which boot of the machine this is."""
    path = tmp_path / "boot_id"
    path.write_text("first\n")
    monkeypatch.setattr(index, "_BOOT_ID", path)
    return path


def test_after_the_death_of_the_machine_what_came_last_may_be_forgotten(tmp_path: Path, boot: Path) -> None:
    with life(tmp_path):
        boot.write_text("second\n")
    with life(tmp_path, now=NOW + 1) as second:
        assert second.state.forgotten_us == NOW + 1


def test_after_the_death_of_the_machine_the_clean_end_before_does_not_count(tmp_path: Path, boot: Path) -> None:
    """Of what was not fsynced nothing may be left: then the file is as the start left it, without its log."""
    with life(tmp_path) as first:
        first.close_clean()
    after = tmp_path / "after"
    after.mkdir()
    with life(tmp_path) as second:
        second.learn(claim(A, 1, standing=Standing.SEEN))
        copyfile(tmp_path / index.FILE, after / index.FILE)
    boot.write_text("second\n")
    with life(after, now=NOW + 1) as third:
        assert (third.row(A), third.state.forgotten_us) == (None, NOW + 1)


def test_after_the_death_of_the_process_nothing_is_forgotten(tmp_path: Path, boot: Path) -> None:
    del boot
    with life(tmp_path):
        """It dies."""
    with life(tmp_path, now=NOW + 1) as second:
        assert second.state.forgotten_us == 0


def test_a_machine_that_starts_again_after_a_clean_end_forgets_nothing(tmp_path: Path, boot: Path) -> None:
    with life(tmp_path) as first:
        first.close_clean()
    boot.write_text("second\n")
    with life(tmp_path, now=NOW + 1) as second:
        assert second.state.forgotten_us == 0


def test_a_broken_file_is_put_aside_and_what_it_knew_is_forgotten(tmp_path: Path) -> None:
    with life(tmp_path) as first:
        first.learn(claim(A, 1, standing=Standing.SEEN))
    (tmp_path / index.FILE).write_bytes(b"no database" * 1000)
    with life(tmp_path, now=NOW + 1) as second:
        assert (second.row(A), second.state.forgotten_us) == (None, NOW + 1)
        second.close_clean()
    with life(tmp_path, now=NOW + 2) as third:
        assert third.state.forgotten_us == NOW + 1


def test_a_new_file_knows_all_there_is_only_if_nothing_was_published_before(tmp_path: Path) -> None:
    with life(tmp_path, first_knows=False) as first:
        assert first.state.forgotten_us == NOW
        first.close_clean()
    with life(tmp_path, now=NOW + 1, first_knows=False) as second:
        assert second.state.forgotten_us == NOW


def learn_one_by_one(daemon: Index, claims: Iterable[Claim]) -> None:
    for one in claims:
        daemon.learn(one)


def test_a_full_file_takes_claims_again_once_old_ones_are_expired(tmp_path: Path) -> None:
    random = Random(4)
    claims = [claim(f"{random.getrandbits(128):032x}", seq, standing=Standing.SEEN) for seq in range(2000)]
    with life(tmp_path, max_bytes=65_536) as daemon:
        with pytest.raises(sqlite3.OperationalError, match="full"):
            learn_one_by_one(daemon, claims)
        daemon.db.execute("ROLLBACK")
        (last,) = daemon.db.execute("SELECT max(seq) FROM seen").fetchone()
        assert last > 300
        full = index.used_bytes(daemon.db)
        assert _expire(daemon, last - 50) == last - 49
        assert index.used_bytes(daemon.db) <= full / 2
        daemon.learn(*claims[last : last + 100])
        assert daemon.standing(claims[last + 99].fingerprint) is Standing.SEEN


# Followed.


def record(fingerprint: str, after: int, instance: str = "other") -> Followed:
    """Return the record of a state, received so many microseconds after NOW."""
    return Followed(fingerprint, NOW + after, 0, once=False, attempt=1, family_key=FAMILY, instance=instance)


def test_what_is_claimed_after_a_crash_comes_behind_what_was_followed_before_it(tmp_path: Path) -> None:
    with life(tmp_path) as first:
        first.follow(record(A, 1), record(B, 2), first=1)
    with life(tmp_path) as second:
        assert second.state.last_seq == 2


def test_a_state_that_waited_in_somebodys_spool_is_seen_and_is_not_the_latest(tmp_path: Path) -> None:
    with life(tmp_path) as daemon:
        daemon.follow(record(B, 2), first=1)
        daemon.follow(record(A, 1), first=2)
        assert (daemon.standing(A), daemon.latest()) == (Standing.SEEN, Latest(B, 1))


def test_a_doubt_that_kafka_resolves_is_owed_and_a_later_state_than_what_was_followed_meanwhile(tmp_path: Path) -> None:
    with life(tmp_path) as first:
        first.ask(claim(B, 5))
        first.follow(record(A, 1), first=6)
    with life(tmp_path) as second:
        assert (second.standing(B), second.latest()) == (Standing.DOUBTFUL, Latest(A, 6))
        second.follow(record(B, 5, "me"), first=7)
        assert (second.standing(B), second.latest()) == (Standing.OWED, Latest(B, 7))
    with life(tmp_path) as third:
        assert third.standing(B) is Standing.OWED


def test_what_was_refused_here_and_accepted_there_is_seen(tmp_path: Path) -> None:
    with life(tmp_path) as daemon:
        daemon.ask(claim(A, 1))
        daemon.learn(claim(A, 1, standing=Standing.REFUSED))
        daemon.follow(record(A, 30), first=2)
        row = daemon.row(A)
        assert row is not None
        assert (row.standing, row.time_us, daemon.latest()) == (Standing.SEEN, NOW + 30, Latest(A, 2))


def test_how_far_the_topics_are_known_and_who_writes_there_is_there_after_a_crash(tmp_path: Path) -> None:
    with life(tmp_path) as first:
        first.follow(record(A, 1), record(B, 2), first=1)
        first.db.execute("BEGIN")
        index.checkpoint(first.db, [("t", 0, 5), ("t", 1, 6)])
        index.checkpoint(first.db, [("t", 0, 7)])
        first.db.execute("COMMIT")
    with life(tmp_path) as second:
        assert second.state.positions == {("t", 0): 7, ("t", 1): 6}
        assert second.state.instances == {"other": NOW + 2}
