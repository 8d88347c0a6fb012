"""A path segment, or a value, of a URL template, as it is compared with what a request has in its place.

`template` reads one out of its text, `path_tree` looks for the segments that a path can be.
"""

import re
from typing import NamedTuple

from aurora_bridge.webhook.catalogue import PLACEHOLDER_ALIASES
from aurora_bridge.webhook.text import canonical_name, decode_segment

PLACEHOLDER = re.compile(r"<([^<>]*)>")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_ALIASES = {attribute: placeholder for placeholder, attribute in PLACEHOLDER_ALIASES.items()}


class TemplateError(ValueError):
    """A template cannot be used; the text says why, and what to do."""


class Pattern(NamedTuple):
    """A path segment, or a value, with at least one placeholder; decoded, like what it is compared with."""

    literals: tuple[str, ...]
    """What stands before, between and behind the placeholders."""
    attributes: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether there is nothing but one placeholder."""
        return self.literals == ("", "")

    def parts(self, text: str) -> tuple[str, ...] | None:
        """Return what stands in a text in the place of each placeholder, None where the literals are not all there.

        A value ends where the next literal first comes. No regular expression, since one with several placeholders
        takes the square of a long text's length, and more, to find that it does not match.
        """
        before, *between, behind = self.literals
        if len(text) < len(before) + len(behind) or not text.startswith(before) or not text.endswith(behind):
            return None
        found = []
        rest = text[len(before) : len(text) - len(behind)]
        for literal in between:
            part, literal_found, rest = rest.partition(literal)
            if not literal_found:
                return None
            found.append(part)
        return (*found, rest)


Segment = str | Pattern
"""A literal or a pattern, both decoded to bytes and these read as Latin-1."""


def segment_of(text: str) -> Segment:
    """Return what a segment of a template's path is compared as. Raises `TemplateError`."""
    decoded = decode_segment(text.encode())
    return pattern_of(decoded) or decoded


def pattern_of(text: str) -> Pattern | None:
    """Return the pattern of a text with placeholders, None for one without. Raises `TemplateError`."""
    pieces = PLACEHOLDER.split(text)
    literals, names = pieces[::2], pieces[1::2]
    if any("<" in literal or ">" in literal for literal in literals):
        msg = f"{text!r} has a < or > without its other half. A placeholder is written <LIKE_THIS>"
        raise TemplateError(msg)
    for name in names:
        if not _NAME.fullmatch(name):
            msg = f"<{name}> is no placeholder. One is a name of letters, digits, - and _, as in <PROJECT_ID>"
            raise TemplateError(msg)
    if not names:
        return None
    if not all(literals[1:-1]):
        msg = f"{text!r} has two placeholders without anything between them, so nothing tells where one value ends"
        raise TemplateError(msg)
    return Pattern(tuple(literals), tuple(map(placeholder_attribute, names)))


def share_a_text(one: Segment, other: Segment) -> bool:
    """Tell whether there is a text that both match."""
    if isinstance(one, str):
        return one == other if isinstance(other, str) else other.parts(one) is not None
    if isinstance(other, str):
        return one.parts(other) is not None
    # What stands between can follow one another: only the ends must fit.
    (begin, *_, end), (others_begin, *_, others_end) = one.literals, other.literals
    return (begin.startswith(others_begin) or others_begin.startswith(begin)) and (
        end.endswith(others_end) or others_end.endswith(end)
    )


def placeholder_attribute(placeholder: str) -> str:
    """Return the attribute that Aurora's `<PLACEHOLDER>` carries: `agreement_id` for `AGREEMENT_ID`."""
    name = canonical_name(placeholder)
    return PLACEHOLDER_ALIASES.get(name, name)


def placeholder(attribute: str) -> str:
    """Return what stands for an attribute in a template: `<PROJECT_ID>` for `project_id`."""
    return f"<{_ALIASES.get(attribute, attribute).upper()}>"
