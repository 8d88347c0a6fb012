"""What is wrong with Kafka: one reason for each error, told once when it comes and once when it is fixed."""

import logging
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IllegalSaslStateError,
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from aurora_bridge.kafka.problem_reasons import REASONS, Problem, explain
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.kafka.security import UnusableFileError
from aurora_bridge.kafka.tokens import TokenError, TokenRefusedError
from aurora_bridge.metrics import Metrics

BROKER = "kafka-1:9093"


class Observed:
    """Problems with their metrics, and what was logged of them."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.metrics = Metrics(kafka_problems=tuple(REASONS))
        self.problems = Problems(self.metrics)
        self._caplog = caplog

    def metric(self) -> set[str]:
        return {str(reason) for reason, value in self.metrics.kafka_problem.items() if value}

    def logged(self) -> list[tuple[str, str]]:
        return [(record.levelname, record.getMessage()) for record in self._caplog.records]


@pytest.fixture
def observed(caplog: pytest.LogCaptureFixture) -> Iterator[Observed]:
    with caplog.at_level(logging.INFO):
        yield Observed(caplog)


def unverified(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"certificate verify failed: {code}")
    error.verify_code = code
    return error


def alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(), "unreachable"),
        (TimeoutError(), "unreachable"),
        (EOFError(), "closed_by_broker"),
        (ConnectionResetError(), "closed_by_broker"),
        (unverified(9), "certificate_expired"),
        (unverified(10), "certificate_expired"),
        (unverified(20), "certificate_untrusted"),
        (unverified(62), "host_name_mismatch"),
        (unverified(64), "host_name_mismatch"),
        (alert("SSLV3_ALERT_BAD_CERTIFICATE"), "client_certificate_refused"),
        (alert("SSLV3_ALERT_CERTIFICATE_UNKNOWN"), "client_certificate_refused"),
        (alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "client_certificate_refused"),
        (alert("TLSV1_ALERT_UNKNOWN_CA"), "client_certificate_refused"),
        (alert("TLSV1_ALERT_PROTOCOL_VERSION"), "tls_failed"),
        (alert("WRONG_VERSION_NUMBER"), "tls_failed"),
        (SaslAuthenticationFailed(), "authentication_failed"),
        (TokenRefusedError(), "token_refused"),
        (TokenError("token_endpoint_failed", "https://login", "it answered 503"), "token_endpoint_failed"),
        (UnsupportedSaslMechanismError(), "mechanism_refused"),
        (IllegalSaslStateError(), "mechanism_refused"),
        (IncompatibleBrokerVersion("v9"), "protocol_unsupported"),
        (UnusableFileError("/run/password: it is empty"), "unusable_file"),
        (ClusterAuthorizationFailedError(), "producer_id_denied"),
        (TopicAuthorizationFailedError(), "read_denied"),
    ],
    ids=repr,
)
def test_an_error_has_its_reason_also_as_the_cause_of_another(error: Exception, reason: str) -> None:
    wrapped = KafkaConnectionError("closed")
    wrapped.__cause__ = error
    assert {explain(error, BROKER).reason, explain(wrapped, BROKER).reason} == {reason}


def test_the_document_has_every_reason_and_no_other() -> None:
    table = (Path(__file__).parents[2] / "docs" / "kafka.md").read_text().partition("| reason |")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == REASONS.keys()


def test_a_broker_that_is_not_reached_is_told_with_the_systems_word_for_it() -> None:
    error = KafkaConnectionError("none can be used")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert str(explain(error, BROKER)).endswith("([Errno 111] Connection refused)")


def test_what_a_broker_says_is_not_repeated_since_it_may_hold_a_secret() -> None:
    assert "canary" not in str(explain(SaslAuthenticationFailed("bad password canary"), BROKER))


def test_a_problem_is_logged_when_it_comes_and_when_it_is_fixed_and_not_in_between(observed: Observed) -> None:
    for _ in range(3):
        observed.problems.connection(BROKER, SaslAuthenticationFailed())
    assert observed.metric() == {"authentication_failed"}
    observed.problems.connection(BROKER, None)
    observed.problems.connection(BROKER, None)
    text = str(Problem("authentication_failed", BROKER))
    assert observed.logged() == [("ERROR", f"Kafka: {text}"), ("INFO", f"Kafka: {BROKER}: resolved")]
    assert observed.metric() == set()


def test_what_is_wrong_with_the_token_is_told_of_its_endpoint_until_there_is_one(observed: Observed) -> None:
    observed.problems.token(TokenError("token_endpoint_failed", "https://login", "it answered 503"))
    observed.problems.token(TokenError("token_client_refused", "https://login", "it answered 401"))
    (problem,) = observed.problems
    assert (problem.reason, problem.about, problem.detail) == (
        "token_client_refused",
        "https://login",
        "it answered 401",
    )
    assert observed.metric() == {"token_client_refused"}
    assert observed.problems.pause(0.5) == 0.5  # the last token may serve for long
    observed.problems.token(None)
    assert (list(observed.problems), observed.metric()) == ([], set())


def test_a_connection_that_there_is_no_token_for_says_whose_fault_it_is_and_is_not_tried_often(
    observed: Observed,
) -> None:
    observed.problems.connection(BROKER, TokenError("token_endpoint_failed", "https://login", "it answered 503"))
    (problem,) = observed.problems
    assert (problem.about, problem.detail) == (BROKER, "https://login: it answered 503")
    assert observed.problems.pause(0.5) == 2


def test_a_broker_that_is_away_is_a_warning_what_only_a_person_can_fix_an_error(observed: Observed) -> None:
    observed.problems.connection("a:1", ConnectionRefusedError())
    observed.problems.connection("b:1", unverified(10))
    assert [level for level, _ in observed.logged()] == ["WARNING", "ERROR"]


def test_another_reason_takes_the_place_of_the_last_one(observed: Observed) -> None:
    observed.problems.connection(BROKER, ConnectionRefusedError())
    observed.problems.connection(BROKER, unverified(10))
    assert observed.metric() == {"certificate_expired"}
    assert [problem.reason for problem in observed.problems] == ["certificate_expired"]


def test_attempts_with_refused_credentials_are_further_apart(observed: Observed) -> None:
    observed.problems.connection(BROKER, ConnectionRefusedError())
    assert observed.problems.pause(0.5) == 0.5
    observed.problems.connection(BROKER, SaslAuthenticationFailed())
    assert observed.problems.pause(0.5) == 2


def test_a_reason_that_two_brokers_have_holds_until_both_are_fixed(observed: Observed) -> None:
    for address in ("a:1", "b:1"):
        observed.problems.connection(address, unverified(10))
    observed.problems.connection("a:1", None)
    assert observed.metric() == {"certificate_expired"}
    observed.problems.connection("b:1", None)
    assert observed.metric() == set()


def test_a_broker_that_kafka_does_not_name_any_more_is_forgotten(observed: Observed) -> None:
    for address in ("a:1", "b:1"):
        observed.problems.connection(address, ConnectionRefusedError())
    observed.problems.only(["b:1", "c:1"])
    assert [observed.problems.unusable(address) for address in ("a:1", "b:1", "c:1")] == [False, True, False]


def test_a_topic_is_refused_until_records_are_taken(observed: Observed) -> None:
    observed.problems.refused("one", "topic_authorization_failed")
    observed.problems.refused("two", "topic_authorization_failed")
    observed.problems.refused("three", "policy_violation")
    assert {problem.reason: problem.about for problem in observed.problems} == {
        "write_denied": "one, two",
        "topic_refused": "three",
    }
    for topic in ("one", "two", "three"):
        observed.problems.accepted(topic)
    assert list(observed.problems) == []


def test_of_many_topics_five_are_named_and_the_others_counted(observed: Observed) -> None:
    observed.problems.set("create_denied", "gfedcba")
    assert [problem.about for problem in observed.problems] == ["a, b, c, d, e and 2 more"]
