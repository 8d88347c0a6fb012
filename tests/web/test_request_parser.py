"""A target that nobody escaped is taken, in whatever pieces it comes, and nothing is read behind it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.web.request_parser import MalformedRequest, RequestParser, escape_target, guess_delivery
from tests.faults.fuzz import messages
from tests.samples.load import load_malformed

MAX_LINE_SIZE = 1001
GOOD = b"GET /good HTTP/1.1\r\nHost: h\r\n\r\n"
RAW = "GET /a?status=K\u00e4u fer HTTP/1.1\r\nHost: h\r\n\r\n".encode()
CHUNKS = "Transfer-Encoding: chunked"
CHUNKED = RAW.replace(b"Host: h", f"Host: h\r\n{CHUNKS}".encode())
ESCAPED = "/a?status=K%C3%A4u%20fer"


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that is only asked for its time."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def parser_of(loop: asyncio.AbstractEventLoop) -> Callable[..., HttpRequestParser]:
    return partial(
        HttpRequestParser, BaseProtocol(loop), loop, 2**16, max_line_size=MAX_LINE_SIZE, max_msg_queue_size=32
    )


def parser(loop: asyncio.AbstractEventLoop) -> RequestParser:
    make = parser_of(loop)
    return RequestParser(make(), make, MAX_LINE_SIZE)


def parse(loop: asyncio.AbstractEventLoop, *pieces: bytes) -> list[str]:
    """Return the targets of what an edge would answer: nothing behind a request that closes the connection.

    The refused one is "refused".
    """
    found: list[str] = []
    tested = parser(loop)
    for piece in pieces:
        for request, _ in tested.feed_data(piece)[0]:
            if isinstance(request, MalformedRequest):
                return [*found, "refused"]
            found.append(request.path)
            if request.should_close:
                return found
    return found


def line(target: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET %b %b" % (target, version)


@pytest.mark.parametrize(
    ("target", "escaped"),
    [
        ("/a?x=\u00e4".encode(), b"/a?x=%C3%A4"),
        (b"/a?x=\xe4", b"/a?x=%E4"),
        (b"/a b?x=c d", b"/a%20b?x=c%20d"),
        (b"/a?x=%41 +\"'<>[]{}|\\^`#", b"/a?x=%41%20+\"'<>[]{}|\\^`#"),
        (b"/a?x=\x00\x01\t\x0b\x0c\x7f", b"/a?x=%00%01%09%0B%0C%7F"),
        (b"http://h/a?x=b c", b"http://h/a?x=b%20c"),
        (b"  /a?x=b c  ", b"/a?x=b%20c"),
    ],
)
def test_what_no_target_may_have_is_escaped_and_nothing_else(target: bytes, escaped: bytes) -> None:
    assert escape_target(line(target)) == line(escaped)
    assert escape_target(line(target, b"HTTP/1.0")) == line(escaped, b"HTTP/1.0")


@pytest.mark.proves("Where one request ends: The request line has one reading")
@pytest.mark.parametrize(
    "untouched",
    [
        line(b"/a?x=b"),
        line(b"/a\rb c"),
        line(b"/a\nb c"),
        line(b"/a HTTP/1.0"),
        line(b"/a HTTP/1.1 b"),
        line(b"/a b", b"HTTP/0.9"),
        line(b"/a b", b"HTTP/1.10"),
        line(b"/a b", b"HTTP/2.0"),
        line(b"/a b", b"http/1.1"),
        line(b"/a b", b"HTTP/1.1\t"),
        line(b"/a b") + b" ",
        b"GET /a b",
        b"GET\t/a b HTTP/1.1",
        b"POST /a b HTTP/1.1",
        b"get /a b HTTP/1.1",
        b"GET  HTTP/1.1",
        b"GET HTTP/1.1",
        b"",
    ],
)
def test_a_line_of_which_another_parser_could_think_otherwise_stays_refused(untouched: bytes) -> None:
    assert escape_target(untouched) is None


@given(st.binary())
def test_an_escaped_line_is_one_line_of_printable_ascii_with_one_target(target: bytes) -> None:
    escaped = escape_target(line(target))
    if escaped is not None:
        assert escaped.decode("ascii").isprintable()
        assert len(escaped.split(b" ")) == 3


@pytest.mark.proves("Where one request ends: In whatever packets a request comes")
@pytest.mark.parametrize(
    ("sent", "targets"),
    [
        (RAW, [ESCAPED]),
        (b"\r\n" + RAW, [ESCAPED]),
        (b"\r\n\r\n" + RAW, [ESCAPED]),
        (b"\r\n\r\n" + GOOD + b"\r\n" + RAW, ["/good", ESCAPED]),
        (GOOD + GOOD + RAW, ["/good", "/good", ESCAPED]),
        (RAW + GOOD, [ESCAPED]),
        (RAW + RAW, [ESCAPED]),
        (RAW + b"garbage\r\n\r\n", [ESCAPED]),
        (GOOD + b"garbage\r\n\r\n", ["/good", "refused"]),
        (GOOD.replace(b"Host: h", b"Host: h\r\nConnection: close") + GOOD, ["/good"]),
        (RAW.replace(b"Host: h", b"Host: h\r\nContent-Length: 26") + GOOD, [ESCAPED]),
        (CHUNKED + b"3\r\nabc\r\n0\r\n\r\n" + GOOD, [ESCAPED]),
        (RAW.replace(b"Host: h", b"Host: h\r\nConnection: keep-alive"), [ESCAPED]),
        (RAW.replace(b"Host: h", b"Content-Length: 1\r\nContent-Length: 2"), ["refused"]),
        (RAW.replace(b"Host: h", b"Host: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked"), ["refused"]),
        (RAW.replace(b"Host: h", b"Host: h\r\nX-A: b\r\n Content-Length: 1"), ["refused"]),
        (RAW.replace(b"Host: h", b"Host: h\nX-A: b"), ["refused"]),
        (RAW.replace(b"Host: h", b"Host: h\rX-A: b"), ["refused"]),
        (RAW.replace(b"Host: h", b"X-A: b"), ["refused"]),
        (RAW.replace(b" HTTP", b"\n HTTP"), ["refused"]),
        (RAW.replace(b" HTTP", b"\r HTTP"), ["refused"]),
        (RAW.replace(b"HTTP/1.1", b"HTTP/1.1 HTTP/1.1"), ["refused"]),
        (RAW.replace(b"/a", b"other:443"), ["refused"]),
        (RAW.replace(b"GET", b"POST"), ["refused"]),
        (b"\xc3\xa4" + RAW, ["refused"]),
    ],
    ids=ascii,
)
def test_however_it_is_cut_into_packets_it_is_read_alike(
    loop: asyncio.AbstractEventLoop, sent: bytes, targets: list[str]
) -> None:
    assert parse(loop, sent) == targets
    assert parse(loop, *(sent[place : place + 1] for place in range(len(sent)))) == targets
    for place in range(1, len(sent)):
        assert parse(loop, sent[:place], sent[place:]) == targets


def test_what_the_strict_parser_takes_is_taken_alike(
    loop: asyncio.AbstractEventLoop,
) -> None:
    for case in load_malformed():
        with suppress(HttpProcessingError):
            strict = [request.path for request, _ in parser_of(loop)().feed_data(case.data)[0]]
            ours: list[Any] = [request for request, _ in parser(loop).feed_data(case.data)[0]]
            assert [request.path for request in ours] == strict, case


@given(
    target=st.text(st.characters(max_codepoint=255)),
    headers=st.sampled_from(
        ("", "Host: h\r\n", "Host: h\r\n\r\n", "Host: h\r\nContent-Length: 5\r\n\r\n", f"Host: h\r\n{CHUNKS}\r\n\r\n")
    ),
    rest=messages(),
)
def test_behind_an_escaped_line_the_strict_parser_decides_whatever_comes(
    loop: asyncio.AbstractEventLoop, target: str, headers: str, rest: str
) -> None:
    """Byte by byte, so that it cannot forget a request for what comes behind it."""
    sent, behind = line(f"/a \u00e4{target}".encode("latin-1")), f"\r\n{headers}{rest}".encode("latin-1")
    escaped = escape_target(sent)
    strict, expected = parser_of(loop)(), ["refused"]
    if escaped is not None:
        with suppress(HttpProcessingError):
            found = (strict.feed_data(bytes([byte]))[0] for byte in escaped + behind)
            expected = next(([requests[0][0].path] for requests in found if requests), [])
    assert parse(loop, *(bytes([byte]) for byte in sent + behind)) == expected
    assert parse(loop, sent + behind) in (expected, ["refused"])  # for a body that is broken


def test_behind_a_body_nothing_is_escaped(loop: asyncio.AbstractEventLoop) -> None:
    """Where the request begins is not known there."""
    body = GOOD.replace(b"Host: h", b"Host: h\r\nContent-Length: 3") + b"abc"
    assert parse(loop, body, RAW) == ["/good", "refused"]
    assert parse(loop, body + RAW) == ["refused"]


def test_an_escaped_line_that_is_too_long_is_too_long(loop: asyncio.AbstractEventLoop) -> None:
    long = line(b"/" + b"\xe4" * (MAX_LINE_SIZE // 2)) + b"\r\n\r\n"
    ((refused, _),), *_ = parser(loop).feed_data(long)
    assert isinstance(refused, MalformedRequest)
    assert isinstance(refused.error, LineTooLong)


def test_a_line_that_never_ends_is_not_waited_for(loop: asyncio.AbstractEventLoop) -> None:
    tested = parser(loop)
    assert tested.feed_data(line(b"/\xe4")[:-4])[0] == []
    found: list[Any] = []
    for _ in range(2 * MAX_LINE_SIZE):
        found += tested.feed_data(b"a")[0]
    assert isinstance(found[0][0], MalformedRequest)
    assert isinstance(found[0][0].error, LineTooLong)


@pytest.mark.proves("An attacker cannot: add memory by heads that are long")
def test_a_head_of_many_long_lines_is_refused_before_it_ends(loop: asyncio.AbstractEventLoop) -> None:
    tested, begin = parser(loop), b"GET /a HTTP/1.1\r\nHost: h\r\n"
    pieces = (begin, *(b"x%03d: %b\r\n" % (number, b"a" * 8_000) for number in range(9)))
    found = [tested.feed_data(piece)[0] for piece in pieces[:9]]
    assert not any(found)
    ((refused, _),), *_ = tested.feed_data(pieces[9])
    assert isinstance(refused, MalformedRequest)


def test_a_long_head_is_answered_alike_in_whatever_packets_it_comes(loop: asyncio.AbstractEventLoop) -> None:
    """In one packet it is complete at once, and could be taken."""
    for fill, targets in ((7_000, ["/good", "/a", "/good"]), (8_100, ["/good", "refused"])):
        lines = b"".join(b"x%03d: %b\r\n" % (number, b"a" * fill) for number in range(9))
        sent = GOOD + b"GET /a HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n" + GOOD
        assert parse(loop, sent) == targets
        assert parse(loop, *(sent[place : place + 1000] for place in range(0, len(sent), 1000))) == targets


def test_line_ends_that_never_become_a_head_are_not_kept(loop: asyncio.AbstractEventLoop) -> None:
    tested = parser(loop)
    for _ in range(100):
        assert not tested.feed_data(b"\r\n" * 1000)[0]
    assert tested.held < 3 * 1000


@pytest.mark.parametrize("cut", [None, 40], ids=["whole", "in two packets"])
def test_behind_a_body_too_what_is_kept_is_the_latest_request(loop: asyncio.AbstractEventLoop, cut: int | None) -> None:
    tested = parser(loop)
    body = GOOD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    for sent in (body, *[GOOD] * 100):
        for packet in (sent,) if cut is None else (sent[:cut], sent[cut:]):
            tested.feed_data(packet)
    assert len(GOOD) <= tested.held <= 2 * len(GOOD)


def test_of_a_refused_request_target_and_headers_are_guessed(loop: asyncio.AbstractEventLoop) -> None:
    sent = b"GET /a\nb?key=c HTTP/1.1\r\nX-Token : d \r\nno header\nX-Other:e\r\n\r\nX-Behind: f\r\n"
    (_, (refused, _)), *_ = parser(loop).feed_data(GOOD + sent)
    assert isinstance(refused, MalformedRequest)
    delivery = guess_delivery(refused._replace(read=sent.replace(b"\nb", b" b")))
    assert (delivery.method, delivery.target) == ("GET", b"/a b?key=c")
    assert delivery.headers == [(b"X-Token", b"d"), (b"no header", b""), (b"X-Other", b"e")]
