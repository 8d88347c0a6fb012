"""From raw URL bytes to names and values: the decoding that `routes` and `event` share.

How Aurora encodes values is not specified, and its only documented example with a space is malformed
(`status=Project%Sold`): `%20`, `+` and a stray `%` are all taken, the last one standing for itself.
"""

import re
import string
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from aurora_bridge.refusal import Defect, Malformed

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\W_]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_VALUE = re.compile(r"=([^&]*)")
_PLAIN = (string.ascii_letters + string.digits + "-._~!$&'()*,/:=@").encode()

Frame = tuple[str, ...]
"""What stands around the values of a query, undecoded: `("a", "&b", "&c")` of `a=1&b=2&c`."""


def canonical_name(name: str) -> str:
    """Return `name` in lower snake_case: `projectId`, `Project-Id` and `PROJECT_ID` become `project_id`."""
    return _SEPARATORS.sub("_", _CAMEL.sub("_", name).lower())


def split_query(query: bytes) -> tuple[Frame, list[str], bool]:
    """Return a query's frame, which is its template's, and the decoded values in it.

    Also, whether it is plain, as most are: nothing was encoded, and no value asks for a closer look. Raises `Malformed`
    for values that are not UTF-8 or have control characters.
    """
    pieces = _VALUE.split(query.decode("latin-1"))
    frame, values = tuple(pieces[::2]), pieces[1::2]
    if query.translate(None, _PLAIN):
        return frame, [_decode(value) for value in values], False
    return frame, values, True


def names_in(frame: Frame) -> Iterator[tuple[str, int | None]]:
    """Yield the decoded names in a frame, each with the place of its value, or None for one without `=`.

    Raises `Malformed` like `split_query`.
    """
    for place, piece in enumerate(frame):
        *bare, name = piece.split("&")
        for one in bare:
            if one:
                yield _decode(one), None
        if place < len(frame) - 1:
            yield _decode(name), place
        elif name:
            yield _decode(name), None


def decode_segment(raw: bytes) -> str:
    """Undo the percent-encoding of a path's segment, in which a plus stands for itself.

    The result has a character for each byte: whether they are UTF-8 only matters for a value, see `strict_text`.
    """
    return (unquote_to_bytes(raw) if b"%" in raw else raw).decode("latin-1")


def strict_text(text: str) -> str:
    """Return the text of bytes that were read as Latin-1. Raises `Malformed` like `split_query`."""
    return text if text.isascii() and text.isprintable() else _strict(text.encode("latin-1"))


def _decode(text: str) -> str:
    """Undo the query's percent-encoding strictly: U+FFFD would let two different values share one identity."""
    return _strict(unquote_to_bytes(text.replace("+", " ").encode("latin-1")))


def _strict(raw: bytes) -> str:
    try:
        decoded = raw.decode()
    except UnicodeDecodeError as error:
        raise Malformed(Defect.NOT_UTF8) from error
    if _CONTROL.search(decoded):
        raise Malformed(Defect.CONTROL_CHARACTERS)
    return decoded
