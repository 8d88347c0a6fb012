"""HTTP by hand, over a raw socket: the bytes that go out are the test's, and so are those that come back.

A client library would fix, refuse or hide what the tests are about: odd targets, pipelining, a connection that ends.
"""

import json
import select
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

SECONDS: Final = 15.0
"""Bound of every wait for the other side. The daemon answers within 8 s, whatever happens."""

Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. Names of headers are in lower case; `head` is everything above the body as it came."""

    version: str
    status: int
    headers: dict[str, str]
    body: bytes
    head: bytes = field(repr=False, default=b"")

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the other side wrote
        """The body as JSON. Raises `ValueError`."""
        return json.loads(self.body)


def request(target: bytes | str, headers: Headers = (), *, method: str = "GET", version: str = "1.1") -> bytes:
    """Return the bytes of a request without a body; a `Host` is added where the version wants one."""
    raw = target if isinstance(target, bytes) else target.encode()
    lines = [b" ".join([method.encode(), raw, f"HTTP/{version}".encode()])]
    if version == "1.1":
        lines.append(b"Host: bridge.example")
    lines += [f"{name}: {value}".encode("latin-1") for name, value in headers]
    return b"\r\n".join([*lines, b"", b""])


class Connection:
    """One TCP connection. Raises `ConnectionError` once the other side is gone, `TimeoutError` if it is silent."""

    def __init__(self, url: str) -> None:
        """Connect to host and port of a URL."""
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port or 80), SECONDS)
        self._received = b""

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def receive(self, *, to: str = "GET") -> Response:
        """Return the next answer; `to` is the method of its request, since that to a HEAD has no body."""
        head = self._until(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        version, status, *_ = status_line.split(" ")
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = b"" if to == "HEAD" else self._exactly(int(headers.get("content-length", "0")))
        return Response(version, int(status), headers, body, head)

    def get(self, target: bytes | str, headers: Headers = (), *, method: str = "GET", version: str = "1.1") -> Response:
        """Send a request and return its answer."""
        self.send(request(target, headers, method=method, version=version))
        return self.receive(to=method)

    def ended(self) -> bool:
        """Whether the other side closes the connection, with nothing more to say.

        A reset is an end as well: it is what TCP makes of a close while sent bytes are unread.
        """
        if self._received:
            return False
        try:
            return not self._socket.recv(1)
        except ConnectionResetError:
            return True

    def silent(self) -> bool:
        """Whether the connection is open and nothing has come that was not received."""
        return not self._received and not select.select([self._socket], [], [], 0)[0]

    def end(self) -> None:
        """Tell the other side that nothing more comes, and go on listening."""
        with suppress(OSError):  # it may be gone
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close this side."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._received:
            self._more()
        head, _, self._received = self._received.partition(mark)
        return head

    def _exactly(self, size: int) -> bytes:
        while len(self._received) < size:
            self._more()
        body, self._received = self._received[:size], self._received[size:]
        return body

    def _more(self) -> None:
        data = self._socket.recv(65_536)
        if not data:
            message = f"the connection ended after {self._received!r}"
            raise ConnectionError(message)
        self._received += data


def get(url: str, target: bytes | str, headers: Headers = (), *, method: str = "GET", version: str = "1.1") -> Response:
    """Send one request over a connection of its own and return the answer."""
    with Connection(url) as connection:
        return connection.get(target, headers, method=method, version=version)
