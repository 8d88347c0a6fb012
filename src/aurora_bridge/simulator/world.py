"""Makes a simulation from subscriptions, stories and scenarios: the same one for the same seed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from math import inf

from aurora_bridge.simulator.aurora import Aurora
from aurora_bridge.simulator.engine import World
from aurora_bridge.simulator.fill_template import Spaces
from aurora_bridge.simulator.scenarios import Disturbances, Scenario
from aurora_bridge.simulator.stories import STORIES, Occurrence, Step, occurrences
from aurora_bridge.simulator.subscriptions import Subscription

DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate."""

    subscriptions: Sequence[Subscription] = ()
    """Initial subscriptions; the API can add others."""
    seed: int = 0
    stories: Mapping[str, Sequence[Step]] = field(default_factory=lambda: STORIES)
    stories_per_day: float = 0.0
    """0 for no stories: then only what is triggered happens."""
    days: float = inf
    """Simulated days after which the stories end."""
    scenarios: frozenset[Scenario] = frozenset()
    """Scenarios; the time span of those that have one is the second day."""
    spaces: Spaces = Spaces.PERCENT


def make_world(plan: Plan, now: Callable[[], float]) -> World:
    """Return a world that begins now. Raises `RefusedError` if an event has too many subscriptions."""
    begin = now()
    second_day = (begin + DAY_SECONDS, begin + 2 * DAY_SECONDS)
    aurora = Aurora(plan.seed, plan.spaces, Disturbances(plan.scenarios, *second_day))
    for subscription in plan.subscriptions:
        aurora.change(subscription)
    happening: Iterator[Occurrence] = iter(())
    if plan.stories_per_day:
        end = begin + plan.days * DAY_SECONDS
        endless = occurrences(plan.seed, begin, plan.stories_per_day, plan.stories)
        happening = takewhile(lambda one: one.at < end, endless)
    if Scenario.RESEND in plan.scenarios:
        return World(aurora, begin, happening, resend_at=second_day[1], resend_since=second_day[0])
    return World(aurora, begin, happening)
