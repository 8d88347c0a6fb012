"""What `simulate run --scenario` lets go wrong on purpose, some of it during a span of time."""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Final

from aurora_bridge.simulator.deliveries import Request, credentials
from aurora_bridge.simulator.subscriptions import Subscription

_SHARE_TWICE: Final = 0.1
_SECONDS_LATER: Final = 2.0
_MOST_LATE_SECONDS: Final = 3600.0
_LAST_PLACEHOLDER = re.compile(r"<([^<>]*)>(?!.*<)")
WRONG: Final = "wrong"


class Scenario(StrEnum):
    """Something that can go wrong."""

    OUTAGE = "outage"
    """Nothing reaches the receiver."""
    BAD_TOKEN = "bad-token"  # noqa: S105 - a name
    """Deliveries have a credential that the receiver does not expect."""
    WRONG_TEMPLATE = "wrong-template"
    """The last placeholder of each template is unknown to Aurora."""
    RESEND = "re-send"
    """Everything sent during the span is sent again at its end."""
    DUPLICATES = "duplicates"
    """One delivery in ten is sent twice, all the time."""
    DISORDER = "disorder"
    """Each delivery is up to an hour late, all the time, so that `signed` can arrive before `viewed`."""


@dataclass(frozen=True, slots=True)
class Disturbances:
    """Scenarios, and the time span for those that have one (seconds since the epoch)."""

    scenarios: frozenset[Scenario] = frozenset()
    begin: float = 0.0
    end: float = 0.0

    def delays(self, random: Random) -> tuple[float, ...]:
        """Return the delay of each copy of a delivery."""
        late = random.uniform(0, _MOST_LATE_SECONDS) if Scenario.DISORDER in self.scenarios else 0.0
        twice = Scenario.DUPLICATES in self.scenarios and random.random() < _SHARE_TWICE
        return (late, late + _SECONDS_LATER) if twice else (late,)

    def disturb(self, asked: Request, subscription: Subscription) -> Request:
        """Return an attempt as it is sent; with an empty URL, it is not."""
        if not self.begin <= asked.at < self.end:
            return asked
        if Scenario.OUTAGE in self.scenarios:
            return asked._replace(url="")
        if Scenario.BAD_TOKEN in self.scenarios:
            name, password = subscription.header_auth_key, subscription.basic_auth_username and WRONG
            wrong = replace(subscription, header_auth_value=name and WRONG, basic_auth_password=password)
            asked = asked._replace(headers=credentials(wrong))
        return asked

    def template(self, template: str, now: float) -> str:
        """Return the template to fill at this time."""
        if Scenario.WRONG_TEMPLATE not in self.scenarios or not self.begin <= now < self.end:
            return template
        return _LAST_PLACEHOLDER.sub(r"<\1_UNKNOWN>", template)
