"""The proxies that read Kafka's frames: what they take out of a request they answer for, and all else passes."""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from tests.faults.frames import (
    MARKER,
    METADATA,
    PRODUCE,
    PRODUCE_VERSION,
    UNKNOWN_SERVER_ERROR,
    FailingProxy,
    LaggingProxy,
    Memory,
    Request,
)

BAD = b"a batch that " + MARKER
HEAD = struct.pack(">hhi", -1, -1, 2000)
THROTTLED = struct.pack(">i", 70)
Topics = Mapping[str, Sequence[tuple[int, Any]]]


def topics(pack: Callable[[int, Any], bytes], some: Topics) -> bytes:
    named = [struct.pack(">h", len(name)) + name.encode() + array(pack, parts) for name, parts in some.items()]
    return struct.pack(">i", len(named)) + b"".join(named)


def array(pack: Callable[[int, Any], bytes], parts: Sequence[tuple[int, Any]]) -> bytes:
    return struct.pack(">i", len(parts)) + b"".join(pack(*part) for part in parts)


def request(some: Topics) -> bytes:
    return HEAD + topics(lambda number, batch: struct.pack(">ii", number, len(batch)) + batch, some)


def response(some: Topics) -> bytes:
    return topics(lambda number, told: struct.pack(">ihqqq", number, *told, -1, -1), some) + THROTTLED


STORED = (0, 12)
FAILED = (UNKNOWN_SERVER_ERROR, -1)


@pytest.mark.parametrize(
    ("asked", "passed", "told", "heard"),
    [
        pytest.param(
            {"a": [(0, b"good"), (1, BAD)], "b": [(7, BAD)], "c": [(2, b"better")]},
            {"a": [(0, b"good")], "c": [(2, b"better")]},
            {"a": [(0, STORED)], "c": [(2, STORED)]},
            [{"a": [(1, FAILED)], "b": [(7, FAILED)]}, {"a": [(0, STORED)], "c": [(2, STORED)]}],
            id="some",
        ),
        pytest.param({"a": [(0, BAD)]}, {}, {}, [{"a": [(0, FAILED)]}, {}], id="all"),
        pytest.param(
            {"a": [(0, b"good")]}, {"a": [(0, b"good")]}, {"a": [(0, STORED)]}, [{"a": [(0, STORED)]}], id="none"
        ),
    ],
)
def test_batches_with_the_marker_are_answered_for_and_others_go_on(
    asked: Topics, passed: Topics, told: Topics, heard: list[Topics]
) -> None:
    one, proxy = produce(request(asked)), FailingProxy(0, MARKER)
    proxy.request(one)
    assert one.body == request(passed)
    arrays = [response(some)[4 : -len(THROTTLED)] for some in heard]
    count = struct.pack(">i", sum(map(len, heard)))
    assert proxy.response(one, response(told)) == count + b"".join(arrays) + THROTTLED


def test_brokers_that_were_healed_take_everything() -> None:
    one, proxy = produce(request({"a": [(0, BAD)]})), FailingProxy(0, MARKER)
    proxy.fails = False
    proxy.request(one)
    assert one.body == request({"a": [(0, BAD)]})


def produce(body: bytes) -> Request:
    return Request.of(struct.pack(">hhih", PRODUCE, PRODUCE_VERSION, 5, 2) + b"me" + body)


def test_brokers_that_lag_answer_each_question_as_at_the_moment_that_is_remembered() -> None:
    memory = Memory()
    first, second = LaggingProxy(1, memory), LaggingProxy(2, memory)
    few, many = metadata(b"few"), metadata(b"many topics")
    assert first.response(few, b"before") == b"before"
    memory.remember()
    memory.lags = True
    assert second.response(few, b"now") == b"before"
    assert second.response(many, b"never asked before") == b"never asked before"
    assert second.response(produce(b"few"), b"no metadata") == b"no metadata"
    memory.lags = False
    assert first.response(few, b"now") == b"now"
    assert memory.told_from_before == 1


def metadata(body: bytes) -> Request:
    return Request.of(struct.pack(">hhih", METADATA, 5, 6, 2) + b"me" + body)
