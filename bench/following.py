"""How fast a replica takes over what others published: many records in all topics, and an empty index.

What a new volume costs, or the loss of an index: a follower and an index as the daemon has them, without the daemon.
"""

from __future__ import annotations

import asyncio
import hashlib
import resource
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

import uvloop
from confluent_kafka import Producer

from aurora_bridge.dedup.deduplicator import Deduplicator
from aurora_bridge.kafka.client import make_client
from aurora_bridge.kafka.error_actions import ERROR_REASONS
from aurora_bridge.kafka.follower import Follower
from aurora_bridge.kafka.problem_reasons import REASONS
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.metrics import Metrics
from aurora_bridge.settings import IndexSettings, KafkaSettings
from aurora_bridge.webhook.catalogue import CATALOGUE
from aurora_bridge.webhook.event import day_of, rfc3339
from bench.servers import DAEMON_NAME
from tests.support.topics import create_topics, unique_prefix

DATA = '"data":{"agreement_id":"03b0a7c2-5c1e-4f0e-9d0b-6f1f0e7f2a11","project_id":"fefa0000-5c1e","status":"signed"}'
REST = '"repeat":false,"source":"/aurora/default","specversion":"1.0","subject":"agreement/03b0a7c2-5c1e-4f0e-9d0b"'
NOON_US = 1_795_435_200_000_000
POLL_EVERY = 1000
FLUSH_SECONDS = 120.0
LOOK_SECONDS = 0.02
STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Speed:
    """How long it took to follow so many records."""

    server: str
    records: int
    seconds: float
    cpu_seconds: float


def follow(records: int, folder: Path, bootstrap: str) -> Speed:
    """Write so many records of another replica; measure how long it takes until they are known."""
    prefix = unique_prefix()
    folder.mkdir(exist_ok=True)
    events = [name for name, kind in CATALOGUE.items() if kind.core]
    create_topics(bootstrap, *(prefix + event for event in events))
    _fill(records, events, prefix, bootstrap)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(events, prefix, folder, bootstrap))


def _fill(records: int, events: list[str], prefix: str, bootstrap: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.messages": 10**6, "linger.ms": 5})
    for number in range(records):
        event, time_us = events[number % len(events)], NOON_US + number * 1000
        fingerprint = hashlib.sha256(b"%d" % number).hexdigest()[:32]
        key, time = f"{fingerprint}.{day_of(time_us)}", rfc3339(time_us)
        headers: list[tuple[str, str | bytes | None]] = [
            ("content-type", "application/cloudevents+json; charset=UTF-8"),
            ("aurora-bridge-instance", "0123456789abcdef"),
            ("aurora-bridge-route", "default"),
            ("aurora-bridge-attempt", "1"),
            ("aurora-bridge-family", fingerprint[::-1]),
        ]
        kind = f'"time":"{time}","type":"com.aurorasolar.{event}"'
        value = f'{{{DATA},"fingerprint":"{fingerprint}","id":"{key}",{REST},{kind}}}'
        producer.produce(prefix + event, value, key, headers=headers)
        if number % POLL_EVERY == 0:
            producer.poll(0)
    producer.flush(FLUSH_SECONDS)


async def _measure(events: list[str], prefix: str, folder: Path, bootstrap: str) -> Speed:
    metrics = Metrics(publish_errors=ERROR_REASONS, kafka_problems=tuple(REASONS))

    dedup = Deduplicator(
        folder,
        IndexSettings(),
        1.5,
        metrics,
        instance="me",
        spool=None,
        kafka=True,
        has_backlog=lambda _event: False,
    )
    dedup.start()
    follower = Follower(
        partial(make_client, KafkaSettings(bootstrap_servers=bootstrap)),
        prefix,
        events,
        dedup.log,
        stored=tuple,
        window_days=3650,
        problems=Problems(metrics),
        metrics=metrics,
    )
    began, cpu_before = monotonic(), _cpu_seconds()
    tasks = [asyncio.create_task(work) for work in (dedup.run(), follower.run())]
    while not dedup.log.current.caught_up:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(LOOK_SECONDS)
    speed = Speed(DAEMON_NAME, int(metrics.followed_records[()]), monotonic() - began, _cpu_seconds() - cpu_before)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await dedup.stop(STOP_SECONDS)
    return speed


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
