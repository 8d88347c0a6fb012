"""Applies an operator's `[events.NAME]` settings to the catalogue, and reports what is wrong with them.

`routing` passes the result to the rules of its routes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from types import MappingProxyType

from aurora_bridge.settings import EventSettings, Settings
from aurora_bridge.settings.error_messages import both_names
from aurora_bridge.webhook.catalogue import CATALOGUE, UNRECOGNIZED, EventType, Recurrence, todays_name


def overridden(settings: Settings, problems: list[str], warnings: list[str]) -> Mapping[str, EventType]:
    """Return the type of every known event. Appends a line to `problems` or `warnings` for each finding."""
    types = dict(CATALOGUE)
    for name, known in settings.events.items():
        event, where = todays_name(name), f"[events.{name}]"
        types[event] = event_type = _override(types.get(event, EventType(UNRECOGNIZED, family=event)), known)
        if event not in CATALOGUE:
            warnings.append(f"{where}: {unknown(event)}")
        if event_type.recurrence is not Recurrence.SIGNAL and event_type.identifier is None:
            problems.append(
                f"{where}: recurrence = {event_type.recurrence.value!r}, but nothing says which attribute "
                "identifies the thing. Set identifier to its name, or leave recurrence out."
            )
        elif known.recurrence == "state" and event_type.state_attribute is None and event not in CATALOGUE:
            problems.append(
                f"{where}: recurrence = 'state', but nothing says which attribute holds the state. "
                "Set state_attribute to its name, or leave recurrence out."
            )
        problems += _lost(f"{where}: volatile_attributes", event_type.volatile, {event: event_type})
    problems += _lost(both_names("index.volatile_attributes"), settings.index.volatile_attributes, types)
    return MappingProxyType(types)


def unknown(event: str) -> str:
    """Return a message about an event that is not in the catalogue."""
    meant = get_close_matches(event, CATALOGUE, n=1)
    guess = f" Did you mean {meant[0]}?" if meant else ""
    return f"the bridge knows no event {event!r}; its events go to the topic {UNRECOGNIZED}.{guess}"


def _override(event_type: EventType, known: EventSettings) -> EventType:
    subject = event_type.subject
    if known.identifier is not None:  # the identifier is also the subject that the latest state is kept for
        subject = ((known.identifier.removesuffix("_id"), known.identifier), *subject)
    return replace(
        event_type,
        recurrence=Recurrence(known.recurrence) if known.recurrence else event_type.recurrence,
        identifier=known.identifier or event_type.identifier,
        subject=subject,
        state_attribute=known.state_attribute or event_type.state_attribute,
        volatile=frozenset(known.volatile_attributes),
        repeat_window_seconds=known.repeat_window_seconds,
    )


def _lost(setting: str, volatile: Iterable[str], types: Mapping[str, EventType]) -> Iterable[str]:
    """Yield a line for each volatile attribute that tells events apart: without it, the second would be a duplicate."""
    for attribute in sorted(volatile):
        for event, event_type in types.items():
            told_by = {event_type.identifier, event_type.state_attribute}
            if event_type.recurrence is not Recurrence.SIGNAL and attribute in told_by:
                yield (
                    f"{setting}: {attribute} tells one {event} from the next, which would be lost as a "
                    "duplicate. Leave it out; list what is volatile for one event only under [events.NAME]."
                )
                break
