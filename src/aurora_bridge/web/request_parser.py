"""Parses requests: with aiohttp's strict parser, and once more if a target was not escaped.

How Aurora escapes URLs is not specified, and a target that contains a space or an umlaut is not HTTP. Such a target is
escaped here, and the request parsed again, as strictly as any other. This cannot be used to smuggle requests: a request
line that contains CR or LF stays rejected, the rest of the request is parsed as usual, and nothing after it is read.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import quote_from_bytes

from aiohttp.http import HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from aurora_bridge.webhook.delivery import Delivery

_LINE_END = b"\r\n"
_HEAD_END = b"\r\n\r\n"
_METHOD = b"GET "
_VERSIONS = (b"HTTP/1.0", b"HTTP/1.1")
_MOST_LINES = 128
_HEADERS_BYTES = 64 * 1024
"""Room for a request's header lines: AWS's load balancers pass on as much, nginx and HAProxy less."""
_TAKEN = bytes(range(0x21, 0x7F))
"""What the strict parser accepts in a target: printable ASCII, even where RFC 3986 forbids it."""


class MalformedRequest(NamedTuple):
    """A request that is not HTTP."""

    error: HttpProcessingError
    read: bytes
    """Its bytes so far, and perhaps some of what follows it; empty if its start is unknown, as after a body."""


Request = tuple[RawRequestMessage | MalformedRequest, StreamReader]
"""A request and its body."""
Parsed = tuple[Sequence[Request], bool, bytes]
"""Requests, whether the last of them upgrades the connection, and the bytes after an upgrade."""


class RequestParser:
    """Replaces aiohttp's parser in a `RequestHandler`."""

    message_consumed: Callable[[], None]
    pause_reading: Callable[[], None]

    def __init__(self, strict: HttpRequestParser, make: Callable[..., HttpRequestParser], max_line_size: int) -> None:
        """Parse with `strict`, and a second time with new parsers that `make` returns.

        `make` takes `max_msg_queue_size`: after how many requests a parser pauses.
        """
        self._make = make
        self._max_line_size = max_line_size
        self._longest_head = max_line_size + _HEADERS_BYTES
        self._use(strict)
        self._unparsed: bytes | None = b""
        """The bytes so far of a request whose head has not ended.

        None if they are no longer known, after a body. What is rejected from then on stays rejected.
        """
        self.held = 0
        """Bytes that are kept, at most: the strict parser keeps a head until the next one begins."""
        self._begun = 0
        """Those of them that came since the latest request, where `_unparsed` is None."""
        self._body: StreamReader = EMPTY_PAYLOAD
        """The body of the latest request."""
        self._error: HttpProcessingError | None = None
        """Why the line in `_unparsed` was rejected. It is parsed again once its end has come."""

    def feed_data(self, data: bytes) -> Parsed:
        """Return the requests that are now complete. Raises nothing: what is not HTTP becomes a `MalformedRequest`."""
        if self._unparsed is None:
            return self._feed(data, b"")
        read = self._unparsed + data
        self.held = len(read)
        if self._error is not None:
            return self._parse_again(read, self._error)
        try:
            parsed: Parsed = self._strict.feed_data(data)
        except HttpProcessingError as error:
            return self._parse_again(read, error)
        requests = parsed[0]
        end = len(read) - len(_HEAD_END)
        if requests and requests[-1][1] is EMPTY_PAYLOAD and read.find(_HEAD_END) == end <= self._longest_head:
            self._unparsed = b""  # one request and nothing else, as usual
            return parsed
        return self._divide(parsed, read)

    def _use(self, strict: "HttpRequestParser | _LastRequest") -> None:
        self._strict = strict
        self.message_consumed = strict.message_consumed
        self.pause_reading = strict.pause_reading

    def _divide(self, parsed: Parsed, read: bytes) -> Parsed:
        """Keep the part of `read` behind the requests in `parsed`; refuse a head that is too long, ended or not."""
        requests = parsed[0]
        for number in range(len(requests) + 1):
            read = read.lstrip(_LINE_END)
            head, _, rest = read.partition(_HEAD_END)
            if len(head) > self._longest_head:
                self._unparsed = None
                refused = MalformedRequest(BadHttpMessage("Head too long"), head)
                return [*requests[:number], (refused, EMPTY_PAYLOAD)], False, b""
            if number < len(requests):
                read = rest
                if requests[number][1] is not EMPTY_PAYLOAD:
                    self._unparsed, self._body = None, requests[-1][1]
                    return parsed
        self._unparsed = read
        return parsed

    def _feed(self, data: bytes, read: bytes) -> Parsed:
        self.held += len(data)  # a body too: behind it are trailers, or a part of a head
        self._begun += len(data)
        try:
            parsed: Parsed = self._strict.feed_data(data)
        except HttpProcessingError as error:
            if not self._body.is_eof():
                self._body.set_exception(error)  # aiohttp's C parser would leave its reader waiting
            return [(MalformedRequest(error, read), EMPTY_PAYLOAD)], False, b""
        if parsed[0]:
            self._body = parsed[0][-1][1]
            self.held, self._begun = self._begun, 0
        return parsed

    def _parse_again(self, read: bytes, error: HttpProcessingError) -> Parsed:
        """Parse everything since the last request again: the strict parser rejected part of it and lost the rest."""
        self._unparsed = None
        requests: list[Request] = []
        while True:
            read = read.lstrip(_LINE_END)
            head, end, rest = read.partition(_HEAD_END)
            request = self._parse_alone(head + end) if end and len(head) <= self._longest_head else None
            if request is None:
                break
            requests.append((request, EMPTY_PAYLOAD))
            if request.should_close:
                return requests, False, b""
            read = rest
        line, end, rest = read.partition(_LINE_END)
        if not end and _could_be_escaped(line):
            if len(line) <= 2 * self._max_line_size:
                self._unparsed, self._error = read, error
                return requests, False, b""
            error = LineTooLong(line[:100], self._max_line_size)
        escaped = escape_target(line) if end else None
        if escaped is None:
            return [*requests, (MalformedRequest(error, read), EMPTY_PAYLOAD)], False, b""
        self._use(_LastRequest(self._make(max_msg_queue_size=1)))
        found, upgraded, tail = self._feed(escaped + end + rest, read)
        return [*requests, *found], upgraded, tail

    def _parse_alone(self, head: bytes) -> RawRequestMessage | None:
        """Return the request that a head makes, None if it is not HTTP or announces a body."""
        try:
            requests, _, _ = self._make().feed_data(head)
        except HttpProcessingError:
            return None
        return next((request for request, body in requests if body is EMPTY_PAYLOAD), None)


class _LastRequest:
    """Parses one request, strictly, and ignores what follows it."""

    def __init__(self, strict: HttpRequestParser) -> None:
        """Parse with `strict`, which must pause after each request."""
        self._strict = strict
        self._body: StreamReader | None = None
        self.message_consumed = strict.message_consumed
        self.pause_reading = strict.pause_reading

    def feed_data(self, data: bytes) -> Parsed:
        """Return the request, marked to close the connection. Raises `HttpProcessingError`."""
        if self._body is not None and self._body.is_eof():
            return [], False, b""
        requests, upgraded, tail = self._strict.feed_data(data)
        if not requests:
            return [], upgraded, tail
        request, self._body = requests[0]
        return [(request._replace(should_close=True), self._body)], upgraded, tail


def guess_delivery(malformed: MalformedRequest) -> Delivery:
    """Return what is readable of a malformed request, with zero times: enough to look for a credential in it."""
    line, *lines = malformed.read.partition(_HEAD_END)[0].split(b"\n", _MOST_LINES)
    method, _, target = line.partition(b" ")
    pairs = (line.partition(b":") for line in lines)
    headers = [(name.strip(), value.strip()) for name, _, value in pairs]
    return Delivery(method.decode("latin-1"), target.rpartition(b" ")[0], headers, 0, 0.0)


def escape_target(line: bytes) -> bytes | None:
    """Return a GET request line with its target escaped.

    None for any other line, and if nothing needs escaping, or the end of the target is ambiguous.
    """
    target, _, version = line.removeprefix(_METHOD).rpartition(b" ")
    target = target.strip(b" ")
    if not line.startswith(_METHOD) or version not in _VERSIONS:
        return None
    if b"\r" in target or b"\n" in target or b" HTTP/" in target:
        return None
    escaped = quote_from_bytes(target, safe=_TAKEN).encode()
    return b"%b%b %b" % (_METHOD, escaped, version) if escaped != target else None


def _could_be_escaped(line: bytes) -> bool:
    """Whether `escape_target` might help once the rest of this line has come."""
    return line.startswith(_METHOD) and b"\n" not in line and b"\r" not in line[:-1]
