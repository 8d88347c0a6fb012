"""No secret leaves: canaries in every place of the input, then searched in everything that comes out.

A canary is a word of its own for each place and each kind of delivery, so that one that got out names its way.
"""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

import pytest

from aurora_bridge.settings import Settings
from tests.e2e.stores import Place, Stored
from tests.support import http
from tests.support.daemon import Daemon
from tests.support.http import Connection, request

pytestmark = pytest.mark.proves("no secret leaves, and a secret changes without a refusal")

HEADER: Final = "X-Aurora-Webhook-Token"
VALID: Final = "canary0valid0token"
VALID_PAIR: Final = "canary0user@example.com:canary0valid0password"
QUERY: Final = "key"
"""The parameter that may carry the token: no name of a secret by itself."""
OURS: Final = "door_code"
"""A secret to nobody but the settings."""
SECRET_NAMES: Final = (
    *("token", "password", "secret", "api_key", "session_token", "sessionToken", "API-KEY", "%74oken"),
    *(OURS, "doorCode", HEADER),
    *("amp;token", "session_token[]", "x[session_token]", "token%20", "_token", "x.token", "sessiontoken"),
    *("session%255Ftoken", f"_{QUERY}", "pwd", "access_token", "authorization"),
)

GOOD: Final = "/agreement_status_changed?agreement_id=a-{0}&status=signed"
UNKNOWN: Final = "/roof_painted?roof_id=r-{0}"
DEAD: Final = "/agreement_status_changed?agreement_id=a-{0}&status=%3CSTATUS%3E"
NOT_UTF8: Final = "/project_status_changed?project_id=p-{0}&status=%ff"
CONFLICTING: Final = "/project_status_changed?project_id=p-{0}&project_id=other"
MISTAKES: Final = (
    *("?token={}", ";token={}", "%26token%3D{}", ",token={}", "&token%3D{}", "&x=token%253D{}", "&x=token:{}"),
    *(
        "&x=%7B%22token%22:%22{}%22%7D",
        "&x=https%3A%2F%2Fh%2F%3Ftoken%3D{}",
        "&x=https%253A%252F%252Fh%253Ftoken%253D{}",
    ),
    *("&%7B%22token%22:%22{}%22%7D", "&x=Authorization:%20Bearer%20{}"),
)
NO_ROUTE: Final = "/no/route?lead_id={0}"
KINDS: Final = {
    "good": GOOD,
    "unknown": UNKNOWN,
    "dead": DEAD,
    "notutf8": NOT_UTF8,
    "conflicting": CONFLICTING,
    "noroute": NO_ROUTE,
}


class Canaries:
    """Hands out canaries and remembers them."""

    def __init__(self) -> None:
        self.released = [VALID, *VALID_PAIR.split(":"), b64encode(VALID_PAIR.encode()).decode()]

    def release(self, way: str) -> str:
        """Return a new canary that names its way in."""
        self.released.append(f"canary{len(self.released)}{way}")
        return self.released[-1]


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that came out of a daemon, and what must not be in it."""

    canaries: list[str]
    answers: bytes
    log: bytes
    admin: bytes
    state: dict[str, bytes]
    stored: list[Stored]


def deliveries(canaries: Canaries) -> Iterator[bytes]:
    """Yield requests, each with canaries where a secret can stand."""
    valid = (HEADER, VALID)
    for kind, template in KINDS.items():
        for number, name in enumerate(SECRET_NAMES):
            target = template.format(f"{kind}{number}")
            yield request(f"{target}&{name}={canaries.release(f'parameter{kind}')}", [valid])
            path, _, query = target.partition("?")
            yield request(f"{path}?{name}={canaries.release(f'front{kind}')}&{query}", [valid])
        target = template.format(f"{kind}x")
        headers = [
            ("Authorization", f"Basic {canaries.release('basic')}"),
            ("Cookie", f"session={canaries.release('cookie')}"),
            ("X-Other", canaries.release("otherheader")),
            (f"X-{canaries.release('headername')}", "1"),
            ("Referer", f"http://h/?token={canaries.release('referer')}"),
            ("User-Agent", canaries.release("useragent")),
        ]
        yield request(target, [valid, *headers])
        yield request(f"{target}&{QUERY}={VALID}")
        yield request(f"{target}&{QUERY}={canaries.release('wrongquery')}", [valid])
        yield request(f"{target}y", [("Authorization", f"Basic {b64encode(VALID_PAIR.encode()).decode()}")])
        yield request(target, [(HEADER, canaries.release("wrongtoken"))])
        yield request(f"{target}&lead={canaries.release('unauthenticated')}", [])
        yield request(f"{target}&{canaries.release('unauthenticatedname')}=1", [])
        yield request(target, [valid], method="POST").replace(
            b"POST /", f"POST /{canaries.release('nopath')}/".encode()
        )
        user = canaries.release("userinfo")
        yield request(f"http://{user}:{canaries.release('passwordinfo')}@h{target}", [valid])
        body = f"token={canaries.release('body')}".encode()
        yield request(target, [valid, ("Content-Length", str(len(body)))]) + body
    # What people get wrong in a template: a second "?", ";" between parameters, a value encoded twice over.
    for template in KINDS.values():
        target = template.format("mistaken")
        for mistake in MISTAKES:
            yield request(target + mistake.format(canaries.release("mistake")), [valid])


def no_http(canaries: Canaries) -> Iterator[bytes]:
    """Yield what is no HTTP, with canaries in it."""
    yield f"{canaries.release('garbage')}\r\n\r\n".encode()
    yield f"GET /x?token={canaries.release('version')} HTTP/9.9\r\n\r\n".encode()
    yield f"GET /x?token={canaries.release('space')} y HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    yield f"GET /x?token={canaries.release('control')}\x01 HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    yield f"GET /x HTTP/1.1\r\nHost: h\r\n{HEADER} {canaries.release('colon')}\r\n\r\n".encode()
    yield f"GET /x HTTP/1.1\r\nHost: h\r\n{HEADER}: {canaries.release('nul')}\x00\r\n\r\n".encode()
    yield f"GET /x?token={canaries.release('long')}{'x' * 40_000} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    yield f"GET /x HTTP/1.1\r\nHost: h\r\n{HEADER}: {canaries.release('longheader')}{'x' * 40_000}\r\n\r\n".encode()
    yield (
        f"GET /lead_changed?lead_id=1 HTTP/1.1\r\nHost: h\r\n{HEADER}: {VALID}\r\nTransfer-Encoding: chunked\r\n\r\n"
        f"{canaries.release('chunk')}\r\n\r\n"
    ).encode()
    yield (
        f"GET /lead_changed?lead_id=2 HTTP/1.1\r\nHost: h\r\n{HEADER}: {VALID}\r\nContent-Encoding: gzip\r\n"
        f"Content-Length: 200\r\n\r\n{canaries.release('gzip'):200}"
    ).encode()


@pytest.fixture(scope="module")
def seen(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Send everything, and collect everything that came out of it."""
    folder = tmp_path_factory.mktemp("secrets")
    tokens = folder / "tokens"
    tokens.write_text(f"{VALID}\n")
    canaries = Canaries()
    basic = folder / "basic"
    basic.write_text(f"{VALID_PAIR}\n")
    settings = {
        "auth__tokens_file": tokens,
        "auth__basic_file": basic,
        "auth__query_parameter": QUERY,
        "log__level": "debug",
        "ingress__log_deliveries": True,
        "ingress__secret_parameters": ",".join([*Settings().ingress.secret_parameters, OURS]),
    }
    with place.daemon(folder, **settings) as daemon:
        place.settle(daemon)
        answers = [_answer(daemon, data) for data in [*deliveries(canaries), *no_http(canaries)]]
        admin = b"".join(http.get(daemon.admin_url, path).body for path in ("/", "/metrics", "/readyz"))
        stored = place.read(daemon)
        daemon.kill()  # so that the write-ahead logs are still there to be searched
        state = {path.name: path.read_bytes() for path in daemon.state.iterdir() if path.is_file()}
    return Seen(canaries.released, b"".join(answers), daemon.log.read_bytes(), admin, state, stored)


def test_the_deliveries_came_through(seen: Seen) -> None:
    topics = {stored.topic for stored in seen.stored}
    assert {"agreement_status_changed", "unrecognized", "dead_letter"} <= topics
    everything = b"".join([*seen.state.values(), *(stored.value for stored in seen.stored)])
    assert found(["a-good0", "r-unknown0", "p-conflicting0"], everything) == ["a-good0", "r-unknown0", "p-conflicting0"]
    for status in (b"200", b"400", b"401", b"404", b"414"):
        assert b"HTTP/1.1 " + status in seen.answers


@pytest.mark.proves("No secret comes out: not in an answer")
def test_no_secret_is_in_an_answer(seen: Seen) -> None:
    assert found(seen.canaries, seen.answers) == []


@pytest.mark.proves("No secret comes out: not in an answer")
def test_no_secret_is_in_the_log_at_any_level(seen: Seen) -> None:
    assert found(seen.canaries, seen.log) == []


@pytest.mark.proves(
    "No secret comes out: not in an answer", "Admin port and control socket: it shows no content of an event"
)
def test_no_secret_is_on_the_admin_port(seen: Seen) -> None:
    assert found(seen.canaries, seen.admin) == []


@pytest.mark.proves("No secret comes out: not in an answer")
def test_no_secret_is_in_a_file_of_the_state_directory(seen: Seen) -> None:
    assert {"spool.db", "spool.db-wal"} <= seen.state.keys()
    assert {name: hits for name, content in seen.state.items() if (hits := found(seen.canaries, content))} == {}


@pytest.mark.proves("No secret comes out: not in an answer")
def test_no_secret_is_in_an_event_its_key_or_its_headers(seen: Seen) -> None:
    everything = b"\n".join(stored.value + f" {stored.key} {stored.headers}".encode() for stored in seen.stored)
    assert found(seen.canaries, everything) == []


def found(canaries: list[str], output: bytes) -> list[str]:
    """Return the canaries that are in the output, as they are or percent-encoded, in large letters or small."""
    texts = [output.lower(), unquote_to_bytes(output).lower()]
    return [canary for canary in canaries if any(canary.lower().encode() in text for text in texts)]


def _answer(daemon: Daemon, data: bytes) -> bytes:
    with Connection(daemon.url) as connection:
        connection.send(data)
        response = connection.receive()
        return response.head + b"\r\n\r\n" + response.body
