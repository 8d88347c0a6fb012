"""One life of the daemon's core, from its start to its end: everything between the HTTP edge and Kafka.

Bridge, deduplicator with its file, publisher, spool, drainer and follower are the real ones, with all their tasks and
timers, in the time of the model. Kafka and the threads of the two files are `doubles`.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import Final, Protocol, cast
from unittest.mock import patch

from aurora_bridge.bridge import Answer, Bridge
from aurora_bridge.dedup import index
from aurora_bridge.dedup.deduplicator import Decision, Deduplicator
from aurora_bridge.dedup.memory import Entry
from aurora_bridge.dedup.recurrence import Action, Interval, event_id
from aurora_bridge.kafka.error_actions import ERROR_REASONS
from aurora_bridge.kafka.follower import Follower
from aurora_bridge.kafka.problem_reasons import REASONS
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.metrics import Metrics
from aurora_bridge.outbox.drainer import Drainer
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.outcomes import Outcome, Refusal
from aurora_bridge.redaction import SecretNames
from aurora_bridge.settings import DeadlinesSettings, IndexSettings, IngressSettings, Settings
from aurora_bridge.webhook.catalogue import CATALOGUE, EVENTS
from aurora_bridge.webhook.credentials import Anonymous
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import Event
from aurora_bridge.webhook.route_rules import Rules
from aurora_bridge.webhook.routes import Route, Routes
from tests.models.clock import Clock, Loop
from tests.models.doubles import NUMBER, Kafka, Reading, SteppedWorker, Wire
from tests.models.state_directory import Key

TOPICS: Final = ("project_status_changed", "project_created", "lead_changed")
"""A state, a once, a signal."""

DEADLINES: Final = DeadlinesSettings()
PATIENCE: Final = DEADLINES.publish_seconds / 3
"""Seconds within which the index file has to answer."""

SWEEP_SECONDS: Final = 0.25
"""Between two looks at the deadlines: fewer turns of the loop than the daemon's."""

MEBIBYTE: Final = 2**20
MOST_IN_FLIGHT: Final = 4
"""Deliveries at once: one more is refused."""
MOST_ENTRIES: Final = 6
"""In memory, for an index file that does not answer."""

ATTRIBUTES: Final = [(name, attribute) for name, kind in CATALOGUE.items() for attribute in kind.values]


@dataclass(slots=True, eq=False)
class Request:
    """One delivery on its way through the daemon."""

    target: str
    received_us: int
    received: float
    """The same by the monotonic clock."""
    reaches: bool
    """Whether the answer reaches Aurora in time."""
    event: Event | None = None
    decision: Decision | None = None
    usable: bool = False
    """Whether the index answered when that was decided."""
    complete: bool = False
    """Whether all was known then."""
    number: int | None = None
    """The record it sent, if it did."""
    answer: Answer | None = None

    @property
    def action(self) -> Action | None:
        """What was decided, None so far."""
        return None if self.decision is None else self.decision.action

    @property
    def publishes(self) -> bool:
        """Whether it brings its event on its way."""
        return self.action in {Action.NEW, Action.REPEAT, Action.RETRY}

    @property
    def entry(self) -> Entry:
        """The event that it made or refers to."""
        assert self.decision is not None
        return self.decision.entry

    @property
    def id(self) -> str:
        """The id it was given."""
        assert self.event is not None
        return event_id(self.event.fingerprint, self.event.recurrence, self.entry.time_ms, self.entry.id_ms)

    @property
    def key(self) -> Key:
        """Its event."""
        return self.entry.fingerprint, self.entry.time_ms, self.entry.id_ms

    @property
    def told(self) -> bool:
        """Whether Aurora knows that the event was stored."""
        return self.answer is not None and self.answer.status == 200 and self.reaches


_REQUEST: ContextVar[Request] = ContextVar("request")


class _Deduplicator(Deduplicator):
    """The real one; the model hears each decision and each refusal."""

    decided: dict[int, tuple[Event, bool, bool]]
    """How it was when a decision was made, which its delivery hears of some turns later."""
    waiting: dict[int, Request]
    """By their event: those that wait for a decision, or are given up by now."""
    on_decision: Callable[[Request], None]
    on_refusal: Callable[[Entry, Refusal], None]
    on_loss: Callable[[], None]
    """The file was opened, or memory given up."""

    @property
    def writable(self) -> bool:
        """Whether its file takes something."""
        return self.usable and not self.file.full

    def watch_memory(self) -> None:
        """Hear when memory is given up."""
        give_up = self.memory.give_up

        def given_up() -> None:
            give_up()
            self.on_loss()

        self.memory.give_up = given_up  # type: ignore[method-assign]

    def claim(self, event: Event, received_us: int) -> Decision | None:
        request = _REQUEST.get()
        request.event = event
        decision = super().claim(event, received_us)
        if decision is not None:
            self._tell(request, decision)
        return decision

    async def wait(self, event: Event, received_us: int) -> Decision:
        request = _REQUEST.get()
        self.waiting[id(event)] = request
        decision = await super().wait(event, received_us)
        self._tell(self.waiting.pop(id(event)), decision)
        return decision

    def _undo(self, decision: Decision) -> None:
        event, *_ = self.decided[id(decision)]
        self._tell(self.waiting.pop(id(event)), decision)
        super()._undo(decision)

    def _decide(self, event: Event, now_ms: int, answer: index.Answer | None) -> Decision | None:
        decision = super()._decide(event, now_ms, answer)
        if decision is not None:
            self.decided[id(decision)] = event, self.usable, self.log.complete(now_ms)
        return decision

    def _tell(self, request: Request, decision: Decision) -> None:
        request.decision = decision
        _, request.usable, request.complete = self.decided.pop(id(decision))
        self.on_decision(request)

    def refused(self, entry: Entry, refusal: Refusal) -> None:
        super().refused(entry, refusal)
        self.on_refusal(entry, refusal)

    @property
    def worker(self) -> SteppedWorker:
        worker = self.file._worker  # noqa: SLF001 - in place of its thread
        assert isinstance(worker, SteppedWorker)
        return worker

    @property
    def usable(self) -> bool:
        """Whether its file answers."""
        return self.file.usable

    def knows(self, key: Key) -> Entry | None:
        """Return what memory holds of an event."""
        entry = self.memory.entries.get(key[0])
        return entry if entry is not None and (entry.fingerprint, entry.time_ms, entry.id_ms) == key else None

    def is_posted(self, entry: Entry) -> bool:
        """Whether the file is about to learn how an event stands, or has, without waiting for its slice's turn."""
        return not entry.changed or entry.fingerprint in self._write_behind._urgent  # noqa: SLF001 - no part of it asks that

    def is_last(self, entry: Entry) -> bool:
        """Whether memory has no later event of its fingerprint, of which alone the file would learn."""
        return self.memory.entries.get(entry.fingerprint) in {entry, None}

    def may_have_forgotten(self, time_ms: int) -> bool:
        """Whether events of a time may have left a full file."""
        return time_ms <= self.file.forgotten_ms

    def _opened(self, found: index.Found) -> None:
        super()._opened(found)
        self.on_loss()

    @property
    def unwritten(self) -> bool:
        """Whether the file lacks something that memory holds."""
        changed = (*self.memory._changed.values(), *self.memory._changed_families.values())  # noqa: SLF001 - as above
        return any(changed) or self.worker.busy

    def check_calm(self) -> None:
        """Check that nothing is under way, and that the file has all."""
        assert not self._lookups.busy
        left = self.memory.entries, self.memory.latest
        assert left == ({}, {}), f"what never leaves memory: {left}"


class _Publisher(Publisher):
    """The real one; each record gets a number."""

    on_record: Callable[[], int]

    async def publish(self, record: OutboxRecord) -> Outcome:
        request = _REQUEST.get()
        request.number = self.on_record()
        record.headers.append((NUMBER, b"%d" % request.number))
        return await super().publish(record)


class _Spool(Spool):
    """The real one."""

    @property
    def worker(self) -> SteppedWorker:
        assert isinstance(self._worker, SteppedWorker)
        return self._worker


@contextmanager
def doubled(clock: Clock) -> Iterator[None]:
    """Let the daemon's modules work in the model's time, without threads and without Kafka."""
    with ExitStack() as stack:
        stack.enter_context(clock.everywhere())
        for name, double in (
            ("dedup.index_file.Worker", SteppedWorker),
            ("outbox.spool.Worker", SteppedWorker),
            ("dedup.write_behind._MOST_ENTRIES", MOST_ENTRIES),
            ("kafka.follower.leaders", Reading.leaders),
            ("kafka.partitions.offsets", Reading.offsets),
            ("kafka.follower.fetch", Reading.fetch),
            ("bridge._SWEEP_SECONDS", SWEEP_SECONDS),
        ):
            stack.enter_context(patch(f"aurora_bridge.{name}", double))
        yield


class Observer(Protocol):
    """Who is told what a daemon does."""

    def decided(self, instance: "Instance", request: Request) -> None:
        """Hear of a decision."""

    def answered(self, instance: "Instance", request: Request) -> None:
        """Hear of an answer."""

    def lost(self, instance: "Instance") -> None:
        """Hear that the file was opened, or memory given up: something may have been lost."""

    def number(self) -> int:
        """Return a number for a record."""


class Instance:
    """A daemon's core. Made and used within `doubled`."""

    def __init__(  # noqa: PLR0913 - what a life depends on
        self,
        directory: Path,
        kafka: Kafka,
        clock: Clock,
        *,
        name: str,
        spooled: bool,
        window_us: int,
        observer: "Observer",
    ) -> None:
        """Start on what the directory holds, and tell `observer` of it."""
        self.directory = directory
        self.name = name
        self.requests: list[Request] = []
        """Deliveries that are not answered yet."""
        self.refused_at: dict[Entry, float] = {}
        """When an event was refused (monotonic)."""
        self.refused: set[int] = set()
        """Records that were refused for good."""
        self.wire = Wire(kafka, TOPICS, clock)
        self.reading = Reading(kafka, TOPICS, self.wire)
        self.clock = clock
        self._loop = Loop(clock)
        self._alive = True
        self._tasks: list[asyncio.Task[None]] = []
        self._loop.run_until_complete(self._build(spooled=spooled, window_us=window_us))
        self._observer = observer
        self.dedup.decided, self.dedup.waiting = {}, {}
        self.dedup.on_decision = self._note_decision
        self.dedup.on_refusal = self._note_refusal
        self.dedup.on_loss = partial(observer.lost, self)
        self.dedup.watch_memory()
        self._publisher.on_record = observer.number
        self.turn()

    async def _build(self, *, spooled: bool, window_us: int) -> None:
        """Make the parts, as `daemon` does."""
        metrics = Metrics(
            events=EVENTS,
            attributes=ATTRIBUTES,
            intervals=[interval.value for interval in Interval],
            publish_errors=ERROR_REASONS,
            kafka_problems=tuple(REASONS),
        )
        self.spool = _Spool(self.directory, MEBIBYTE) if spooled else None
        self._publisher = _Publisher(DEADLINES, TOPICS, self.wire.heard_by, self.spool, metrics)  # type: ignore[arg-type]
        self.dedup = _Deduplicator(
            self.directory,
            IndexSettings(),
            PATIENCE,
            metrics,
            instance=self.name,
            spool=self.spool,
            kafka=True,
            has_backlog=self._publisher.has_backlog,
        )
        follower = Follower(
            lambda: self.reading,  # type: ignore[arg-type, return-value]
            "",
            TOPICS,
            self.dedup.log,
            stored=self.wire.take_stored,
            window_days=IndexSettings().window_days,
            problems=Problems(metrics),
            metrics=metrics,
        )
        route = Route("default", "default", Anonymous(), Rules(SecretNames(()), window_us))
        self._bridge = Bridge(
            Settings(ingress=IngressSettings(max_in_flight=MOST_IN_FLIGHT)),
            Routes("/", route),
            self.dedup,
            self._publisher,
            instance=self.name,
            metrics=metrics,
        )
        work = [self._bridge.watch(), self.dedup.run(), follower.run()]
        if self.spool is not None:
            self.spool.start()
            drainer = Drainer(self._publisher, self.wire, self.spool)  # type: ignore[arg-type]
            work += [drainer.run(), self.spool.maintain(None)]
        self.dedup.start()
        self._tasks += [self._loop.create_task(one) for one in work]

    @property
    def workers(self) -> list[SteppedWorker]:
        """The threads of index and spool."""
        return [self.dedup.worker, *([self.spool.worker] if self.spool else ())]

    # What the model does.

    def deliver(self, request: Request) -> None:
        """Receive a delivery at the next turn."""
        self.requests.append(request)
        self._tasks.append(self._loop.create_task(self._handle(request)))

    def tell(self, worker: SteppedWorker) -> None:
        """Let the answers of a thread arrive on the loop."""
        self.do(worker.answer)

    def do(self, step: Callable[[], object]) -> None:
        """Do something on the loop."""
        self._loop.call_soon(step)
        self.turn()

    def run(self, seconds: float, *, index: bool = True, spool: bool = True, kafka: bool = True) -> None:
        """Let time pass in which only these answer, and at once."""
        until = self.clock.monotonic() + seconds
        workers = [*([self.dedup.worker] if index else ()), *([self.spool.worker] if spool and self.spool else ())]
        while True:
            while self._answer(workers, kafka=kafka):
                """Until nothing is left to do now."""
            left = until - self.clock.monotonic()
            if left <= 0:
                break
            self._loop.advance(left)
        self._check_tasks()

    def _answer(self, workers: Iterable[SteppedWorker], *, kafka: bool) -> bool:
        """Let files and Kafka do what there is to do; return whether there was anything."""
        busy = [worker for worker in workers if worker.busy]
        for worker in busy:
            worker.work()
            self.tell(worker)
        loaded = [topic for topic, queue in self.wire.queues.items() if queue] if kafka and self.wire.up else []
        for topic in loaded:
            self.do(partial(self.wire.acknowledge, topic))
        return bool(busy or loaded)

    def turn(self) -> None:
        """Turn the loop until nothing moves by itself any more."""
        self._loop.turn()
        self._check_tasks()

    def _check_tasks(self) -> None:
        done = [task for task in self._tasks if task.done()]
        for task in done:
            self._tasks.remove(task)
            task.result()

    def stop(self) -> None:
        """End in order, as on SIGTERM."""
        self._loop.run_until_complete(_cancel_all())
        self._loop.run_until_complete(self.dedup.stop(PATIENCE))
        if self.spool is not None:
            self._loop.run_until_complete(self.spool.stop(PATIENCE))
        self._loop.close()

    def die(self) -> None:
        """End at once: only what was committed is left."""
        self._alive = False
        for worker in self.workers:
            worker.close()
        if self.spool is not None:
            self.workers[-1].close_unopened()
        self._loop.run_until_complete(_cancel_all())
        self._loop.close()

    async def _handle(self, request: Request) -> None:
        """Do what the ingress does."""
        _REQUEST.set(request)
        delivery = Delivery("GET", request.target.encode(), (), request.received_us, request.received)
        answer = await self._bridge.accept(delivery)
        if not self._alive:
            return
        self._bridge.answered(delivery, answer, in_time=request.reaches)
        request.answer = answer
        self.requests.remove(request)
        self._observer.answered(self, request)

    def _note_decision(self, request: Request) -> None:
        if self._alive:
            self._observer.decided(self, request)

    def _note_refusal(self, entry: Entry, refusal: Refusal) -> None:
        if not self._alive:
            return
        self.refused_at[entry] = self.clock.monotonic()
        request = _REQUEST.get(None)
        if request is not None and request.number is not None and not refusal.doubtful:
            self.refused.add(request.number)

    def has_written(self, request: Request) -> bool:
        """Whether the file that the daemon has open holds a delivery's event, or a later one of its fingerprint."""
        fingerprint, *event = request.key
        row = index.find(cast("Connection", self.dedup.worker.connection), [fingerprint], []).rows.get(fingerprint)
        return row is not None and [row.time_ms, row.id_ms] >= event


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
