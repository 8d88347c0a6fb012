"""The deduplicator with its thread and its file: written ahead, learned, recovered, late, failed, full."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from random import Random
from threading import Event as Gate
from typing import Any, Final
from unittest.mock import patch

import pytest
from aurora_bridge.dedup.claims import Claim, End, Verdict
from aurora_bridge.dedup.following import Followed

from aurora_bridge.dedup import index
from aurora_bridge.dedup.deduplicator import Deduplicator
from aurora_bridge.dedup.recurrence import Action, Standing, event_id
from aurora_bridge.metrics import Metrics
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.refusal import Reason, Refusal
from aurora_bridge.settings import IndexSettings
from aurora_bridge.state.directory import Room
from aurora_bridge.webhook.event import Event, Headers, rfc3339
from tests.models.desk import DAY, MINUTE, NOW, ONCE, SECOND, SIGNAL, A, B, C, Desk, state

PATIENCE: Final = 30.0
"""Bound for what takes milliseconds; the rest is for a machine that is busy otherwise."""

IMPATIENT: Final = 0.05
"""How long a look-up may take where a test holds it up."""

ROOM: Final = 2**20
FIRST: Final = 0
"""The millisecond in the id of the first event of a day: none."""


class Life:
    """A deduplicator, started."""

    def __init__(
        self,
        directory: Path,
        patience: float = PATIENCE,
        *,
        follows: bool = False,
        **settings: Any,  # noqa: ANN401 - those of the index
    ) -> None:
        self.metrics = Metrics()
        self.dedup = Deduplicator(
            directory, IndexSettings(**settings), patience, self.metrics, first_knows=not follows, follows=follows
        )
        self.dedup.start()
        self._stopped = False

    async def judge(self, *deliveries: tuple[Event, int]) -> list[Verdict]:
        """Return the verdicts over deliveries that come together."""
        async with asyncio.timeout(PATIENCE):
            return await asyncio.gather(
                *(self.dedup.claim(event._replace(repeat_window_us=DAY), at) for event, at in deliveries)
            )

    async def happened(self, event: Event, at: int, end: End = End.DURABLE, *, in_time: bool = True) -> Verdict:
        """Let a delivery come, be sent if it must, and be answered."""
        (verdict,) = await self.judge((event, at))
        self.finish(verdict, end, at, in_time=in_time)
        return verdict

    def finish(self, verdict: Verdict, end: End, at: int, *, in_time: bool = True) -> None:
        """End a delivery and answer it."""
        if verdict.action is Action.PUBLISH:
            self.dedup.end(verdict.claim, end)
        self.dedup.answered(verdict.claim, at, in_time=in_time)

    async def stop(self) -> None:
        """End in order."""
        if not self._stopped:
            self._stopped = True
            assert await self.dedup.stop(PATIENCE)

    @property
    def unjudged(self) -> int:
        return int(self.metrics.unjudged[()])

    @property
    def failed(self) -> bool:
        assert self.metrics.index_failed.source is not None
        return self.metrics.index_failed.source() == 1

    # What nobody else needs to see.

    @property
    def in_memory(self) -> set[str]:
        """The fingerprints that memory holds something about."""
        return set(self.dedup._claims._newest)  # noqa: SLF001

    @property
    def unlearned(self) -> bool:
        """Whether something is finished that was not yet handed to the index."""
        return any(self.dedup._claims.finished.values())  # noqa: SLF001

    @property
    def late(self) -> bool:
        """Whether the index is known to be late."""
        return bool(self.dedup._late)  # noqa: SLF001

    @property
    def asking(self) -> bool:
        """Whether a look-up is under way."""
        return self.dedup._asking  # noqa: SLF001


@asynccontextmanager
async def life(
    directory: Path,
    patience: float = PATIENCE,
    *,
    follows: bool = False,
    **settings: Any,  # noqa: ANN401 - those of the index
) -> AsyncIterator[Life]:
    """Run a deduplicator and end it in order."""
    running = Life(directory, patience, follows=follows, **settings)
    try:
        yield running
    finally:
        await running.stop()


@asynccontextmanager
async def lives() -> AsyncIterator[Callable[..., Life]]:
    """Run deduplicators that are left as a process leaves them that dies; each closes its file in the end."""
    left: list[Life] = []

    def start(*args: Any, **settings: Any) -> Life:  # noqa: ANN401 - those of Life
        left.append(Life(*args, **settings))
        return left[-1]

    try:
        yield start
    finally:
        for running in left:
            await running.stop()


def rows(directory: Path, sql: str) -> list[tuple[Any, ...]]:
    """Look into the file, beside the daemon."""
    with closing(sqlite3.connect(directory / index.FILE)) as database:
        return database.execute(sql).fetchall()


def standings(directory: Path) -> list[Standing]:
    """Return how what was learned stands."""
    return [Standing(standing) for (standing,) in rows(directory, "SELECT standing FROM seen")]


def written_ahead(directory: Path) -> set[tuple[str, int]]:
    """Return fingerprints and milliseconds of the claims in the journal."""
    claims = "SELECT j.value->>0, j.value->>(CASE rewritten WHEN 0 THEN 3 ELSE 6 END)"
    return set(rows(directory, f"{claims} FROM journal, json_each(journal.claims) AS j"))


@contextmanager
def held_up(name: str) -> Iterator[Gate]:
    """Hold the index's thread up in the function of that name until the gate is set."""
    gate, function = Gate(), getattr(index, name)

    def wait(*args: Any) -> Any:  # noqa: ANN401 - whatever the function takes and returns
        assert gate.wait(PATIENCE)
        return function(*args)

    with patch.object(index, name, wait):
        try:
            yield gate
        finally:
            gate.set()


@contextmanager
def failing(name: str, code: int) -> Iterator[None]:
    """Let a function of the index fail with an error of SQLite's."""

    def fail(*_args: Any) -> None:  # noqa: ANN401 - whatever the function takes
        error = sqlite3.OperationalError("it failed")
        error.sqlite_errorcode = code
        raise error

    with patch.object(index, name, fail):
        yield


async def until(look: Callable[[], bool]) -> None:
    """Let the loop go on until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not look():  # noqa: ASYNC110 - what is waited for happens in another thread
            await asyncio.sleep(0.001)


# Written ahead.


async def test_a_claim_is_in_the_file_before_its_event_may_be_sent(tmp_path: Path) -> None:
    async with life(tmp_path) as running:
        (verdict,) = await running.judge((A, NOW))
        assert (verdict.action, written_ahead(tmp_path)) == (Action.PUBLISH, {(A.fingerprint, FIRST)})


async def test_a_repeat_is_in_the_file_with_its_own_id_before_it_may_be_sent(tmp_path: Path) -> None:
    async with life(tmp_path) as running:
        await running.happened(A, NOW)
        await running.happened(B, NOW + 1)
        await running.judge((A, NOW + MINUTE))
        assert (A.fingerprint, (NOW + MINUTE) // 1000) in written_ahead(tmp_path)


async def test_deliveries_that_come_together_are_judged_in_the_order_of_their_receipt(tmp_path: Path) -> None:
    async with life(tmp_path) as running:
        verdicts = await running.judge((A, NOW), (B, NOW + 1), (A, NOW + 1000), (A, NOW + 1001), (ONCE, NOW + 1002))
        actions = [verdict.action for verdict in verdicts]
        assert actions == [Action.PUBLISH, Action.PUBLISH, Action.PUBLISH, Action.JOIN, Action.PUBLISH]
        assert verdicts[3].claim is verdicts[2].claim


async def test_what_comes_behind_a_claim_that_must_be_written_again_waits_for_it(tmp_path: Path) -> None:
    """A repeat holds up the others of its burst and the bursts behind it: order is kept."""
    released: list[str | None] = []
    d, e = state("D"), state("E")

    async def deliver(running: Life, event: Event, at: int) -> None:
        await running.dedup.claim(event._replace(repeat_window_us=DAY), at)
        released.append(event.data["status"])

    async with life(tmp_path) as running:
        await running.happened(A, NOW)
        await running.happened(B, NOW + 1)
        with held_up("rewrite") as gate:
            async with asyncio.TaskGroup() as group:
                for number, event in enumerate((C, A, d)):
                    group.create_task(deliver(running, event, NOW + MINUTE + number))
                await until(lambda: d.fingerprint in running.in_memory)
                group.create_task(deliver(running, e, NOW + MINUTE + 3))
                await until(lambda: running.asking)
                assert released == []
                gate.set()
        assert released == ["C", "A", "D", "E"]


@pytest.mark.parametrize("forward", [31 * DAY, -31 * DAY])
async def test_a_wall_clock_that_is_set_is_noticed_and_changes_no_verdict(tmp_path: Path, forward: int) -> None:
    with patch("aurora_bridge.dedup.deduplicator.time_us") as clock:
        clock.return_value = NOW
        async with life(tmp_path) as running:
            first = await running.happened(A, NOW)
            clock.return_value = now = NOW + forward
            both = await running.judge((A, now), (B, now))
            clock.return_value = NOW
            again = await running.happened(B, NOW)
    assert [verdict.action for verdict in both] == [Action.DUPLICATE, Action.PUBLISH]
    assert both[0].claim.id_ms == first.claim.id_ms
    assert again.action is Action.JOIN


async def test_a_signal_of_the_same_millisecond_gets_another(tmp_path: Path) -> None:
    async with life(tmp_path) as running:
        first, second = [await running.happened(SIGNAL, NOW) for _ in range(2)]
        assert (first.claim.id_ms, second.claim.id_ms) == (NOW // 1000, NOW // 1000 + 1)


# Learned.


async def test_what_is_finished_is_learned_by_the_end_however_much_it_is(tmp_path: Path) -> None:
    events = [state("A", f"{number:04x}") for number in range(3000)]
    async with life(tmp_path) as running:
        verdicts = await running.judge(*((event, NOW + number) for number, event in enumerate(events)))
        for number, verdict in enumerate(verdicts):
            running.finish(verdict, End.DURABLE, NOW + number)
    assert standings(tmp_path) == [Standing.SEEN] * 3000


async def test_what_is_finished_is_learned_soon_and_then_forgotten_here(tmp_path: Path) -> None:
    async with life(tmp_path) as running:
        await running.happened(A, NOW)
        await until(lambda: standings(tmp_path) == [Standing.SEEN])
        await until(lambda: not running.in_memory)


async def test_ten_thousand_deliveries_are_judged_as_at_a_desk_without_a_file(tmp_path: Path) -> None:
    random, desk, now = Random(4), Desk(), NOW
    events = [*(state(letter, f"{subject:02x}") for letter in "ABCD" for subject in range(40)), ONCE, SIGNAL]
    ends = [End.DURABLE, End.DURABLE, End.IN_DOUBT, End.REFUSED]
    async with life(tmp_path) as running:
        for _ in range(200):
            burst = [(random.choice(events), now := now + random.choice([1, 1000, SECOND])) for _ in range(50)]
            verdicts = await running.judge(*burst)
            expected = [desk.deliver(event, at) for event, at in burst]
            assert [_facts(verdict) for verdict in verdicts] == [_facts(verdict) for verdict in expected]
            for (_, at), verdict, wanted in zip(burst, verdicts, expected, strict=True):
                end, in_time = random.choice(ends), random.random() < 0.8
                running.finish(verdict, end, at, in_time=in_time)
                desk.finish(wanted, end if wanted.action is Action.PUBLISH else None, at, in_time=in_time)
            desk.learn()
            now += random.choice([0, 0, 30 * SECOND, 5 * MINUTE, DAY // 3])


def _facts(verdict: Verdict) -> tuple[object, ...]:
    claim = verdict.claim
    return verdict.action, verdict.slot, claim.seq, claim.time_us, claim.id_ms, claim.repeat, claim.attempt


# Ends.


async def test_after_a_clean_end_a_copy_is_a_duplicate(tmp_path: Path) -> None:
    async with life(tmp_path) as first:
        await first.happened(A, NOW)
    async with life(tmp_path) as second:
        assert (await second.happened(A, NOW + MINUTE)).action is Action.DUPLICATE


async def test_an_owed_retry_is_known_after_a_clean_end_though_a_newer_state_came(tmp_path: Path) -> None:
    async with life(tmp_path) as first:
        await first.happened(A, NOW, in_time=False)
        await first.happened(B, NOW + SECOND)
        assert first.metrics.owed_retries[()] == 1
    async with life(tmp_path) as second:
        assert (await second.happened(A, NOW + 30 * SECOND)).action is Action.DUPLICATE


async def test_after_a_clean_end_what_was_refused_is_no_latest_state_and_its_retry_is_published(tmp_path: Path) -> None:
    async with life(tmp_path) as first:
        await first.happened(A, NOW)
        await first.happened(B, NOW + 1, End.REFUSED)
    async with life(tmp_path) as second:
        assert (await second.happened(A, NOW + MINUTE)).action is Action.DUPLICATE
        retry = await second.happened(B, NOW + 1 + 30 * SECOND)
        assert (retry.action, retry.claim.time_us, retry.claim.id_ms) == (Action.PUBLISH, NOW + 1, FIRST)


@pytest.mark.parametrize("ended", [False, True], ids=["in flight", "stored but not learned"])
async def test_after_the_death_of_the_process_a_retry_has_the_same_id(tmp_path: Path, *, ended: bool) -> None:
    async with lives() as start:
        first = start(tmp_path)
        (verdict,) = await first.judge((A, NOW))
        if ended:
            first.dedup.end(verdict.claim, End.DURABLE)
        retry = await start(tmp_path).happened(A, NOW + 30 * SECOND)
        assert (retry.action, retry.claim.time_us, retry.claim.id_ms) == (Action.PUBLISH, NOW, FIRST)


async def test_after_several_deaths_a_retry_still_has_the_same_id(tmp_path: Path) -> None:
    async with lives() as start:
        await start(tmp_path).judge((A, NOW), (B, NOW + 1), (A, NOW + 2000))
        for retry_us in (NOW + 2000 + 30 * SECOND, NOW + 2000 + 30 * SECOND + 5 * MINUTE):
            (retry,) = await start(tmp_path).judge((A, retry_us))
            identity = (retry.claim.time_us, retry.claim.id_ms, retry.claim.repeat)
            assert (retry.action, *identity) == (Action.PUBLISH, NOW + 2000, (NOW + 2000) // 1000, True)


async def test_what_is_learned_meanwhile_does_not_cut_a_look_up_from_the_journal(tmp_path: Path) -> None:
    """A duplicate whose answer was missed is learned while B is looked up: B stays in the journal."""
    async with lives() as start:
        first = start(tmp_path)
        await first.happened(A, NOW)
        await until(lambda: not first.in_memory)
        (duplicate,) = await first.judge((A, NOW + SECOND))
        with held_up("claim") as gate:
            looked_up = asyncio.ensure_future(first.judge((B, NOW + 2 * SECOND)))
            await until(lambda: first.asking)
            first.finish(duplicate, End.DURABLE, NOW + SECOND, in_time=False)
            await until(lambda: not first.unlearned)
            gate.set()
            await looked_up
        await until(lambda: standings(tmp_path) == [Standing.OWED])
        (again,) = await start(tmp_path).judge((A, NOW + 10 * MINUTE))
        assert (again.action, again.claim.repeat) == (Action.PUBLISH, True)


# What the spool gives back.


@asynccontextmanager
async def spooling(directory: Path) -> AsyncIterator[Callable[[Event, Claim], "asyncio.Future[Reason | None]"]]:
    """Run a spool; yield what commits the record of a claim."""
    spool = Spool(directory, ROOM)
    spool.start()

    def keep(event: Event, claim: Claim) -> "asyncio.Future[Reason | None]":
        kept: asyncio.Future[Reason | None] = asyncio.get_running_loop().create_future()

        def stored(_records: Sequence[OutboxRecord], failure: Reason | None, _aside: str | None) -> None:
            kept.set_result(failure)

        key = event_id(event.fingerprint, event.recurrence, claim.time_us, claim.id_ms).encode()
        millisecond = claim.time_us // 1000
        spool.append([OutboxRecord(event.name, key, b"{}", [], b"1", millisecond, event.fingerprint)], stored)
        return kept

    try:
        yield keep
    finally:
        assert await spool.stop(PATIENCE)


@asynccontextmanager
async def recovered(running: Life, directory: Path) -> AsyncIterator[Life]:
    """Let a deduplicator learn from the spool."""
    spool = Spool(directory, ROOM)
    spool.start()
    try:
        await running.dedup.recover(spool)
        yield running
    finally:
        assert await spool.stop(PATIENCE)


async def test_what_was_in_flight_and_lies_in_the_spool_is_owed(tmp_path: Path) -> None:
    async with lives() as start:
        kept, lost = await start(tmp_path).judge((A, NOW), (ONCE, NOW + 1))
        async with spooling(tmp_path) as keep:
            assert await keep(A, kept.claim) is None
        async with recovered(start(tmp_path), tmp_path) as second:
            retries = await second.judge((A, NOW + 30 * SECOND), (ONCE, NOW + 30 * SECOND))
            assert [retry.action for retry in retries] == [Action.DUPLICATE, Action.PUBLISH]
            assert retries[1].claim.time_us == lost.claim.time_us


async def test_an_earlier_event_of_the_same_content_in_the_spool_says_nothing_of_one_in_flight(tmp_path: Path) -> None:
    """A and B are in the spool; A came back, and the process died before that was stored: its retry is no duplicate."""
    async with lives() as start:
        first = start(tmp_path)
        async with spooling(tmp_path) as keep:
            for number, event in enumerate((A, B)):
                verdict = await first.happened(event, NOW + number * 1000)
                assert await keep(event, verdict.claim) is None
        (again,) = await first.judge((A, NOW + MINUTE))
        async with recovered(start(tmp_path), tmp_path) as second:
            (retry,) = await second.judge((A, NOW + MINUTE + 30 * SECOND))
            assert (retry.action, retry.claim.id_ms) == (Action.PUBLISH, again.claim.id_ms)


# Waiting for each other.


@pytest.mark.parametrize("refusal", [None, Refusal(Reason.KAFKA_UNAVAILABLE, doubtful=True)], ids=["stored", "refused"])
async def test_who_joins_is_told_what_became_of_the_one_in_flight_also_when_it_has_ended(
    tmp_path: Path, refusal: Refusal | None
) -> None:
    async with life(tmp_path) as running:
        flying, joined, late = await running.judge((A, NOW), (A, NOW + 1), (A, NOW + 2))
        waiting = asyncio.ensure_future(running.dedup.join(joined.claim))
        await asyncio.sleep(0)
        running.dedup.end(flying.claim, End.IN_DOUBT if refusal else End.DURABLE, refusal)
        told = await asyncio.gather(waiting, running.dedup.join(late.claim), return_exceptions=True)
        expected = (refusal.reason, refusal.doubtful) if refusal else None
        assert [(one.reason, one.doubtful) if isinstance(one, Refusal) else one for one in told] == [expected] * 2


async def test_a_delivery_that_was_given_up_while_it_was_looked_up_is_in_nobodys_way(tmp_path: Path) -> None:
    async with life(tmp_path) as running:
        with held_up("claim") as gate:
            given_up = asyncio.ensure_future(running.dedup.claim(A, NOW))
            await until(lambda: running.asking)
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)
            gate.set()
        retry = await running.happened(A, NOW + 30 * SECOND)
        assert (retry.action, retry.claim.time_us, retry.claim.id_ms) == (Action.PUBLISH, NOW, FIRST)


@pytest.mark.parametrize("judged", [False, True], ids=["while it is looked up", "when it is judged"])
async def test_deliveries_that_are_given_up_leave_nothing_behind(tmp_path: Path, *, judged: bool) -> None:
    """Neither the first of an event nor one that joins it, whenever they are cancelled."""
    given_up: list[asyncio.Future[Verdict]] = []
    release = Deduplicator._release  # noqa: SLF001 - the moment between a verdict and who waits for it

    def give_up() -> None:
        for one in given_up:
            one.cancel()

    def release_and_give_up(dedup: Deduplicator) -> None:
        release(dedup)
        give_up()

    async with life(tmp_path) as running:
        with held_up("claim") as gate, patch.object(Deduplicator, "_release", release_and_give_up):
            given_up += [asyncio.ensure_future(running.dedup.claim(A, NOW + number)) for number in range(2)]
            await until(lambda: running.asking)
            if not judged:
                give_up()
            gate.set()
            ends = await asyncio.gather(*given_up, return_exceptions=True)
        assert [type(end) for end in ends] == [asyncio.CancelledError] * 2
        await until(lambda: not running.asking and not running.unlearned and not running.in_memory)


async def test_while_a_resend_is_declared_what_is_known_is_a_duplicate(tmp_path: Path) -> None:
    async with life(tmp_path) as first:
        await first.happened(A, NOW)
        await first.happened(B, NOW + 1)
    async with life(tmp_path, resend_in_progress=True) as second:
        verdicts = await second.judge((A, NOW + 20 * DAY), (C, NOW + 20 * DAY))
        assert [verdict.action for verdict in verdicts] == [Action.DUPLICATE, Action.PUBLISH]


# Late.


async def test_an_index_that_is_late_lets_events_pass_unjudged_with_ids_of_a_millisecond(tmp_path: Path) -> None:
    async with life(tmp_path, IMPATIENT) as running:
        await running.happened(A, NOW)
        await until(lambda: not running.in_memory)
        times = (NOW + MINUTE, NOW + MINUTE + 1000)
        with held_up("claim"):
            verdicts = await running.judge((A, times[0]), (C, times[1]))
            assert [verdict.action for verdict in verdicts] == [Action.PUBLISH] * 2
            assert [verdict.claim.id_ms for verdict in verdicts] == [time // 1000 for time in times]
            assert running.unjudged == 2


async def test_while_the_index_is_late_what_waits_and_what_comes_passes_at_once_in_order(tmp_path: Path) -> None:
    released: list[int] = []

    async def deliver(running: Life, number: int) -> None:
        await running.dedup.claim(state("A", f"{number:02x}"), NOW + number)
        released.append(number)

    async with life(tmp_path, IMPATIENT) as running:
        with held_up("claim"):
            async with asyncio.TaskGroup() as group:
                group.create_task(deliver(running, 0))
                await until(lambda: running.asking)
                group.create_task(deliver(running, 1))
                await until(lambda: running.late)
                group.create_task(deliver(running, 2))
            assert released == [0, 1, 2]
            assert running.unjudged == 3


@pytest.mark.parametrize("event", [A, ONCE, SIGNAL], ids=["state", "once", "signal"])
async def test_only_the_first_waits_for_an_index_that_is_late_whatever_it_carries(tmp_path: Path, event: Event) -> None:
    async with life(tmp_path, IMPATIENT) as running:
        with held_up("claim"):
            await running.judge((event, NOW))
            assert running.late


async def test_copies_are_one_event_though_the_index_is_late(tmp_path: Path) -> None:
    async with life(tmp_path, IMPATIENT) as running:
        with held_up("claim"):
            (first,) = await running.judge((A, NOW))
            (second,) = await running.judge((A, NOW + 1))
            assert (second.action, second.claim) == (Action.JOIN, first.claim)


async def test_an_index_that_answers_again_is_asked_again(tmp_path: Path) -> None:
    async with life(tmp_path, IMPATIENT) as running:
        await running.happened(A, NOW)
        with held_up("claim"):
            unjudged = await running.happened(C, NOW + MINUTE)
        await until(lambda: not running.late)
        assert (await running.happened(C, NOW + MINUTE + 1)).claim.id_ms == unjudged.claim.id_ms
        assert (await running.happened(A, NOW + MINUTE + 2)).claim.id_ms == (NOW + MINUTE + 2) // 1000
        assert (await running.happened(B, NOW + MINUTE + 3)).claim.id_ms == FIRST
        assert running.unjudged == 1


async def test_what_passed_unjudged_has_its_id_after_the_death_of_the_process(tmp_path: Path) -> None:
    async with lives() as start:
        first = start(tmp_path, IMPATIENT)
        with held_up("claim"):
            await first.judge((A, NOW))
        await until(lambda: (A.fingerprint, NOW // 1000) in written_ahead(tmp_path))
        (retry,) = await start(tmp_path).judge((A, NOW + 30 * SECOND))
        assert (retry.action, retry.claim.id_ms) == (Action.PUBLISH, NOW // 1000)


async def test_a_write_that_is_late_does_not_hold_its_burst_up(tmp_path: Path) -> None:
    async with life(tmp_path, IMPATIENT) as running:
        await running.happened(A, NOW)
        await running.happened(B, NOW + 1)
        with held_up("rewrite"):
            (again,) = await running.judge((A, NOW + MINUTE))
            assert (again.action, again.claim.repeat) == (Action.PUBLISH, True)


# Failed.


async def test_a_failed_index_blocks_nothing_and_says_so(tmp_path: Path) -> None:
    async with life(tmp_path) as running:
        await running.happened(A, NOW)
        await until(lambda: not running.in_memory)
        with failing("claim", sqlite3.SQLITE_IOERR):
            verdict = await running.happened(A, NOW + MINUTE)
            assert (verdict.action, verdict.claim.id_ms) == (Action.PUBLISH, (NOW + MINUTE) // 1000)
        assert running.failed
        assert (await running.happened(C, NOW + 2 * MINUTE)).claim.id_ms == (NOW + 2 * MINUTE) // 1000
        assert running.unjudged == 2


@pytest.mark.parametrize("name", ["rewrite", "learn"])
async def test_a_failure_to_write_is_a_failure_of_the_index(tmp_path: Path, name: str) -> None:
    async with life(tmp_path) as running:
        await running.happened(A, NOW)
        await running.happened(B, NOW + 1)
        with failing(name, sqlite3.SQLITE_IOERR):
            assert (await running.happened(A, NOW + MINUTE)).action is Action.PUBLISH
            await until(lambda: running.failed)


async def test_copies_are_one_event_though_the_index_failed(tmp_path: Path) -> None:
    async with life(tmp_path) as running:
        with failing("claim", sqlite3.SQLITE_IOERR):
            await running.happened(B, NOW)
        first, second = await running.judge((A, NOW + 1), (A, NOW + 2))
        assert (second.action, second.claim) == (Action.JOIN, first.claim)


async def test_a_corrupt_index_is_looked_through_at_the_next_start(tmp_path: Path) -> None:
    suspicion = tmp_path / f"{index.FILE}.suspect"
    async with life(tmp_path) as running:
        with failing("claim", sqlite3.SQLITE_CORRUPT):
            await running.happened(A, NOW)
    assert suspicion.exists()
    async with life(tmp_path):
        assert not suspicion.exists()


# Full, and old.


@pytest.mark.parametrize("name", ["claim", "learn"])
async def test_while_the_index_is_full_events_pass_and_none_takes_an_id_of_today(tmp_path: Path, name: str) -> None:
    """What could not be written is forgotten: whether A came before, nobody knows until the day is over."""
    with patch("aurora_bridge.dedup.index_file.time_us", lambda: NOW + 1):
        async with life(tmp_path) as running:
            with failing(name, sqlite3.SQLITE_FULL):
                await running.happened(A, NOW)
                await running.happened(B, NOW + 1)
                await until(lambda: not running.in_memory)
            again = await running.happened(A, NOW + MINUTE)
            assert (again.action, again.claim.id_ms) == (Action.PUBLISH, (NOW + MINUTE) // 1000)
            assert (await running.happened(C, NOW + DAY)).claim.id_ms == FIRST
            assert not running.failed


async def test_what_a_full_index_forgot_is_not_known_after_a_clean_end_either(tmp_path: Path) -> None:
    with patch("aurora_bridge.dedup.index_file.time_us", lambda: NOW + 1):
        async with life(tmp_path) as first:
            with failing("learn", sqlite3.SQLITE_FULL):
                await first.happened(A, NOW)
                await until(lambda: not first.in_memory)
        async with life(tmp_path) as second:
            assert (await second.happened(C, NOW + MINUTE)).claim.id_ms == (NOW + MINUTE) // 1000


async def test_a_file_that_fills_up_makes_room_and_goes_on(tmp_path: Path) -> None:
    """3,000 events of 100 bytes come to a file of 128 KiB."""
    now = NOW
    with (
        patch("aurora_bridge.dedup.index_file._CARE_SECONDS", 0),
        patch("aurora_bridge.dedup.deduplicator._LEARN_SECONDS", 0),
        patch("aurora_bridge.dedup.index_file.time_us", lambda: now),
    ):
        async with life(tmp_path, max_bytes=131_072) as running, caring(running):
            for burst in range(30):
                events = [state("A", f"{burst:02x}{number:02x}") for number in range(100)]
                for verdict in await running.judge(*((event, now := now + 1) for event in events)):
                    assert verdict.action is Action.PUBLISH
                    running.finish(verdict, End.DURABLE, now)
                await until(lambda: not running.in_memory)
            assert not running.failed
            assert running.metrics.index_forgotten[()] > 0
            assert (await running.happened(A, now + 1000)).claim.id_ms == (now + 1000) // 1000
            await until(lambda: not running.in_memory)
            assert (await running.happened(A, now + 2000)).action is Action.DUPLICATE
            assert (await running.happened(B, now + DAY)).claim.id_ms == FIRST
    assert 0 < len(standings(tmp_path)) < 3000
    assert (tmp_path / "index.db").stat().st_size <= 131_072


async def test_what_finds_no_room_has_the_oldest_forgotten_however_little_seems_to_be_in_use(tmp_path: Path) -> None:
    with patch("aurora_bridge.dedup.index_file._CARE_SECONDS", 0):
        async with life(tmp_path) as running, caring(running):
            for minute in range(2):  # the first mark is made when there is none to forget up to
                with failing("claim", sqlite3.SQLITE_FULL):
                    await running.happened(A, NOW + minute * MINUTE)
                await until(lambda: not running.in_memory)
            await until(lambda: running.metrics.index_forgotten[()] > 0)


@pytest.mark.parametrize(("free", "grows"), [(31 * 2**20, False), (33 * 2**20, True)])
async def test_while_its_volume_has_no_room_to_spare_the_file_grows_no_further(
    tmp_path: Path, free: float, *, grows: bool
) -> None:
    """It keeps half of what the spool does: what that needs to be emptied."""
    with (
        patch("aurora_bridge.dedup.index_file._CARE_SECONDS", 0),
        patch("aurora_bridge.dedup.deduplicator._LEARN_SECONDS", 0),
        patch("aurora_bridge.state.database.room", lambda _directory: Room(2**30, free)),
    ):
        async with life(tmp_path) as running, caring(running):
            for burst in range(30):
                events = [state("A", f"{burst:02x}{number:02x}") for number in range(100)]
                for verdict in await running.judge(*((event, NOW + burst) for event in events)):
                    assert verdict.action is Action.PUBLISH
                    running.finish(verdict, End.DURABLE, NOW + burst)
                await until(lambda: not running.in_memory)
            assert not running.failed
    assert ((tmp_path / index.FILE).stat().st_size > 200_000) is grows


@asynccontextmanager
async def caring(running: Life) -> AsyncIterator[None]:
    """Let the deduplicator care for its file."""
    care = asyncio.create_task(running.dedup.care())
    try:
        yield
    finally:
        care.cancel()
        await asyncio.gather(care, return_exceptions=True)


class Clocks:
    """The two clocks, moved by hand."""

    def __init__(self) -> None:
        self.running, self.wall = 1000.0, NOW
        self.rounds = 0

    def round(self, db: sqlite3.Connection) -> int:
        """Count a round of care, in place of measuring the file."""
        del db
        self.rounds += 1
        return 0

    async def let_pass(self, rounds: int) -> None:
        """Let so many rounds of care pass."""
        end = self.rounds + rounds
        await until(lambda: self.rounds >= end)


@pytest.fixture
def clocks() -> Iterator[Clocks]:
    moved = Clocks()
    with (
        patch("aurora_bridge.dedup.deduplicator.monotonic", lambda: moved.running),
        patch("aurora_bridge.dedup.index_file.monotonic", lambda: moved.running),
        patch("aurora_bridge.dedup.index_file.time_us", lambda: moved.wall),
        patch("aurora_bridge.dedup.index_file._CARE_SECONDS", 0),
        patch.object(index, "used_bytes", moved.round),
    ):
        yield moved


@pytest.mark.parametrize("ran", [False, True], ids=["the wall clock jumps", "the daemon ran"])
async def test_what_was_seen_expires_when_a_daemon_ran_for_the_window_whatever_the_wall_clock_says(
    tmp_path: Path, clocks: Clocks, *, ran: bool
) -> None:
    async with life(tmp_path, window_days=30) as running, caring(running):
        await running.happened(ONCE, NOW)
        await until(lambda: standings(tmp_path) == [Standing.SEEN])
        clocks.running += 60  # a mark of the minute after
        await clocks.let_pass(100)
        clocks.wall += 31 * DAY
        if ran:
            clocks.running += 31 * 86_400
        await clocks.let_pass(2 * index.SLICES)
        assert len(standings(tmp_path)) == (0 if ran else 1)


# What Kafka knows.


def record(event: Event, at: int, *, id_ms: int = FIRST, instance: str = "other") -> Followed:
    """Return what a record in Kafka tells of an event."""
    return Followed(event.fingerprint, at, id_ms, event is ONCE, 1, event.family_key, instance)


async def follow(running: Life, *records: Followed) -> None:
    """Let the follower have read records."""
    assert await running.dedup.follow(records, "me")


@asynccontextmanager
async def held(running: Life, *deliveries: tuple[Event, int]) -> AsyncIterator["asyncio.Future[list[Verdict]]"]:
    """Let deliveries come together while a catch-up is under way."""
    running.dedup.follow_began()
    judging = asyncio.ensure_future(running.judge(*deliveries))
    await asyncio.sleep(0)
    try:
        yield judging
    finally:
        await judging


def identities(verdicts: list[Verdict]) -> list[tuple[Action, int]]:
    """Return what was decided of deliveries, with the milliseconds of their ids."""
    return [(verdict.action, verdict.claim.id_ms) for verdict in verdicts]


async def test_what_comes_during_a_catch_up_is_judged_after_it_in_the_order_of_receipt(tmp_path: Path) -> None:
    async with life(tmp_path, follows=True) as running:
        async with held(running, (A, NOW), (B, NOW + 1), (A, NOW + 1000)) as judging:
            await follow(running, record(A, NOW - MINUTE))
            assert not judging.done()
            running.dedup.follow_succeeded(None)
        again = (NOW + 1000) // 1000
        expected = [(Action.DUPLICATE, FIRST), (Action.PUBLISH, FIRST), (Action.PUBLISH, again)]
        assert identities(judging.result()) == expected


async def test_a_state_that_came_during_a_catch_up_is_a_later_one_than_what_was_caught_up_with(tmp_path: Path) -> None:
    """A lies in Kafka, B comes meanwhile: A coming back is no duplicate, now and after the index has learned of B."""
    async with life(tmp_path, follows=True) as running:
        async with held(running, (B, NOW)) as judging:
            await follow(running, record(A, NOW - MINUTE))
            running.dedup.follow_succeeded(None)
        running.finish(judging.result()[0], End.DURABLE, NOW)
        await until(lambda: not running.in_memory)
        assert (await running.happened(A, NOW + MINUTE)).action is Action.PUBLISH


@pytest.mark.parametrize("learned", [False, True], ids=["in flight", "learned"])
async def test_an_earlier_state_of_anothers_that_is_read_later_is_not_the_latest(
    tmp_path: Path, *, learned: bool
) -> None:
    async with life(tmp_path) as running:
        (verdict,) = await running.judge((B, NOW))
        await follow(running, record(A, NOW - SECOND))
        running.finish(verdict, End.DURABLE, NOW)
        if learned:
            await until(lambda: not running.in_memory)
        assert (await running.happened(B, NOW + SECOND)).action is Action.DUPLICATE
        back = await running.happened(A, NOW + MINUTE)
        assert (back.action, back.claim.repeat) == (Action.PUBLISH, True)


async def test_a_later_state_of_anothers_is_the_latest_while_ours_is_in_memory(tmp_path: Path) -> None:
    async with life(tmp_path) as running:
        (verdict,) = await running.judge((A, NOW))
        await follow(running, record(B, NOW + SECOND))
        running.finish(verdict, End.DURABLE, NOW)
        assert (await running.happened(A, NOW + MINUTE)).claim.id_ms == (NOW + MINUTE) // 1000


async def test_a_catch_up_that_takes_too_long_is_not_waited_for_and_no_state_gets_an_id_of_the_day(
    tmp_path: Path,
) -> None:
    async with life(tmp_path, IMPATIENT, follows=True) as running:
        verdicts = await running.judge((A, NOW), (ONCE, NOW + 1))
        assert identities(verdicts) == [(Action.PUBLISH, NOW // 1000), (Action.PUBLISH, FIRST)]
        assert written_ahead(tmp_path) == {(A.fingerprint, NOW // 1000), (ONCE.fingerprint, FIRST)}


async def test_where_kafka_does_not_answer_nothing_is_waited_for(tmp_path: Path) -> None:
    async with life(tmp_path, follows=True) as running:
        async with held(running, (A, NOW)) as judging:
            running.dedup.follow_failed()
        assert identities(judging.result()) == [(Action.PUBLISH, NOW // 1000)]
        assert (await running.happened(B, NOW + 1)).claim.id_ms == (NOW + 1) // 1000


async def test_what_comes_while_a_look_up_is_under_way_is_held_by_a_catch_up_that_begins(tmp_path: Path) -> None:
    """The look-up's answer must not take those with it that were proposed as if the catch-up had ended."""
    async with life(tmp_path, follows=True) as running:
        running.dedup.follow_failed()
        with patch("aurora_bridge.dedup.deduplicator.GAP_SECONDS", 0), held_up("claim") as gate:
            first = asyncio.ensure_future(running.judge((A, NOW)))
            await until(lambda: running.asking)
            async with held(running, (B, NOW + 1)) as judging:
                gate.set()
                await first
                for _ in range(5):  # turns of the loop, in which the next look-up would begin
                    await asyncio.sleep(0)
                running.dedup.follow_failed()
        assert identities(judging.result()) == [(Action.PUBLISH, (NOW + 1) // 1000)]


async def test_with_other_replicas_what_was_not_looked_at_for_long_cannot_be_known(
    tmp_path: Path, clocks: "Clocks"
) -> None:
    async with life(tmp_path, follows=True) as running:
        running.dedup.follow_succeeded(clocks.running + 10)
        clocks.running += 9
        assert (await running.happened(A, NOW)).claim.id_ms == FIRST
        clocks.running += 2
        assert (await running.happened(B, NOW + 1)).claim.id_ms == (NOW + 1) // 1000


async def test_what_was_lost_with_the_index_is_known_after_the_catch_up(tmp_path: Path) -> None:
    (tmp_path / index.FILE).write_bytes(b"no database" * 1000)
    async with life(tmp_path, follows=True) as running:
        async with held(running, (A, NOW), (B, NOW + 1)) as judging:
            await follow(running, record(A, NOW - SECOND, instance="me"))
            running.dedup.follow_succeeded(None)
        assert identities(judging.result()) == [(Action.DUPLICATE, FIRST), (Action.PUBLISH, FIRST)]
        assert (await running.happened(C, NOW + 2)).claim.id_ms == FIRST


@pytest.mark.parametrize("starts", [1, 2])
async def test_after_the_loss_of_the_index_the_spool_is_looked_through_though_kafka_comes_only_later(
    tmp_path: Path, starts: int
) -> None:
    spool = Spool(tmp_path, ROOM)
    spool.start()
    kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    headers = {"fingerprint": ONCE.fingerprint, "time": rfc3339(NOW), "instance": "me", "attempt": "1"}
    named: Headers = [(f"aurora-bridge-{name}", value.encode()) for name, value in headers.items()]
    key = ONCE.fingerprint.encode()
    spool.append([OutboxRecord(ONCE.name, key, b"{}", named, b"1", NOW // 1000)], lambda *_: kept.set_result(None))
    await kept
    try:
        for _ in range(starts - 1):
            async with life(tmp_path, follows=True):
                """Kafka is away."""
        async with life(tmp_path, follows=True) as last:
            await last.dedup.recover(spool)
            assert await last.dedup.relearn("me")
            last.dedup.follow_succeeded(None)
            assert (await last.happened(ONCE, NOW + DAY)).action is Action.DUPLICATE
    finally:
        assert await spool.stop(PATIENCE)


async def test_a_checkpoint_is_written_only_when_every_claim_before_it_is_learned(tmp_path: Path) -> None:
    async with lives() as start:
        first = start(tmp_path)
        (verdict,) = await first.judge((A, NOW))
        first.dedup.known_positions = lambda: {("t", 0): 1}
        for _ in range(3):
            first.dedup.checkpoint()
        first.finish(verdict, End.DURABLE, NOW)
        await until(lambda: standings(tmp_path) == [Standing.SEEN])
        assert positions(tmp_path) == []
        await until(lambda: not first.in_memory)
        first.dedup.checkpoint()
        await until(lambda: positions(tmp_path) == [("t", 0, 1)])


async def test_what_passed_unjudged_holds_the_checkpoint_back(tmp_path: Path) -> None:
    """It stands in no journal: after a crash, only Kafka has it."""
    async with lives() as start:
        first = start(tmp_path, IMPATIENT)
        with held_up("claim"):
            (late,) = await first.judge((A, NOW))
            (unjudged,) = await first.judge((B, NOW + 1))
        first.dedup.end(unjudged.claim, End.DURABLE)
        await until(lambda: not first.late)
        first.finish(late, End.DURABLE, NOW)
        await until(lambda: first.in_memory == {B.fingerprint})
        first.dedup.known_positions = lambda: {("t", 0): 2}
        first.dedup.checkpoint()
        await first.judge((C, NOW + 2))
        assert positions(tmp_path) == []


@pytest.mark.parametrize("name", ["learn", "claim"])
async def test_what_a_full_index_lost_is_read_again_after_a_start(tmp_path: Path, name: str) -> None:
    async with life(tmp_path) as running:
        with failing(name, sqlite3.SQLITE_FULL):
            await running.happened(A, NOW)
            await until(lambda: not running.in_memory)
        running.dedup.known_positions = lambda: {("t", 0): 1}
        running.dedup.checkpoint()
        await running.happened(B, NOW + 1)
    assert positions(tmp_path) == []


async def test_a_full_index_takes_what_is_followed_when_it_has_made_room(tmp_path: Path) -> None:
    async with life(tmp_path) as running:
        with failing("follow", sqlite3.SQLITE_FULL):
            assert not await running.dedup.follow([record(ONCE, NOW)], "me")
        await follow(running, record(ONCE, NOW))
        assert (await running.happened(ONCE, NOW + MINUTE)).action is Action.DUPLICATE


async def test_an_index_that_fails_while_it_follows_has_failed_and_stops_nothing(tmp_path: Path) -> None:
    async with life(tmp_path) as running:
        with failing("follow", sqlite3.SQLITE_IOERR):
            await follow(running, record(ONCE, NOW))
        assert running.failed
        assert (await running.happened(A, NOW)).claim.id_ms == NOW // 1000


async def test_a_record_of_ours_is_the_acknowledgement_that_a_claim_in_doubt_did_not_get(tmp_path: Path) -> None:
    async with life(tmp_path) as running:
        (verdict,) = await running.judge((A, NOW))
        running.dedup.end(verdict.claim, End.IN_DOUBT)
        await follow(running, record(A, NOW, instance="me"))
        running.dedup.answered(verdict.claim, NOW, in_time=True)
        await running.happened(B, NOW + SECOND)
        await until(lambda: not running.in_memory)
        assert (await running.happened(A, NOW + 30 * SECOND)).action is Action.DUPLICATE


async def test_what_is_in_flight_here_is_left_to_its_claim(tmp_path: Path) -> None:
    """Its record may be read before its acknowledgement comes: the answer that was missed is owed all the same."""
    async with life(tmp_path) as running:
        (verdict,) = await running.judge((A, NOW))
        await follow(running, record(A, NOW, instance="me"))
        running.finish(verdict, End.DURABLE, NOW, in_time=False)
        await running.happened(B, NOW + SECOND)
        await until(lambda: not running.in_memory)
        assert (await running.happened(A, NOW + 30 * SECOND)).action is Action.DUPLICATE


async def test_an_event_of_yesterday_and_one_of_today_are_two_whichever_replica_had_them(tmp_path: Path) -> None:
    midnight = NOW - NOW % DAY
    async with life(tmp_path, follows=True) as running:
        await follow(running, record(A, midnight - 25 * 60 * MINUTE), record(B, midnight - MINUTE))
        running.dedup.follow_succeeded(None)
        back = await running.happened(A, midnight + 1)
        assert (back.action, back.claim.repeat, back.claim.id_ms) == (Action.PUBLISH, True, (midnight + 1) // 1000)


def positions(directory: Path) -> list[tuple[Any, ...]]:
    """Return the checkpoints."""
    return rows(directory, "SELECT * FROM followed")
