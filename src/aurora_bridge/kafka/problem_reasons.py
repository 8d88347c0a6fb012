"""Everything that can be wrong between the daemon and Kafka: what each reason means, what to do, and its errors.

`explain` finds the reason for an error of aiokafka, `not_created` for topics that could not be created. `problems` has
the current ones.
"""

import ssl
from collections.abc import Iterable, Mapping
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
from aurora_bridge.kafka.security import UnusableFileError
from aurora_bridge.kafka.tokens import TokenError, TokenRefusedError

_KAFKA = "AURORA_BRIDGE_KAFKA__"
REASONS = {
    "unreachable": (
        f"no connection; is it up, and reachable at the address in {_KAFKA}BOOTSTRAP_SERVERS and the one it advertises?"
    ),
    "closed_by_broker": (
        f"the broker closes the connection at once; its listener probably expects another {_KAFKA}SECURITY_PROTOCOL"
    ),
    "certificate_expired": (
        "the broker's certificate has expired, or is not valid yet; renew it, or correct this machine's clock"
    ),
    "certificate_untrusted": (
        "the broker's certificate is not signed by a trusted authority; add the authority's certificate to the file in "
        f"{_KAFKA}TLS_CA_FILE"
    ),
    "host_name_mismatch": (
        "the broker's certificate is for another host name; connect by a name that is in it, or have one issued for "
        f"this name ({_KAFKA}TLS_CHECK_HOSTNAME=false disables the check)"
    ),
    "client_certificate_refused": (
        "the broker refuses our certificate, or requires one; put a valid one that is signed by an authority it trusts "
        f"into the files in {_KAFKA}TLS_CERTIFICATE_FILE and {_KAFKA}TLS_KEY_FILE"
    ),
    "tls_failed": f"the TLS handshake failed; does its listener speak TLS, as {_KAFKA}SECURITY_PROTOCOL says?",
    "authentication_failed": (
        f"the broker refuses our credentials; correct {_KAFKA}SASL_USERNAME, or the content of the file in "
        f"{_KAFKA}SASL_PASSWORD_FILE, which is re-read for each connection"
    ),
    "token_refused": (
        f"the broker refuses our token; renew the one in the file in {_KAFKA}SASL_TOKEN_FILE, or compare the identity "
        f"provider's issuer, audience and keys, {_KAFKA}OAUTH_SCOPE and {_KAFKA}OAUTH_EXTENSIONS with what the broker "
        "expects (see its log), and check the clocks. Amazon MSK: the role needs kafka-cluster:Connect"
    ),
    "aws_credentials_failed": (
        "no AWS credentials, or unusable ones; give this process a role (EKS: IRSA or Pod Identity; EC2: an instance "
        "profile) or AWS's usual variables or files, and access to STS or the metadata service"
    ),
    "token_endpoint_failed": (
        "no token from the identity provider; the last one serves until it expires. Is the endpoint up, and "
        f"{_KAFKA}OAUTH_TOKEN_URL right? If a private authority signed its certificate, set {_KAFKA}OAUTH_CA_FILE"
    ),
    "token_client_refused": (
        f"the identity provider refuses our client; correct {_KAFKA}OAUTH_CLIENT_ID, the content of the file in "
        f"{_KAFKA}OAUTH_CLIENT_SECRET_FILE, {_KAFKA}OAUTH_CLIENT_AUTHENTICATION or {_KAFKA}OAUTH_SCOPE, or allow the "
        "client the grant type client_credentials"
    ),
    "mechanism_refused": f"its listener offers no SASL, or not this mechanism; correct {_KAFKA}SASL_MECHANISM",
    "protocol_unsupported": "the broker and aurora-bridge share no version of a request; upgrade the older of the two",
    "unusable_file": "a credentials file cannot be used; fix it: it is re-read on the next connection",
    "wrong_cluster": (
        "this is not the Kafka cluster that the state directory remembers, so nothing is sent there; correct "
        f"{_KAFKA}BOOTSTRAP_SERVERS, or, to send events there from now on, run `aurora-bridge cluster accept` or set "
        f"{_KAFKA}CLUSTER_ID to its id"
    ),
    "producer_id_denied": "Kafka denies our user a producer id; grant it the operation Write on the topics",
    "producer_id_unavailable": (
        "no broker gives out a producer id; is the cluster's controller up? For brokers that never give one out, set "
        f"{_KAFKA}IDEMPOTENCE=false"
    ),
    "throttled": (
        "a quota throttles our requests; raise producer_byte_rate or request_percentage of our user or client id, or "
        "send less"
    ),
    "describe_denied": "our user may not see them; grant it the operation Describe on these topics",
    "write_denied": "our user may not write to them; grant it the operation Write on these topics",
    "create_denied": (
        "our user may not create them; grant it the operation Create on these topics, or create them and set "
        f"{_KAFKA}CREATE_TOPICS=false"
    ),
    "too_few_brokers": (
        "there are fewer brokers than a topic to create has replicas; start the missing ones, or lower "
        f"{_KAFKA}REPLICATION_FACTOR (if it is not set, the brokers' default.replication.factor applies)"
    ),
    "create_failed": "Kafka does not create them; retrying. If that persists, remove the cause",
    "read_denied": (
        "our user may not read them, so replicas do not learn of each other's events, and a lost index is not rebuilt; "
        "grant it the operation Read on these topics"
    ),
    "topic_missing": "they do not exist; create them (aurora-bridge topics --apply), and the backlog drains into them",
    "topic_refused": "Kafka refuses records to them; the reason is in aurora_bridge_publish_errors_total",
}
"""Every reason: what it means, and what to do. docs/kafka.md has more."""

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
"""The reasons why Kafka does not create topics."""
# https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/
_CERTIFICATES = {
    9: "certificate_expired",  # not yet valid
    10: "certificate_expired",
    62: "host_name_mismatch",
    64: "host_name_mismatch",  # an address
}
CREDENTIALS_REFUSED = (
    "authentication_failed",
    "token_refused",
    "token_endpoint_failed",
    "token_client_refused",
    "aws_credentials_failed",
)
_SHOWN = 5
_LONGEST = 300
"""Limit, in characters, for Kafka's message on a topic."""
_WITH_DETAIL = {"unusable_file", "wrong_cluster"}


class Problem(NamedTuple):
    """A current problem: a key of `REASONS`, and the broker or the topics that it is about."""

    reason: str
    about: str
    detail: str = ""

    @property
    def words(self) -> str:
        """What it means and what to do, without the broker or topics."""
        return REASONS[self.reason] + (f" ({self.detail})" if self.detail else "")

    def __str__(self) -> str:
        return f"{self.about}: {self.words}"


def explain(error: BaseException, about: str) -> Problem:
    """Return the problem that an error means. `about` is the broker, or the topics, that it came from."""
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
    """Return the problems for topics that could not be created. Kafka's message for the first topic is the detail."""
    topics: dict[str, list[str]] = {}
    for topic in sorted(failed):
        topics.setdefault(_CREATE_ERRORS.get(type(failed[topic]), "create_failed"), []).append(topic)
    return [Problem(reason, names(about), _words(failed[about[0]])) for reason, about in topics.items()]


def _words(error: BrokerResponseError) -> str:
    return ": ".join([error.message, *error.args])[:_LONGEST]


def names(about: Iterable[str]) -> str:
    """Return the first names of topics or brokers, and how many more there are."""
    every = sorted(about)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
