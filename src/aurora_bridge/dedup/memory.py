"""What the index file does not hold yet: events in flight or changed since the last write, and the latest states.

A write-behind cache without I/O. `deduplicator` enters what is delivered, `log_reader` what the log tells, and
`write_behind` takes what changed, a slice of the fingerprints at a time. What has been written and is of no concern to
anybody leaves.
"""

from asyncio import Future
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from aurora_bridge.dedup.lifecycle import TRANSITIONS, Happening, State
from aurora_bridge.dedup.log_record import LogRecord, reconcile
from aurora_bridge.refusal import Refusal

SLICES = "0123456789abcdef"
"""First digits of fingerprints and family keys: what is written together shares pages of the file."""
_IN_FLIGHT = State.IN_FLIGHT  # in Python 3.11 each look-up of a member of an enumeration is a call


class Entry:
    """The last event of a fingerprint, as `recurrence.Known` has it, and who waits for it: about 500 bytes."""

    __slots__ = (
        "attempt",
        "attempt_ms",
        "changed",
        "family_key",
        "fingerprint",
        "id_ms",
        "refcount",
        "repeat",
        "state",
        "time_ms",
        "waiters",
        "writes",
    )

    def __init__(  # noqa: PLR0913 - a row of the file
        self,
        fingerprint: str,
        family_key: str | None,
        state: State,
        time_ms: int,
        id_ms: int,
        attempt_ms: int,
        attempt: int = 1,
        repeat: bool = False,  # noqa: FBT001, FBT002 - one is made for every webhook
    ) -> None:
        self.fingerprint = fingerprint
        self.family_key = family_key
        self.state = state
        self.time_ms = time_ms
        self.id_ms = id_ms
        self.attempt_ms = attempt_ms
        self.attempt = attempt
        """Estimated number of the last attempt, from 1."""
        self.repeat = repeat
        self.refcount = 0
        """Deliveries that are not answered yet and refer to it."""
        self.changed = False
        """Whether it changed since it was last taken to be written."""
        self.writes = 0
        """Writes of it that the file has not confirmed."""
        self.waiters: list[Future[Refusal | None]] | None = None
        """Deliveries of the same event that came while it was in flight; they are told what its own was told."""

    def row(self) -> tuple[str, int, int, int, int, int, int]:
        """Return its row in the file."""
        return (
            self.fingerprint,
            int(self.state),
            self.time_ms,
            self.id_ms,
            self.attempt_ms,
            self.attempt,
            int(self.repeat),
        )


class Latest(NamedTuple):
    """The latest state of a family's subject."""

    fingerprint: str
    time_ms: int


class Batch(NamedTuple):
    """What is being written together."""

    number: int
    """Of its job: what the file is asked after that sees it."""
    entries: list[Entry]
    families: list[str]


class Memory:
    """Events by fingerprint, and latest states by family key."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.latest: dict[str, Latest] = {}
        self._changed: dict[str, dict[str, Entry]] = {name: {} for name in SLICES}
        self._families: dict[str, set[str]] = {name: set() for name in SLICES}
        self._written: deque[Batch] = deque()
        self.late: list[tuple[str, int, int]] = []
        """Events that became durable late, after they had left: fingerprint, time and millisecond of the id."""

    @property
    def changed(self) -> int:
        """How many events the file does not know as they stand."""
        return sum(map(len, self._changed.values()))

    # Deliveries.

    def enter(self, entry: Entry) -> None:
        """Take a new event as the last of its fingerprint; a state is the latest of its family from now on."""
        self.entries[entry.fingerprint] = entry
        if entry.family_key is not None:
            self.latest[entry.family_key] = Latest(entry.fingerprint, entry.time_ms)

    def apply(self, entry: Entry, happening: Happening) -> None:
        """Let something happen to an event."""
        before = entry.state
        entry.state = TRANSITIONS[before, happening]
        if entry.state is not before and self.entries.get(entry.fingerprint) is entry:
            self.change(entry)

    def stored_late(self, entry: Entry) -> None:
        """Note that an event became durable after its delivery was refused, here or where it has gone meanwhile."""
        newest = self.entries.get(entry.fingerprint)
        if newest is None:
            self.late.append((entry.fingerprint, entry.time_ms, entry.id_ms))
        elif (newest.time_ms, newest.id_ms) == (entry.time_ms, entry.id_ms):
            self.apply(newest, Happening.STORED_LATE)

    def change(self, entry: Entry) -> None:
        """Note that the file has to learn how an event, and its family, stand."""
        entry.changed = True
        fingerprint, family_key = entry.fingerprint, entry.family_key
        self._changed[fingerprint[0]][fingerprint] = entry
        if family_key is not None:
            self._families[family_key[0]].add(family_key)

    # What the log tells.

    def learn(self, record: LogRecord, happening: Happening) -> bool:
        """Take over what a record tells; return whether its event is here, and the file need not be asked."""
        family_key, latest = record.family_key, None
        if family_key is not None:
            latest = self.latest.get(family_key)
            if latest is not None and record.time_ms >= latest.time_ms and record.fingerprint != latest.fingerprint:
                self.latest[family_key] = Latest(record.fingerprint, record.time_ms)
                self._families[family_key[0]].add(family_key)
        entry = self.entries.get(record.fingerprint)
        if entry is None:
            return False
        state = reconcile(record, entry, happening)
        if state is None:
            return True
        if record.is_event_of(entry.time_ms, entry.id_ms):
            entry.state = state
        else:
            _, time_ms, id_ms, _, repeat, attempt, attempt_ms, *_ = record
            entry = Entry(record.fingerprint, family_key, state, time_ms, id_ms, attempt_ms, attempt, repeat)
            self.entries[record.fingerprint] = entry
        self.change(entry)
        return True

    # Write-behind.

    def take(self, name: str) -> tuple[list[Entry], list[tuple[str, str, int]]]:
        """Return what changed in a slice, to be written now: events, and rows of latest states."""
        changed, self._changed[name] = self._changed[name], {}
        families, self._families[name] = self._families[name], set()
        entries = []
        for entry in changed.values():
            entry.changed = False
            if entry.state is not _IN_FLIGHT:
                entry.writes += 1
                entries.append(entry)
        return entries, self._rows(families)

    def take_one(self, entry: Entry) -> tuple[list[Entry], list[tuple[str, str, int]]]:
        """Return one event, likewise."""
        fingerprint, family_key = entry.fingerprint, entry.family_key
        if self._changed[fingerprint[0]].pop(fingerprint, None) is None:
            return [], []
        entry.changed, entry.writes = False, entry.writes + 1
        families: tuple[str, ...] = ()
        if family_key is not None:
            self._families[family_key[0]].discard(family_key)
            families = (family_key,)
        return [entry], self._rows(families)

    def _rows(self, families: Iterable[str]) -> list[tuple[str, str, int]]:
        latest = self.latest
        return [(key, *latest[key]) for key in families if key in latest]

    def written(self, batch: Batch) -> None:
        """Note that the file has a batch."""
        for entry in batch.entries:
            entry.writes -= 1
        self._written.append(batch)

    def not_written(self, batch: Batch) -> None:
        """Note that a batch has to be written again."""
        for entry in batch.entries:
            entry.writes -= 1
            if self.entries.get(entry.fingerprint) is entry:
                self.change(entry)
        for family_key in batch.families:
            if family_key in self.latest:
                self._families[family_key[0]].add(family_key)

    def release(self, entry: Entry, number: int) -> None:
        """Let an event leave, with what is written by job `number`, that no delivery refers to any more."""
        self._written.append(Batch(number, [entry], []))

    def forget(self, before: float) -> None:
        """Let leave what was written by a job before number `before`: whoever asks the file later sees it."""
        written = self._written
        while written and written[0].number < before:
            _, entries, families = written.popleft()
            for entry in entries:
                if entry.changed or entry.writes or entry.refcount or entry.state is _IN_FLIGHT:
                    continue
                if self.entries.get(entry.fingerprint) is entry:
                    del self.entries[entry.fingerprint]
                if entry.family_key is not None:
                    self._forget_family(entry.family_key)
            for family_key in families:
                self._forget_family(family_key)

    def _forget_family(self, family_key: str) -> None:
        latest = self.latest.get(family_key)
        changed = family_key in self._families[family_key[0]]
        if latest is not None and not changed and latest.fingerprint not in self.entries:
            del self.latest[family_key]

    def give_up(self) -> None:
        """Forget all but what is in flight or not answered: the log has it."""
        self._written.clear()
        for name in SLICES:
            self._changed[name].clear()
            self._families[name].clear()
        kept = [entry for entry in self.entries.values() if entry.refcount]
        for entry in kept:
            if entry.changed:
                self.change(entry)
        self.entries = {entry.fingerprint: entry for entry in kept}
        families = {entry.family_key for entry in kept}
        self.latest = {key: latest for key, latest in self.latest.items() if key in families}
