"""Parses responses of Aurora's API: a page of subscriptions, and the messages of an error. Pure.

Neither the envelope of a list nor its pagination is documented. So every common form is accepted, and a list that may
continue in an unknown way raises `INCOMPLETE`: nobody must conclude from a part that a subscription does not exist.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

import orjson

from aurora_bridge.aurora.errors import ApiReason, AuroraError
from aurora_bridge.aurora.subscription import Subscription, read_subscription

_ENVELOPES: Final = ("webhooks", "partner_application_webhooks", "data")
_PAGING: Final = ("links", "meta", "pagination", "paging")
"""Objects next to the list that may say how it continues."""
_NEXT: Final = ("next", "next_url")
_MORE: Final = ("has_more", "has_next", "next_cursor", "next_page", "next_page_token")
_TOTALS: Final = ("total", "total_count", "count")
MALFORMED_LINK: Final = "the link to the next page is not a URL"
"""Why a list is incomplete."""
_MOST_MESSAGES: Final = 5
_LONGEST_MESSAGE: Final = 300


class Page(NamedTuple):
    """A page of a list, or the whole list."""

    subscriptions: Sequence[Subscription]
    next_url: str | None
    """The next page; None on the last."""
    total: int
    """Length of the whole list according to the page, 0 if it does not say."""


def read_page(body: bytes, call: str, url: str, link: str | None = None) -> Page:
    """Return the page that was read from `url`; `link` is the next page according to its header `Link`.

    Raises `AuroraError`, which names `call`.
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
    """Return the messages of an error, `{"errors": [{"message": ...}]}`, each on one line and redacted."""
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
    """Return the next page's URL, None without one. Raises `AuroraError` if the list continues in another way."""
    following = next(filter(None, map(place.get, _NEXT)), None)
    if isinstance(following, dict):
        following = following.get("href")
    if isinstance(following, str) and following.startswith(("http://", "https://", "/", "?")):
        return following
    if following or any(map(place.get, _MORE)):
        raise AuroraError(ApiReason.INCOMPLETE, call, "the list continues in a way that the bridge does not know")
    return None


def _same_origin(link: str, url: str, call: str) -> str:
    """Return a page's link as an absolute URL. Raises `AuroraError` if it leads to another host, or is malformed."""
    try:
        following = urljoin(url, link)
        origin = urlsplit(following)[:2]
    except ValueError:
        raise AuroraError(ApiReason.INCOMPLETE, call, MALFORMED_LINK) from None
    if origin != urlsplit(url)[:2]:
        raise AuroraError(ApiReason.INCOMPLETE, call, "the list continues on another host, which gets no API key")
    return following
