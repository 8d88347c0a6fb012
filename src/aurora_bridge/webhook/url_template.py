"""Compiles a URL template of Aurora: what it matches, and which attribute each value of a match is.

    https://hooks.example.com/hooks/v2/<PROJECT_ID>?a=<AGREEMENT_ID>&st=<STATUS>&kind=signed-only

Path and static parameters (`kind`) choose the route, see `routes`. The placeholders name the attributes, whatever the
parameters are called; a parameter that the template does not have is an attribute of its own name, since Aurora may
add one. A placeholder can be a part of a path segment or of a value, as in `v-<PROJECT_ID>.json`.

`Template.read` turns a query into the form that `query_shape` knows, with the attributes as its names. Like a shape,
how to do that is worked out once for each frame.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import starmap, zip_longest
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from aurora_bridge.outcomes import DeadLetterReason, Malformed
from aurora_bridge.redaction import SecretNames
from aurora_bridge.webhook.decoding import Frame, canonical_name, meant_name, names_in, strict_text
from aurora_bridge.webhook.segment_pattern import (
    PLACEHOLDER,
    Pattern,
    Segment,
    TemplateError,
    pattern_of,
    segment_of,
    segments_overlap,
)

_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_PRINTABLE = re.compile(r"[!-~]+")
_MOST_BYTES = 1024
_MOST_NAMES = 32


class Reading(NamedTuple):
    """How to turn a query into one that has the template's attributes as its names."""

    frame: Frame
    """The frame of the result."""
    places: tuple[int, ...]
    """Indexes into the query's values followed by the path's."""
    parts: tuple[tuple[int, Pattern], ...]
    """Indexes of values of which only parts are attributes, whose values come last."""
    garbled: tuple[str, ...]
    """Names as they came, if they had to be cleaned up."""


class Template:
    """One URL template."""

    def __init__(self, text: str, secrets: SecretNames) -> None:
        """Compile `text`; parameters in `secrets` reach no event. Raises `TemplateError`."""
        self.text = text
        self._secrets = secrets
        path, _, query = _origin_form(text).partition("?")
        self.segments: tuple[Segment, ...] = tuple(map(segment_of, path.split("/")[1:]))
        self.static: dict[str, str] = {}
        """Parameters with a fixed value: they choose the route, and are not attributes."""
        self.garbled: list[str] = []
        """Its parameter names as written, if they had to be cleaned up: see `decoding.meant_name`."""
        self._parameters: dict[str, Pattern] = {}
        self._read_query(query)
        self.path_attributes = tuple(
            name for segment in self.segments if isinstance(segment, Pattern) for name in segment.attributes
        )
        self.secret_parameters = frozenset(
            canonical_name(name)
            for name, pattern in self._parameters.items()
            if any(attribute in secrets for attribute in pattern.attributes)
        )
        """Parameters that carry a secret under another name."""
        for name in self.path_attributes:
            if name in secrets:
                msg = (
                    f"<{name.upper()}> is a secret in the path, where proxies log it and it cannot be redacted. Move "
                    f"it into the query, or remove it"
                )
                raise TemplateError(msg)

    @property
    def name(self) -> str:
        """The template without its host and its secrets: the route's name in records, logs and metrics."""
        path, _, query = _origin_form(self.text).partition("?")
        kept = [piece for piece in query.split("&") if _static_name(piece) in self.static]
        return self._secrets.redact_target((path + ("?" + "&".join(kept) if kept else "")).encode())

    @property
    def parameters(self) -> frozenset[str]:
        """The names of its parameters, except secrets with a fixed value."""
        return frozenset((*self.static, *self._parameters))

    @property
    def attributes(self) -> frozenset[str]:
        """Every attribute that a placeholder carries."""
        return frozenset(self.path_attributes).union(*(pattern.attributes for pattern in self._parameters.values()))

    def _read_query(self, query: str) -> None:
        for piece in filter(None, query.split("&")):
            raw_name, _, raw_value = piece.partition("=")
            written, value = _decoded(raw_name), _decoded(raw_value)
            name = meant_name(written)
            if PLACEHOLDER.search(raw_name):
                msg = f"the parameter name {raw_name} contains a placeholder. Write name=<PLACEHOLDER>"
                raise TemplateError(msg)
            if not name:
                msg = "a parameter has no name. Write name=<PLACEHOLDER> or name=value"
                raise TemplateError(msg)
            if name in self.static or name in self._parameters:
                msg = f"the parameter {name} occurs twice. Remove one of the two"
                raise TemplateError(msg)
            if name != written:
                self.garbled.append(written)
            if written in self._secrets and not PLACEHOLDER.search(value):
                continue  # checked as a credential; it does not choose the route
            pattern = pattern_of(value)
            if pattern is not None:
                self._parameters[name] = pattern
            else:
                self.static[name] = value

    def read(
        self, query: bytes, frame: Frame, values: list[str], path_values: Sequence[str]
    ) -> tuple[Frame, list[str], tuple[str, ...]]:
        """Return frame and values of a query that has the template's attributes as its names, and the garbled names.

        Raises `Malformed`.
        """
        small = len(query) <= _MOST_BYTES and query.count(b"&") < _MOST_NAMES
        reading = _known_reading(self, frame) if small else self.work_out(frame)
        everything = [*values, *map(strict_text, path_values)]
        read = [everything[place] for place in reading.places]
        for place, pattern in reading.parts:
            value = values[place]
            parts = pattern.parts(value) if value else ("",) * len(pattern.attributes)
            if parts is None:
                raise Malformed(DeadLetterReason.NOT_AS_TEMPLATE)
            read += parts
        return reading.frame, read, reading.garbled

    def work_out(self, frame: Frame) -> Reading:
        """Return how to read queries with this frame. Raises `Malformed`."""
        with_value: list[tuple[str, int]] = []
        bare: list[str] = []
        parts: list[tuple[int, Pattern]] = []
        garbled = []
        for written, place in names_in(frame):
            raw_name = meant_name(written)
            if raw_name != written:
                garbled.append(written)
            pattern = self._parameters.get(raw_name)
            if raw_name in self.static or (pattern is None and written in self._secrets):
                continue
            if place is None:
                bare += pattern.attributes if pattern else (canonical_name(raw_name),)
            elif pattern is None:
                with_value.append((canonical_name(raw_name), place))
            elif pattern.whole:
                with_value.append((pattern.attributes[0], place))
            else:
                parts.append((place, pattern))
        behind = len(frame) - 1
        with_value += [(name, behind + number) for number, name in enumerate(self.path_attributes)]
        names = [name for name, _ in with_value] + [name for _, pattern in parts for name in pattern.attributes]
        pieces = [f"&{quote(name)}" for name in names]
        return Reading(
            (*pieces, "".join(f"&{quote(name)}" for name in bare)),
            tuple(place for _, place in with_value),
            tuple(parts),
            tuple(garbled),
        )


_known_reading = lru_cache(maxsize=1024)(Template.work_out)  # 2 KiB each at most, shared by all templates


def could_match_one(one: Template, other: Template) -> bool:
    """Return whether one request could match both templates, so that its route would be ambiguous.

    A path may have a trailing slash, and a placeholder may be empty: `/a/` matches both `/a` and `/a/<X>`.
    """
    if abs(len(one.segments) - len(other.segments)) > 1:
        return False
    if any(name in other.static and other.static[name] != value for name, value in one.static.items()):
        return False
    return all(starmap(segments_overlap, zip_longest(one.segments, other.segments, fillvalue="")))


def _origin_form(text: str) -> str:
    """Return path and query of a template. Raises `TemplateError`."""
    rest = text if text.startswith(("/", "?")) else _ORIGIN.sub("", text, count=1)
    if rest == text and not text.startswith(("/", "?")):
        msg = (
            "it begins neither with a scheme and host, as in https://hooks.example.com/..., nor with a slash. "
            "Copy it from Aurora unchanged"
        )
        raise TemplateError(msg)
    if "#" in rest:
        msg = "a # begins a fragment, which is never sent. Remove it and what follows, or write %23"
        raise TemplateError(msg)
    if rest and not _PRINTABLE.fullmatch(rest):
        msg = "it has white space or other characters that a URL cannot have. Percent-encode them, as in %20"
        raise TemplateError(msg)
    return rest if rest.startswith("/") else "/" + rest


def _decoded(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "replace")


def _static_name(piece: str) -> str:
    return meant_name(_decoded(piece.partition("=")[0]))
