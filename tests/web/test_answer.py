"""What an answer says, as bytes."""

import json
from email.utils import parsedate_to_datetime
from time import time

import pytest

from aurora_bridge.bridge import Answer
from aurora_bridge.outcomes import DeadLetterReason, Outcome, Reason
from aurora_bridge.web.answer import respond

PUBLISHED = b'{"id":"/a","outcome":"published"}'


def read(answer: Answer) -> tuple[str, dict[str, str], bytes]:
    """Return status line, headers and body of the response to an answer."""
    head, body = respond(answer)
    status, *lines = head.decode().split("\r\n")[:-1]
    return status, dict(line.lower().split(": ", 1) for line in lines), body


def test_an_accepted_delivery_is_told_its_id_and_outcome() -> None:
    status, headers, body = read(Answer(200, Outcome.PUBLISHED, "event", "/a"))
    assert (status, body) == ("HTTP/1.1 200 OK", PUBLISHED)
    date = headers.pop("date")
    assert headers == {
        "content-type": "application/json",
        "content-length": str(len(PUBLISHED)),
        "cache-control": "no-store",
    }
    assert abs(parsedate_to_datetime(date).timestamp() - time()) < 30


@pytest.mark.parametrize("reason", Reason)
def test_a_refused_delivery_is_told_the_reason_and_when_to_come_again(reason: Reason) -> None:
    status, headers, body = read(Answer(reason.status, Outcome.REFUSED, "none", None, reason))
    assert status.startswith(f"HTTP/1.1 {reason.status} ")
    assert json.loads(body) == {"id": None, "outcome": "refused", "reason": reason.value}
    assert headers.get("retry-after") == (None if reason.retry_after is None else str(reason.retry_after))
    assert headers.get("allow") == ("get" if reason.status == 405 else None)
    assert headers["cache-control"] == "no-store"


def test_a_401_names_every_scheme_that_the_route_takes() -> None:
    challenges = ['Basic realm="aurora-bridge", charset="UTF-8"', "AuroraToken"]
    head, _ = respond(Answer(401, Outcome.REFUSED, "none", reason=Reason.UNAUTHORIZED, challenges=challenges))
    lines = head.decode().split("\r\n")
    assert [f"WWW-Authenticate: {challenge}" for challenge in challenges] == [
        line for line in lines if line.startswith("WWW-Authenticate")
    ]


@pytest.mark.parametrize("status", [200, 422])
def test_a_dead_letter_is_told_its_reason(status: int) -> None:
    line, headers, body = read(Answer(status, Outcome.DEAD_LETTERED, "dead_letter", "7", DeadLetterReason.NOT_UTF8))
    assert line.startswith(f"HTTP/1.1 {status} ")
    assert json.loads(body) == {"id": "7", "outcome": "dead_lettered", "reason": "not_utf8"}
    assert "retry-after" not in headers
