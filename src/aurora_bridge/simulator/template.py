"""URL templates as Aurora fills them: a placeholder that it does not know stays as it stands."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final
from urllib.parse import quote, quote_plus, urlsplit

from aurora_bridge.webhook.catalogue import CATALOGUE
from aurora_bridge.webhook.pattern import PLACEHOLDER, placeholder, placeholder_attribute

_CONTROL: Final = frozenset("\r\n\t\x00")


class Spaces(StrEnum):
    """How a space in a value is written; which one Aurora does is not documented."""

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
    """Whether a URL is for one event, rather than a host below which each has its path."""
    return "?" in url or bool(PLACEHOLDER.search(url))


def problem_of(template: str) -> str | None:
    """Return why no delivery can be made from a template, None for one that can be used."""
    try:
        parts = urlsplit(template)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        return "it is no absolute http or https URL, as in https://hooks.example.com/lead_created?lead_id=<LEAD_ID>"
    return "it has a control character" if _CONTROL & {*template} else None


def _encoded(value: str, spaces: Spaces) -> str:
    if spaces is Spaces.PLUS:
        return quote_plus(value)
    return quote(value, safe=" " if spaces is Spaces.RAW else "")
