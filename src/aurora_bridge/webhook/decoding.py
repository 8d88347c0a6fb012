"""From raw URL bytes to names and values: the decoding that `routes` and `event` share.

How Aurora encodes values is not specified, and its only documented example with a space is malformed
(`status=Project%Sold`): `%20`, `+` and a stray `%` are all accepted, and a stray `%` stands for itself.
"""

import re
import string
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from aurora_bridge.outcomes import DeadLetterReason, Malformed

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\W_]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_VALUE = re.compile(r"=([^&]*)")
_PLAIN = (string.ascii_letters + string.digits + "-._~!&'()*,/@").encode()
_BEFORE_A_NAME = re.compile(r"\W*(?:(?:amp|0*38|x0*26);\W*)*", re.IGNORECASE)
"""What may precede a name, such as the rest of an ampersand that was escaped as in HTML: `amp;`, `#38;`."""
_THROUGH_LAST_LETTER = re.compile(r".*\w", re.DOTALL)
_ESCAPED_BRACKET = "lt;"
"""What follows the ampersand in `&lt;STATUS&gt;`."""
_is_verbatim = re.compile(r"[!-$&-*,-~]*+").fullmatch
"""Text that decoding leaves unchanged."""
_PERCENT_NAME = re.compile(r"%[A-Za-z_]+%")

Frame = tuple[str, ...]
"""The text around the values of a query, undecoded: `("a", "&b", "&c")` in `a=1&b=2&c`."""


def canonical_name(name: str) -> str:
    """Return `name` in lower snake_case: `projectId`, `Project-Id` and `PROJECT_ID` become `project_id`."""
    return _SEPARATORS.sub("_", _CAMEL.sub("_", name).lower())


def meant_name(name: str) -> str:
    """Return a decoded name without what HTML or a framework put around it; nearly every name is returned unchanged.

    `amp;status`, `status[]`, `[status]` and ` status ` are all `status`; so is `status[0]`, the first of a list.
    """
    if name.isidentifier():
        return name
    meant = _through_last_letter(_BEFORE_A_NAME.sub("", name, count=1))
    return _through_last_letter(meant.removesuffix("[0")) or name


def split_query(query: bytes) -> tuple[Frame, list[str], bool]:
    """Return a query's frame, its decoded values, and whether it is plain.

    The frame is the same for all queries of a template. In a plain query, as most are, nothing is encoded and no value
    looks like junk. Raises `Malformed` for values that are not UTF-8 or have control characters.
    """
    text = query.decode("latin-1")
    pieces = _VALUE.split(text)
    frame, values = tuple(pieces[::2]), pieces[1::2]
    rest = query.translate(None, _PLAIN)  # at least a = for each value
    if len(rest) > len(values) or "_ID" in text or "00000000" in text:  # as in a placeholder, or the nil UUID
        return frame, [value if _is_verbatim(value) else _decode(value) for value in values], False
    return frame, values, True


def names_in(frame: Frame) -> Iterator[tuple[str, int | None]]:
    """Yield the decoded names in a frame, each with the index of its value, or None if it has no `=`.

    Raises `Malformed` like `split_query`, and for a placeholder whose brackets are escaped as in HTML.
    """
    for place, piece in enumerate(frame):
        *bare, name = piece.split("&")
        for one in bare:
            if one.startswith(_ESCAPED_BRACKET):
                raise Malformed(DeadLetterReason.UNFILLED_PLACEHOLDER)
            if one:
                yield _decode(one), None
        if place < len(frame) - 1:
            yield _decode(name), place
        elif name:
            yield _decode(name), None


def decode_segment(raw: bytes) -> str:
    """Undo the percent-encoding of a path segment, in which a plus stands for itself.

    The result has one character per byte: whether they are UTF-8 only matters for a value, see `strict_text`.
    """
    return (unquote_to_bytes(raw) if b"%" in raw else raw).decode("latin-1")


def strict_text(text: str) -> str:
    """Decode as UTF-8 what was read as Latin-1. Raises `Malformed` like `split_query`."""
    return text if text.isascii() and text.isprintable() else _strict(text.encode("latin-1"))


def _through_last_letter(text: str) -> str:
    found = _THROUGH_LAST_LETTER.match(text)
    return found[0] if found else ""


def _decode(text: str) -> str:
    """Undo the query's percent-encoding strictly: U+FFFD would give two different values the same identity."""
    try:
        return _strict(unquote_to_bytes(text.replace("+", " ").encode("latin-1")))
    except Malformed:
        if _PERCENT_NAME.fullmatch(text):  # in %DESIGN_ID%, %DE looks like an encoded byte
            raise Malformed(DeadLetterReason.UNFILLED_PLACEHOLDER) from None
        raise


def _strict(raw: bytes) -> str:
    try:
        decoded = raw.decode()
    except UnicodeDecodeError as error:
        raise Malformed(DeadLetterReason.NOT_UTF8) from error
    if _CONTROL.search(decoded):
        raise Malformed(DeadLetterReason.CONTROL_CHARACTERS)
    return decoded
