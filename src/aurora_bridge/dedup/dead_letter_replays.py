"""Deduplicates replayed dead letters: events that came earlier and are only published now.

A replay is decided as of its receipt, and enters the index like any log record: events that came since are later, and
remain the last of their fingerprint and the latest of their family.
"""

from typing import Any, NamedTuple

from aurora_bridge.dedup import index
from aurora_bridge.dedup.lifecycle import IN_FLIGHT, RETRY_EXPECTED, SEEN
from aurora_bridge.dedup.log_reader import LogReader
from aurora_bridge.dedup.log_record import LogRecord, has_same_id
from aurora_bridge.dedup.lookups import Lookups
from aurora_bridge.dedup.memory import Entry, Memory
from aurora_bridge.dedup.recurrence import RETRIES, Action, decide, event_id, interval_of
from aurora_bridge.webhook.catalogue import Recurrence
from aurora_bridge.webhook.event import Event


class Claim(NamedTuple):
    """What to do with a replayed event."""

    id: str
    entry: Entry | None
    """What to publish; None if it is a duplicate of the event with this id."""


class Replays:
    """Decides about replayed events."""

    def __init__(self, memory: Memory, lookups: Lookups[Any], log: LogReader, *, instance: str) -> None:
        """Look events up in `memory` and the file, and enter them through `log`, as published by `instance`."""
        self._memory = memory
        self._lookups = lookups
        self._log = log
        self._instance = instance

    async def claim(self, event: Event, time_ms: int, *, retried: bool) -> Claim:
        """Return what to do with an event received at `time_ms`; `retried`: whether Aurora retried it after a refusal.

        The id only depends on event and time, so that a second replay, after a crash, has the same id.
        """
        recurrence = event.recurrence
        known, is_latest = await self._look_up(event)
        id_ms = 0 if recurrence is Recurrence.ONCE else time_ms
        accepted = known is not None and known.state in {SEEN, RETRY_EXPECTED}
        if known is not None and accepted:
            action, _ = decide(
                recurrence,
                known,
                time_ms,
                event.repeat_window_us // 1000,
                is_latest=is_latest,
                complete=self._log.complete(time_ms),
            )
            attempt = recurrence is Recurrence.STATE and interval_of(abs(time_ms - known.time_ms)) in RETRIES
            if action is Action.DUPLICATE or known.id_ms == id_ms or (retried and attempt):
                return Claim(event_id(event.fingerprint, recurrence, known.time_ms, known.id_ms), None)
        entry = Entry(event.fingerprint, event.family_key, IN_FLIGHT, time_ms, id_ms, time_ms, repeat=accepted)
        return Claim(event_id(event.fingerprint, recurrence, time_ms, id_ms), entry)

    async def _look_up(self, event: Event) -> tuple[Entry | index.Row | None, bool]:
        """Return the last event of the fingerprint, and whether it is the latest state of its family."""
        fingerprint, family_key = event.fingerprint, event.family_key or ""
        answer = await self._lookups.ask([event]) or index.Answer({}, {})
        known = self._memory.entries.get(fingerprint) or answer.rows.get(fingerprint)
        latest = self._memory.latest.get(family_key) or answer.latest.get(family_key)
        if known is None or latest is None:
            return known, False
        return known, latest.fingerprint == fingerprint and has_same_id(latest, known)

    async def stored(self, entry: Entry) -> None:
        """Note that an event is durable."""
        time_ms = entry.time_ms
        record = LogRecord(
            entry.fingerprint,
            time_ms,
            entry.id_ms,
            not entry.id_ms,
            entry.attempt,
            entry.attempt_ms,
            entry.family_key,
            self._instance,
        )
        await self._log.learn(self._log.current, "", [record])
