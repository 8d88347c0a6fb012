"""The engine sends what is due, and its clock can be put forward."""

import asyncio
from itertools import pairwise

import pytest

from aurora_bridge.simulator.aurora import Aurora
from aurora_bridge.simulator.clock import Clock
from aurora_bridge.simulator.deliveries import RETRY_SECONDS, Answer, Request
from aurora_bridge.simulator.engine import Engine, World
from aurora_bridge.simulator.sender import MOST_IN_FLIGHT
from aurora_bridge.simulator.stories import Occurrence
from tests.simulator.acting import BEGIN, GOOD, REFUSED, occurrence, subscription


class Receiver:
    """Answers in the place of a server, after a turn of the event loop."""

    def __init__(self, answer: Answer = GOOD) -> None:
        self.answer = answer
        self.asked: list[Request] = []

    async def send(self, asked: Request) -> Answer:
        await asyncio.sleep(0)
        self.asked.append(asked)
        return self.answer


class Monotonic:
    """A clock that stands until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def engine(receiver: Receiver, *occurrences: Occurrence, **resend: float) -> Engine:
    def make() -> World:
        aurora = Aurora()
        aurora.change(subscription())
        return World(aurora, BEGIN, iter(occurrences), **resend)

    return Engine(make, Clock(0.0, Monotonic()), receiver.send)


async def test_a_clock_put_forward_brings_every_retry_at_its_time() -> None:
    receiver = Receiver(REFUSED)
    simulation = engine(receiver)
    simulation.happen(occurrence())
    await simulation.advance(24 * 3600)
    intervals = [after.at - before.at for before, after in pairwise(receiver.asked)]
    assert intervals == pytest.approx(RETRY_SECONDS, rel=0.015)
    assert simulation.clock.now() == BEGIN + 24 * 3600


async def test_a_clock_put_forward_a_little_brings_no_retry() -> None:
    receiver = Receiver(REFUSED)
    simulation = engine(receiver)
    simulation.happen(occurrence())
    await simulation.advance(0)
    await simulation.advance(29)
    assert len(receiver.asked) == 1
    await simulation.advance(2)
    assert len(receiver.asked) == 2


async def test_stories_happen_at_their_time_and_are_sent_again_when_asked() -> None:
    receiver = Receiver()
    times = [BEGIN + 10, BEGIN + 20]
    simulation = engine(receiver, *(occurrence(at=at) for at in times), resend_at=BEGIN + 30, resend_since=BEGIN + 15)
    await simulation.advance(15)
    assert [asked.at for asked in receiver.asked] == times[:1]
    await simulation.advance(60)
    assert [asked.at for asked in receiver.asked] == [*times, BEGIN + 30]


async def test_a_reset_starts_over_whatever_is_in_flight() -> None:
    receiver = Receiver(REFUSED)
    simulation = engine(receiver)
    simulation.happen(occurrence())
    forward = asyncio.create_task(simulation.advance(10))
    await asyncio.sleep(0)
    simulation.reset()
    await forward
    assert (simulation.aurora.pending(), len(simulation.aurora.ledger)) == (0, 0)


async def test_the_engine_sends_by_itself_what_becomes_due() -> None:
    receiver = Receiver()
    simulation = engine(receiver)
    answered = asyncio.Event()
    simulation.on_answer = lambda _: answered.set()
    running = asyncio.create_task(simulation.run())
    simulation.happen(occurrence())
    await asyncio.wait_for(answered.wait(), 30)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(receiver.asked) == 1
    await simulation.stop()


async def test_a_clock_is_put_forward_while_the_engine_runs_and_always_has_something_to_send() -> None:
    receiver = Receiver(REFUSED)
    simulation = engine(receiver, *(occurrence(at=BEGIN + second) for second in range(100)))
    running = asyncio.create_task(simulation.run())
    await asyncio.gather(simulation.advance(50), simulation.advance(49))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert simulation.clock.now() == BEGIN + 99
    assert simulation.aurora.totals["happened"] == 100
    await simulation.stop()


async def test_a_simulation_that_is_late_owes_no_more_than_it_can_send() -> None:
    receiver = Receiver()
    simulation = engine(receiver, *(occurrence(at=BEGIN) for _ in range(10 * MOST_IN_FLIGHT)))
    pending = []
    simulation.on_answer = lambda _: pending.append(simulation.aurora.pending())
    await simulation.advance(0)
    assert len(receiver.asked) == 10 * MOST_IN_FLIGHT
    assert max(pending) <= MOST_IN_FLIGHT


def test_a_clock_runs_as_fast_as_is_wished_and_says_how_long_a_wait_is() -> None:
    monotonic = Monotonic()
    clock = Clock(BEGIN, monotonic, speed=60)
    monotonic.now += 2
    assert clock.now() == BEGIN + 120
    assert clock.seconds_until(BEGIN + 180) == 1
    clock.set(BEGIN + 600)
    assert (clock.now(), clock.seconds_until(BEGIN)) == (BEGIN + 600, 0)
