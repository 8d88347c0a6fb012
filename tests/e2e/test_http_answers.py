"""What a client is told, for whatever it sends: raw bytes over sockets, to one daemon on the embedded log."""

import signal
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from tests.e2e.stores import spooled
from tests.support import http
from tests.support.daemon import Daemon
from tests.support.http import Connection, Response, request

VALID: Final = "good-token"
GOOD: Final = [("X-Aurora-Webhook-Token", VALID)]
MARK: Final = "mark-4711"
"""Stands in everything malformed, to be looked for in the answers."""
HEADERS: Final = {"content-type", "content-length", "cache-control", "date"}
MORE_HEADERS: Final = {401: {"www-authenticate"}, 405: {"allow"}}
"""What an answer has, and by its status."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that wants a token, in a header or in the query, or Basic."""
    folder = tmp_path_factory.mktemp("http")
    tokens, pairs = folder / "tokens", folder / "pairs"
    tokens.write_text(f"{VALID}\n")
    pairs.write_text("user:word\n")
    with Daemon(folder, auth__tokens_file=tokens, auth__basic_file=pairs, auth__query_parameter="key") as daemon:
        yield daemon


@pytest.fixture
def connection(daemon: Daemon) -> Iterator[Connection]:
    """A connection to the ingress."""
    with Connection(daemon.url) as connection:
        yield connection


def target() -> str:
    """Return a target that nobody used before."""
    return f"/agreement_status_changed?project_id={uuid4()}&agreement_id={uuid4()}&status=signed"


def refused(reason: str) -> dict[str, str | None]:
    """Return the body of a refusal before the event was known."""
    return {"id": None, "outcome": "refused", "reason": reason}


# What works.


def test_an_answer_is_json_with_the_events_id(connection: Connection) -> None:
    response = connection.get(target(), GOOD)
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    assert {"id", "outcome"} == response.json.keys()
    assert response.json["outcome"] == "spooled"


def test_a_connection_stays_open_for_the_next_delivery(connection: Connection) -> None:
    assert [connection.get(target(), GOOD).status for _ in range(3)] == [200, 200, 200]


def test_a_connection_ends_after_the_answer_if_the_client_says_so(connection: Connection) -> None:
    response = connection.get(target(), [*GOOD, ("Connection", "close")])
    assert (response.status, response.headers["connection"]) == (200, "close")
    assert connection.ended()


def test_a_connection_of_http_1_0_ends_after_the_answer(connection: Connection) -> None:
    assert connection.get(target(), GOOD, version="1.0").status == 200
    assert connection.ended()


def test_a_connection_of_http_1_0_stays_open_if_the_client_asks_for_it(connection: Connection) -> None:
    for _ in range(2):
        response = connection.get(target(), [*GOOD, ("Connection", "keep-alive")], version="1.0")
        assert (response.status, response.headers["connection"].lower()) == (200, "keep-alive")


def test_pipelined_deliveries_are_answered_in_their_order(daemon: Daemon, connection: Connection) -> None:
    projects = [f"pipelined-{uuid4()}" for _ in range(20)]
    good = [request(f"/project_status_changed?project_id={project}&status=Sold", GOOD) for project in projects]
    connection.send(b"".join([*good, request("/no/route", GOOD)]))
    *answers, last = [connection.receive() for _ in range(len(projects) + 1)]
    subject_of = {stored.key: stored.event["subject"] for stored in spooled(daemon.state)}
    assert [f"project/{project}" for project in projects] == [subject_of[answer.json["id"]] for answer in answers]
    assert last.status == 404


def test_a_delivery_that_comes_in_pieces_is_one_delivery(connection: Connection) -> None:
    whole = request(target(), GOOD)
    for at in range(0, len(whole), 40):
        connection.send(whole[at : at + 40])
    assert connection.receive().status == 200


@pytest.mark.parametrize(
    ("header", "body"),
    [(("Content-Length", "9"), b"some=body"), (("Transfer-Encoding", "chunked"), b"9\r\nsome=body\r\n0\r\n\r\n")],
    ids=["whole", "chunked"],
)
def test_a_body_on_a_get_is_read_over(connection: Connection, header: tuple[str, str], body: bytes) -> None:
    for _ in range(2):
        connection.send(request(target(), [*GOOD, header]) + body)
        assert connection.receive().status == 200


def test_a_target_in_absolute_form_works(connection: Connection) -> None:
    assert connection.get(f"http://bridge.example{target()}", GOOD).status == 200


@pytest.mark.proves("An attacker cannot: be sent elsewhere")
def test_a_trailing_slash_works_and_is_not_redirected(connection: Connection) -> None:
    assert connection.get(target().replace("?", "/?"), GOOD).status == 200


@pytest.mark.parametrize("spelling", ["/{}", "//{}/", "http://bridge.example//{}"])
def test_several_slashes_are_one(connection: Connection, spelling: str) -> None:
    assert connection.get(spelling.format(target()), GOOD).status == 200


def test_the_header_of_the_token_has_no_case(connection: Connection) -> None:
    assert connection.get(target(), [("x-aurora-WEBHOOK-token", VALID)]).status == 200


@pytest.mark.proves("An attacker can: Learn that it is this program")
def test_a_load_balancer_learns_on_the_same_port_that_the_daemon_is_healthy_and_nothing_else(
    connection: Connection,
) -> None:
    response = connection.get("/-/healthy")
    assert (response.status, response.json) == (200, {"status": "ok"})
    response = connection.get("/-/healthy", method="HEAD")
    assert (response.status, response.body) == (200, b"")
    for path in ("/-/healthy?cb=1", "/-/healthy/", "//-/healthy", "/", "//"):
        response = connection.get(path)
        assert (response.status, response.json) == (200, {"status": "ok"})


def test_a_client_that_has_closed_its_side_is_answered(connection: Connection) -> None:
    connection.send(request(target(), GOOD))
    connection.end()
    assert connection.receive().status == 200
    assert connection.ended()


def test_a_connection_ends_behind_an_answer_that_did_not_wait_for_the_body(connection: Connection) -> None:
    response = connection.get(target(), [*GOOD, ("Content-Length", "9")])
    assert (response.status, response.headers["connection"]) == (200, "close")
    connection.send(b"some=body")
    assert connection.ended()


# What does not.


@pytest.mark.parametrize("path", ["/?cb=1", "/a/b", "/favicon.ico", "/-/healthy/x", "/-/ready", "/%2f", "/%2e%2e/x"])
def test_a_path_outside_every_route_is_404(connection: Connection, path: str) -> None:
    response = connection.get(path, GOOD)
    assert (404, refused("no_route")) == (response.status, response.json)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"])
def test_another_method_on_a_route_is_405_and_told_which_is_allowed(connection: Connection, method: str) -> None:
    response = connection.get(target(), GOOD, method=method)
    assert (response.status, response.headers["allow"]) == (405, "GET")
    if method != "HEAD":
        assert refused("method_not_allowed") == response.json
    assert connection.get(target(), GOOD).status == 200


CREDENTIALS = {
    "no header": [],
    "an empty header": [("X-Aurora-Webhook-Token", "")],
    "a wrong token": [("X-Aurora-Webhook-Token", "bad-token")],
    "the beginning of the token": [("X-Aurora-Webhook-Token", VALID[:-1])],
    "the token and more": [("X-Aurora-Webhook-Token", f"{VALID}x")],
    "the token in other letters": [("X-Aurora-Webhook-Token", VALID.upper())],
    "a token outside ASCII": [("X-Aurora-Webhook-Token", "good-t\u00f6ken")],
    "the token in another header": [("Authorization", VALID)],
    "the token in a cookie": [("Cookie", f"token={VALID}")],
    "a wrong password": [("Authorization", f"Basic {b64encode(b'user:no').decode()}")],
    "a wrong user": [("Authorization", f"Basic {b64encode(b'nobody:word').decode()}")],
    "a pair in clear": [("Authorization", "Basic user:word")],
}


@pytest.mark.proves(
    "no secret leaves, and a secret changes without a refusal",
    "An attacker cannot: learn from the answer what was wrong with a credential",
)
def test_bad_credentials_are_401_and_the_answer_is_the_same_whatever_was_wrong(connection: Connection) -> None:
    answers = {what: connection.get(target(), headers) for what, headers in CREDENTIALS.items()}
    answers |= {f"{key} in the query": connection.get(f"{target()}&key={key}") for key in ("", "bad", VALID[:-1])}
    assert dict.fromkeys(answers, 401) == {what: answer.status for what, answer in answers.items()}
    assert {bytes_of(answer) for answer in answers.values()} == {bytes_of(answers["no header"])}
    assert answers["no header"].head.count(b"WWW-Authenticate: ") == 2
    assert b'\r\nWWW-Authenticate: Basic realm="aurora-bridge", charset="UTF-8"\r\n' in answers["no header"].head
    assert refused("unauthorized") == answers["no header"].json


@pytest.mark.proves("An attacker can: Learn that it is this program")
def test_a_path_outside_every_route_is_told_before_a_wrong_method_and_that_before_bad_credentials(
    connection: Connection,
) -> None:
    assert connection.get("/a/b", method="POST").status == 404
    assert connection.get(target(), method="POST").status == 405
    assert connection.get("/agreement_status_changed").status == 401
    assert connection.get(f"/agreement_status_changed?project_id={'x' * 17_000}").status == 401


@pytest.mark.parametrize("length", [16_385, 30_000, 40_000, 200_000])
def test_a_target_that_is_too_long_is_414(connection: Connection, length: int) -> None:
    start = "/lead_changed?lead_id="
    response = connection.get(start + "x" * (length - len(start)), GOOD)
    assert (
        response.status,
        response.json["outcome"],
        response.json["reason"],
    ) == (414, "refused", "target_too_long")


def test_a_target_as_long_as_allowed_works(connection: Connection) -> None:
    start = "/lead_changed?lead_id="
    assert connection.get(start + "x" * (16_384 - len(start)), GOOD).status == 200


MALFORMED = {
    "no HTTP at all": f"{MARK}\r\n\r\n".encode(),
    "a version that does not exist": f"GET /{MARK} HTTP/9.9\r\n\r\n".encode(),
    "a line feed in the target": f"GET /lead_changed?lead_id={MARK}\n HTTP/1.1\r\nHost: h\r\n\r\n".encode(),
    "a carriage return in the target": f"GET /{MARK}\r HTTP/1.1\r\nHost: h\r\n\r\n".encode(),
    "two versions": f"GET /lead_changed?lead_id={MARK} HTTP/1.1 HTTP/1.1\r\nHost: h\r\n\r\n".encode(),
    "a header without a colon": f"GET /lead_changed HTTP/1.1\r\nHost: h\r\n{MARK}\r\n\r\n".encode(),
    "a header with a control character": f"GET /lead_changed HTTP/1.1\r\nX-{MARK}: a\x00b\r\n\r\n".encode(),
    "two lengths of the body": (
        f"GET /lead_changed?lead_id={MARK} HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".encode()
    ),
    "a length and chunks": (
        f"GET /lead_changed?lead_id={MARK} HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    ),
    "the greeting of TLS": bytes.fromhex("16030100c8010000c40303") + MARK.encode(),
}


@pytest.mark.proves("An attacker cannot: be sent elsewhere")
@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_not_http_is_400_and_the_answer_repeats_nothing_of_it(connection: Connection, what: str) -> None:
    connection.send(MALFORMED[what])
    response = connection.receive()
    assert (400, refused("malformed_http")) == (response.status, response.json)
    assert MARK.encode() not in response.head + response.body
    assert connection.ended()


@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        ("K\u00e4ufer".encode(), {"status": "K\u00e4ufer"}),
        (b"In progress", {"status": "In progress"}),
        (b'"Sold" <now> {a|b} \\^`', {"status": '"Sold" <now> {a|b} \\^`'}),
        (b"100% s\xc3\xbcre", {"status": "100% s\u00fcre"}),
        (b"K\xe4ufer", {"reason": "not_utf8"}),
        (b"a\tb", {"reason": "control_characters"}),
        (b"a\x00b", {"reason": "control_characters"}),
        (b"a\x7fb", {"reason": "control_characters"}),
        ("a\u0085b".encode(), {"reason": "control_characters"}),
    ],
    ids=ascii,
)
def test_a_target_that_nobody_escaped_is_an_event_or_a_dead_letter(
    daemon: Daemon, connection: Connection, raw: bytes, stored: dict[str, str]
) -> None:
    response = connection.get(b"/project_status_changed?project_id=%b&status=%b" % (uuid4().hex.encode(), raw), GOOD)
    assert (response.status, response.headers["connection"]) == (200, "close")
    assert connection.ended()
    data = spooled(daemon.state)[-1].event["data"]
    assert {name: data[name] for name in stored} == stored


def test_no_byte_of_a_target_but_a_line_end_makes_it_a_400(daemon: Daemon) -> None:
    for byte in sorted({*range(256)} - {*b"\r\n"}):
        for target in (
            b"/project_status_changed?project_id=p&status=a%cb",
            b"/project_status_changed?project_id=p&a%cb=1",
        ):
            assert (daemon.get(target % byte, GOOD).status, byte) == (200, byte)


def test_escaped_or_not_it_is_the_same_event(daemon: Daemon) -> None:
    target = f"/project_status_changed?project_id={uuid4()}&status=K\u00e4u fer"
    answers = [daemon.get(sent, GOOD).json for sent in (target, target.replace("\u00e4", "%C3%A4").replace(" ", "+"))]
    assert [answer["outcome"] for answer in answers] == ["spooled", "duplicate"]
    assert len({answer["id"] for answer in answers}) == 1


@pytest.mark.parametrize(
    ("target", "headers", "reason"),
    [
        (target(), GOOD, "malformed_with_credential"),
        (target(), [("Authorization", f"Basic {b64encode(b'user:word').decode()}")], "malformed_with_credential"),
        (f"{target()}&key={VALID}", [], "malformed_with_credential"),
        (target(), [("X-Aurora-Webhook-Token", "wrong")], "malformed_http"),
        (target(), [], "malformed_http"),
    ],
)
def test_what_is_not_http_is_told_apart_by_whether_it_carries_a_valid_credential(
    daemon: Daemon, connection: Connection, target: str, headers: list[tuple[str, str]], reason: str
) -> None:
    before = daemon.metrics()
    response = connection.get(target, [*headers, ("no header", "")])
    after = daemon.metrics()
    assert (400, refused(reason)) == (response.status, response.json)
    refusals, used = "aurora_bridge_refusals_total", "aurora_bridge_credentials_used_total"
    assert after.value(refusals, reason=reason) == before.value(refusals, reason=reason) + 1
    assert after.value(refusals) == before.value(refusals) + 1
    assert after.value(used) == before.value(used)


def test_a_refusal_after_which_the_connection_ends_says_so(connection: Connection) -> None:
    connection.send(MALFORMED["no HTTP at all"])
    assert connection.receive().headers.get("connection") == "close"


def test_a_head_that_never_ends_is_400_and_ends_the_connection(connection: Connection) -> None:
    connection.send(f"GET {target()} HTTP/1.1\r\n".encode())
    with suppress(ConnectionError):  # what comes after the refusal finds the connection closed
        for number in range(1000):
            connection.send(f"X-{number}: {'x' * 8000}\r\n".encode())
    assert connection.receive().status == 400


def test_a_header_that_is_too_long_is_400_and_is_not_taken_for_a_target(connection: Connection) -> None:
    response = connection.get(target(), [*GOOD, ("X-Long", "x" * 40_000)])
    assert (400, refused("malformed_with_credential")) == (response.status, response.json)


ANSWERED = {
    "a path of no route": (404, request(f"/a/{MARK}", GOOD)),
    "a wrong method": (405, request(f"/lead_changed?lead_id={MARK}", GOOD, method="POST")),
    "a wrong token": (401, request(f"/lead_changed?lead_id={MARK}", [("X-Aurora-Webhook-Token", MARK)])),
    "an endless target": (414, request(f"/lead_changed?lead_id={MARK}{'x' * 17_000}", GOOD)),
    "a header": (200, request("/lead_changed?lead_id=1", [*GOOD, (f"X-{MARK}", MARK), ("Origin", MARK)])),
    "an event": (200, request(f"/lead_changed?lead_id={MARK}&{MARK}={MARK}", GOOD)),
    "an unknown event": (200, request(f"/{MARK}?{MARK}={MARK}", GOOD)),
    "a dead letter": (200, request(f"/lead_changed?lead_id={MARK}&lead_id=%ff", GOOD)),
    "another host": (200, request(f"http://{MARK}/lead_changed?lead_id={MARK}", GOOD)),
}


@pytest.mark.proves("An attacker cannot: be sent elsewhere")
@pytest.mark.parametrize("what", ANSWERED)
def test_an_answer_repeats_nothing_of_what_was_sent(connection: Connection, what: str) -> None:
    status, sent = ANSWERED[what]
    connection.send(sent)
    response = connection.receive()
    assert (response.status, set(response.headers)) == (status, HEADERS | MORE_HEADERS.get(status, set()))
    assert MARK.encode() not in response.head + response.body


def test_each_answer_ends_its_connection_while_the_daemon_is_stopping(tmp_path: Path) -> None:
    with Daemon(tmp_path, ingress__shutdown_pause_seconds=600) as daemon, Connection(daemon.url) as connection:
        assert "connection" not in connection.get(target()).headers
        daemon.process.terminate()
        daemon.wait_until("it is stopping", lambda daemon: daemon.ready()[0] == 503)
        response = connection.get(target())
        assert (response.status, response.headers["connection"], connection.ended()) == (200, "close", True)
        assert http.get(daemon.admin_url, "/livez").headers["connection"] == "close"


# Settings that change an answer.


def test_a_malformed_delivery_can_be_told_to_be_one_and_is_kept_all_the_same(tmp_path: Path) -> None:
    with Daemon(tmp_path, ingress__malformed_status=422) as daemon:
        response = daemon.get("/agreement_status_changed?status=%3CSTATUS%3E")
        (letter,) = spooled(daemon.state)
    assert (422, "dead_lettered", "unfilled_placeholder", letter.key) == (
        response.status,
        *(response.json[member] for member in ("outcome", "reason", "id")),
    )


def test_the_base_path_stands_before_everything_on_the_port(tmp_path: Path) -> None:
    with Daemon(tmp_path, ingress__base_path="/hooks") as daemon:
        answers = [daemon.get(path).status for path in (f"/hooks{target()}", target(), "/hooks/-/healthy")]
    assert answers == [200, 404, 200]


@pytest.mark.proves("memory and files are bounded")
def test_more_deliveries_in_flight_than_the_bound_are_503_and_not_kept(tmp_path: Path) -> None:
    with Daemon(tmp_path, ingress__max_in_flight=4) as daemon, ExitStack() as stack:
        connections = [stack.enter_context(Connection(daemon.url)) for _ in range(40)]
        daemon.process.send_signal(signal.SIGSTOP)  # so that all of them are there at once when it goes on
        for connection in connections:
            connection.send(request(target()))
        daemon.process.send_signal(signal.SIGCONT)
        answers = [connection.receive() for connection in connections]
        refusals = [answer for answer in answers if answer.status != 200]
        kept = [stored.key for stored in spooled(daemon.state)]
    assert refusals
    assert {(503, "30", "overloaded")} == {
        (answer.status, answer.headers["retry-after"], answer.json["reason"]) for answer in refusals
    }
    assert sorted(answer.json["id"] for answer in answers if answer.status == 200) == sorted(kept)


def bytes_of(response: Response) -> bytes:
    """Return the answer as it came, without the time in it."""
    lines = response.head.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.startswith(b"Date:")) + response.body
