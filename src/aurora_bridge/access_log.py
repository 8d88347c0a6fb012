"""Counts and logs answered deliveries.

Ordinary ones are only logged on request: metrics count them anyway. Any other gets a line with its cause, origin and
remedy. The number of lines of one kind per minute is limited, and the next line has the number of those left out. The
last refusals that were logged are kept for the status page.
"""

import logging
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import product
from time import monotonic, time
from typing import NamedTuple

from aurora_bridge.auto_disable.attempts import Attempts
from aurora_bridge.bridge import Answer
from aurora_bridge.logs import Quota, fields
from aurora_bridge.metrics import NO_EVENT, Metrics
from aurora_bridge.outcomes import Credential, DeadLetterReason, Outcome, Reason
from aurora_bridge.redaction import redact_path
from aurora_bridge.remedies import CREDENTIALS, DEAD_LETTERS, REMEDIES
from aurora_bridge.webhook.client_address import Networks, client_address
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.routes import split_target

log = logging.getLogger(__name__)

_LINES_A_MINUTE = 20
_MISSING = Credential.MISSING  # in Python 3.11 each look-up of a member of an enumeration is a call
_FAILURE = 300
"""Aurora counts every status but 2xx as a failure (Aurora: "Delivery")."""
_KEPT = 5
"""Refusals kept of each kind, about 1 kB each."""


class RefusedRequest(NamedTuple):
    """A refused request, as shown on the status page: without its query."""

    time: float
    """When it was refused, seconds since the epoch."""
    reason: Reason
    credential: Credential | None
    client: str
    """The client's address."""
    path: str
    """Its path, with what may be an identifier or a secret replaced by `***`; empty if it was not HTTP."""
    route: str | None
    known_path: bool
    """Whether its path is one that Aurora uses."""


class AccessLog:
    """Counts and logs answers."""

    def __init__(
        self, metrics: Metrics, attempts: Attempts, *, log_deliveries: bool, trusted_proxies: Networks = ()
    ) -> None:
        """Count in `metrics` and `attempts`; with `log_deliveries`, log ordinary deliveries, too.

        `trusted_proxies` may name the address that a delivery came from.
        """
        self._metrics = metrics
        self.attempts = attempts
        self._answer_seconds = metrics.stage_seconds["answer"]
        self._log_deliveries = log_deliveries
        self._trusted_proxies = trusted_proxies
        # Requests of strangers must not use up Aurora's lines, nor its place on the status page.
        kinds = list(product((*Reason, *DeadLetterReason), (True, False)))
        self._quotas = {kind: Quota(_LINES_A_MINUTE, monotonic) for kind in kinds}
        self._refused = {kind: deque[RefusedRequest](maxlen=_KEPT) for kind in kinds}

    def enter(self, delivery: Delivery, answer: Answer, decided: float, answered: float, *, in_time: bool) -> None:
        """Enter an answer that was decided and given at these monotonic times.

        If not `in_time`, it was given too late for Aurora, or the client was gone.
        """
        seconds = answered - delivery.received
        metrics = self._metrics
        self._answer_seconds.observe(answered - decided)
        metrics.response_seconds[answer.outcome].observe(seconds)
        metrics.deliveries[answer.event, answer.outcome] += 1
        subscription = answer.subscription
        if subscription is not None and not (
            answer.credential is _MISSING and self.attempts.accepted_lately(subscription, delivery.received_us)
        ):  # without the credential that Aurora sends for this subscription, it is a stranger's
            failed = answer.status >= _FAILURE or not in_time
            self.attempts.enter(subscription, delivery.received_us, failed=failed)
        if answer.reason is not None:
            self._enter_reason(delivery, answer, answer.reason, {})
        elif self._log_deliveries:
            log.info("delivery", extra=_fields(answer, seconds=round(seconds, 4)))

    def enter_refusal(self, reason: Reason, peer: str = "", **more: str) -> None:
        """Enter a request from `peer` that was refused before it became a delivery; `more` goes to the log."""
        known = reason is Reason.MALFORMED_WITH_CREDENTIAL  # only Aurora has a credential
        answer = Answer(reason.status, Outcome.REFUSED, NO_EVENT, None, reason, known_path=known)
        self._enter_reason(Delivery("", b"", (), 0, 0, peer), answer, reason, more)

    def last_refused(self) -> Iterator[RefusedRequest]:
        """Yield the last refusals of each kind."""
        for refused in self._refused.values():
            yield from refused

    def _enter_reason(
        self, delivery: Delivery, answer: Answer, reason: Reason | DeadLetterReason, more: Mapping[str, str]
    ) -> None:
        now = time()
        if isinstance(reason, Reason):
            self._metrics.refusals[reason] += 1
            self._metrics.last_refused[reason] = now
        else:
            self._metrics.dead_letters[reason] += 1
        kind = reason, answer.known_path
        left_out = self._quotas[kind].take()
        if left_out is None:
            return
        client = client_address(delivery, self._trusted_proxies)
        path = redact_path(split_target(delivery.target)[0])
        if isinstance(reason, Reason):
            self._refused[kind].append(
                RefusedRequest(now, reason, answer.credential, client, path, answer.route, answer.known_path)
            )
        found = {**more, "left_out": left_out} if left_out else more
        remedy = _remedy(reason, answer.credential)
        log.warning(
            "delivery %s", answer.outcome.value, extra=_fields(answer, client=client, path=path, remedy=remedy, **found)
        )


def _remedy(reason: Reason | DeadLetterReason, credential: Credential | None) -> str:
    if credential is not None:
        return CREDENTIALS[credential]
    return REMEDIES[reason] if isinstance(reason, Reason) else DEAD_LETTERS[reason]


def _fields(answer: Answer, **more: object) -> dict[str, dict[str, object]]:
    found = {"status": answer.status, "outcome": answer.outcome.value, "event": answer.event, "id": answer.id}
    for name, value in (("reason", answer.reason), ("credential", answer.credential)):
        if value is not None:
            found[name] = value.value
    if answer.route is not None:
        found["route"] = answer.route
    return fields(**found, **more)
