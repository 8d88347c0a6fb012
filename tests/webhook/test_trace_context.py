"""Trace Context (W3C): the trace of a delivery is passed on as it came, or not at all."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.webhook.trace_context import MAX_TRACESTATE_BYTES, trace_headers

TRACE: Final = b"0af7651916cd43dd8448eb211c80319c"
PARENT: Final = b"00-" + TRACE + b"-b7ad6b7169203331-01"


def passed(*headers: tuple[bytes, bytes]) -> dict[str, bytes | None]:
    return dict(trace_headers(headers))


@pytest.mark.parametrize(
    "value",
    [
        PARENT,
        PARENT[:-2] + b"00",
        PARENT[:-2] + b"ff",
        b"cc-" + PARENT[3:],
        b"cc-" + PARENT[3:] + b"-what-the-future-will-be-like",
        b"fe-" + PARENT[3:] + b"-",
    ],
)
def test_a_traceparent_is_passed_on_as_it_came(value: bytes) -> None:
    assert passed((b"traceparent", value)) == {"traceparent": value}
    assert passed((b"Host", b"h"), (b"TraceParent", b" " + value + b"\t")) == {"traceparent": value}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        PARENT[:-1],
        PARENT + b"-",
        PARENT + b"0",
        PARENT.upper(),
        b"ff-" + PARENT[3:],
        b"0-" + PARENT[3:],
        b"00-" + b"0" * 32 + PARENT[35:],
        PARENT[:36] + b"0" * 16 + b"-01",
        PARENT.replace(b"-", b"_"),
        PARENT.replace(b"a", b"g"),
        b"cc-" + PARENT[3:] + b".what",
        b"cc-" + PARENT[3:] + b"-\xff",
        b"cc-" + PARENT[3:] + b"-" + b"x" * 200,
        PARENT + b"," + PARENT,
    ],
)
def test_a_malformed_traceparent_is_dropped_and_its_tracestate_with_it(value: bytes) -> None:
    assert passed((b"traceparent", value), (b"tracestate", b"a=1")) == {}


def test_of_two_traceparents_none_is_the_right_one() -> None:
    assert passed((b"traceparent", PARENT), (b"Traceparent", PARENT), (b"tracestate", b"a=1")) == {}


def test_a_tracestate_without_a_traceparent_says_nothing() -> None:
    assert passed((b"tracestate", b"a=1")) == {}


@pytest.mark.parametrize(
    "value",
    [
        b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
        b"fw529a3039@dt=FfffffX, a_-*/1=x y",
        b"a=1,,b=2 ,\tc=3",
        b"a=" + b"x" * 256,
        b"k" * 256 + b"=1",
        b",".join(b"k%d=1" % number for number in range(32)),
        b"a=" + b"x" * 254 + b",b=" + b"x" * 253,
    ],
)
def test_a_tracestate_is_passed_on_as_it_came(value: bytes) -> None:
    assert passed((b"traceparent", PARENT), (b"TraceState", value)) == {"traceparent": PARENT, "tracestate": value}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" , ",
        b"a",
        b"=1",
        b"a=",
        b"A=1",
        b"a=1;b=2,a b=1",
        b"a=1=2",
        b"a=\xff",
        b"a=1,a=2",
        b"a=" + b"x" * 257,
        b"k" * 257 + b"=1",
        b",".join(b"k%d=1" % number for number in range(33)),
        b"a=" + b"x" * 254 + b",b=" + b"x" * 254,
    ],
)
def test_a_malformed_or_long_tracestate_is_dropped_and_the_traceparent_stays(value: bytes) -> None:
    assert passed((b"traceparent", PARENT), (b"tracestate", value)) == {"traceparent": PARENT}


def test_a_tracestate_in_several_headers_is_one_list() -> None:
    headers = [(b"tracestate", b"a=1"), (b"traceparent", PARENT), (b"Tracestate", b"b=2, c=3"), (b"tracestate", b"")]
    assert passed(*headers) == {"traceparent": PARENT, "tracestate": b"a=1,b=2, c=3"}
    assert passed(*headers, (b"tracestate", b"a=4")) == {"traceparent": PARENT}


def test_without_a_trace_there_is_none() -> None:
    assert passed((b"Host", b"h"), (b"X-Traceparent", PARENT)) == {}


@pytest.mark.proves("An attacker can: With a valid credential")
@given(st.lists(st.tuples(st.sampled_from([b"traceparent", b"tracestate"]), st.binary(max_size=60)), max_size=4))
def test_whatever_comes_what_is_passed_on_is_short_and_printable(headers: list[tuple[bytes, bytes]]) -> None:
    for value in trace_headers([(b"traceparent", PARENT), *headers]):
        assert value[1] is not None
        assert value[1].decode("ascii").replace("\t", " ").isprintable()
        assert len(value[1]) <= MAX_TRACESTATE_BYTES
