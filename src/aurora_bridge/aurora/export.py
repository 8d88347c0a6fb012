"""Writes Aurora's subscriptions as `[[subscriptions]]`, so that a plan from them is empty. Pure.

What equals the route's template or credentials is left to the route. No secret is written: in a template it becomes
`***`, which keeps it unchanged.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

from pydantic import ValidationError

from aurora_bridge.aurora.desired import Wanted, wanted_of
from aurora_bridge.aurora.diff import as_placeholders
from aurora_bridge.aurora.matching import Redact
from aurora_bridge.aurora.receiver import Receiver
from aurora_bridge.aurora.subscription import Subscription
from aurora_bridge.settings import Settings, SettingsError, SubscriptionSettings
from aurora_bridge.webhook.catalogue import CATALOGUE, todays_name

Table = dict[str, object]


def exported(actual: Sequence[Subscription], settings: Settings, receiver: Receiver, redact: Redact) -> Iterator[str]:
    """Yield the lines of the file."""
    for one in actual:
        yield from _written(one, settings, receiver, redact)
        yield ""
    here = [one for one in actual if one.url_template is None or receiver.comes_here(one.url_template)]
    subscribed = {todays_name(one.event or "") for one in here}
    missing = [name for name, event_type in CATALOGUE.items() if event_type.core and name not in subscribed]
    if missing:
        yield "# No subscription to these reaches the bridge."
        yield from _lines({"events": missing, "left_out": True})


def _written(one: Subscription, settings: Settings, receiver: Receiver, redact: Redact) -> Iterator[str]:
    name = "".join(filter(str.isprintable, one.id))
    if not one.event or not one.url_template:
        yield f"# {name}: Aurora does not show its event and its template. It stays unmanaged."
        return
    place, wanted = _place(one.event, one.url_template, settings, receiver, redact)
    table: Table = {"id": one.id, "events": [one.event], **place}
    if one.filters:
        table["filters"] = as_placeholders(one.filters)
    if one.description:
        table["description"] = one.description
    if one.enabled is False:
        table["enabled"] = False
    table |= _authentication(one, wanted)
    if _wanted(table, settings, receiver) is None:
        yield f"# {name}: it cannot be written as a table. It stays unmanaged."
    else:
        yield from _lines(table)


def _place(
    event: str, url_template: str, settings: Settings, receiver: Receiver, redact: Redact
) -> tuple[Table, Wanted | None]:
    """Return the keys for where a subscription sends, by route if possible, and what they then declare."""
    route = receiver.route_of(event, url_template)
    for place in (Table(), Table(route=route)):
        wanted = _wanted({"events": [event], **place}, settings, receiver)
        if wanted is not None and wanted.url_template == url_template:
            return place, wanted
    place = {"url_template": redact(url_template)}
    return place, _wanted({"events": [event], **place}, settings, receiver)


def _authentication(one: Subscription, wanted: Wanted | None) -> Table:
    """Return the keys for a subscription's credential, none if it is what its route accepts."""
    header, username = one.header_auth_key, one.basic_auth_username
    if not one.authentication_is_known:
        return {}
    kind, name = ("header", header) if header else ("basic", username) if username else ("none", "")
    own = wanted and wanted.authentication
    if own and own.kind == kind and own.name.lower() == (name or "").lower():
        return {}
    names = {"header": "header", "basic": "basic_username"}
    return {"authentication": kind, **({names[kind]: name} if kind in names else {})}


def _wanted(table: Mapping[str, object], settings: Settings, receiver: Receiver) -> Wanted | None:
    """Return the subscription that a table would declare, None if the table would be rejected."""
    try:
        (wanted,) = wanted_of([SubscriptionSettings.model_validate(table)], settings, receiver).subscriptions
    except (ValidationError, SettingsError):
        return None
    return wanted


def _lines(table: Mapping[str, object]) -> Iterator[str]:
    yield "[[subscriptions]]"
    for name, value in table.items():
        yield f"{name} = {_toml(value)}"


def _toml(value: object) -> str:
    """Return a value in TOML. Strings, lists and booleans are written as in JSON, but JSON does not escape DEL."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml(name)} = {_toml(inner)}" for name, inner in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
