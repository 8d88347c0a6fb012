"""A fuzzer of the ingress: requests that Hypothesis makes, sent to a real daemon, and what must hold of its answers.

Two kinds. *Targets* are requests in good HTTP with good credentials and anything in the URL: each is answered, and two
with the same id carry the same attributes, as this module reads them; it shares no code with the daemon. *Messages* are
pieces of HTTP in any order: whatever they are taken for, no answer is the daemon's fault.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from time import monotonic
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.faults.aurora import TOKEN
from tests.samples.load import MALFORMED_TOKEN
from tests.support.http import Connection, Response, request

KEPT: Final = "found.jsonl"
SECRETS: Final = {"token", "password", "secret", "api_key", "session_token"}
_EVENTS: Final = ("lead_created", "lead_changed", "project_status_changed", "asset_created", "roof_painted")
_NAMES: Final = ("lead_id", "leadId", "LEAD-ID", "project_id", "asset_id", "status", "source", "a", "A", "token", "")
_PIECES: Final = (
    *("a", "b", "A", "1", "%61", "%41", "%2561", "+", "%20", "%2B", "%", "%%", "%zz", "%u0061", "%00", "%0a", "%7f"),
    *(
        "%ff",
        "%c3%a9",
        "e%cc%81",
        "%c0%af",
        "%ed%a0%80",
        "%ef%bb%bf",
        "%e2%80%ae",
        "=",
        "%26",
        "%3d",
        "%3D",
        "%23",
        "#",
    ),
    *("?", "%3f", ";", "%3b", "/", "//", "..", "<STATUS>", "%3CSTATUS%3E", '"', "'", "\\", "{}", "[]", "|", "^", "`"),
    *(" ", "\t", "\x00", "\u00e9", "\u00c3\u00a9", "x" * 300),
    *("_", "-", ".", "null", "None", ",", ":", "@", "~", "!", "$", "*", "(", ")"),
)
_TEXT: Final = st.lists(st.sampled_from(_PIECES), max_size=3).map("".join)
_PARAMETERS: Final = st.tuples(st.sampled_from(_NAMES) | _TEXT, st.sampled_from(("=", "=", "=", "")), _TEXT).map(
    "".join
)
_PATHS: Final = st.sampled_from(_EVENTS) | st.tuples(st.sampled_from(_EVENTS), _TEXT).map("".join)
_ALIKE: Final = (
    "/lead_created?lead_id=%s",
    "/lead_created?lead_id=1&a=%s",
    "/lead_created?lead_id=1&%s=1",
    "/project_status_changed?project_id=1&status=%s",
)
"""Nearly the same event, with an id that its content alone decides: what is taken for something else is found soon."""

_SECOND: Final = "GET /lead_changed?lead_id=second HTTP/1.1\r\nHost: h\r\n\r\n"
_LINES: Final = (
    *("GET /lead_changed?lead_id=1 HTTP/1.1", "GET /lead_changed?lead_id=1 HTTP/1.0", "POST /a HTTP/1.1", ""),
    *("Host: h", "Host:", "Content-Length: 0", "Content-Length: 5", "Content-Length: 1, 2", "Content-Length: -1"),
    *("Content-Length: 99999999999999999999", f"Content-Length: {len(_SECOND)}", "Transfer-Encoding: chunked"),
    *("Transfer-Encoding: gzip, chunked", "Transfer-Encoding : chunked", "Transfer-Encoding: identity", " folded"),
    *("Connection: close", "Connection: keep-alive", "Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c"),
    *("Expect: 100-continue", "Content-Encoding: gzip", "Content-Encoding: deflate", "Content-Encoding: br"),
    *(
        "X: \x00",
        "X: \u00ff",
        "X",
        ": x",
        "X:\x0b",
        "X: " + "x" * 9000,
        "5",
        "hello",
        "0",
        f"{len(_SECOND):x}",
        "ffffffff",
    ),
    *("5;a=b", "Trailer: x", _SECOND, "Sec-WebSocket-Key: x", "PRI * HTTP/2.0", "SM"),
)
_ENDS: Final = ("\r\n", "\r\n", "\r\n", "\r\n", "\r\n\r\n", "\n", "\r", "")
_MESSAGES: Final = st.lists(st.tuples(st.sampled_from(_LINES), st.sampled_from(_ENDS)).map("".join), max_size=12)

Meaning = tuple[str, frozenset[tuple[str, bytes]]]


def targets() -> st.SearchStrategy[str]:
    """Return request targets, of ASCII mostly; one character is one byte."""
    queries = st.lists(_PARAMETERS, max_size=5).map("&".join)
    anything = st.tuples(_PATHS, queries).map(lambda parts: f"/{parts[0]}?{parts[1]}")
    alike = st.tuples(st.sampled_from(_ALIKE), st.sampled_from(_PIECES) | _TEXT).map(lambda parts: parts[0] % parts[1:])
    return alike | alike | anything


def messages() -> st.SearchStrategy[str]:
    """Return what is sent on one connection; one character is one byte."""
    return _MESSAGES.map("".join)


def meaning(target: str) -> Meaning:
    """Return what a target tells: its event, and the attributes that have a value, with their bytes."""
    path, _, query = target.strip(" ").partition("?")
    pairs = (piece.partition("=") for piece in query.split("&"))
    read = ((_name(unquote_to_bytes(_raw(name))), unquote_to_bytes(_raw(value))) for name, _, value in pairs)
    told = frozenset((n, v) for n, v in read if n not in SECRETS and not _says_nothing(n, v))
    return _name(unquote_to_bytes(path.strip("/"))), told


def _says_nothing(name: str, value: bytes) -> bool:
    """Whether a value is empty, or a code (an identifier, or one of known values) without any letter or digit."""
    text = value.decode("utf-8", "replace")
    codes = [text, unescape(unquote(text)), unescape(unquote(unescape(unquote(text))))]
    is_code = name == "source" or name.endswith("_id")
    return not value or (is_code and not all(any(map(str.isalnum, code)) for code in codes))


def _raw(text: str) -> bytes:
    return text.replace("+", " ").encode("latin-1")


def _name(name: bytes) -> str:
    written = name.decode("utf-8", "backslashreplace")
    meant = re.sub(r"^\W+|\W+$", "", written) or written  # frameworks put brackets and white space around names
    words = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3_\2\4", meant)
    return re.sub(r"[\W_]+", "_", words.lower())


@dataclass
class Fuzzer:
    """Sends what Hypothesis makes to an ingress, and remembers what its ids stand for."""

    url: str
    headers: list[tuple[str, str]]
    folder: Path
    """Where the request is kept that is answered wrongly."""
    sent: int = 0
    meanings: dict[str, Meaning] = field(default_factory=dict)
    """By id."""
    last: str = ""
    """What was sent on the last connection, one character a byte."""
    statuses: list[int] = field(default_factory=list)
    """Of its answers."""

    def run(self, seconds: float = 0.0, examples: int = 200) -> None:
        """Go on for so long, and at least for so many examples of each kind.

        Raises `AssertionError` with the least request that is answered wrongly, and keeps it.
        """
        try:
            self._run(seconds, examples)
        except Exception as error:  # a wrong answer, none, or one that does not come again; the least is sent last
            kept = self._keep()
            message = f"{error}. Its line for tests/samples/malformed, once its statuses are the right ones: {kept}"
            raise AssertionError(message) from error

    def _keep(self) -> Path:
        """Write the last request down as the corpus has them; return the file."""
        path = self.folder / KEPT
        line = {"name": "", "send": self.last.replace(TOKEN, MALFORMED_TOKEN), "statuses": self.statuses, "ended": True}
        path.write_text(json.dumps(line) + "\n")
        return path

    def _run(self, seconds: float, examples: int) -> None:
        until = monotonic() + seconds
        while True:
            for check, what in ((self._check_target, targets()), (self._check_message, messages())):
                options = settings(
                    max_examples=examples,
                    database=None,
                    deadline=None,
                    report_multiple_bugs=False,
                    phases=[Phase.generate, Phase.shrink],
                    suppress_health_check=list(HealthCheck),
                )
                options(given(what)(check))()
            if monotonic() >= until:
                return

    def _check_target(self, target: str) -> None:
        data = request(target.encode("latin-1"), [*self.headers, ("Connection", "close")])
        self.sent, self.last, self.statuses = self.sent + 1, data.decode("latin-1"), []
        with Connection(self.url) as connection:
            connection.send(data)
            response = connection.receive()
        self.statuses = [response.status]
        assert response.status in {200, 400, 404, 414}, (target, response)
        name = response.json["id"]
        if response.status == 200:
            told = meaning(target)
            if response.json["outcome"] == "dead_lettered":
                told = f"dead letter {self.sent}", frozenset()  # each is one of its own
            known = self.meanings.setdefault(name, told)
            assert known == told, f"{target!r} has the id of something else: {name} is {known}, not {told}"

    def _check_message(self, message: str) -> None:
        self.sent, self.last = self.sent + 1, message
        with Connection(self.url) as connection:
            connection.send(message.encode("latin-1"))
            self.statuses = [response.status for response in answers(connection)]
        assert all(status < 500 for status in self.statuses), (message, self.statuses)


def answers(connection: Connection) -> Iterator[Response]:
    """Say no more, and yield the answers until the other side ends."""
    connection.end()
    while True:
        try:
            yield connection.receive()
        except ConnectionError:
            return
