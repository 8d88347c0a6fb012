"""Takes secrets out of a request target, or a value in it, before anything is built, logged or kept from it.

A template with two `?`, with `;` between its parameters or encoded twice over carries its token where no parser of ours
would see a parameter. Of a target, which is often malformed when it comes here, too much is hidden when in doubt; of a
value, which makes an event's identity, a secret's value and nothing else.
"""

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

_USER_INFO = re.compile(rb"\A([A-Za-z][A-Za-z0-9+.-]*://|//)?[^/?#]*@")
_NAME = re.compile(r"([^/?;#&=]*)=")
_INSIDE_A_VALUE = re.compile(r"([?&;]([^?&;=]*)=)[^?&;]+")
_NOT_IN_A_NAME = re.compile(r"[\W_]+")
_UNPRINTABLE = re.compile(rb"[^\x21-\x7e]")
_HIDDEN = "***"
_WORD = re.compile(r"([A-Za-z._~-]*+[0-9]?+[A-Za-z._~-]*+)(?:([?;&]).*)?", re.DOTALL)
_LONGEST_WORD = 40
_MOST_SEGMENTS = 8


def redact_target(target: bytes, secret_names: frozenset[str]) -> str:
    """Return the target as printable ASCII, the values of parameters called one of `secret_names` as `***`.

    Names are compared by their letters and digits alone, after decoding: `sessionToken`, `SESSION-TOKEN` and
    `session%5Ftoken` are all `session_token`. The `user:password@` of an absolute-form target is dropped. What is not
    printable is percent-encoded; the rest stays as it came.
    """
    folded = _folded(secret_names)
    anonymous = _USER_INFO.sub(rb"\1", target, count=1)
    pieces = [_redact_piece(piece, folded) for piece in anonymous.split(b"&")]
    return _UNPRINTABLE.sub(lambda match: b"%%%02X" % ord(match[0]), b"&".join(pieces)).decode("ascii")


def redact_value(value: str, secret_names: frozenset[str]) -> str:
    """Return a decoded value, with `***` for what follows the name of a secret and `=` in it.

    The name stands behind `?`, `&` or `;`, as in `Sold?token=...`, and what follows it ends at the next of these.
    """
    if "=" not in value:
        return value
    folded = _folded(secret_names)
    return _INSIDE_A_VALUE.sub(lambda match: match[1] + _HIDDEN if _fold(match[2]) in folded else match[0], value)


def redact_path(path: bytes) -> str:
    """Return the path of a target for people: its words, and `***` for a segment that may be an identifier or a secret.

    A word is short and has at most one digit. What stands behind it after a `?`, `;` or `&` is hidden as well.
    """
    *segments, rest = path.split(b"/", _MOST_SEGMENTS)
    return "/".join([*map(_redact_segment, segments), "..." if b"/" in rest else _redact_segment(rest)])


def _redact_segment(segment: bytes) -> str:
    text = unquote_to_bytes(segment).decode("utf-8", "replace")
    match = _WORD.fullmatch(text)
    if match is None or len(match[1]) > _LONGEST_WORD:
        return _HIDDEN
    return f"{match[1]}{match[2]}{_HIDDEN}" if match[2] else match[1]


def _redact_piece(piece: bytes, folded: frozenset[str]) -> bytes:
    """Hide everything after the first secret name, also what may be no part of its value."""
    text = unquote_to_bytes(piece).decode("utf-8", "surrogateescape")
    for match in _NAME.finditer(text):
        if _fold(match[1]) in folded:
            return (text[: match.end()] + _HIDDEN).encode("utf-8", "surrogateescape")
    return piece


@lru_cache(maxsize=64)
def _folded(names: frozenset[str]) -> frozenset[str]:
    return frozenset(_fold(name) for name in names)


def _fold(name: str) -> str:
    return _NOT_IN_A_NAME.sub("", name).lower()
