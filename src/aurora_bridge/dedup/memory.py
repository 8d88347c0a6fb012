"""What is known here before the index file knows it: events in flight or changed, and the latest states.

A write-behind cache without I/O: `deduplicator` enters what is delivered, `log_reader` what the log tells, and
`write_behind` takes what changed. What is neither changed nor in use leaves once the file has it.
"""

from asyncio import Future
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from aurora_bridge.dedup.lifecycle import IN_FLIGHT, RETRY_PENDING, TRANSITIONS, Happening, State
from aurora_bridge.dedup.log_record import Latest, LogRecord, reconcile
from aurora_bridge.refusal import Refusal

SLICES = "0123456789abcdef"
"""First digits of keys: what is written together shares pages of the file."""


@dataclass(slots=True, eq=False)
class Entry:
    """The last event of a fingerprint, and who waits for it: about 500 bytes."""

    fingerprint: str
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
    event: str = ""
    """Its name, by which refused deliveries are counted."""
    listed: bool = False
    """Whether the file may list it as refused."""
    retry_left: bool = field(default=False, init=False)
    """True if an earlier attempt was refused and the one in flight is not its scheduled retry: that is still due."""
    refcount: int = field(default=0, init=False)
    """Deliveries that are not answered yet and refer to it."""
    waiters: "list[Future[Refusal | None]] | None" = field(default=None, init=False)
    """Deliveries of the same event that came while it was in flight; they are told what its own was told."""
    changed: bool = field(default=False, init=False)
    """Whether it changed since it was last taken to be written."""
    writes: int = field(default=0, init=False)
    """Writes of it that the file has not confirmed."""

    @property
    def in_use(self) -> bool:
        """Whether it is in flight, or a delivery refers to it."""
        return self.refcount > 0 or self.state is IN_FLIGHT

    @property
    def stays(self) -> bool:
        """Whether it is needed here, or the file does not hold it as it stands."""
        return self.changed or self.writes > 0 or self.in_use


class Batch(NamedTuple):
    """What is written together."""

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
        """Take a new event as the last of its fingerprint; a state is the latest of its family from now on."""
        self.entries[entry.fingerprint] = entry
        if entry.family_key is not None:
            self.latest[entry.family_key] = entry

    def apply(self, entry: Entry, happening: Happening) -> None:
        """Let something happen to an event."""
        before = entry.state
        entry.state = after = TRANSITIONS[before, happening]
        entry.listed |= after is RETRY_PENDING
        if after is not before and after is not IN_FLIGHT and self.entries.get(entry.fingerprint) is entry:
            self.change(entry)

    def change(self, entry: Entry) -> None:
        """Note that the file has to learn how an event, and its family, stand."""
        fingerprint, family_key = entry.fingerprint, entry.family_key
        entry.changed = True
        self._changed[fingerprint[0]][fingerprint] = entry
        if family_key in self.latest:
            self._change_family(family_key)

    def _change_family(self, family_key: str) -> None:
        self._changed_families[family_key[0]][family_key] = None

    def apply_to(self, event: Entry | LogRecord, happening: Happening) -> bool:
        """Let something happen to an event, if it is the last of its fingerprint; return whether that is here."""
        last = self.entries.get(event.fingerprint)
        if last is not None and (last.time_ms, last.id_ms) == (event.time_ms, event.id_ms):
            self.apply(last, happening)
        return last is not None

    def learn(self, record: LogRecord, happening: Happening) -> bool:
        """Take over what a record of the log tells; return whether its event is here, so that the file need not."""
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
        """Return what changed in slices, and is written now."""
        entries: list[Entry] = []
        families: list[str] = []
        for name in names:
            entries += self._changed[name].values()
            families += self._changed_families[name]
            self._changed[name], self._changed_families[name] = {}, {}
        return self._taken(entries, families)

    def take_some(self, fingerprints: Iterable[str]) -> Batch:
        """Return the last events of fingerprints that are to be written, and are now, with their families."""
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
        """Note that the file has a batch."""
        for entry in batch.entries:
            entry.writes -= 1
        self._leaving += batch.entries
        self._families_leaving += [latest.family_key for latest in batch.latest]

    def not_written(self, batch: Batch) -> None:
        """Note that a batch has to be written again, but for what was replaced or given up."""
        for entry in batch.entries:
            entry.writes -= 1
            if self.entries.get(entry.fingerprint) is entry:
                self.change(entry)
        for latest in batch.latest:
            self.latest.setdefault(latest.family_key, latest)
            self._change_family(latest.family_key)

    def release(self, entry: Entry) -> None:
        """Let an event leave that no delivery refers to any more."""
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
        """Note that the file may have nothing of what is here."""
        for entry in self.entries.values():
            self.change(entry)
        for key in self.latest:
            self._change_family(key)

    def give_up(self) -> None:
        """Forget all but what is in flight or not answered: the log has it."""
        self.entries = {key: entry for key, entry in self.entries.items() if entry.in_use}
        self.latest = {key: latest for key, latest in self.latest.items() if latest.fingerprint in self.entries}
        self._changed = {name: {} for name in SLICES}
        self._changed_families = {name: {} for name in SLICES}
        self._leaving, self._families_leaving = [], []
        for entry in self.entries.values():
            if entry.changed:
                self.change(entry)
