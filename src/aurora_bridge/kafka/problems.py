"""What is wrong between the daemon and Kafka: what holds now is in readiness and metrics, changes are logged.

A broker that cannot be used counts until a connection to it works, or Kafka names it no more; a denied operation until
it is let through. `client`, `producer_client` and `topics` report here; `reasons` has the words.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping

from aiokafka.errors import BrokerResponseError

from aurora_bridge.kafka.error_actions import WRITE_DENIED
from aurora_bridge.kafka.reasons import CREDENTIALS_REFUSED, NOT_CREATED, Problem, explain, names, not_created
from aurora_bridge.kafka.tokens import TokenError
from aurora_bridge.logs import fields
from aurora_bridge.metrics import Metrics

log = logging.getLogger(__name__)

_REFUSED_SECONDS = 2.0
"""Between two attempts with credentials that a broker refuses: it may count them, and lock the user out."""
_PASSING = {"unreachable", "throttled"}
"""What needs nobody at once."""


class Problems:
    """The problems that hold now."""

    def __init__(self, metrics: Metrics) -> None:
        self._gauge = metrics.kafka_problem
        self._brokers: dict[str, Problem] = {}
        self._others: dict[str, Problem] = {}
        self.refused_topics: dict[str, str] = {}
        """Topics that Kafka refused when it was last sent records to them, with its word for why."""
        self.creating = False
        """Whether missing topics are being created: until Kafka has answered, that they are missing is no problem."""
        self._not_created: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[Problem]:
        yield from self._brokers.values()
        yield from self._others.values()

    def pause(self, seconds: float) -> float:
        """Return how long to wait before the next attempt to connect: `seconds`, longer with refused credentials."""
        refused = any(problem.reason in CREDENTIALS_REFUSED for problem in self._brokers.values())
        return max(seconds, _REFUSED_SECONDS) if refused else seconds

    def _hold(self, reason: str) -> bool:
        return any(problem.reason == reason for problem in self)

    # Brokers, by address.

    def unusable(self, address: str) -> bool:
        """Whether the last attempt to connect to this broker failed."""
        return address in self._brokers

    def connection(self, address: str, error: BaseException | None) -> None:
        """Note how an attempt to connect ended; `error` None: it works."""
        self._replace(self._brokers, address, None if error is None else explain(error, address))

    def only(self, addresses: Iterable[str]) -> None:
        """Forget the brokers that are none of these: Kafka does not name them any more."""
        for address in self._brokers.keys() - set(addresses):
            self._replace(self._brokers, address, None)

    def token(self, error: BaseException | None) -> None:
        """Note how an attempt to obtain a token ended; `error` None: there is one."""
        problem = Problem(error.reason, error.about, error.why) if isinstance(error, TokenError) else None
        self._replace(self._others, "token", problem)

    # Topics that Kafka refuses when it is sent records.

    def refused(self, topic: str, reason: str) -> None:
        """Note that Kafka refuses a topic, with its word for why."""
        self.refused_topics[topic] = reason
        self._sort_refused()

    def accepted(self, topic: str) -> None:
        """Note that Kafka took records of a topic that it had refused."""
        del self.refused_topics[topic]
        self._sort_refused()

    def _sort_refused(self) -> None:
        denied = {topic for topic, reason in self.refused_topics.items() if reason == WRITE_DENIED}
        self.set("write_denied", denied)
        self.set("topic_refused", self.refused_topics.keys() - denied)

    # All else, by reason.

    def set(self, reason: str, about: Iterable[str]) -> None:
        """Note what a reason holds for now; nothing clears it."""
        now = set(about)
        if reason == "topic_missing":
            now -= self._not_created
        self._replace(self._others, reason, Problem(reason, names(now)) if now else None)

    def not_created(self, failed: Mapping[str, BrokerResponseError]) -> None:
        """Note which topics cannot be created now, with Kafka's error for each: they are not told as missing, too."""
        self._not_created = frozenset(failed)
        found = {problem.reason: problem for problem in not_created(failed)}
        for reason in NOT_CREATED:
            self._replace(self._others, reason, found.get(reason))

    def _replace(self, held: dict[str, Problem], key: str, problem: Problem | None) -> None:
        before = held.pop(key, None)
        if problem is not None:
            held[key] = problem
        if problem == before:
            return
        for old_or_new in (before, problem):
            if old_or_new is not None:
                self._gauge[old_or_new.reason] = int(self._hold(old_or_new.reason))
        if problem is not None:
            level = logging.WARNING if problem.reason in _PASSING else logging.ERROR
            log.log(level, "Kafka: %s", problem, extra=fields(reason=problem.reason))
        elif before is not None:
            log.info("Kafka: %s: no problem any more", before.about, extra=fields(reason=before.reason))
