"""What can be wrong between the daemon and Kafka, in words, with what to do about it; and which error means what.

`explain` finds the reason behind an error of aiokafka's, `not_created` that of topics which could not be created.
`problems` has what is wrong now.
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
    "unusable_file": "a credentials file cannot be used; fix it, it is re-read on the next connection",
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
CREDENTIALS_REFUSED = (
    "authentication_failed",
    "token_refused",
    "token_endpoint_failed",
    "token_client_refused",
    "aws_credentials_failed",
)
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
    return [Problem(reason, names(about), _words(failed[about[0]])) for reason, about in topics.items()]


def _words(error: BrokerResponseError) -> str:
    return ": ".join([error.message, *error.args])[:_LONGEST]


def names(about: Iterable[str]) -> str:
    """Return the first names of topics or brokers, and how many more there are."""
    every = sorted(about)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
