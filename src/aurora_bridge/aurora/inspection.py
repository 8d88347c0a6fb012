"""Inspects Aurora's subscriptions: counts them by event, and finds what is wrong with them.

Each is tried on the daemon's own routes (`checks`). Of a credential only the header's or user's name can be checked:
Aurora does not show the secret. Pure, except that it reads the routes' secret files.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from aurora_bridge.aurora.checks import Check, Finding, examine_all
from aurora_bridge.aurora.receiver import Receiver
from aurora_bridge.aurora.subscription import Subscription
from aurora_bridge.settings import SubscriptionSettings
from aurora_bridge.webhook.catalogue import CATALOGUE, UNRECOGNIZED, todays_name

_REENABLE: Final = (
    "Correct what made its webhooks fail, then run aurora-bridge subscriptions reenable with its event or id. Aurora's "
    "support can re-send what was missed, up to 30 days back. If it should be off, declare it with enabled = false "
    "below [[subscriptions]]."
)
SUBSCRIPTION_REMEDIES: Final[Mapping[Check, str]] = MappingProxyType(
    {
        Check.SWITCHED_OFF: _REENABLE,
        Check.NO_ROUTE: (
            "Paste the template of `aurora-bridge templates` into Aurora, or add a route for this one. If it is meant "
            "for another receiver, set INGRESS__PUBLIC_URL, so that the bridge knows its own host."
        ),
        Check.WRONG_EVENT: "Paste the template of `aurora-bridge templates` for its event into Aurora.",
        Check.UNAUTHORIZED: (
            "Correct its authentication in Aurora: the route's header (AUTH__HEADER), or Basic with a user of the "
            "route's file. The secret itself cannot be checked, since Aurora does not show it."
        ),
        Check.DEAD_LETTER: "Paste the template of `aurora-bridge templates` into Aurora.",
        Check.UNKNOWN_PLACEHOLDER: (
            "If its webhooks become dead letters (unfilled_placeholder), remove the parameter from the template."
        ),
        Check.HIDDEN_STATE: (
            "Give the subscription a route of its own with filtered = true, or remove the filter: a state that returns "
            "unseen would be dropped as a duplicate."
        ),
        Check.UNKNOWN_VALUE: "Compare its filter with the values of the event: a misspelt one lets nothing through.",
        Check.TWICE: "Remove one of them in Aurora, or give them filters that do not overlap.",
        Check.NOT_COVERED: (
            "Subscribe to it in Aurora, or name it below [[subscriptions]] in a table with left_out = true."
        ),
        Check.LEFT_OUT: "Remove it in Aurora, or remove the event from the table with left_out = true.",
    }
)
"""Remedies by problem."""


class State(StrEnum):
    """Whether a subscription sends, and where to."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    ELSEWHERE = "elsewhere"


class Inspection(NamedTuple):
    """The result of an inspection."""

    counts: Mapping[tuple[str, State], int]
    """Subscriptions by event and state; `unrecognized` stands for events that the bridge does not know."""
    findings: Sequence[Finding]
    """What is wrong, subscriptions that are off first."""

    @property
    def silent(self) -> Sequence[str]:
        """Known events that do not arrive: a subscription is off that is not declared as off, and none is on."""
        off = [event for one in self.findings if one.check is Check.SWITCHED_OFF for event in one.events]
        return [one for one in dict.fromkeys(off) if one in CATALOGUE and (one, State.ENABLED) not in self.counts]

    @property
    def problems(self) -> Mapping[tuple[str, Check], int]:
        """The number of findings by event and kind."""
        return Counter((_known(event), finding.check) for finding in self.findings for event in finding.events)


def inspect(
    subscriptions: Sequence[Subscription], tables: Sequence[SubscriptionSettings], receiver: Receiver
) -> Inspection:
    """Return what is wrong with Aurora's subscriptions; `tables` declare which are intentionally off or left out."""
    counts = Counter((_event(one), _state(one, receiver)) for one in subscriptions)
    paused = [one for one in subscriptions if one.enabled is False and _is_to_be_off(one, tables)]
    others = [one for one in subscriptions if one not in paused]
    on_purpose = {
        todays_name(event): f"[[subscriptions]] number {number}"
        for number, table in enumerate(tables, 1)
        if table.left_out
        for event in table.events
    }
    on_purpose |= {_event(one): "" for one in paused if _event(one) not in map(_event, others)}
    return Inspection(
        MappingProxyType(counts),
        [
            *(_switched_off(one) for one in others if _state(one, receiver) is State.DISABLED),
            *examine_all(others, on_purpose, receiver),
        ],
    )


def _switched_off(one: Subscription) -> Finding:
    where = f"{one.id}, {one.event or 'of an event that Aurora does not show'}"
    return Finding(Check.SWITCHED_OFF, where, f"it is switched off. {_REENABLE}", events=[_event(one)])


def _state(one: Subscription, receiver: Receiver) -> State:
    if one.url_template is not None and not receiver.comes_here(one.url_template):
        return State.ELSEWHERE
    return State.DISABLED if one.enabled is False else State.ENABLED


def _is_to_be_off(one: Subscription, tables: Sequence[SubscriptionSettings]) -> bool:
    """Whether all tables that may mean this subscription have `enabled = false`."""
    event = todays_name(one.event or "")
    meant = [
        table
        for table in tables
        if not table.left_out and event in map(todays_name, table.events) and table.id in {"", one.id}
    ]
    return bool(meant) and not any(table.enabled for table in meant)


def _event(one: Subscription) -> str:
    return _known(todays_name(one.event or ""))


def _known(event: str) -> str:
    """Return an event's metric label: text from Aurora never becomes one."""
    return event if event in CATALOGUE else UNRECOGNIZED
