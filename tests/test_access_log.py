"""What is logged and remembered of an answer: why, from where, and what to do."""

from dataclasses import replace
from ipaddress import ip_network
from time import time
from typing import Any

import pytest

from aurora_bridge.access_log import AccessLog, RefusedRequest
from aurora_bridge.auto_disable.attempts import Attempts
from aurora_bridge.bridge import Answer
from aurora_bridge.metrics import NO_EVENT, Metrics
from aurora_bridge.outcomes import Credential, DeadLetterReason, Outcome, Reason
from aurora_bridge.remedies import CREDENTIALS, DEAD_LETTERS, REMEDIES
from aurora_bridge.webhook.delivery import Delivery

EVENT = "lead_created"
PROXY = "10.0.0.1"


@pytest.fixture
def access_log() -> AccessLog:
    metrics = Metrics(events=[EVENT, "dead_letter"])
    return AccessLog(metrics, Attempts(), log_deliveries=False, trusted_proxies=[ip_network("10.0.0.0/8")])


def refuse(
    access_log: AccessLog,
    reason: Reason | DeadLetterReason,
    target: bytes = b"/lead_created?lead_id=5&token=hush",
    **more: Any,  # noqa: ANN401 - fields of `Answer`
) -> None:
    headers = [(b"X-Forwarded-For", b"203.0.113.9")]
    status, outcome = (reason.status, Outcome.REFUSED) if isinstance(reason, Reason) else (200, Outcome.DEAD_LETTERED)
    answer = Answer(status, outcome, NO_EVENT if outcome is Outcome.REFUSED else "dead_letter", None, reason)
    access_log.enter(Delivery("GET", target, headers, 0, 0.0, PROXY), replace(answer, **more), 0.0, 0.0, in_time=True)


def found(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [vars(record)["fields"] for record in caplog.records]


@pytest.mark.parametrize("credential", Credential)
def test_the_line_of_a_401_says_why_from_where_and_what_to_do(
    access_log: AccessLog, caplog: pytest.LogCaptureFixture, credential: Credential
) -> None:
    refuse(access_log, Reason.UNAUTHORIZED, event=EVENT, route="default", credential=credential)
    assert found(caplog) == [
        {
            "status": 401,
            "outcome": "refused",
            "event": EVENT,
            "id": None,
            "reason": "unauthorized",
            "credential": credential.value,
            "route": "default",
            "client": "203.0.113.9",
            "path": "/lead_created",
            "remedy": CREDENTIALS[credential],
        }
    ]


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.UNAUTHORIZED])
def test_so_does_the_line_of_any_other_refusal(
    access_log: AccessLog, caplog: pytest.LogCaptureFixture, reason: Reason
) -> None:
    refuse(access_log, reason)
    (line,) = found(caplog)
    assert {"reason": reason.value, "client": "203.0.113.9", "path": "/lead_created"}.items() <= line.items()
    assert line["remedy"] == REMEDIES[reason]


def test_and_the_line_of_a_dead_letter(access_log: AccessLog, caplog: pytest.LogCaptureFixture) -> None:
    refuse(access_log, DeadLetterReason.NOT_UTF8, route="/hooks")
    (line,) = found(caplog)
    assert (line["client"], line["route"], line["remedy"]) == (
        "203.0.113.9",
        "/hooks",
        DEAD_LETTERS[DeadLetterReason.NOT_UTF8],
    )


def test_what_was_no_delivery_has_the_address_of_its_connection(
    access_log: AccessLog, caplog: pytest.LogCaptureFixture
) -> None:
    access_log.enter_refusal(Reason.MALFORMED_HTTP, "203.0.113.9")
    (line,) = found(caplog)
    assert (line["reason"], line["client"]) == ("malformed_http", "203.0.113.9")


def test_user_and_password_of_a_target_are_in_no_line(access_log: AccessLog, caplog: pytest.LogCaptureFixture) -> None:
    refuse(access_log, Reason.NO_ROUTE, b"http://user:hush@bridge.example/nowhere?token=hush")
    assert found(caplog)[0]["path"] == "/nowhere"


def test_the_last_refusals_are_kept_for_the_page(access_log: AccessLog) -> None:
    before = time()
    for number in range(20):
        refuse(access_log, Reason.NO_ROUTE, f"/{'x' * number}".encode())
    kept = list(access_log.last_refused())
    assert [refused.path for refused in kept] == [f"/{'x' * number}" for number in range(15, 20)]
    assert kept[0] == RefusedRequest(
        kept[0].time, Reason.NO_ROUTE, None, "203.0.113.9", f"/{'x' * 15}", None, known_path=False
    )
    assert before <= kept[0].time <= time()


@pytest.mark.proves("An attacker cannot: take the log lines of what is Aurora's")
def test_a_flood_of_strangers_takes_neither_the_lines_nor_the_place_of_auroras(
    access_log: AccessLog, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        refuse(access_log, Reason.NO_ROUTE, b"/wp-login.php")
    refuse(access_log, Reason.NO_ROUTE, b"/hooks/lead_created", known_path=True)
    for _ in range(100):
        refuse(access_log, Reason.NO_ROUTE, b"/wp-login.php")
    assert [line["path"] for line in found(caplog)] == ["/wp-login.php"] * 20 + ["/hooks/lead_created"]
    assert [refused.path for refused in access_log.last_refused() if refused.known_path] == ["/hooks/lead_created"]
    assert len(list(access_log.last_refused())) == 6


SUBSCRIPTION = ("default", EVENT)
TAKEN = Answer(200, Outcome.PUBLISHED, EVENT, "the-id", subscription=SUBSCRIPTION)


@pytest.mark.parametrize(
    ("taken_before", "credential", "failures"),
    [
        (False, Credential.MISSING, 1),
        (True, Credential.MISSING, 0),
        (True, Credential.WRONG, 1),
    ],
    ids=["never taken: a subscription without one, perhaps", "a stranger", "a rotation gone wrong"],
)
def test_a_request_without_a_credential_is_a_strangers_where_aurora_sends_one(
    access_log: AccessLog, credential: Credential, *, taken_before: bool, failures: int
) -> None:
    now_us = int(time() * 1e6)
    delivery = Delivery("GET", b"/lead_created", (), now_us, 0.0, PROXY)
    if taken_before:
        access_log.enter(delivery, TAKEN, 0.0, 0.0, in_time=True)
    refused = Answer(401, Outcome.REFUSED, EVENT, None, Reason.UNAUTHORIZED, credential=credential)
    access_log.enter(delivery, replace(refused, subscription=SUBSCRIPTION), 0.0, 0.0, in_time=True)
    (found,) = access_log.attempts.evaluate(now_us)
    assert found.failures == failures


@pytest.mark.parametrize(
    ("answer", "in_time", "failed"),
    [
        (TAKEN, True, False),
        (
            replace(TAKEN, outcome=Outcome.DEAD_LETTERED, event="dead_letter", reason=DeadLetterReason.NOT_UTF8),
            True,
            False,
        ),
        (TAKEN, False, True),
        (replace(TAKEN, status=422, outcome=Outcome.DEAD_LETTERED, event="dead_letter"), True, True),
        (replace(TAKEN, status=503, outcome=Outcome.REFUSED, reason=Reason.TOO_LATE), True, True),
        (replace(TAKEN, status=401, outcome=Outcome.REFUSED, reason=Reason.UNAUTHORIZED), True, True),
    ],
    ids=["taken", "dead letter", "unheard or too late", "422", "503", "401"],
)
def test_for_aurora_everything_but_a_2xx_in_time_failed(
    access_log: AccessLog, answer: Answer, *, in_time: bool, failed: bool
) -> None:
    now = time()
    delivery = Delivery("GET", b"/lead_created", (), int(now * 1e6), 0.0, PROXY)
    access_log.enter(delivery, answer, 0.0, 0.0, in_time=in_time)
    (found,) = access_log.attempts.evaluate(int(now * 1e6))
    assert (found.route, found.event, found.attempts, found.failures) == (*SUBSCRIPTION, 1, int(failed))


def test_an_answer_has_the_seconds_since_its_receipt_and_those_since_it_was_decided(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = Metrics(events=[EVENT])
    access_log = AccessLog(metrics, Attempts(), log_deliveries=True)
    caplog.set_level("INFO")
    access_log.enter(Delivery("GET", b"/lead_created", (), 0, 100.0, PROXY), TAKEN, 103.0, 104.5, in_time=True)
    assert [line["seconds"] for line in found(caplog)] == [4.5]
    assert metrics.stage_seconds["answer"].sum == 1.5
    assert metrics.response_seconds[TAKEN.outcome].sum == 4.5


def test_what_is_not_auroras_is_no_attempt(access_log: AccessLog) -> None:
    refuse(access_log, Reason.NO_ROUTE, b"/wp-login.php")
    access_log.enter_refusal(Reason.MALFORMED_HTTP, "203.0.113.9")
    assert access_log.attempts.evaluate(0) == []
