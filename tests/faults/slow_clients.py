"""Many clients that cost a server connections and give it nothing: silent, slow, or deaf.

Each connection that the server ends is noted with how long it lasted, and another takes its place. A deaf client does
not hear the end: whether the server still has such a connection, the system's table of sockets tells.
"""

import random
import select
import socket
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from tests.faults.process_stats import clients_of

_TICK_MS: Final = 100
_LOOK_SECONDS: Final = 0.5
_ACCEPTED_SECONDS: Final = 2.0
"""Within which the server has accepted a connection."""
_NEW_A_TICK: Final = 50
_BYTE_SECONDS: Final = 4
_WHOLE: Final = b"GET /lead_changed?lead_id=crowd HTTP/1.1\r\nHost: h\r\n\r\n"
"""Refused, since it has no token."""
_HALF: Final = b"GET /lead_changed?lead_id=crowd HTTP/1.1\r\nHost: h\r\nX-Slow: "
_BODY: Final = _WHOLE[:-2] + b"Content-Length: 100000\r\n\r\n"
_GONE: Final = select.POLLHUP | select.POLLERR | select.POLLRDHUP
_SMALL_BUFFER: Final = 4096

KINDS: Final = {
    "silent": 40,
    "half a head": 40,
    "half a second head": 18,
    "half a body": 1,
    "deaf": 1,
}
"""Per cent of all. All but the silent ones send a byte now and then; the deaf ones ask and never read."""
_BEGIN: Final = {"silent": b"", "half a head": _HALF, "half a second head": _WHOLE + _HALF, "half a body": _BODY}
_DEAF_REQUESTS: Final = 1000
"""At most. What the system's own buffers take differs; `tests/web/test_connection.py` fills them to the brim."""


@dataclass(eq=False)
class _Member:
    kind: str
    socket: socket.socket
    began: float
    port: int
    unsent: bytearray = field(default_factory=bytearray)


class SlowClients:
    """So many clients at once, in a thread of its own, from `with` to its end."""

    def __init__(self, url: str, size: int) -> None:
        """SlowClients the server at `url`."""
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._size = size
        self._random = random.Random(1)
        self._members: dict[int, _Member] = {}
        self._poll = select.poll()
        self._over = Event()
        self._thread = Thread(target=self._run, name="slow clients")
        self._next_byte = self._next_look = 0.0
        self.complete = Event()
        """Set once all of them were there at the same time."""
        self.ended: defaultdict[str, list[float]] = defaultdict(list)
        """By kind, the seconds that each connection lasted until its end was seen."""
        self._dwindling = False

    def dwindle(self, seconds: float) -> Counter[str]:
        """Let nobody take an empty place any more; return how many of each kind the server keeps after `seconds`."""
        self._dwindling = True
        deadline = monotonic() + seconds
        while (kept := self._kept()) and monotonic() < deadline:
            self._over.wait(0.5)
        return kept

    def _kept(self) -> Counter[str]:
        return Counter(member.kind for member in list(self._members.values()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        kinds = self._kinds()
        while not self._over.is_set():
            missing = 0 if self._dwindling else self._size - len(self._members)
            for _ in range(min(_NEW_A_TICK, missing)):
                with suppress(OSError):
                    self._join(next(kinds))
            if len(self._members) == self._size:
                self.complete.set()
            for descriptor, what in self._poll.poll(_TICK_MS):
                self._hear(self._members[descriptor], what)
            if monotonic() >= self._next_look:
                self._next_look = monotonic() + _LOOK_SECONDS
                self._look_for_deaf()
            self._speak()
        for member in self._members.values():
            member.socket.close()

    def _kinds(self) -> Iterator[str]:
        while True:
            having = Counter(member.kind for member in self._members.values())
            missing = Counter({kind: share * self._size // 100 - having[kind] for kind, share in KINDS.items()})
            yield max(missing, key=missing.__getitem__)

    def _join(self, kind: str) -> None:
        one = socket.socket()
        if kind == "deaf":
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        one.settimeout(5)
        one.connect(self._address)
        one.settimeout(0)
        member = self._members[one.fileno()] = _Member(kind, one, monotonic(), one.getsockname()[1])
        member.unsent += _BEGIN.get(kind, _WHOLE * self._random.randrange(_DEAF_REQUESTS))
        self._poll.register(one, _GONE if kind == "deaf" else _GONE | select.POLLIN)
        self._send(member)

    def _hear(self, member: _Member, what: int) -> None:
        gone = bool(what & _GONE)
        if what & select.POLLIN:
            with suppress(OSError):
                gone = not member.socket.recv(65_536) or gone
        if gone:
            self._end(member)

    def _look_for_deaf(self) -> None:
        """End those that the server has closed. One that is new is not yet in the server's hands."""
        clients, new = set(clients_of(self._address[1]).values()), monotonic() - _ACCEPTED_SECONDS
        for member in list(self._members.values()):
            if member.kind == "deaf" and member.began < new and member.port not in clients:
                self._end(member)

    def _end(self, member: _Member) -> None:
        self._poll.unregister(member.socket)
        del self._members[member.socket.fileno()]
        member.socket.close()
        self.ended[member.kind].append(monotonic() - member.began)

    def _speak(self) -> None:
        a_byte = monotonic() >= self._next_byte
        if a_byte:
            self._next_byte = monotonic() + _BYTE_SECONDS
        for member in self._members.values():
            if a_byte and member.kind not in {"silent", "deaf"}:
                member.unsent += b"x"
            if member.unsent:
                self._send(member)

    def _send(self, member: _Member) -> None:
        with suppress(OSError):  # it is full, or gone, which the next look tells
            del member.unsent[: member.socket.send(member.unsent)]
