"""What the index file does not have yet: events in flight or changed, and the latest states.

A write-behind cache, without I/O: `deduplicator` enters deliveries, `log_reader` enters log records, and `write_behind`
takes the changes. An entry that is neither changed nor in use is dropped once the file has it.
"""

from asyncio import Future
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from aurora_bridge.dedup.lifecycle import IN_FLIGHT, RETRY_PENDING, TRANSITIONS, Happening, State
from aurora_bridge.dedup.log_record import Latest, LogRecord, reconcile
from aurora_bridge.outcomes import Refusal

SLICES = "0123456789abcdef"
"""First digits of keys. Rows of one slice are written together, because they share pages of the file."""


@dataclass(slots=True, eq=False)
class Entry:
    """The last event of a fingerprint, and the deliveries that wait for it. Takes about 500 bytes."""

    fingerprint: str
    family_key: str | None
    state: State
    time_ms: int
    """Receipt of its first attempt, milliseconds since the epoch: the event's `time`."""
    id_ms: int
    """The millisecond in its id, 0 if the id has none."""
    attempt_ms: int
    """Receipt of its last attempt."""
    attempt: int = 1
    """Estimated number of the last attempt, from 1."""
    repeat: bool = False
    """Whether another event of its fingerprint had been accepted before."""
    event: str = ""
    """Its name, under which refused deliveries are counted."""
    listed: bool = False
    """Whether the file may list it as refused."""
    retry_left: bool = field(default=False, init=False)
    """Whether an earlier attempt was refused and its scheduled retry is still due: the one in flight is not it."""
    refcount: int = field(default=0, init=False)
    """Number of unanswered deliveries that refer to it."""
    waiters: "list[Future[Refusal | None]] | None" = field(default=None, init=False)
    """Deliveries of the same event that came while it was in flight. They get the same result."""
    changed: bool = field(default=False, init=False)
    """Whether it changed since it was last taken for writing."""
    writes: int = field(default=0, init=False)
    """Number of its writes that the file has not confirmed."""

    @property
    def in_use(self) -> bool:
        """Whether it is in flight, or a delivery refers to it."""
        return self.refcount > 0 or self.state is IN_FLIGHT

    @property
    def stays(self) -> bool:
        """Whether it is in use, or the file does not have its current state."""
        return self.changed or self.writes > 0 or self.refcount > 0 or self.state is IN_FLIGHT


class Batch(NamedTuple):
    """Changes that are written together."""

    entries: list[Entry]
    latest: list[Latest]


class Memory:
    """Events by fingerprint, and latest states by family key."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.latest: dict[str, Entry | Latest] = {}
        self._changed: dict[str, dict[str, Entry]] = {name: {} for name in SLICES}
        self._changed_families: dict[str, dict[str, None]] = {name: {} for name in SLICES}
        self._leaving: list[Entry] = []
        self._families_leaving: list[str] = []

    def enter(self, entry: Entry) -> None:
        """Enter a new event: the last of its fingerprint and, if it is a state, the latest of its family."""
        self.entries[entry.fingerprint] = entry
        if entry.family_key is not None:
            self.latest[entry.family_key] = entry

    def apply(self, entry: Entry, happening: Happening) -> None:
        """Apply a transition to an event."""
        before = entry.state
        entry.state = after = TRANSITIONS[before, happening]
        if after is RETRY_PENDING:
            entry.listed = True
        if after is not before and after is not IN_FLIGHT and self.entries.get(entry.fingerprint) is entry:
            self.change(entry)

    def change(self, entry: Entry) -> None:
        """Note that an event, and its family's latest state, must be written to the file."""
        fingerprint, family_key = entry.fingerprint, entry.family_key
        entry.changed = True
        self._changed[fingerprint[0]][fingerprint] = entry
        if family_key in self.latest:
            self._change_family(family_key)

    def _change_family(self, family_key: str) -> None:
        self._changed_families[family_key[0]][family_key] = None

    def apply_to(self, event: Entry | LogRecord, happening: Happening) -> bool:
        """Apply a transition to an event if it is the last of its fingerprint; return whether memory has that one."""
        last = self.entries.get(event.fingerprint)
        if last is not None and (last.time_ms, last.id_ms) == (event.time_ms, event.id_ms):
            self.apply(last, happening)
        return last is not None

    def learn(self, record: LogRecord, happening: Happening) -> bool:
        """Enter the event of a log record; return False if its fingerprint is not here, but perhaps in the file."""
        key = record.family_key
        latest = None if key is None else self.latest.get(key)
        if key is not None and latest is not None and record.time_ms >= latest.time_ms:
            self.latest[key] = Latest(key, record.fingerprint, record.time_ms, record.id_ms)
            self._change_family(key)
        entry = self.entries.get(record.fingerprint)
        if entry is None:
            return False
        state = reconcile(record, entry, entry.state, happening)
        if state is None:
            return True
        if record.is_event_of(entry):
            entry.state = state
        else:
            event, listed = entry.event, entry.listed
            times = record.times
            entry = Entry(entry.fingerprint, record.family_key, state, *times, event=event, listed=listed)
            self.entries[entry.fingerprint] = entry
        self.change(entry)
        return True

    # Writing.

    def take(self, names: Iterable[str]) -> Batch:
        """Take the changes in these slices, to be written now."""
        entries: list[Entry] = []
        families: list[str] = []
        for name in names:
            entries += self._changed[name].values()
            families += self._changed_families[name]
            self._changed[name], self._changed_families[name] = {}, {}
        return self._taken(entries, families)

    def take_some(self, fingerprints: Iterable[str]) -> Batch:
        """Take the changes of these fingerprints and their families, to be written now."""
        popped = [self._changed[fingerprint[0]].pop(fingerprint, None) for fingerprint in fingerprints]
        entries = [entry for entry in popped if entry is not None]
        return self._taken(entries, [entry.family_key for entry in entries if entry.family_key is not None])

    def _taken(self, entries: list[Entry], families: list[str]) -> Batch:
        for entry in entries:
            entry.changed = False
            entry.writes += 1
        latest = [(key, self.latest[key]) for key in families if key in self.latest]
        return Batch(entries, [Latest(key, each.fingerprint, each.time_ms, each.id_ms) for key, each in latest])

    def written(self, batch: Batch) -> None:
        """Note that a batch was written."""
        for entry in batch.entries:
            entry.writes -= 1
        self._leaving += batch.entries
        self._families_leaving += [latest.family_key for latest in batch.latest]

    def not_written(self, batch: Batch) -> None:
        """Note that writing a batch failed: what was not replaced or given up meanwhile is written again."""
        for entry in batch.entries:
            entry.writes -= 1
            if self.entries.get(entry.fingerprint) is entry:
                self.change(entry)
        for latest in batch.latest:
            self.latest.setdefault(latest.family_key, latest)
            self._change_family(latest.family_key)

    def release(self, entry: Entry) -> None:
        """Note that no delivery refers to an event any more: `forget` may drop it."""
        self._leaving.append(entry)

    def forget(self) -> None:
        """Drop entries that the file holds and nobody uses.

        This is safe: the file answers in order, so a look-up queued before a write is decided before that write
        completes.
        """
        entries, leaving, self._leaving = self.entries, self._leaving, []
        families, self._families_leaving = self._families_leaving, []
        for entry in leaving:
            if not entry.stays and entries.get(entry.fingerprint) is entry:
                del entries[entry.fingerprint]
                if entry.family_key is not None:
                    families.append(entry.family_key)
        for key in families:
            latest = self.latest.get(key)
            if latest is not None and latest.fingerprint not in entries and key not in self._changed_families[key[0]]:
                del self.latest[key]

    def change_all(self) -> None:
        """Note that everything here must be written to the file."""
        for entry in self.entries.values():
            self.change(entry)
        for key in self.latest:
            self._change_family(key)

    def give_up(self) -> None:
        """Forget everything except what is in flight or not answered: the log has the rest."""
        self.entries = {key: entry for key, entry in self.entries.items() if entry.in_use}
        self.latest = {key: latest for key, latest in self.latest.items() if latest.fingerprint in self.entries}
        self._changed = {name: {} for name in SLICES}
        self._changed_families = {name: {} for name in SLICES}
        self._leaving, self._families_leaving = [], []
        for entry in self.entries.values():
            if entry.changed:
                self.change(entry)
