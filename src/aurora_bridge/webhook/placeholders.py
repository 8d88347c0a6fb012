"""Values that say nothing: unfilled placeholders, and words for nothing such as `null`.

As an identifier, such a value is the same for every object: the first would be an event, all others its duplicates. An
unfilled placeholder makes the delivery a dead letter; an identifier that is a word for nothing counts as empty. Both
are also found under further encodings, since a template may have been encoded twice, or written as HTML. States, and
other attributes whose values are known, are treated like identifiers, but a plain word such as `void` may be a state
that Aurora added.

Free text, such as a project's status, can be any string. In it, only placeholders that name a known attribute count.
"""

import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from html import unescape
from typing import Final
from urllib.parse import unquote

from aurora_bridge.outcomes import DeadLetterReason, Malformed
from aurora_bridge.webhook.catalogue import CATALOGUE, PLACEHOLDER_ALIASES, EventType

_ATTRIBUTES: Final = frozenset(
    {name for event_type in CATALOGUE.values() for name in event_type.attributes}
    | {*PLACEHOLDER_ALIASES, "tenant_id", "session_token"}
)
_LISTS_ATTRIBUTES: Final = "attributes"
"""An attribute of `project_changed` that may hold names of attributes."""
_NOTHING: Final = frozenset(
    {
        *("null", "none", "nil", "undefined", "undef", "nan", "nat", "na", "nullptr", "dbnull", "systemdbnull"),
        *("nonetype", "objectobject", "objectnull", "objectundefined", "0" * 32),
    }
)
"""Words for nothing in programming languages and spreadsheets, reduced to lower-case letters and digits."""
_NO_IDENTIFIER: Final = _NOTHING | {
    *("void", "nothing", "empty", "blank", "missing", "unset", "notset", "unknown", "notavailable", "notapplicable"),
}
"""With those of English that are no identifier."""
_BLANK_LETTERS: Final = "\u115f\u1160\u3164\uffa0"
"""Invisible characters in Unicode's category of letters."""

_BRACKETED = re.compile(r"[<{\[«](?![0-9A-Fa-f-]{8,}[>}\]»])([^<>{}\[\]«»]*)[>}\]»]|[$%]\(([^()]*)\)")
"""Text in brackets, except a UUID or a long number: that is an identifier with brackets around it."""
_SIGIL = re.compile(r"\$\w|(?<![\w:]):[A-Za-z_]|^\s*%(?![0-9A-Fa-f]{2})[A-Za-z_]|%(?![0-9A-Fa-f]{2})[A-Za-z_][\w. -]*%")
"""`$NAME`, `:name`, `%name`, `%NAME%`, but not percent-encoding."""
_SIGIL_AND_NAME = re.compile(r"(?<![\w:])[$%:]([A-Za-z_][\w.-]*)")
_NAME = re.compile(r"[\w\s.%=$#@!-]*")
"""A name in brackets may contain these, but nothing that lists or quotes."""
_AURORAS = re.compile(r"\s*<[A-Z0-9]+(_[A-Z0-9]+)+>\s*")
"""A placeholder as Aurora writes them: perhaps one that Aurora itself does not know."""
_CAPITALS = re.compile(
    rf"(?<![A-Za-z0-9])({'|'.join(sorted(name.upper() for name in _ATTRIBUTES if '_' in name))})(?![A-Za-z0-9])"
)
_has_no_digit = re.compile(r"[^0-9]*+").fullmatch
_is_usual = re.compile(r"(?!0{8})[A-Za-z_.~-]*+[0-9][\w.~-]*+").fullmatch
_has_bracket_or_sigil = re.compile(r"[<{\[«$%:&]").search
_MOST_ENCODINGS: Final = 3
_LONGEST: Final = 256
"""Longest value, in characters, that is decoded again, and longest with its name that is cached."""


def is_free_text(event_type: EventType, attribute: str) -> bool:
    """Return whether an attribute can hold any string: it is not an identifier, and its values are not known."""
    return (
        not attribute.endswith("_id")
        and attribute not in ("id", event_type.identifier)
        and attribute not in event_type.values
    )


def screen(
    values: Sequence[str],
    codes: Sequence[tuple[str, int, frozenset[str]]],
    texts: Sequence[tuple[str, int]],
    plain: bool,  # noqa: FBT001 - by position, since this is done for every webhook
) -> list[int]:
    """Return the indexes of identifiers and other codes that are words for nothing.

    `codes` and `texts` are those of a `Shape`, `plain` comes from `decoding.split_query`. Raises `Malformed` for an
    unfilled placeholder.
    """
    nothing = []
    for name, place, known in codes:
        value = values[place]
        if known and value in known:
            continue
        if _has_no_digit(value) if plain else not _is_usual(value) or "_ID" in value:  # which is rare
            names_nothing = _cached if len(value) + len(name) <= _LONGEST else _names_nothing
            if names_nothing(value, name, _NOTHING if known else _NO_IDENTIFIER):
                nothing.append(place)
    for name, place in texts:
        value = values[place]
        if (value.isupper() or not plain) and is_placeholder(value, name, free_text=True):
            raise Malformed(DeadLetterReason.UNFILLED_PLACEHOLDER)
    return nothing


def _names_nothing(value: str, attribute: str, words: AbstractSet[str]) -> bool:
    """Return whether a code is one of the `words` for nothing. Raises `Malformed` for an unfilled placeholder."""
    if any(not (folded := _fold(text)) or folded in words for text in _decodings(value)):
        return True
    if is_placeholder(value, attribute):
        raise Malformed(DeadLetterReason.UNFILLED_PLACEHOLDER)
    return False


_cached = lru_cache(maxsize=1024)(_names_nothing)  # 1.5 KiB each at most; identifiers without a digit recur


def is_placeholder(value: str, attribute: str, *, free_text: bool = False) -> bool:
    """Whether an attribute's value is or contains an unfilled placeholder, of any template language."""
    if free_text:
        if not _has_bracket_or_sigil(value):
            return value == attribute.upper() and attribute in _ATTRIBUTES
        names = {_fold(attribute)} if attribute == _LISTS_ATTRIBUTES else _NAMES | {_fold(attribute)}
        return any(_names_one(text, names) for text in _decodings(value))
    names = _NAMES | {_fold(attribute)}
    return any(
        _fold(text) in names or _BRACKETED.search(text) or _SIGIL.search(text) or _CAPITALS.search(text)
        for text in _decodings(value)
    )


def _names_one(text: str, names: AbstractSet[str]) -> bool:
    """Whether free text has one of `names` in brackets or behind a sigil."""
    if _AURORAS.fullmatch(text):
        return True
    inside = [one or other for one, other in _BRACKETED.findall(text)]
    inside = [name for name in inside if _NAME.fullmatch(name)] + _SIGIL_AND_NAME.findall(text)
    return any(_fold(name) in names or _fold(name.rpartition(".")[2]) in names for name in inside)


def _decodings(value: str) -> Iterator[str]:
    """Yield a value as it is, then with one further encoding undone, then two."""
    for _ in range(_MOST_ENCODINGS):
        yield value
        if len(value) > _LONGEST:
            return
        decoded = unescape(unquote(value))
        if decoded == value:
            return
        value = decoded


def _fold(text: str) -> str:
    return "".join(letter for letter in text if letter.isalnum() and letter not in _BLANK_LETTERS).casefold()


_NAMES: Final = frozenset(map(_fold, _ATTRIBUTES))
