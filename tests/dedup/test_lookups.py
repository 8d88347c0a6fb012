"""Deliveries that wait for the file, a reading of the log or each other: decided in order, and none waits for ever."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aurora_bridge.dedup.deduplicator import Decision
from aurora_bridge.dedup.recurrence import Action
from aurora_bridge.webhook.event import Event
from tests.dedup.events import MINUTE, NOON, ONCE, SECOND, A, B, C, once, told
from tests.dedup.life import CLUSTER, IMPATIENT, PATIENCE, Life, failing, held_up, living, turns, until


@asynccontextmanager
async def knowing(directory: Path, *, kafka: bool = False, patience: float = PATIENCE) -> AsyncIterator[Life]:
    """Run a deduplicator whose file knows A and ONCE, and whose memory is empty; with `kafka` it may not know all."""
    async with living(directory) as before:
        await before.deliver(A, NOON)
        await before.deliver(ONCE, NOON)
    async with living(directory, kafka=kafka) as life:
        if not kafka:
            await life.complete(NOON)
        await life.filtering()
        life.dedup.file.patience = patience  # only now: a slow machine is waited for until it begins
        yield life


def soon(life: Life, event: Event, at: int) -> "asyncio.Future[Decision]":
    """Begin to claim."""
    return asyncio.ensure_future(life.claim(event, at))


# In order.


async def test_what_comes_behind_a_look_up_is_judged_after_it(tmp_path: Path) -> None:
    """B is certainly new; but judged before A, it would make that a repeat."""
    async with knowing(tmp_path) as life:
        with held_up("find") as gate:
            first, second = soon(life, A, NOON + SECOND), soon(life, B, NOON + SECOND)
            await turns()
            assert not second.done()
            gate.set()
            decisions = await asyncio.gather(first, second)
    assert [decision.action for decision in decisions] == [Action.DUPLICATE, Action.NEW]


async def test_deliveries_that_come_together_are_judged_in_the_order_of_their_receipt(tmp_path: Path) -> None:
    async with knowing(tmp_path) as life:
        events = (A, B, A, A, B, ONCE, C)
        decisions = await life.claims(*((event, NOON + SECOND + number) for number, event in enumerate(events)))
    expected = [Action.DUPLICATE, Action.NEW, Action.REPEAT, Action.JOIN, Action.REPEAT, Action.DUPLICATE, Action.NEW]
    assert [decision.action for decision in decisions] == expected
    assert decisions[3].entry is decisions[2].entry


async def test_an_answer_is_not_older_than_what_memory_has_let_go(tmp_path: Path) -> None:
    """While somebody waits for the file, nothing leaves that it might not have seen."""
    async with knowing(tmp_path) as life:
        with held_up("find") as gate:
            first = soon(life, ONCE, NOON + SECOND)
            await turns()
            second = soon(life, C, NOON + SECOND)  # behind it, and its fingerprint is asked for as well
            flying = soon(life, C, NOON + SECOND + 1)
            await turns()
            gate.set()
            await first
            decision = await second
            await life.store(C, decision.entry)
            assert (await flying).action is Action.JOIN
            life.answer(decision, NOON)
            life.answer(await flying, NOON)
            life.answer(await first, NOON)
        await life.written()
        assert await life.act(C, NOON + MINUTE) is Action.DUPLICATE


# Given up while they wait.


async def test_a_delivery_that_is_given_up_while_it_waits_was_refused(tmp_path: Path) -> None:
    """It happened: it is the latest state of its subject, and its retry has its time."""
    async with knowing(tmp_path) as life:
        with held_up("find") as gate:
            first, given_up = soon(life, ONCE, NOON + SECOND), soon(life, B, NOON + SECOND)
            await turns()
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)
            gate.set()
            await first
        assert await life.act(A, NOON + MINUTE) is Action.REPEAT
        retry = await life.deliver(B, NOON + 31 * SECOND)
        assert (retry.action, retry.entry.time_ms) == (Action.RETRY, NOON + SECOND)


async def test_deliveries_that_are_given_up_leave_nothing_behind(tmp_path: Path) -> None:
    """Neither the first of an event, nor one that joins it, nor a duplicate."""
    async with knowing(tmp_path) as life:
        with held_up("find") as gate:
            given_up = [soon(life, event, NOON + SECOND) for event in (A, B, B)]
            await turns()
            for claim in given_up:
                claim.cancel()
            await asyncio.gather(*given_up, return_exceptions=True)
            gate.set()
        await life.deliver(A, NOON + MINUTE)  # is judged behind them
        await life.written()


async def test_a_retry_that_is_given_up_is_expected_again(tmp_path: Path) -> None:
    """It was answered with a 503, if at all."""
    async with living(tmp_path) as life:
        await life.deliver(A, NOON, in_time=False)
        await life.deliver(B, NOON + SECOND)
        await life.written()
        with held_up("find") as gate:
            given_up = soon(life, A, NOON + 30 * SECOND)
            await turns()
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)
            gate.set()
        assert await life.act(A, NOON + 5 * MINUTE + 30 * SECOND) is Action.DUPLICATE


# A file that is late.


async def test_a_late_file_is_waited_for_once_and_events_pass_in_their_order(tmp_path: Path) -> None:
    async with knowing(tmp_path, patience=IMPATIENT) as life, life.hanging():
        decisions = await life.claims((A, NOON + MINUTE), (B, NOON + MINUTE + 1), (A, NOON + MINUTE + 2))
        assert [decision.action for decision in decisions] == [Action.NEW, Action.NEW, Action.REPEAT]
        assert [decision.entry.id_ms for decision in decisions] == [
            NOON + MINUTE,
            NOON + MINUTE + 1,
            NOON + MINUTE + 2,
        ]
        assert life.failed
        later = soon(life, ONCE, NOON + MINUTE)
        await turns()
        assert later.done()
        assert life.index_bypassed == 2


async def test_copies_are_one_event_though_the_file_is_late(tmp_path: Path) -> None:
    async with knowing(tmp_path, patience=IMPATIENT) as life, life.hanging():
        first, second = await life.claims((A, NOON + MINUTE), (A, NOON + MINUTE + 1))
        assert (second.action, second.entry) == (Action.JOIN, first.entry)


async def test_a_file_that_answers_again_is_asked_again(tmp_path: Path) -> None:
    async with knowing(tmp_path, patience=IMPATIENT) as life:
        async with life.hanging():
            await life.claim(A, NOON + MINUTE)
        await until(lambda: not life.failed)
        assert await life.act(ONCE, NOON + MINUTE) is Action.DUPLICATE


async def test_a_look_up_that_fails_though_the_file_goes_on_is_not_made_again_and_again(tmp_path: Path) -> None:
    async with knowing(tmp_path) as life:
        with failing("find", code=sqlite3.SQLITE_FULL):
            decision = await life.claim(A, NOON + MINUTE)
        assert (decision.action, decision.entry.id_ms, life.index_bypassed) == (Action.NEW, NOON + MINUTE, 1)


async def test_nobody_waits_for_a_look_up_behind_which_the_file_hangs_again(tmp_path: Path) -> None:
    """A job before it is answered late; that does not make the file one that answers, while the look-up hangs still."""
    async with knowing(tmp_path, patience=IMPATIENT) as life:
        with held_up("find") as gate:
            async with life.hanging() as job:
                await life.claim(A, NOON + MINUTE)
                job.set()
                await until(lambda: not life.hangs)
                await life.claims((ONCE, NOON + MINUTE), (A, NOON + MINUTE))
            assert not gate.is_set()


# A reading of the log.


@asynccontextmanager
async def reading(life: Life) -> AsyncIterator[None]:
    """Let the log be read to its end; until then, judging waits."""
    current = await life.log.reading()
    life.log.began(current, CLUSTER)
    yield
    life.log.succeeded(current)


async def test_judging_waits_for_the_reading_and_is_in_order_after_it(tmp_path: Path) -> None:
    async with living(tmp_path, kafka=True) as life:
        async with reading(life):
            claims = [soon(life, event, NOON + number) for number, event in enumerate((A, B, A))]
            await turns()
            assert not any(claim.done() for claim in claims)
            await life.log.learn(life.log.current, CLUSTER, [told(A, NOON - MINUTE)])
        decisions = await asyncio.gather(*claims)
    assert [decision.action for decision in decisions] == [Action.DUPLICATE, Action.NEW, Action.REPEAT]
    assert [decision.entry.id_ms for decision in decisions] == [0, 0, NOON + 2]


async def test_a_state_that_came_during_the_reading_is_a_later_one_than_what_was_read(tmp_path: Path) -> None:
    async with living(tmp_path, kafka=True) as life:
        async with reading(life):
            claim = soon(life, B, NOON)
            await turns()
            await life.log.learn(life.log.current, CLUSTER, [told(A, NOON - MINUTE)])
        await life.store(B, (await claim).entry)
        assert await life.act(A, NOON + MINUTE) is Action.REPEAT


async def test_one_waits_until_patience_ends_and_nobody_after_it(tmp_path: Path) -> None:
    async with living(tmp_path, kafka=True, patience=IMPATIENT) as life, reading(life):
        first = await life.claims((A, NOON), (once("2"), NOON))
        assert [(decision.action, decision.entry.id_ms) for decision in first] == [
            (Action.NEW, NOON),
            (Action.NEW, 0),
        ]
        later = soon(life, B, NOON + 1)
        await until(later.done)


async def test_where_the_log_cannot_be_read_nobody_waits(tmp_path: Path) -> None:
    async with living(tmp_path, kafka=True) as life:
        life.log.began(await life.log.reading(), CLUSTER)
        claim = soon(life, A, NOON)
        await turns()
        life.log.failed(life.log.current)
        assert (await claim).entry.id_ms == NOON
        assert (await life.claim(B, NOON + 1)).entry.id_ms == NOON + 1


async def test_what_the_file_said_before_a_reading_is_void_after_it(tmp_path: Path) -> None:
    """A look-up is under way when the reading begins, which finds that B came after A."""
    async with knowing(tmp_path, kafka=True) as life:
        life.log.failed(life.log.current)
        with held_up("find") as gate:
            claim = soon(life, A, NOON + MINUTE)
            await turns()
            async with reading(life):
                gate.set()
                await life.log.learn(life.log.current, CLUSTER, [told(B, NOON + 1)])
            assert (await claim).action is Action.REPEAT


async def test_a_look_up_that_fails_during_a_reading_is_asked_again(tmp_path: Path) -> None:
    async with knowing(tmp_path, kafka=True) as life:
        life.log.failed(life.log.current)
        with failing("find", code=sqlite3.SQLITE_IOERR), held_up("find") as gate:
            claim = soon(life, A, NOON + MINUTE)
            await turns()
            life.log.began(life.log.current, CLUSTER)
            gate.set()
            await until(lambda: life.failed)
        await until(lambda: not life.failed)
        async with reading(life):
            """Of the file that was opened again."""
        assert (await claim).action is Action.DUPLICATE
