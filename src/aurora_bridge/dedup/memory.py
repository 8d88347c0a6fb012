"""What is known here before the index file knows it: events in flight or changed, and the latest states.

Without I/O. `deduplicator` enters what is delivered, `log_reader` what the log tells,
and `write_behind` takes what changed.
"""

from asyncio import Future
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from aurora_bridge.dedup.cache import Cache, Item
from aurora_bridge.dedup.lifecycle import TRANSITIONS, Happening, State
from aurora_bridge.dedup.log_record import LogRecord, reconcile
from aurora_bridge.refusal import Refusal

_IN_FLIGHT = State.IN_FLIGHT  # in Python 3.11 each look-up of a member of an enumeration is a call


@dataclass(slots=True, eq=False)
class Entry(Item):
    """The last event of a fingerprint, which is its key, and who waits for it: about 500 bytes."""

    family_key: str | None
    state: State
    time_ms: int
    """Receipt of its first attempt, milliseconds since the epoch: the event's `time`."""
    id_ms: int
    """The millisecond in its id, 0 where the id has none."""
    attempt_ms: int
    """Receipt of its last attempt."""
    attempt: int = 1
    """Estimated number of that, from 1."""
    repeat: bool = False
    """Whether another event of its fingerprint had been accepted before."""
    retry_left: bool = field(default=False, init=False)
    """Whether an attempt of it was refused, and what is in flight now is a copy beside that attempt, not its retry."""
    refcount: int = field(default=0, init=False)
    """Deliveries that are not answered yet and refer to it."""
    waiters: "list[Future[Refusal | None]] | None" = field(default=None, init=False)
    """Deliveries of the same event that came while it was in flight; they are told what its own was told."""

    @property
    def in_use(self) -> bool:
        """Whether it is in flight, or a delivery refers to it."""
        return self.refcount > 0 or self.state is _IN_FLIGHT


@dataclass(slots=True, eq=False)
class Latest(Item):
    """The latest state of a family's subject; its key is that of the family."""

    fingerprint: str
    time_ms: int
    id_ms: int


class Batch(NamedTuple):
    """What is written together."""

    number: int
    """Of its job: what the file is asked after that sees it."""
    entries: list[Entry]
    latest: list[Latest]


class Memory:
    """Events by fingerprint, and latest states by family key."""

    def __init__(self) -> None:
        self.entries = Cache[Entry]()
        self.latest = Cache[Latest]()
        self._written: deque[Batch] = deque()

    def enter(self, entry: Entry) -> None:
        """Take a new event as the last of its fingerprint; a state is the latest of its family from now on."""
        self.entries.items[entry.key] = entry
        if entry.family_key is not None:
            self.latest.items[entry.family_key] = Latest(entry.family_key, entry.key, entry.time_ms, entry.id_ms)

    def apply(self, entry: Entry, happening: Happening) -> None:
        """Let something happen to an event."""
        before = entry.state
        entry.state = TRANSITIONS[before, happening]
        if entry.state is not before and entry.state is not _IN_FLIGHT and self.entries.items.get(entry.key) is entry:
            self.change(entry)

    def change(self, entry: Entry) -> None:
        """Note that the file has to learn how an event, and its family, stand."""
        self.entries.change(entry)
        if entry.family_key is not None:
            latest = self.latest.items.get(entry.family_key)
            if latest is not None:
                self.latest.change(latest)

    def stored_late(self, entry: Entry) -> bool:
        """Note that an event became durable after its delivery was refused; return whether anything of it is here."""
        newest = self.entries.items.get(entry.key)
        if newest is not None and (newest.time_ms, newest.id_ms) == (entry.time_ms, entry.id_ms):
            self.apply(newest, Happening.STORED_LATE)
        return newest is not None

    def learn(self, record: LogRecord, happening: Happening) -> bool:
        """Take over what a record of the log tells; return whether its event is here, so that the file need not."""
        latest = None if record.family_key is None else self.latest.items.get(record.family_key)
        if latest is not None and record.time_ms >= latest.time_ms:
            latest.fingerprint, latest.time_ms, latest.id_ms = record.fingerprint, record.time_ms, record.id_ms
            self.latest.change(latest)
        entry = self.entries.items.get(record.fingerprint)
        if entry is None:
            return False
        state = reconcile(record, entry, entry.state, happening)
        if state is None:
            return True
        if record.is_event_of(entry):
            entry.state = state
        else:
            entry = self.entries.items[entry.key] = Entry(entry.key, record.family_key, state, *record.times)
        self.change(entry)
        return True

    def written(self, batch: Batch) -> None:
        """Note that the file has a batch."""
        self.entries.written(batch.entries)
        self.latest.written(batch.latest)
        self._written.append(batch)

    def not_written(self, batch: Batch) -> None:
        """Note that a batch has to be written again."""
        self.entries.not_written(batch.entries)
        self.latest.not_written(batch.latest)

    def release(self, entry: Entry, number: int) -> None:
        """Let an event that no delivery refers to any more leave, with what is written by job `number`."""
        self._written.append(Batch(number, [entry], []))

    def forget(self, before: float) -> None:
        """Let leave what was written by a job before number `before`: whoever asks the file later sees it."""
        written, latest = self._written, self.latest
        while written and written[0].number < before:
            batch = written.popleft()
            self.entries.release(batch.entries)
            latest.release(batch.latest)

    def change_all(self) -> None:
        """Note that the file may have nothing of what is here."""
        for entry in self.entries.items.values():
            self.entries.change(entry)
        for latest in self.latest.items.values():
            self.latest.change(latest)

    def give_up(self) -> None:
        """Forget all but what is in flight or not answered: the log has it."""
        self._written.clear()
        self.entries.keep(lambda entry: entry.in_use)
        self.latest.keep(lambda latest: latest.fingerprint in self.entries.items)
