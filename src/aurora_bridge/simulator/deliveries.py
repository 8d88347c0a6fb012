"""Deliveries, as the ledger keeps them: one event for one subscription, with its attempts and answers."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from random import Random
from typing import Any, Final, NamedTuple

from aurora_bridge.redaction import SecretNames
from aurora_bridge.simulator.fill_template import Spaces, fill
from aurora_bridge.simulator.subscriptions import Subscription
from aurora_bridge.simulator.values import new_id

RETRY_SECONDS: Final = (30.0, 300.0, 1800.0, 10_800.0, 72_000.0)
"""Documented intervals between one attempt and the next, which are approximate."""
JITTER: Final = 0.015
"""Largest share by which an interval varies, so that the last retry comes within 24 h. Aurora's own is not known."""
_SECRETS: Final = SecretNames(("token", "session_token", "api_key", "password", "secret"))
"""Names of static parameters with which some subscriptions authenticate."""


class State(StrEnum):
    """State of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Its last retry failed."""
    ENDED = "ended"
    """Its subscription was disabled or deleted."""


class Answer(NamedTuple):
    """The answer to an attempt."""

    status: int | None
    """None if there was no answer in time."""
    text: str
    """The body's beginning, or why there is none."""

    @property
    def succeeded(self) -> bool:
        """Whether it is a 2xx: to Aurora everything else is a failure, even a redirect (documented)."""
        return self.status is not None and self.status // 100 == 2  # noqa: PLR2004 - the class of RFC 9110


@dataclass(slots=True)
class Delivery:
    """An event for a subscription, with its attempts so far: time, URL and answer."""

    number: int
    subscription: str
    event: str
    attributes: Mapping[str, str]
    state: State = State.PENDING
    attempts: list[tuple[float, str, Answer]] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        """Return it as a JSON document, with asterisks for secrets in URLs."""
        return {
            "delivery": self.number,
            "event": self.event,
            "attributes": dict(self.attributes),
            "subscription": self.subscription,
            "state": self.state,
            "attempts": [shown_attempt(*attempt) for attempt in self.attempts],
        }


class Request(NamedTuple):
    """One attempt, ready to be sent."""

    delivery: Delivery
    url: str
    headers: Mapping[str, str]
    at: float
    """Seconds since the epoch, by the simulated clock."""


def shown_attempt(at: float, url: str, answer: Answer) -> dict[str, Any]:
    """Return an attempt as a JSON document, with asterisks for secrets in its URL."""
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"at": when, "url": redacted(url), "status": answer.status, "answer": answer.text}


def request(delivery: Delivery, subscription: Subscription, at: float, spaces: Spaces, random: Random) -> Request:
    """Return the next attempt of a delivery, by the present definition of its subscription."""
    attributes = dict(delivery.attributes)
    if subscription.of_partner:  # a session token is single-use, so each attempt has its own
        attributes |= {"tenant_id": attributes.get("tenant_id", "simulated"), "session_token": new_id(random)}
    return Request(delivery, fill(subscription.url_template, attributes, spaces), credentials(subscription), at)


def credentials(subscription: Subscription) -> Mapping[str, str]:
    """Return the header that authenticates Aurora to a receiver."""
    if subscription.header_auth_key:
        return {subscription.header_auth_key: subscription.header_auth_value}
    if subscription.basic_auth_username:
        pair = f"{subscription.basic_auth_username}:{subscription.basic_auth_password}"
        return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
    return {}


def redacted(url: str) -> str:
    """Return a URL with asterisks for its secrets."""
    return _SECRETS.redact_target(url.encode())
