"""From raw URL bytes to names and values: the decoding that `routes` and `event` share.

How Aurora encodes values is not specified, and its only documented example with a space is malformed
(`status=Project%Sold`): `%20`, `+` and a stray `%` are all taken, the last one standing for itself.
"""

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from aurora_bridge.refusal import Defect, Malformed

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\W_]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@lru_cache(maxsize=4096)  # the names of one installation are few; a flood of others only evicts, at ~200 bytes each
def canonical_name(name: str) -> str:
    """Return `name` in lower snake_case: `projectId`, `Project-Id` and `PROJECT_ID` become `project_id`."""
    return _SEPARATORS.sub("_", _CAMEL.sub("_", name).lower())


def decode_query(query: bytes) -> list[tuple[str, str]]:
    """Return the parameters of a raw query string, in order, decoded.

    Raises `Malformed` for bytes that are not UTF-8 and for control characters.
    """
    pairs = []
    escaped = b"%" in query or b"+" in query or not query.isascii()
    text = query.decode("latin-1")
    for piece in text.split("&"):
        if piece:
            name, _, value = piece.partition("=")
            pairs.append((_decode(name), _decode(value)) if escaped else (name, value))
    if not escaped and _CONTROL.search(text):
        raise Malformed(Defect.CONTROL_CHARACTERS)
    return pairs


def _decode(text: str) -> str:
    """Undo the query's percent-encoding strictly: U+FFFD would let two different values share one identity."""
    raw = text.replace("+", " ").encode("latin-1")
    try:
        decoded = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise Malformed(Defect.NOT_UTF8) from error
    if _CONTROL.search(decoded):
        raise Malformed(Defect.CONTROL_CHARACTERS)
    return decoded
