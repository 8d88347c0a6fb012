"""When the daemon looks at Aurora's subscriptions, and what it says of them."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

import pytest

from aurora_bridge.aurora.checks import Check, Finding
from aurora_bridge.aurora.errors import ApiReason, AuroraError
from aurora_bridge.aurora.inspection import Inspection, State
from aurora_bridge.aurora.subscription import Subscription
from aurora_bridge.aurora.watch import SubscriptionWatch
from aurora_bridge.daemon import make_metrics

CALL: Final = "GET /tenants/t-1/webhooks"
AWAY: Final = AuroraError(ApiReason.UNREACHABLE, CALL, "no connection to api.example.com (Connection refused)")
DENIED: Final = AuroraError(ApiReason.NOT_PROVISIONED, CALL, "the API key is not provisioned for this call (403)")
OFF: Final = Inspection(
    {("lead_created", State.DISABLED): 1},
    [Finding(Check.SWITCHED_OFF, "id-1, lead_created", "it is switched off. Fix it.", events=["lead_created"])],
)
GOOD: Final = Inspection({("lead_created", State.ENABLED): 1}, [])


class Enough(Exception):  # noqa: N818 - ends a test
    """The script is over."""


class Watching:
    """A watch of an Aurora that answers by a script: each an inspection, or what is raised."""

    def __init__(self, *script: Inspection | Exception, chance: float = 0.5) -> None:
        self.script = list(script)
        self.metrics = make_metrics()
        self.now = 0.0
        self.looked: list[float] = []
        self._found = GOOD
        self.watch = SubscriptionWatch(
            self._fetch,
            lambda _: self._found,
            self.metrics,
            900,
            sleep=self._sleep,
            clock=lambda: self.now,
            chance=lambda: chance,
        )

    async def run(self) -> None:
        """Run until the script is over, however often it has to be started again."""
        for _ in range(len(self.script)):
            try:
                await self.watch.run()
            except Enough:
                return
            except ZeroDivisionError:
                continue

    async def _fetch(self) -> Sequence[Subscription]:
        self.looked.append(self.now)
        if not self.script:
            raise Enough
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        self._found = step
        return []

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


async def test_it_looks_at_once_and_then_every_so_often() -> None:
    watching = Watching(GOOD, GOOD)
    await watching.run()
    assert watching.looked == [0, 900, 1800]


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 675), (1.0, 1125)])
async def test_chance_spreads_the_replicas(chance: float, seconds: float) -> None:
    watching = Watching(GOOD, chance=chance)
    await watching.run()
    assert watching.looked == [0, seconds]


async def test_after_a_failure_it_looks_sooner_and_less_and_less_so() -> None:
    watching = Watching(*[AWAY] * 7, GOOD)
    await watching.run()
    assert [after - before for before, after in zip(watching.looked, watching.looked[1:], strict=False)] == [
        *(30, 60, 120, 240, 480, 900, 900),
        900,
    ]


async def test_a_failure_of_weeks_is_like_any_other() -> None:
    watching = Watching(*[AWAY] * 2000, GOOD)
    await watching.run()
    assert watching.watch.seen.error is None


async def test_whatever_is_raised_the_next_look_keeps_its_distance() -> None:
    watching = Watching(ZeroDivisionError(), GOOD)
    await watching.run()
    assert watching.looked == [0, 900, 1800]


async def test_what_is_found_is_in_the_metrics_until_it_is_gone() -> None:
    watching = Watching()
    metrics, watch = watching.metrics, watching.watch
    assert metrics.api_last_success[()] == 0
    for found, disabled in ((OFF, 1), (GOOD, 0)):
        watching.script = [found]
        await watch.poll()
        assert metrics.subscriptions["lead_created", State.DISABLED] == disabled
        assert metrics.subscription_problems["lead_created", Check.SWITCHED_OFF] == disabled
        assert metrics.api_last_success[()] == watch.seen.time > 0


async def test_a_problem_is_logged_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await Watching(GOOD, OFF, OFF, AWAY, OFF, GOOD).run()
    said = [(record.levelname, record.getMessage(), vars(record).get("fields", {})) for record in caplog.records]
    problems = [(level, message, about["subscription"]) for level, message, about in said if "problem" in about]
    assert problems == [
        ("WARNING", "problem with Aurora's subscriptions", "id-1, lead_created"),
        ("INFO", "solved: problem with Aurora's subscriptions", "id-1, lead_created"),
    ]
    (about,) = [about for _, _, about in said if "remedy" in about and "problem" in about]
    assert about["what"] == "it is switched off"
    assert "aurora-bridge subscriptions reenable" in about["remedy"]


async def test_an_aurora_that_does_not_answer_is_told_once_for_each_reason_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    watching = Watching(AWAY, AWAY, DENIED, GOOD, AWAY)
    await watching.run()
    assert [record.getMessage() for record in caplog.records] == [
        "Aurora's subscriptions cannot be listed",
        "Aurora's subscriptions cannot be listed",
        "Aurora's subscriptions can be listed again",
        "Aurora's subscriptions cannot be listed",
    ]
    about = vars(caplog.records[1])["fields"]
    assert about == {"reason": "not_provisioned", "error": str(DENIED), "remedy": DENIED.remedy}
    counted = {reason: count for reason, count in watching.metrics.api_errors.items() if count}
    assert counted == {"unreachable": 3, "not_provisioned": 1}


async def test_while_aurora_does_not_answer_the_last_good_look_stays() -> None:
    watching = Watching(OFF, AWAY)
    await watching.watch.poll()
    seen = watching.watch.seen
    await watching.watch.poll()
    assert watching.watch.seen == (seen.time, OFF, AWAY)
    assert watching.metrics.subscription_problems["lead_created", Check.SWITCHED_OFF] == 1


def test_without_a_look_there_are_no_series() -> None:
    metrics = make_metrics(subscriptions=False)
    assert not metrics.subscriptions
    assert not metrics.subscription_problems
    assert not metrics.api_errors
    assert not metrics.api_last_success
