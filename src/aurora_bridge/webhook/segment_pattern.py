"""A path segment or parameter value of a URL template, and how it is matched with a request's.

`url_template` compiles them, `path_tree` looks path segments up.
"""

import re
from typing import NamedTuple

from aurora_bridge.webhook.catalogue import PLACEHOLDER_ALIASES
from aurora_bridge.webhook.decoding import canonical_name, decode_segment

PLACEHOLDER = re.compile(r"<([^<>]*)>")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_ALIASES = {attribute: placeholder for placeholder, attribute in PLACEHOLDER_ALIASES.items()}


class TemplateError(ValueError):
    """A template cannot be used. The message says why, and what to do."""


class Pattern(NamedTuple):
    """A path segment or parameter value with at least one placeholder; decoded, like what it is compared with."""

    literals: tuple[str, ...]
    """The text before, between and after the placeholders."""
    attributes: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether it is a single placeholder and nothing else."""
        return self.literals == ("", "")

    def parts(self, text: str) -> tuple[str, ...] | None:
        """Return the value of each placeholder in `text`, None if `text` does not match.

        A value ends where the next literal first occurs. Not a regular expression: with several placeholders, it takes
        quadratic time or worse to find that a long text does not match.
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
"""A literal or a pattern: percent-decoded bytes, read as Latin-1."""


def segment_of(text: str) -> Segment:
    """Compile a segment of a template's path. Raises `TemplateError`."""
    decoded = decode_segment(text.encode())
    return pattern_of(decoded) or decoded


def pattern_of(text: str) -> Pattern | None:
    """Return the pattern of a text with placeholders, None for one without. Raises `TemplateError`."""
    pieces = PLACEHOLDER.split(text)
    literals, names = pieces[::2], pieces[1::2]
    if any("<" in literal or ">" in literal for literal in literals):
        msg = f"{text!r} has an unmatched < or >. Write a placeholder as in <PROJECT_ID>"
        raise TemplateError(msg)
    for name in names:
        if not _NAME.fullmatch(name):
            msg = f"<{name}> is not a placeholder. Use only letters, digits, - and _, as in <PROJECT_ID>"
            raise TemplateError(msg)
    if not names:
        return None
    if not all(literals[1:-1]):
        msg = f"{text!r} has two adjacent placeholders: where one value ends is unknown. Write something between them"
        raise TemplateError(msg)
    return Pattern(tuple(literals), tuple(map(placeholder_attribute, names)))


def segments_overlap(one: Segment, other: Segment) -> bool:
    """Return whether some text matches both."""
    if isinstance(one, str):
        return one == other if isinstance(other, str) else other.parts(one) is not None
    if isinstance(other, str):
        return one.parts(other) is not None
    # Literals in the middle can always follow one another: only the ends must be compatible.
    (begin, *_, end), (others_begin, *_, others_end) = one.literals, other.literals
    return (begin.startswith(others_begin) or others_begin.startswith(begin)) and (
        end.endswith(others_end) or others_end.endswith(end)
    )


def placeholder_attribute(placeholder: str) -> str:
    """Return the attribute that Aurora's `<PLACEHOLDER>` carries: `agreement_id` for `AGREEMENT_ID`."""
    name = canonical_name(placeholder)
    return PLACEHOLDER_ALIASES.get(name, name)


def placeholder(attribute: str) -> str:
    """Return the placeholder of an attribute: `<PROJECT_ID>` for `project_id`."""
    return f"<{_ALIASES.get(attribute, attribute).upper()}>"
