"""W3C Trace Context (https://www.w3.org/TR/trace-context/): its headers go into the record as they came.

A tracing proxy, or Aurora itself, sets them, and a consumer's tracer continues the trace; the bridge adds no span. What
is malformed is dropped silently: it is not the event's fault.
"""

import re
from collections.abc import Sequence
from typing import Final

MAX_TRACESTATE_BYTES: Final = 512
"""The least that Trace Context asks everybody to propagate; anything longer is dropped, which bounds a record."""
_MAX_MEMBERS: Final = 32
_BLANK: Final = b" \t"
_TRACEPARENT: Final = b"traceparent"
_TRACESTATE: Final = b"tracestate"
_PARENT_LENGTH: Final = len(_TRACEPARENT)
"""Compared first, since every delivery is examined, and few headers have a name of this length."""
_FIELDS: Final = rb"(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_PARENT = re.compile(rb"00-%b|(?!00|ff)[0-9a-f]{2}-%b(-[!-~]{0,99})?" % (_FIELDS, _FIELDS))
"""Version 00, or a later one, which may have more behind the same fields (section 4.3)."""
_MEMBER = re.compile(rb"([a-z0-9][a-z0-9_*/@-]{0,255})=[ -+\--<>-~]{0,255}[!-+\--<>-~]")


def trace_headers(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, bytes | None]]:
    """Return the valid `traceparent` and `tracestate` of a request's headers, as headers of a record, undecoded."""
    for name, _ in headers:
        if len(name) == _PARENT_LENGTH:
            break
    else:
        return []
    candidates = [(name.lower(), value) for name, value in headers]
    parents = [value.strip(_BLANK) for name, value in candidates if name == _TRACEPARENT]
    if len(parents) != 1 or not _PARENT.fullmatch(parents[0]):
        return []
    found: list[tuple[str, bytes | None]] = [("traceparent", parents[0])]
    states = [value.strip(_BLANK) for name, value in candidates if name == _TRACESTATE]
    state = b",".join(filter(None, states))
    if _is_tracestate(state):
        found.append(("tracestate", state))
    return found


def _is_tracestate(state: bytes) -> bool:
    """Whether this is a list of 1 to 32 members with distinct keys; empty members do not count."""
    if len(state) > MAX_TRACESTATE_BYTES:
        return False
    pieces = [piece.strip(_BLANK) for piece in state.split(b",")]
    members = [_MEMBER.fullmatch(piece) for piece in pieces if piece]
    keys = {member[1] for member in members if member}
    return 0 < len(keys) == len(members) <= _MAX_MEMBERS
