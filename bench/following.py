"""How fast a replica takes over what others published: many records in all topics, and an empty index.

What a new volume costs, or the loss of an index: a follower and an index as the daemon has them, without the daemon.
"""

from __future__ import annotations

import asyncio
import hashlib
import resource
from functools import partial
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import uvloop
from confluent_kafka import Producer

from aurora_bridge.dedup.deduplicator import Deduplicator
from aurora_bridge.kafka.follower import Follower
from aurora_bridge.kafka.lane import ERROR_REASONS
from aurora_bridge.kafka.problems import REASONS, Problems
from aurora_bridge.kafka.topics import make_client
from aurora_bridge.metrics import Metrics
from aurora_bridge.settings import IndexSettings, KafkaSettings
from aurora_bridge.webhook.catalogue import CATALOGUE
from aurora_bridge.webhook.event import day_of, rfc3339
from tests.support.topics import create_topics, unique_prefix

VALUE = b'{"data":{"agreement_id":"03b0a7c2-5c1e-4f0e-9d0b-6f1f0e7f2a11","status":"signed"}}' * 5
"""As long as a usual event."""
NOON_US = 1_795_435_200_000_000
POLL_EVERY = 1000
FLUSH_SECONDS = 120.0
LOOK_SECONDS = 0.02
STOP_SECONDS = 30.0


class Speed(NamedTuple):
    """How long it took to follow so many records."""

    records: int
    seconds: float
    cpu_seconds: float


def follow(records: int, folder: Path, bootstrap: str) -> Speed:
    """Write so many records of another replica; measure how long it takes until they are known."""
    prefix = unique_prefix()
    folder.mkdir()
    events = [name for name, kind in CATALOGUE.items() if kind.founding]
    create_topics(bootstrap, *(prefix + event for event in events))
    _fill(records, events, prefix, bootstrap)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(events, prefix, folder, bootstrap))


def _fill(records: int, events: list[str], prefix: str, bootstrap: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.messages": 10**6, "linger.ms": 5})
    for number in range(records):
        event, time_us = events[number % len(events)], NOON_US + number * 1000
        fingerprint = hashlib.sha256(b"%d" % number).hexdigest()[:32]
        headers = {
            "content-type": "application/cloudevents+json; charset=UTF-8",
            "aurora-bridge-family": fingerprint[::-1],
            "aurora-bridge-fingerprint": fingerprint,
            "aurora-bridge-event": event,
            "aurora-bridge-subject": f"agreement/{fingerprint}",
            "aurora-bridge-time": rfc3339(time_us),
            "aurora-bridge-instance": "0123456789abcdef",
            "aurora-bridge-route": "default",
            "aurora-bridge-attempt": "1",
        }
        key = f"{fingerprint}.{day_of(time_us)}".encode()
        producer.produce(prefix + event, VALUE, key, headers=list(headers.items()))
        if number % POLL_EVERY == 0:
            producer.poll(0)
    producer.flush(FLUSH_SECONDS)


async def _measure(events: list[str], prefix: str, folder: Path, bootstrap: str) -> Speed:
    metrics = Metrics(publish_errors=ERROR_REASONS, kafka_problems=tuple(REASONS))

    index = Deduplicator(folder, IndexSettings(), 1.5, metrics, first_knows=False, follows=True)
    index.start()
    follower = Follower(
        partial(make_client, KafkaSettings(bootstrap_servers=bootstrap)),
        prefix,
        events,
        index,
        instance="me",
        stored=tuple,
        window_days=3650,
        problems=Problems(metrics),
        metrics=metrics,
    )
    began, cpu_before = monotonic(), _cpu_seconds()
    task = asyncio.create_task(follower.run())
    while not index.followed:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(LOOK_SECONDS)
    speed = Speed(int(metrics.followed_records[()]), monotonic() - began, _cpu_seconds() - cpu_before)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await index.stop(STOP_SECONDS)
    return speed


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
