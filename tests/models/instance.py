"""One life of the daemon's core, from its start to its end: everything between the HTTP edge and Kafka's wire.

The bridge, the index and its claims, the publisher with its backlogs, the spool and the drainer are the real ones, on a
loop that turns only when the model wants it. Kafka and the threads of the two files are `doubles`.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final
from unittest.mock import patch

from aurora_bridge.dedup.claims import Verdict

from aurora_bridge.bridge import EVENTS, Answer, Bridge
from aurora_bridge.dedup.deduplicator import Deduplicator
from aurora_bridge.dedup.recurrence import Slot, event_id
from aurora_bridge.kafka.lane import ERROR_REASONS
from aurora_bridge.metrics import Metrics
from aurora_bridge.outbox.drainer import Drainer
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.refusal import Outcome
from aurora_bridge.settings import DeadlinesSettings, IndexSettings, Settings
from aurora_bridge.webhook.catalogue import CATALOGUE
from aurora_bridge.webhook.credentials import Anonymous
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import Event
from aurora_bridge.webhook.routes import Route, Routes
from aurora_bridge.webhook.rules import Rules
from tests.models.doubles import NUMBER, Kafka, SteppedWorker, Wire

TOPICS: Final = ("project_status_changed", "project_created", "lead_changed")
"""A state, a once, a signal."""

NEVER: Final = 1e9
"""Seconds: the model does what a timer would do."""

MEBIBYTE: Final = 2**20

ATTRIBUTES: Final = [(name, attribute) for name, kind in CATALOGUE.items() for attribute in kind.values]


@dataclass(slots=True, eq=False)
class Flight:
    """One delivery on its way through the daemon."""

    target: str
    received_us: int
    reaches: bool
    """Whether the answer reaches Aurora in time."""
    event: Event | None = None
    verdict: Verdict | None = None
    number: int | None = None
    """The record it sent, if it did."""
    answer: Answer | None = None

    @property
    def id(self) -> str:
        """The id it was given."""
        assert self.event is not None
        assert self.verdict is not None
        claim = self.verdict.claim
        return event_id(self.event.fingerprint, self.event.recurrence, claim.time_us, claim.id_ms)

    @property
    def told(self) -> bool:
        """Whether Aurora knows that the event was stored."""
        return self.answer is not None and self.answer.status == 200 and self.reaches


Judged = Callable[[Flight], None]
_FLIGHT: ContextVar[Flight] = ContextVar("flight")


class _Deduplicator(Deduplicator):
    """The real one; the model hears each verdict, and does what timers would do."""

    on_verdict: Judged

    async def claim(self, event: Event, received_us: int) -> Verdict:
        flight = _FLIGHT.get()
        flight.event = event
        flight.verdict = await super().claim(event, received_us)
        self.on_verdict(flight)
        return flight.verdict

    @property
    def worker(self) -> SteppedWorker:
        assert isinstance(self._worker, SteppedWorker)
        return self._worker

    @property
    def late(self) -> bool:
        return bool(self._late)

    @property
    def in_doubt(self) -> tuple[str, ...]:
        return self._state.in_doubt

    def give_up(self) -> None:
        """Lose patience with the oldest burst, and with it all that wait behind it."""
        if self._bursts:
            self._give_up(self._bursts[0])

    @property
    def learning(self) -> bool:
        return self._learning is not None

    @property
    def settled(self) -> bool:
        """Whether the index knows of all that has ended."""
        return self._learning is None and not self.worker.busy

    def learn(self) -> None:
        """Write what the timer would write now."""
        if self._learning is not None:
            self._learning.cancel()
            self._learn_slice()

    def check_calm(self) -> None:
        """Check that no claim is under way, and that the index knows of all."""
        assert (len(self._claims), any(self._claims.finished.values()), self._unlearned) == (0, False, {})


class _Publisher(Publisher):
    """The real one; each record gets a number."""

    on_record: Callable[[], int]

    async def publish(self, record: OutboxRecord) -> Outcome:
        flight = _FLIGHT.get()
        flight.number = self.on_record()
        record.headers.append((NUMBER, b"%d" % flight.number))
        return await super().publish(record)


class _Spool(Spool):
    """The real one."""

    @property
    def worker(self) -> SteppedWorker:
        assert isinstance(self._worker, SteppedWorker)
        return self._worker


class Instance:
    """A daemon's core."""

    def __init__(  # noqa: PLR0913 - what a life depends on
        self,
        directory: Path,
        kafka: Kafka,
        *,
        spooled: bool,
        window_us: int,
        on_verdict: Judged,
        on_record: Callable[[], int],
    ) -> None:
        """Start on what the directory holds; tell of each verdict, and ask for each record's number."""
        self.flights: list[Flight] = []
        """Deliveries that are not answered yet."""
        self.wire = Wire(kafka, TOPICS)
        self._loop = asyncio.new_event_loop()
        self._tasks: list[asyncio.Task[None]] = []
        self._patches = ExitStack()
        for name, double in (
            ("dedup.index_file.Worker", SteppedWorker),
            ("outbox.spool.Worker", SteppedWorker),
            ("dedup.deduplicator._LEARN_SECONDS", NEVER),
            ("dedup.deduplicator.GAP_SECONDS", 0),
            ("outbox.drainer._RETRY_SECONDS", 0),
        ):
            self._patches.enter_context(patch(f"aurora_bridge.{name}", double))
        self._loop.run_until_complete(self._build(directory, spooled=spooled, window_us=window_us))
        self.dedup.on_verdict = on_verdict
        self._publisher.on_record = on_record
        if self.spool is not None:
            drainer = Drainer(self._publisher, self.wire, self.spool)  # type: ignore[arg-type]
            self._tasks.append(self._loop.create_task(drainer.run()))
            recovery = self._loop.create_task(self.dedup.recover(self.spool))
            while not recovery.done():
                self.turn()
                for worker in self.workers:
                    worker.work()
                    self.tell(worker)
        self.turn()

    async def _build(self, directory: Path, *, spooled: bool, window_us: int) -> None:
        """Make the parts, as `daemon` does."""
        metrics = Metrics(
            events=EVENTS, attributes=ATTRIBUTES, slots=[slot.value for slot in Slot], publish_errors=ERROR_REASONS
        )
        self.dedup = _Deduplicator(directory, IndexSettings(), NEVER, metrics)
        self.spool = _Spool(directory, MEBIBYTE) if spooled else None
        self._publisher = _Publisher(DeadlinesSettings(), TOPICS, self.wire.heard_by, self.spool, metrics)  # type: ignore[arg-type]
        route = Route("default", "default", Anonymous(), Rules(frozenset(), window_us))
        self._bridge = Bridge(
            Settings(), Routes("/", route), self.dedup, self._publisher, instance="model", metrics=metrics
        )

    @property
    def workers(self) -> list[SteppedWorker]:
        """The threads of index and spool."""
        return [self.dedup.worker, *([self.spool.worker] if self.spool else ())]

    # What the model does.

    def deliver(self, flight: Flight) -> None:
        """Receive a delivery at the next turn."""
        self.flights.append(flight)
        self._tasks.append(self._loop.create_task(self._handle(flight)))

    def tell(self, worker: SteppedWorker) -> None:
        """Let the answers of a thread arrive on the loop."""
        self._loop.call_soon(worker.answer)
        self.turn()

    def do(self, step: Callable[[], object]) -> None:
        """Do something on the loop."""
        self._loop.call_soon(step)
        self.turn()

    def pass_deadline(self, seconds: float) -> None:
        """Let everything under way be as old as `seconds`."""
        self.do(lambda: self._publisher.sweep(monotonic() + seconds))

    def work(self) -> bool:
        """Let files, Kafka and timers do what there is to do; return whether there was anything."""
        busy = False
        for worker in self.workers:
            busy |= worker.busy
            worker.work()
            self.tell(worker)
        for topic, lane in self.wire.lanes.items():
            if lane:
                busy = True
                self.do(partial(self.wire.acknowledge, topic))
        busy |= self.dedup.learning
        self.do(self.dedup.learn)
        return busy

    def turn(self) -> None:
        """Turn the loop until nothing moves by itself any more."""
        ready: deque[asyncio.Handle] = self._loop._ready  # type: ignore[attr-defined]  # noqa: SLF001 - what a loop shows
        while ready:
            self._loop.call_soon(self._loop.stop)
            self._loop.run_forever()
        for task in self._tasks:
            if task.done():
                task.result()

    def stop(self) -> None:
        """End in order, as on SIGTERM."""
        self._loop.run_until_complete(self.dedup.stop(NEVER))
        if self.spool is not None:
            self._loop.run_until_complete(self.spool.stop(NEVER))
        self._end()

    def die(self) -> None:
        """End at once: only what was committed is left."""
        for worker in self.workers:
            worker.connection.close()
        self._end()

    def _end(self) -> None:
        self._loop.run_until_complete(_cancel_all())
        self._loop.close()
        self._patches.close()

    async def _handle(self, flight: Flight) -> None:
        """Do what the ingress does."""
        _FLIGHT.set(flight)
        delivery = Delivery("GET", flight.target.encode(), (), flight.received_us, monotonic())
        answer = await self._bridge.accept(delivery)
        self._bridge.answered(delivery, answer, handed=flight.reaches)
        flight.answer = answer
        self.flights.remove(flight)


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
