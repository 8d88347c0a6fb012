"""What a setting takes, in words that fit after "expected", for error messages and the settings reference.

pydantic's own words would not do. A type of `field_types` has its words in an `Expected`; a number, a choice and a
boolean need none.
"""

from dataclasses import dataclass
from types import UnionType
from typing import Literal, Union, get_args, get_origin

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from aurora_bridge.settings.units import Unit


@dataclass(frozen=True, slots=True)
class Expected:
    """What a setting takes, in words that fit after "expected"."""

    words: str


def expected(field: FieldInfo) -> str:
    """Return what `field` takes, in words that fit after "expected"."""
    kinds = _kinds(field)
    marks = [*field.metadata, *(mark for kind in kinds for mark in getattr(kind, "__metadata__", ()))]
    for mark in marks:
        if isinstance(mark, Expected):
            return mark.words
    if values := choices(field):
        return "one of " + ", ".join(map(str, values))
    if bool in kinds:
        return "true or false"
    noun = "a number" if float in kinds else "a whole number"
    low = next(mark.ge for mark in marks if isinstance(mark, Ge))
    high = next(mark.le for mark in marks if isinstance(mark, Le))
    for mark in marks:
        if isinstance(mark, Unit):
            return f"{noun} of {mark.noun} from {low} to {high}, also with a unit ({mark.units})"
    return f"{noun} from {low} to {high}"


def choices(field: FieldInfo) -> tuple[object, ...]:
    """Return the values of a field that has a fixed set of them, else none."""
    kind = _kinds(field)[0]
    return get_args(kind) if get_origin(kind) is Literal else ()


def _kinds(field: FieldInfo) -> tuple[object, ...]:
    """Return the types that a value may have."""
    return get_args(field.annotation) if get_origin(field.annotation) in {Union, UnionType} else (field.annotation,)
