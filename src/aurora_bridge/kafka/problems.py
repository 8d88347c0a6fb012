"""What is wrong between the daemon and Kafka, in words: what holds now is in readiness and metrics, changes are logged.

A broker that cannot be used counts until a connection to it works, or Kafka names it no more; a denied operation until
it is let through. `explain` finds the reason behind an error of aiokafka's; `wire` and `sender` report here.
"""

import logging
import ssl
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from aiokafka.errors import (
    BrokerResponseError,
    ClusterAuthorizationFailedError,
    IllegalSaslStateError,
    IncompatibleBrokerVersion,
    InvalidReplicationFactorError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from aurora_bridge.kafka.cluster_guard import WrongClusterError
from aurora_bridge.kafka.error_actions import WRITE_DENIED
from aurora_bridge.kafka.security import UnusableFileError
from aurora_bridge.kafka.tokens import TokenError, TokenRefusedError
from aurora_bridge.logs import fields
from aurora_bridge.metrics import Metrics

log = logging.getLogger(__name__)

_KAFKA = "AURORA_BRIDGE_KAFKA__"
REASONS = {
    "unreachable": f"no connection; is it up, and at the address in {_KAFKA}BOOTSTRAP_SERVERS or that it advertises?",
    "closed_by_broker": (
        "the broker closes the connection at once; most often its listener wants another "
        f"{_KAFKA}SECURITY_PROTOCOL than is set"
    ),
    "certificate_expired": "the broker's certificate is out of date; renew it there, or set this machine's clock right",
    "certificate_untrusted": (
        "the broker's certificate is not signed by an authority that is trusted here; put that authority's "
        f"certificate into the file of {_KAFKA}TLS_CA_FILE"
    ),
    "host_name_mismatch": (
        "the broker's certificate is for another host name; connect by a name that is in it, or have one issued for "
        f"this name ({_KAFKA}TLS_CHECK_HOSTNAME=false would do without the check)"
    ),
    "client_certificate_refused": (
        "the broker refuses our certificate, or misses one; put one that is in date and signed by an authority it "
        f"trusts into the files of {_KAFKA}TLS_CERTIFICATE_FILE and {_KAFKA}TLS_KEY_FILE"
    ),
    "tls_failed": f"the two sides find no common TLS; does its listener speak TLS, as {_KAFKA}SECURITY_PROTOCOL says?",
    "authentication_failed": (
        f"the broker refuses our credentials; correct {_KAFKA}SASL_USERNAME, or the content of the file of "
        f"{_KAFKA}SASL_PASSWORD_FILE, which is read again for each connection"
    ),
    "token_refused": (
        f"the broker refuses our token; renew the one in the file of {_KAFKA}SASL_TOKEN_FILE, or compare issuer, "
        f"audience and keys of the identity provider, {_KAFKA}OAUTH_SCOPE and {_KAFKA}OAUTH_EXTENSIONS with what the "
        "broker expects (its log says what it misses), and the clocks. Amazon MSK: the role needs kafka-cluster:Connect"
    ),
    "aws_credentials_failed": (
        "no AWS credentials, or none that can be used; give this process a role (EKS: IRSA or Pod Identity; EC2: an "
        "instance profile) or the usual variables or files of AWS, and let it reach STS or the metadata service"
    ),
    "token_endpoint_failed": (
        "no token from the identity provider; the token that was obtained last serves until it ends. Is the endpoint "
        f"up, and {_KAFKA}OAUTH_TOKEN_URL right? For a certificate of a private authority, set {_KAFKA}OAUTH_CA_FILE"
    ),
    "token_client_refused": (
        f"the identity provider refuses our client; correct {_KAFKA}OAUTH_CLIENT_ID, the content of the file of "
        f"{_KAFKA}OAUTH_CLIENT_SECRET_FILE, {_KAFKA}OAUTH_CLIENT_AUTHENTICATION, or {_KAFKA}OAUTH_SCOPE, or allow the "
        "client the grant client_credentials"
    ),
    "mechanism_refused": f"its listener does not take the SASL mechanism of {_KAFKA}SASL_MECHANISM, or no SASL at all",
    "protocol_unsupported": "it and aurora-bridge share no version of a request; upgrade the older one of the two",
    "unusable_file": "a file of credentials cannot be used; mend it, it is read again for each connection",
    "wrong_cluster": (
        "this is another Kafka cluster than the one that the state directory remembers, so that nothing goes there; "
        f"correct {_KAFKA}BOOTSTRAP_SERVERS, or, if events are to go there from now on, run `aurora-bridge cluster "
        f"accept`, or set {_KAFKA}CLUSTER_ID to its id"
    ),
    "producer_id_denied": "Kafka gives our user no producer id; allow it the operation Write on the topics",
    "producer_id_unavailable": (
        "no broker gives out a producer id; is the cluster's controller there? A broker that never gives any needs "
        f"{_KAFKA}IDEMPOTENCE=false"
    ),
    "throttled": (
        "a quota holds our requests up; raise producer_byte_rate or request_percentage of our user or client id, or "
        "send less"
    ),
    "describe_denied": "our user may not see them; allow it the operation Describe on these topics",
    "write_denied": "our user may not write to them; allow it the operation Write on these topics",
    "create_denied": (
        "our user may not create them; allow it the operation Create on these topics, or create them and set "
        f"{_KAFKA}CREATE_TOPICS=false"
    ),
    "too_few_brokers": (
        f"there are fewer brokers than replicas of a topic to create; start the missing ones, or lower {_KAFKA}"
        "REPLICATION_FACTOR (where it is not set, the brokers' default.replication.factor counts)"
    ),
    "create_failed": "Kafka does not create them, and is asked again; if that lasts, remove the cause",
    "read_denied": (
        "our user may not read them, so that replicas do not know of each other, and a lost index does not come back; "
        "allow it the operation Read on these topics"
    ),
    "topic_missing": "they are not there; create them (aurora-bridge topics --apply), and what waits drains into them",
    "topic_refused": "Kafka refuses records to them; the reason is in aurora_bridge_publish_errors_total",
}
"""Every reason, with what it means and what to do about it. docs/kafka.md has more."""

_ERRORS: Mapping[type[BaseException], str] = {
    EOFError: "closed_by_broker",
    ConnectionResetError: "closed_by_broker",
    BrokenPipeError: "closed_by_broker",
    SaslAuthenticationFailed: "authentication_failed",
    TokenRefusedError: "token_refused",
    UnsupportedSaslMechanismError: "mechanism_refused",
    IllegalSaslStateError: "mechanism_refused",
    IncompatibleBrokerVersion: "protocol_unsupported",
    UnusableFileError: "unusable_file",
    WrongClusterError: "wrong_cluster",
    ClusterAuthorizationFailedError: "producer_id_denied",
    TopicAuthorizationFailedError: "read_denied",
}
_CREATE_ERRORS: Mapping[type[BaseException], str] = {
    TopicAuthorizationFailedError: "create_denied",
    InvalidReplicationFactorError: "too_few_brokers",
}
NOT_CREATED = (*_CREATE_ERRORS.values(), "create_failed")
"""The reasons of topics that are missing because Kafka does not create them."""
# https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/
_CERTIFICATES = {
    9: "certificate_expired",  # not yet valid
    10: "certificate_expired",
    62: "host_name_mismatch",
    64: "host_name_mismatch",  # an address
}
_REFUSED = (
    "authentication_failed",
    "token_refused",
    "token_endpoint_failed",
    "token_client_refused",
    "aws_credentials_failed",
)
_REFUSED_SECONDS = 2.0
"""Between two attempts with credentials that a broker refuses: it may count them, and lock the user out."""
_SHOWN = 5
_LONGEST = 300
"""Characters of what Kafka says of a topic."""
_WITH_DETAIL = {"unusable_file", "wrong_cluster"}


class Problem(NamedTuple):
    """Something that holds now: a key of `REASONS`, and the broker or the topics that it is about."""

    reason: str
    about: str
    detail: str = ""

    @property
    def words(self) -> str:
        """What it means and what to do, without what it is about."""
        return REASONS[self.reason] + (f" ({self.detail})" if self.detail else "")

    def __str__(self) -> str:
        return f"{self.about}: {self.words}"


def explain(error: BaseException, about: str) -> Problem:
    """Return what an error means, that came up with a broker or with topics."""
    while True:
        if isinstance(error, TokenError):
            return Problem(error.reason, about, f"{error.about}: {error.why}")
        reason = _reason(error)
        if reason is not None:
            return Problem(reason, about, str(error) if reason in _WITH_DETAIL else "")
        if error.__cause__ is None:
            return Problem("unreachable", about, str(error) or type(error).__name__)
        error = error.__cause__


def _reason(error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATES.get(error.verify_code, "certificate_untrusted")
    if isinstance(error, ssl.SSLError):
        alert = str(error.reason)
        ours = "ALERT" in alert and ("CERT" in alert or "UNKNOWN_CA" in alert)
        return "client_certificate_refused" if ours else "tls_failed"
    return next((reason for kind, reason in _ERRORS.items() if isinstance(error, kind)), None)


def not_created(failed: Mapping[str, BrokerResponseError]) -> list[Problem]:
    """Return why topics could not be created, from Kafka's error for each; a reason's first topic gives the detail."""
    topics: dict[str, list[str]] = {}
    for topic in sorted(failed):
        topics.setdefault(_CREATE_ERRORS.get(type(failed[topic]), "create_failed"), []).append(topic)
    return [Problem(reason, _names(about), _words(failed[about[0]])) for reason, about in topics.items()]


def _words(error: BrokerResponseError) -> str:
    return ": ".join([error.message, *error.args])[:_LONGEST]


def _names(about: Iterable[str]) -> str:
    names = sorted(about)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


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
        refused = any(problem.reason in _REFUSED for problem in self._brokers.values())
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
        names = set(about)
        if reason == "topic_missing":
            names -= self._not_created
        self._replace(self._others, reason, Problem(reason, _names(names)) if names else None)

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
            level = logging.WARNING if problem.reason == "unreachable" else logging.ERROR
            log.log(level, "Kafka: %s", problem, extra=fields(reason=problem.reason))
        elif before is not None:
            log.info("Kafka: %s: no problem any more", before.about, extra=fields(reason=before.reason))
