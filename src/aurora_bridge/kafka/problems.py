"""Current problems between the daemon and Kafka: shown by readiness and metrics, and logged when they change.

An unusable broker is a problem until a connection to it works, or Kafka no longer lists it; a denied operation, until
it is allowed. `client`, `producer_client` and `create_topics` report here; `problem_reasons` has the texts.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping

from aiokafka.errors import BrokerResponseError

from aurora_bridge.kafka.error_actions import WRITE_DENIED
from aurora_bridge.kafka.problem_reasons import CREDENTIALS_REFUSED, NOT_CREATED, Problem, explain, names, not_created
from aurora_bridge.kafka.tokens import TokenError
from aurora_bridge.logs import fields
from aurora_bridge.metrics import Metrics

log = logging.getLogger(__name__)

_REFUSED_SECONDS = 2.0
"""Pause after refused credentials: a broker may count attempts, and lock the user out."""
_PASSING = {"unreachable", "throttled"}
"""Often pass by themselves: logged as warnings."""


class Problems:
    """The current problems."""

    def __init__(self, metrics: Metrics) -> None:
        self._gauge = metrics.kafka_problem
        self._brokers: dict[str, Problem] = {}
        self._others: dict[str, Problem] = {}
        self.refused_topics: dict[str, str] = {}
        """Kafka's error name, by topic, for topics that refused the last records sent to them."""
        self.creating = False
        """Whether missing topics are being created: until Kafka has answered, a missing topic is no problem."""
        self._not_created: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[Problem]:
        yield from self._brokers.values()
        yield from self._others.values()

    def pause(self, seconds: float) -> float:
        """Return how long to wait before connecting again: `seconds`, or longer if credentials were refused."""
        refused = any(problem.reason in CREDENTIALS_REFUSED for problem in self._brokers.values())
        return max(seconds, _REFUSED_SECONDS) if refused else seconds

    def _hold(self, reason: str) -> bool:
        return any(problem.reason == reason for problem in self)

    # Brokers, by address.

    def unusable(self, address: str) -> bool:
        """Whether the last attempt to connect to this broker failed."""
        return address in self._brokers

    def connection(self, address: str, error: BaseException | None) -> None:
        """Note the result of an attempt to connect; `error` is None on success."""
        self._replace(self._brokers, address, None if error is None else explain(error, address))

    def only(self, addresses: Iterable[str]) -> None:
        """Forget all brokers but these: Kafka no longer lists the others."""
        for address in self._brokers.keys() - set(addresses):
            self._replace(self._brokers, address, None)

    def token(self, error: BaseException | None) -> None:
        """Note the result of an attempt to obtain a token; `error` is None on success."""
        problem = Problem(error.reason, error.about, error.why) if isinstance(error, TokenError) else None
        self._replace(self._others, "token", problem)

    # Topics that refuse records.

    def refused(self, topic: str, reason: str) -> None:
        """Note that Kafka refuses records for a topic; `reason` is its error name."""
        self.refused_topics[topic] = reason
        self._sort_refused()

    def accepted(self, topic: str) -> None:
        """Note that Kafka accepted records for a topic that had refused them."""
        del self.refused_topics[topic]
        self._sort_refused()

    def _sort_refused(self) -> None:
        denied = {topic for topic, reason in self.refused_topics.items() if reason == WRITE_DENIED}
        self.set("write_denied", denied)
        self.set("topic_refused", self.refused_topics.keys() - denied)

    # Everything else, by reason.

    def set(self, reason: str, about: Iterable[str]) -> None:
        """Replace the topics or brokers that have this problem; an empty `about` clears it."""
        now = set(about)
        if reason == "topic_missing":
            now -= self._not_created
        self._replace(self._others, reason, Problem(reason, names(now)) if now else None)

    def not_created(self, failed: Mapping[str, BrokerResponseError]) -> None:
        """Note Kafka's error for each topic that cannot be created: those are not reported as missing as well."""
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
            log.info("Kafka: %s: resolved", before.about, extra=fields(reason=before.reason))
