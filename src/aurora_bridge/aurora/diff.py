"""What has to change in Aurora, so that it has the subscriptions that the file declares. Pure.

Any other subscription stays unchanged, unless its id is named for deletion. Nothing is switched on again, since Aurora
may have switched it off for a reason: that takes an operator, with `subscriptions reenable`.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from aurora_bridge.aurora.desired import Authentication, Wanted
from aurora_bridge.aurora.matching import Redact, paired
from aurora_bridge.aurora.subscription import Filters, Subscription
from aurora_bridge.redaction import HIDDEN
from aurora_bridge.webhook.catalogue import todays_name
from aurora_bridge.webhook.segment_pattern import placeholder

MOST_PER_EVENT: Final = 5
"""Aurora's documented limit of subscriptions for an event and tenant."""
_DESCRIPTION: Final = "aurora-bridge"
"""Description of a new subscription whose table has none."""
_CREDENTIALS: Final = {
    "header": ("header_auth_key", "header_auth_value"),
    "basic": ("basic_auth_username", "basic_auth_password"),
}


class Difference(NamedTuple):
    """A field that differs, for people to read: nothing secret."""

    field: str
    before: str
    """Empty for a new subscription."""
    after: str | None
    """None if it cannot be compared, since Aurora does not show it."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change to one subscription."""

    kind: Literal["create", "update", "delete"]
    event: str
    id: str
    """Empty for a new one."""
    differences: Sequence[Difference] = ()
    fields: Mapping[str, object] = field(default_factory=dict, repr=False)
    """Fields of the API, without the credential."""
    wanted: Wanted | None = None
    credential: Authentication | None = None
    """Sent along with the fields."""

    def body(self) -> dict[str, object]:
        """Return the fields to send, including the credential's secret. Raises `ValueError`, `OSError`."""
        if self.credential is None:
            return dict(self.fields)
        names = _CREDENTIALS[self.credential.kind]
        return {**self.fields, **dict(zip(names, (self.credential.name, self.credential.secret()), strict=True))}


class Pair(NamedTuple):
    """A wanted subscription, and its counterpart at Aurora."""

    wanted: Wanted
    actual: Subscription


class Plan(NamedTuple):
    """All changes to make, and what stays unchanged."""

    wanted: Sequence[Wanted]
    changes: Sequence[Change]
    pairs: Sequence[Pair]
    """Every wanted subscription that Aurora has, whether it changes or not."""
    unmanaged: Sequence[Subscription]
    """Aurora's subscriptions that no table declares and whose id was not named for deletion."""
    not_compared: Mapping[str, int]
    """By field, the number of subscriptions of which Aurora does not show it."""
    not_there: Sequence[str]
    """Ids in the file that are unknown to Aurora."""


def plan(
    wanted: Sequence[Wanted],
    actual: Sequence[Subscription],
    redact: Redact,
    *,
    delete: Collection[str] = (),
    resend_credentials: bool = False,
) -> Plan:
    """Return what has to change; `redact` hides secrets in templates.

    With `resend_credentials` every secret is sent again, since Aurora's cannot be compared.
    """
    left = [one for one in actual if one.id not in delete]
    pairs = paired(wanted, left, redact)
    creates, updates, unknown = [], [], Counter[str]()
    for place, one in enumerate(wanted):
        if place not in pairs:
            creates.append(_create(one, redact))
            continue
        found = list(_differences(one, pairs[place], redact, resend_credentials=resend_credentials))
        unknown.update(difference.field for difference in found if difference.after is None)
        if differences := [difference for difference in found if difference.after is not None]:
            updates.append(_update(one, pairs[place], differences))
    deletes = [Change("delete", one.event or "an unknown event", one.id) for one in actual if one.id in delete]
    known = {one.id for one in actual}
    return Plan(
        wanted,
        [*updates, *_in_order(creates, deletes, actual)],
        [Pair(one, pairs[place]) for place, one in enumerate(wanted) if place in pairs],
        [one for one in left if one not in pairs.values()],
        unknown,
        [one.id for one in wanted if one.id and one.id not in known],
    )


def filters_in_words(filters: Filters) -> str:
    """Return filters for people to read."""
    return "; ".join(f"{name}: {', '.join(allowed)}" for name, allowed in as_placeholders(filters).items()) or "none"


def as_placeholders(filters: Filters) -> dict[str, list[str]]:
    """Return filters in the API's form, by placeholder."""
    return {placeholder(name): sorted(allowed) for name, allowed in sorted(filters.items())}


def _in_order(creates: Sequence[Change], deletes: Sequence[Change], actual: Sequence[Subscription]) -> list[Change]:
    """Delete after creating, so that nothing is missed in between; before it if an event is at Aurora's limit."""
    counts = Counter(todays_name(one.event or "") for one in actual)
    counts.update(todays_name(one.event) for one in creates)
    first = [one for one in deletes if counts[todays_name(one.event)] > MOST_PER_EVENT]
    return [*first, *creates, *(one for one in deletes if one not in first)]


def _differences(
    wanted: Wanted, actual: Subscription, redact: Redact, *, resend_credentials: bool
) -> Iterator[Difference]:
    if actual.url_template is None:
        yield Difference("url_template", "", None)
    elif wanted.url_template != actual.url_template:
        before, after = redact(actual.url_template), redact(wanted.url_template)
        if before != after:
            yield Difference("url_template", before, after)
        elif HIDDEN not in wanted.url_template:
            yield Difference("url_template", before, f"{after} (with another secret)")
    if actual.filters is None:
        if wanted.filters:
            yield Difference("filters", "", None)
    elif actual.filters != wanted.filters:
        yield Difference("filters", filters_in_words(actual.filters), filters_in_words(wanted.filters))
    if wanted.description not in {None, actual.description}:
        words = None if actual.description is None else repr(wanted.description)
        yield Difference("description", repr(actual.description), words)
    if not wanted.enabled and actual.enabled is not False:
        yield Difference("enabled", "true", None if actual.enabled is None else "false")
    yield from _of_authentication(wanted.authentication, actual, resend_credentials=resend_credentials)


def _of_authentication(
    wanted: Authentication, actual: Subscription, *, resend_credentials: bool
) -> Iterator[Difference]:
    header, username = actual.header_auth_key, actual.basic_auth_username
    known = actual.authentication_is_known
    shown = [*([f"header {header}"] if header else []), *([f"Basic as {username}"] if username else [])]
    before = (" and ".join(shown) or "none") if known else "unknown"
    after = wanted.words
    if known and before.lower() != after.lower():  # header names are case-insensitive
        yield Difference("authentication", before, after)
    elif wanted.kind == "none":
        if not known:
            yield Difference("authentication", "", None)
    elif resend_credentials:
        yield Difference("authentication", before, f"{after}, its secret sent again")
    else:
        yield Difference("secret" if known else "authentication", "", None)


def _create(wanted: Wanted, redact: Redact) -> Change:
    description = _DESCRIPTION if wanted.description is None else wanted.description
    fields = {
        "event": wanted.event,
        "url_template": wanted.url_template,
        "description": description,
        "enabled": wanted.enabled,
    }
    shown = {"url_template": redact(wanted.url_template)}
    if wanted.filters:
        fields["filters"] = as_placeholders(wanted.filters)
        shown["filters"] = filters_in_words(wanted.filters)
    shown |= {"authentication": wanted.authentication.words, "description": repr(description)}
    if not wanted.enabled:
        shown["enabled"] = "false"
    differences = [Difference(name, "", words) for name, words in shown.items()]
    return Change("create", wanted.event, "", differences, fields, wanted, _credential(wanted))


def _update(wanted: Wanted, actual: Subscription, differences: Sequence[Difference]) -> Change:
    values = {
        "url_template": wanted.url_template,
        "filters": as_placeholders(wanted.filters),
        "description": wanted.description,
        "enabled": wanted.enabled,
    }
    names = {difference.field for difference in differences}
    fields = {name: value for name, value in values.items() if name in names}
    if "authentication" not in names:
        return Change("update", wanted.event, actual.id, differences, fields, wanted)
    for kind, pair in _CREDENTIALS.items():
        if kind != wanted.authentication.kind and getattr(actual, pair[0]):
            fields |= dict.fromkeys(pair, "")
    return Change("update", wanted.event, actual.id, differences, fields, wanted, _credential(wanted))


def _credential(wanted: Wanted) -> Authentication | None:
    return None if wanted.authentication.kind == "none" else wanted.authentication
