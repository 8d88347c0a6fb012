"""Reads what Aurora's API responds: a page of subscriptions, and the messages of an error. Pure.

Neither the envelope of a list nor its pagination is documented. So every usual form is taken, and a list that may go on
in another one raises `INCOMPLETE`: nobody shall conclude from a part of it that a subscription does not exist.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

import orjson

from aurora_bridge.aurora.errors import ApiReason, AuroraError
from aurora_bridge.aurora.subscription import Subscription, read_subscription

_ENVELOPES: Final = ("webhooks", "partner_application_webhooks", "data")
_PAGING: Final = ("links", "meta", "pagination", "paging")
"""Objects beside the list that may say how it goes on."""
_NEXT: Final = ("next", "next_url")
_MORE: Final = ("has_more", "has_next", "next_cursor", "next_page", "next_page_token")
_TOTALS: Final = ("total", "total_count", "count")
MALFORMED_LINK: Final = "the list goes on at what is no URL"
"""Why it is incomplete."""
_MOST_MESSAGES: Final = 5
_LONGEST_MESSAGE: Final = 300


class Page(NamedTuple):
    """A part of a list, or all of it."""

    subscriptions: Sequence[Subscription]
    next_url: str | None
    """Where it goes on; None at its end."""
    total: int
    """How many the whole list has, as far as the page says; else 0."""


def read_page(body: bytes, call: str, url: str, link: str | None = None) -> Page:
    """Return the page that was read from `url`; `link` is where its header `Link` says that it goes on.

    Raises `AuroraError`, with `call` in it.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        why = "the response is not JSON, or is cut off"
        raise AuroraError(ApiReason.UNEXPECTED_RESPONSE, call, why) from None
    found = [read_subscription(row) for row in _rows(document, call)]
    subscriptions = [one for one in found if one is not None]
    if len(subscriptions) < len(found):
        why = f"{len(found) - len(subscriptions)} of {len(found)} subscriptions in the list have no id"
        raise AuroraError(ApiReason.INCOMPLETE, call, why)
    places = (
        [place for place in (document, *map(document.get, _PAGING)) if isinstance(place, dict)]
        if (isinstance(document, dict))
        else []
    )
    for place in places:
        link = _link(place, call) or link
    totals = [total for place in places for total in map(place.get, _TOTALS) if isinstance(total, int)]
    return Page(subscriptions, link and _same_origin(link, url, call), max(totals, default=0))


def read_messages(body: bytes, redact: Callable[[str], str]) -> list[str]:
    """Return Aurora's own words for an error, `{"errors": [{"message": ...}]}`, each on one line and redacted."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    errors = document.get("errors") if isinstance(document, dict) else None
    texts = [one.get("message") if isinstance(one, dict) else one for one in errors] if isinstance(errors, list) else []
    words = [" ".join(redact(text).split()).rstrip(".") for text in texts if isinstance(text, str)]
    return ["".join(filter(str.isprintable, text))[:_LONGEST_MESSAGE] for text in words if text][:_MOST_MESSAGES]


def _rows(document: object, call: str) -> list[object]:
    """Return the list of a response, whatever its envelope."""
    if isinstance(document, list):
        return document
    lists = {}
    if isinstance(document, dict):
        lists = {name: value for name, value in document.items() if isinstance(value, list) and name != "errors"}
    for name in _ENVELOPES if len(lists) > 1 else lists:
        if name in lists:
            return lists[name]
    raise AuroraError(ApiReason.UNEXPECTED_RESPONSE, call, "the response has no list of subscriptions")


def _link(place: dict[str, object], call: str) -> str | None:
    """Return the URL by which a list goes on. Raises `AuroraError` where it does by something else."""
    following = next(filter(None, map(place.get, _NEXT)), None)
    if isinstance(following, dict):
        following = following.get("href")
    if isinstance(following, str) and following.startswith(("http://", "https://", "/", "?")):
        return following
    if following or any(map(place.get, _MORE)):
        raise AuroraError(ApiReason.INCOMPLETE, call, "the list goes on in a way that the bridge does not know")
    return None


def _same_origin(link: str, url: str, call: str) -> str:
    """Return where a page's link leads. Raises `AuroraError` where that is another host, or nowhere."""
    try:
        following = urljoin(url, link)
        origin = urlsplit(following)[:2]
    except ValueError:
        raise AuroraError(ApiReason.INCOMPLETE, call, MALFORMED_LINK) from None
    if origin != urlsplit(url)[:2]:
        raise AuroraError(ApiReason.INCOMPLETE, call, "the list goes on at another host, where the API key never goes")
    return following
