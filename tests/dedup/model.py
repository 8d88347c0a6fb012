"""The deduplicator as it should be: two dictionaries that nothing leaves, and the rules."""

from aurora_bridge.dedup.lifecycle import TRANSITIONS, Happening, State
from aurora_bridge.dedup.memory import Entry
from aurora_bridge.dedup.recurrence import RETRIES, Action, decide, new_id_ms
from aurora_bridge.webhook.event import Event
from tests.dedup.events import entry_of


class Model:
    """What became of the last event of each fingerprint, and the latest state of each family."""

    def __init__(self) -> None:
        self.events: dict[str, Entry] = {}
        self.latest: dict[str, Entry] = {}

    def claim(self, event: Event, at: int) -> tuple[Action, Entry]:
        """Judge a delivery by all that ever came."""
        known = self.events.get(event.fingerprint)
        if known is None:
            return self._publish(Action.NEW, event, at, new_id_ms(event.recurrence, at, complete=True), repeat=False)
        action, interval = decide(
            event.recurrence,
            known,
            at,
            event.repeat_window_us // 1000,
            is_latest=self.latest.get(event.family_key or "") is known,
            complete=True,
        )
        if action is Action.REPEAT:
            accepted = known.state in (State.SEEN, State.RETRY_EXPECTED) or known.repeat
            return self._publish(action, event, at, max(at, known.id_ms + 1, known.time_ms), repeat=accepted)
        retried = interval in RETRIES
        if action is Action.RETRY or (retried and known.state is State.RETRY_EXPECTED):
            known.attempt += 1
            known.attempt_ms = at if retried else known.attempt_ms
            known.retry_left = not retried
            self.happened(known, Happening.PUBLISHED if action is Action.RETRY else Happening.RETRIED)
        return action, known

    def _publish(self, action: Action, event: Event, at: int, id_ms: int, *, repeat: bool) -> tuple[Action, Entry]:
        entry = self.events[event.fingerprint] = entry_of(event, at, id_ms)
        entry.repeat = repeat
        if event.family_key is not None:
            self.latest[event.family_key] = entry
        return action, entry

    def stored(self, entry: Entry) -> None:
        """Let an event be durable; beside a copy of it, the attempt that was refused is still tried again."""
        self.happened(entry, Happening.STORED)
        if entry.retry_left:
            self.happened(entry, Happening.UNHEARD)

    @staticmethod
    def happened(entry: Entry, happening: Happening) -> None:
        """Let something happen to an event."""
        entry.state = TRANSITIONS[entry.state, happening]

    def unheard(self, entry: Entry, at: int) -> None:
        """Let the answer to a delivery not be heard."""
        if entry.state is State.SEEN:
            entry.attempt_ms = at
            self.happened(entry, Happening.UNHEARD)
