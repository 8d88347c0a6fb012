"""Readiness: whether the daemon can durably accept. Kafka away is no reason while the spool accepts."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from aurora_bridge.web.readiness import Readiness
from aurora_bridge.webhook.catalogue import EVENTS
from tests.web.serving import BridgeDouble


def sender(*missing: str, problems: Sequence[str] = ()) -> Any:  # noqa: ANN401 - a double
    return SimpleNamespace(missing=lambda: list(missing), problems=problems)


def spool(*, full: bool = False, failed: bool = False) -> Any:  # noqa: ANN401 - a double
    event = asyncio.Event()
    if failed:
        event.set()
    return SimpleNamespace(full=full, failed=event)


THERE, PART, AWAY = sender(), sender("aurora.lead_changed"), sender(*EVENTS)
OK, FULL, FAILED = spool(), spool(full=True), spool(failed=True)


@pytest.mark.parametrize(
    ("kafka", "disk", "ready", "named"),
    [
        (THERE, OK, True, []),
        (AWAY, OK, True, ["kafka"]),
        (PART, FULL, True, ["kafka", "spool"]),
        (PART, None, True, ["kafka", "spool"]),
        (PART, FAILED, False, ["kafka", "spool"]),
        (THERE, FULL, True, ["spool"]),
        (AWAY, FULL, False, ["kafka", "spool"]),
        (THERE, FAILED, False, ["spool"]),
        (AWAY, FAILED, False, ["kafka", "spool"]),
        (THERE, None, True, ["spool"]),
        (AWAY, None, False, ["kafka", "spool"]),
        (None, OK, True, ["kafka"]),
        (None, FULL, False, ["kafka", "spool"]),
        (None, FAILED, False, ["kafka", "spool"]),
    ],
)
async def test_it_is_ready_if_kafka_or_a_sound_spool_takes_events(
    kafka: Any,  # noqa: ANN401
    disk: Any,  # noqa: ANN401
    ready: bool,  # noqa: FBT001
    named: list[str],
) -> None:
    said, document = Readiness(BridgeDouble(), kafka, disk).report()
    assert (said, document["ready"]) == (ready, ready)
    assert named == [reason.partition(":")[0] for reason in document["reasons"]]


async def test_what_is_wrong_with_kafka_is_told_and_alone_makes_nothing_unready() -> None:
    kafka = sender(problems=["kafka-1:9093: the broker's certificate has expired"])
    reasons = ["kafka: kafka-1:9093: the broker's certificate has expired"]
    assert Readiness(BridgeDouble(), kafka, OK).report() == (True, {"ready": True, "reasons": reasons})


async def test_a_daemon_that_stops_is_not_ready() -> None:
    bridge = BridgeDouble()
    bridge.stopping = True
    assert Readiness(bridge, THERE, OK).report() == (False, {"ready": False, "reasons": ["the daemon is stopping"]})


async def test_of_many_missing_topics_five_are_named_and_the_others_counted() -> None:
    _, document = Readiness(BridgeDouble(), sender(*"abcdefg"), OK).report()
    assert "no leader for a, b, c, d, e and 2 more;" in document["reasons"][0]
