"""URL templates, filled as Aurora does: a placeholder that it does not know is left as it is."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final
from urllib.parse import quote, quote_plus, urlsplit

from aurora_bridge.webhook.catalogue import CATALOGUE
from aurora_bridge.webhook.segment_pattern import PLACEHOLDER, placeholder, placeholder_attribute

_CONTROL: Final = frozenset("\r\n\t\x00")


class Spaces(StrEnum):
    """How a space in a value is encoded; Aurora's way is not documented."""

    PERCENT = "%20"
    PLUS = "+"
    RAW = "raw"


def fill(template: str, attributes: Mapping[str, str], spaces: Spaces = Spaces.PERCENT) -> str:
    """Return the URL of one delivery."""
    pieces = PLACEHOLDER.split(template)
    for place in range(1, len(pieces), 2):
        value = attributes.get(placeholder_attribute(pieces[place]))
        pieces[place] = f"<{pieces[place]}>" if value is None else _encoded(value, spaces)
    return "".join(pieces)


def suggested(base: str, event: str, more: Iterable[str] = ()) -> str:
    """Return the template that Aurora suggests for a host: the event as the path, its attributes in the query.

    `more` names attributes beyond the catalogue's.
    """
    known = CATALOGUE[event].attributes if event in CATALOGUE else ()
    names = dict.fromkeys((*known, *more))
    query = "&".join(f"{name}={placeholder(name)}" for name in names)
    return f"{base.rstrip('/')}/{event}" + (f"?{query}" if query else "")


def is_template(url: str) -> bool:
    """Whether a URL is the template of one event, rather than a base URL for all."""
    return "?" in url or bool(PLACEHOLDER.search(url))


def problem_of(template: str) -> str | None:
    """Return why a template cannot be used, None if it can."""
    try:
        parts = urlsplit(template)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        return "it is not an absolute http or https URL, as in https://hooks.example.com/lead_created?lead_id=<LEAD_ID>"
    return "it contains a control character" if _CONTROL & {*template} else None


def _encoded(value: str, spaces: Spaces) -> str:
    if spaces is Spaces.PLUS:
        return quote_plus(value)
    return quote(value, safe=" " if spaces is Spaces.RAW else "")
