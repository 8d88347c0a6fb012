"""What would go wrong with the subscriptions that a plan leaves, found before Aurora sends a webhook. Pure.

Each was tried on the daemon's own routes (`trials`). If a subscription that a plan would send cannot work, that
is an error, and nothing is sent. What Aurora has already, and what is only doubtful, gives a warning.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import combinations
from typing import Final, NamedTuple

from aurora_bridge.aurora.diff import MOST_PER_EVENT, Plan
from aurora_bridge.aurora.receiver import Fate, Receiver
from aurora_bridge.aurora.subscription import Filters, Subscription
from aurora_bridge.aurora.trials import Tried, tried_actual, tried_wanted
from aurora_bridge.redaction import HIDDEN
from aurora_bridge.remedies import DEAD_LETTERS
from aurora_bridge.webhook.catalogue import CATALOGUE, UNRECOGNIZED, Recurrence, todays_name
from aurora_bridge.webhook.route_rules import HIDDEN_STATE_WINDOW_US
from aurora_bridge.webhook.segment_pattern import placeholder

_LEADS: Final = tuple(name for name in CATALOGUE if name.startswith("lead_"))


class Check(StrEnum):
    """What is checked. Those that are a `Fate`, too, have its token."""

    NO_ROUTE = "no_route"
    WRONG_EVENT = "wrong_event"
    UNAUTHORIZED = "unauthorized"
    DEAD_LETTER = "dead_letter"
    UNKNOWN_PLACEHOLDER = "unknown_placeholder"
    ELSEWHERE = "elsewhere"
    HIDDEN_STATE = "hidden_state"
    UNKNOWN_VALUE = "unknown_value"
    HIDDEN_SECRET = "hidden_secret"  # noqa: S105 - a name
    NO_SECRET = "no_secret"  # noqa: S105 - likewise
    NOT_SHOWN = "not_shown"
    TOO_MANY = "too_many"
    TWICE = "twice"
    NOT_COVERED = "not_covered"
    LEFT_OUT = "left_out"
    SWITCHED_OFF = "switched_off"
    LEADS = "leads"


class Finding(NamedTuple):
    """Something that will or may go wrong."""

    check: Check
    where: str
    """The subscription or the event, for people."""
    words: str
    """What is wrong, and what to do."""
    error: bool = False
    """Whether it has to be fixed before anything is sent."""
    events: Sequence[str] = ()
    """The events that it is about, by today's names."""

    @property
    def what(self) -> str:
        """What is wrong, without what to do."""
        return self.words.partition(". ")[0].removesuffix(".")


def check(plan: Plan, left_out: Mapping[str, str], receiver: Receiver) -> list[Finding]:
    """Return what is wrong, the errors first. Raises `OSError` for a secret file."""
    seen = [*tried_wanted(plan, receiver), *tried_actual(plan.unmanaged, receiver)]
    found = [
        *_without_secret(plan),
        *(finding for one in seen for finding in _of_one(one)),
        *_not_shown(plan),
        *_too_many(plan, seen),
        *_twice(seen),
        *_coverage(seen, left_out),
        *_switched_off(plan),
        *_leads(plan),
    ]
    return sorted(found, key=lambda finding: not finding.error)


def examine_all(
    subscriptions: Sequence[Subscription], left_out: Mapping[str, str], receiver: Receiver
) -> list[Finding]:
    """Return what is wrong with Aurora's subscriptions as they are, each by itself and all together.

    What is missing is not known where Aurora does not show all of them.
    """
    seen = list(tried_actual(subscriptions, receiver))
    missing = _coverage(seen, left_out) if len(seen) == len(subscriptions) else ()
    return [*(finding for one in seen for finding in _of_one(one)), *_twice(seen), *missing]


def examine(subscriptions: Sequence[Subscription], receiver: Receiver) -> list[Finding]:
    """Return what is wrong with each of Aurora's subscriptions by itself. Raises `OSError` for a secret file."""
    return [finding for one in tried_actual(subscriptions, receiver) for finding in _of_one(one)]


def _of_one(one: Tried) -> Iterator[Finding]:
    trial = one.trial
    if trial.fate is Fate.ELSEWHERE and one.sent:
        yield Finding(Check.ELSEWHERE, one.where, _words(one))
    elif trial.fate not in {Fate.ELSEWHERE, Fate.TAKEN}:
        yield Finding(Check(trial.fate.value), one.where, _words(one), error=one.sent, events=one.events)
    if trial.match is None:
        return
    for name in trial.unknown:
        words = (
            f"Aurora is not known to fill in {placeholder(name)} for this event. If it does not, every webhook becomes "
            "a dead letter (unfilled_placeholder). Remove the parameter unless you know better."
        )
        yield Finding(Check.UNKNOWN_PLACEHOLDER, one.where, words, events=one.events)
    if HIDDEN in one.url_template and one.sent:
        words = f"{HIDDEN} in its template would be sent as it stands. Write the secret, or remove url_template."
        yield Finding(Check.HIDDEN_SECRET, one.where, words, error=True)
    yield from _filters(one)


_FATES: Final[Mapping[Fate, str]] = {
    Fate.NO_ROUTE: (
        "no route matches its template: every webhook would get a 404. Compare it with `aurora-bridge templates`, or "
        "remove url_template to use the route's."
    ),
    Fate.UNAUTHORIZED: (
        "the route {route!r} does not accept its credential: every webhook would get a 401. Remove authentication, "
        "header, basic_username and the files to use the route's."
    ),
    Fate.WRONG_EVENT: (
        "its template leads to {taken}: every webhook would be published as {published}. Compare it with "
        "`aurora-bridge templates`."
    ),
    Fate.DEAD_LETTER: "every webhook would be a dead letter ({reason}). {remedy}",
    Fate.ELSEWHERE: (
        "its template goes to a host that is not the bridge's, and was not tried. If that is a mistake, compare it "
        "with INGRESS__PUBLIC_URL."
    ),
}


def _words(one: Tried) -> str:
    match, reason = one.trial.match, one.trial.reason
    taken = match.event if match else ""
    return _FATES[one.trial.fate].format(
        route=match.route.name if match else "",
        taken=taken,
        published=taken if taken in CATALOGUE else UNRECOGNIZED,
        reason=reason,
        remedy=DEAD_LETTERS[reason] if reason else "",
    )


def _filters(one: Tried) -> Iterator[Finding]:
    match = one.trial.match
    if match is None or not one.filters:
        return
    event_type = match.route.rules.type_of(todays_name(one.event))
    hides = event_type.recurrence is Recurrence.STATE and event_type.state_attribute in one.filters
    if hides and match.route.rules.window_us(event_type) > HIDDEN_STATE_WINDOW_US:
        words = (
            f"its filter hides some values of {event_type.state_attribute}, and the route {match.route.name!r} is not "
            "declared filtered: a state that returns unseen would be dropped as a duplicate. Give the subscription a "
            "route of its own with filtered = true."
        )
        yield Finding(Check.HIDDEN_STATE, one.where, words, error=one.sent, events=one.events)
    for attribute, allowed in one.filters.items():
        known = event_type.values.get(attribute)
        if known and (unknown := sorted(allowed - known)):
            words = (
                f"its filter has {', '.join(map(repr, unknown))}, not a known value of {attribute} "
                f"({', '.join(sorted(known))}). A misspelt value lets nothing through."
            )
            yield Finding(Check.UNKNOWN_VALUE, one.where, words, events=one.events)


def _without_secret(plan: Plan) -> Iterator[Finding]:
    for change in plan.changes:
        try:
            change.body()
        except ValueError as error:
            words = f"{error}. Add token_file or basic_file, or give the route one."
            where = f"{change.wanted.where}, {change.event}" if change.wanted else change.event
            yield Finding(Check.NO_SECRET, where, words, error=True)


def _not_shown(plan: Plan) -> Iterator[Finding]:
    """Yield what would be created but may exist already: what Aurora does not show cannot be compared."""
    hidden = [one for one in plan.unmanaged if one.event is None or one.url_template is None]
    for change in plan.changes:
        may_be = [one.id for one in hidden if todays_name(one.event or change.event) == todays_name(change.event)]
        if change.kind == "create" and may_be:
            words = (
                f"it may already exist: Aurora does not show event and template of {', '.join(may_be)}. Add the right "
                "id to its table."
            )
            yield Finding(
                Check.NOT_SHOWN, f"{change.wanted.where}, {change.event}" if change.wanted else "", words, error=True
            )


def _too_many(plan: Plan, seen: Sequence[Tried]) -> Iterator[Finding]:
    counts = Counter(todays_name(one.event) for one in seen)
    created = {todays_name(change.event) for change in plan.changes if change.kind == "create"}
    for event, count in counts.items():
        if count > MOST_PER_EVENT and event in created:
            words = (
                f"it would have {count} subscriptions; Aurora allows {MOST_PER_EVENT}. Remove some from the file, or "
                "delete some of Aurora's with --delete."
            )
            yield Finding(Check.TOO_MANY, event, words, error=True)


def _twice(seen: Sequence[Tried]) -> Iterator[Finding]:
    arriving = [(one, one.trial.event) for one in seen if one.enabled and one.trial.event is not None]
    for (one, event), (other, others) in combinations(arriving, 2):
        if (event.type, event.tenant) == (others.type, others.tenant) and _overlap(one.filters, other.filters):
            becomes = (
                "each event comes twice; the second is dropped as a duplicate, unless the event is a signal"
                if event.fingerprint == others.fingerprint
                else "each event is published twice, with different attributes and ids"
            )
            words = f"{other.where} delivers the same: {becomes}. Remove one, or give them filters that do not overlap."
            yield Finding(Check.TWICE, one.where, words, events=one.events)


def _overlap(one: Filters, other: Filters) -> bool:
    """Whether both let the same event through."""
    return all(allowed & other[name] for name, allowed in one.items() if name in other)


def _coverage(seen: Sequence[Tried], left_out: Mapping[str, str]) -> Iterator[Finding]:
    covered = {todays_name(one.event) for one in seen if one.trial.fate is not Fate.ELSEWHERE}
    core = [name for name, event_type in CATALOGUE.items() if event_type.core]
    if missing := [name for name in core if name not in covered and name not in left_out]:
        words = "no subscription. Add it to the events of a table, or to those of a table with left_out = true."
        yield Finding(Check.NOT_COVERED, ", ".join(missing), words, error=True, events=missing)
    for name in sorted(covered & left_out.keys()):
        words = f"{left_out[name]} leaves it out, but it has a subscription. Remove one or the other."
        yield Finding(Check.LEFT_OUT, name, words, events=(name,))


def _switched_off(plan: Plan) -> Iterator[Finding]:
    for wanted, actual in plan.pairs:
        if wanted.enabled and actual.enabled is False:
            words = (
                "it is switched off, perhaps by Aurora, and sends nothing. Fix the cause, then run aurora-bridge "
                f"subscriptions reenable {actual.id}"
            )
            yield Finding(Check.SWITCHED_OFF, f"{wanted.where}, {wanted.event} ({actual.id})", words)


def _leads(plan: Plan) -> Iterator[Finding]:
    there = {pair.wanted.event for pair in plan.pairs} | {one.event for one in plan.unmanaged}
    created = [change.event for change in plan.changes if change.kind == "create" and change.event in _LEADS]
    if created and not there & set(_LEADS):
        words = (
            "some tenants do not have lead events, and yours has no subscription to one yet. If Aurora refuses them "
            "(403 or 422), move them to a table with left_out = true."
        )
        yield Finding(Check.LEADS, ", ".join(created), words)
