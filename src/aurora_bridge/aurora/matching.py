"""Matches wanted subscriptions with those that Aurora has. Pure."""

from collections.abc import Callable, Hashable, Sequence
from typing import Final
from urllib.parse import urlsplit

from aurora_bridge.aurora.desired import Wanted
from aurora_bridge.aurora.subscription import Subscription
from aurora_bridge.webhook.catalogue import todays_name

Redact = Callable[[str], str]
Key = Callable[[Wanted | Subscription, Redact], Hashable]


def paired(wanted: Sequence[Wanted], actual: Sequence[Subscription], redact: Redact) -> dict[int, Subscription]:
    """Return Aurora's counterpart of each wanted subscription that has one, by its index in `wanted`.

    It is the one with its id; else one with the same event and template, the most similar first; else the only one with
    the same event and description; else the only one with the same event and host. So a wrong template is corrected in
    place, and Aurora's pending retries use the new one. `redact` hides secrets in templates, since they change, too.
    """
    ids = {one.id: one for one in actual}
    pairs = {place: ids[one.id] for place, one in enumerate(wanted) if one.id in ids}
    free = [one for one in actual if one not in pairs.values()]
    for key, has_to_be_alone in _KEYS:
        left = [(place, one) for place, one in enumerate(wanted) if place not in pairs]
        keys = [key(one, redact) for _, one in left]
        for place, one in left:
            same = [other for other in free if key(other, redact) == key(one, redact) is not None]
            if same and not (has_to_be_alone and (len(same) > 1 or keys.count(key(one, redact)) > 1)):
                pairs[place] = same[0]
                free.remove(same[0])
    return pairs


def _whole(one: Wanted | Subscription, redact: Redact) -> Hashable:
    return (_template(one, redact), frozenset((one.filters or {}).items()), one.description)


def _template(one: Wanted | Subscription, redact: Redact) -> Hashable:
    return (_event(one), redact(one.url_template or ""))


def _description(one: Wanted | Subscription, redact: Redact) -> Hashable:
    del redact
    return (_event(one), one.description) if one.description else None


def _host(one: Wanted | Subscription, redact: Redact) -> Hashable:
    del redact
    try:
        host = urlsplit(one.url_template or "").netloc.lower()
    except ValueError:  # a template at Aurora that is not a URL
        return None
    return (_event(one), host) if host else None


def _event(one: Wanted | Subscription) -> str:
    return todays_name(one.event or "")


_KEYS: Final[Sequence[tuple[Key, bool]]] = ((_whole, False), (_template, False), (_description, True), (_host, True))
"""From the surest on, and whether a key counts only if it is unambiguous."""
