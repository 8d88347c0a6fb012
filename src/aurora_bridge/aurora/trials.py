"""Tries subscriptions on the daemon's own routes (`receiver`), with the credentials that Aurora would send.

They are those that a plan leaves, or those that Aurora has. `checks` says what is wrong with the results.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from aurora_bridge.aurora.desired import Wanted
from aurora_bridge.aurora.diff import Plan
from aurora_bridge.aurora.receiver import Header, Receiver, Trial
from aurora_bridge.aurora.subscription import Filters, Subscription
from aurora_bridge.redaction import HIDDEN
from aurora_bridge.webhook.catalogue import todays_name


@dataclass(frozen=True, slots=True)
class Tried:
    """A subscription, and how a webhook of it would fare."""

    where: str
    event: str
    url_template: str = field(repr=False)
    filters: Filters
    enabled: bool
    trial: Trial
    sent: bool = False
    """Whether the plan sends it, or a change of it."""

    @property
    def events(self) -> Sequence[str]:
        """Its event, by today's name."""
        return (todays_name(self.event),)


def tried_wanted(plan: Plan, receiver: Receiver) -> Iterator[Tried]:
    """Yield what the file wants, as the plan leaves it. Raises `OSError` for a secret file."""
    there = {id(pair.wanted): pair.actual for pair in plan.pairs}
    sent = {id(change.wanted) for change in plan.changes}
    for one in plan.wanted:
        actual = there.get(id(one))
        url_template = one.url_template
        if HIDDEN in url_template and actual is not None and actual.url_template:
            url_template = actual.url_template
        trial = receiver.try_out(one.event, url_template, _credentials(one, receiver))
        where = f"{one.where}, {one.event}{f' ({actual.id})' if actual else ''}"
        yield Tried(where, one.event, one.url_template, one.filters, one.enabled, trial, sent=id(one) in sent)


def _credentials(one: Wanted, receiver: Receiver) -> Sequence[Sequence[Header]]:
    """Return what Aurora sends: with the file's secret, or with any of the route's where the file names none."""
    if one.authentication.kind == "none" or one.authentication.file is not None:
        try:
            return [one.authentication.headers()]
        except ValueError:  # its file has no secret, or none of this user
            return []
    route = receiver.route_of(one.event, one.url_template)
    name = one.authentication.name
    by_header = one.authentication.kind == "header"
    return [] if route is None else receiver.credentials(route, name * by_header, name * (not by_header))


def tried_actual(subscriptions: Sequence[Subscription], receiver: Receiver) -> Iterator[Tried]:
    """Yield what Aurora has, except what it does not show."""
    for one in subscriptions:
        if one.event is None or one.url_template is None:
            continue
        trial = receiver.try_out(one.event, one.url_template, _shown_credentials(one, receiver))
        enabled = one.enabled is not False
        yield Tried(f"{one.id}, {one.event}", one.event, one.url_template, one.filters or {}, enabled, trial)


def _shown_credentials(one: Subscription, receiver: Receiver) -> Sequence[Sequence[Header]] | None:
    """Return the headers with which one of Aurora's may send.

    None where Aurora does not show which, or the secrets of its route cannot be read.
    """
    route = receiver.route_of(one.event or "", one.url_template or "")
    if route is None or not one.authentication_is_known:
        return None
    try:
        return receiver.credentials(route, one.header_auth_key or "", one.basic_auth_username or "")
    except (OSError, ValueError):
        return None
