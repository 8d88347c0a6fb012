"""What the names in a query mean for its event, worked out once for each shape of query.

A subscription's template is fixed: its queries differ in their values, and sometimes in which of them are empty. So an
installation has few shapes, and the result is cached by shape. `event` fills in the values.

Only the last 1024 small shapes are kept: anyone who may deliver can make up new ones.
"""

from dataclasses import dataclass
from functools import lru_cache

from aurora_bridge.outcomes import DeadLetterReason, Malformed
from aurora_bridge.webhook.catalogue import Recurrence, recurrence_of, subject_of
from aurora_bridge.webhook.decoding import Frame, canonical_name, meant_name, names_in
from aurora_bridge.webhook.placeholders import is_free_text
from aurora_bridge.webhook.route_rules import Rules
from aurora_bridge.webhook.routes import DISCRIMINATOR

_MOST_BYTES = 1024
_MOST_NAMES = 32
ALL = ()
"""Stands for: no value is empty."""
EMPTY = -1
"""Index of an empty value: `event` appends None to the values, which -1 finds."""
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Shape:
    """What a query means for its event, whatever its values."""

    name: str
    """The topic's name without its prefix."""
    type: str
    """CloudEvents `type`."""
    recurrence: Recurrence
    attributes: tuple[tuple[str, int], ...]
    """Canonical names, sorted, each with the index of its value in the query."""
    twice: tuple[tuple[int, int], ...]
    """Pairs of indexes of values that must be equal, since they have the same name."""
    subject: tuple[str, int] | None
    """Kind of the subject, and the index of its value."""
    family: list[object] | None
    """Family and attribute names, for a state."""
    volatile: frozenset[str]
    """Attributes that are left out of the fingerprint."""
    window_us: int
    """Repeat window in microseconds."""
    codes: tuple[tuple[str, int, frozenset[str]], ...]
    """Name, index and known values of each attribute that has a value and is not free text, see `placeholders`."""
    texts: tuple[tuple[str, int], ...]
    """Name and index of each attribute that has a value and is free text."""
    garbled: tuple[str, ...]
    """Names as they came, if they had to be cleaned up."""


def shape_of(event: str, query: bytes, frame: Frame, filled: tuple[bool, ...], rules: Rules) -> Shape:
    """Return the shape of a query of `event` with this `frame`; `filled` tells which of its values are not empty.

    Secret parameters and the discriminator are not attributes. Raises `Malformed`.
    """
    if len(query) > _MOST_BYTES or query.count(b"&") >= _MOST_NAMES:
        return _work_out(event, frame, filled, rules)
    return _known(event, frame, filled, rules)


def _work_out(event: str, frame: Frame, filled: tuple[bool, ...], rules: Rules) -> Shape:
    places: dict[str, int] = {}
    twice = []
    garbled = []
    for raw_name, place in names_in(frame):
        meant = meant_name(raw_name)
        if meant != raw_name:
            garbled.append(raw_name)
        name = canonical_name(meant)
        if name == DISCRIMINATOR or raw_name in rules.secrets:
            continue
        found = place if place is not None and (filled is ALL or filled[place]) else EMPTY
        known = places.setdefault(name, found)
        if known != found:
            if EMPTY in (known, found):
                raise Malformed(DeadLetterReason.CONFLICTING_VALUES)
            twice.append((known, found))
    event_type = rules.type_of(event)
    if event_type.attributes and not any(name in places for name in event_type.attributes):
        raise Malformed(DeadLetterReason.NO_ATTRIBUTES)
    names = sorted(places)
    volatile = (rules.volatile | event_type.volatile).intersection(names)
    # The catalogue asks only which attributes have a value: any will do.
    sample = {name: name if place != EMPTY else None for name, place in places.items()}
    recurrence, subject = recurrence_of(event_type, sample), subject_of(event_type, sample)
    filled_in = [(name, places[name]) for name in names if places[name] != EMPTY]
    free = {name for name in names if is_free_text(event_type, name)}
    kind, _, attribute = subject.partition("/") if subject is not None else ("", "", "")
    return Shape(
        event_type.name,
        f"com.aurorasolar.{event}",
        recurrence,
        tuple((name, places[name]) for name in names),
        tuple(twice),
        (kind, places[attribute]) if attribute else None,
        [event_type.family, [name for name in names if name not in volatile]]
        if recurrence is Recurrence.STATE
        else None,
        volatile,
        rules.window_us(event_type),
        tuple((name, place, event_type.values.get(name, _NONE)) for name, place in filled_in if name not in free),
        tuple((name, place) for name, place in filled_in if name in free),
        tuple(garbled),
    )


_known = lru_cache(maxsize=1024)(_work_out)  # 8 KiB each at most, 2 with usual templates
