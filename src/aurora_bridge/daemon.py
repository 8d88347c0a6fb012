"""Owns every lifetime, from start over serve to stop: all of them are here, hence its length.

The parts start in the order of `_start`, and one `AsyncExitStack` ends them in the reverse. A part's end runs only if
its start succeeded. Start never waits for Kafka: the ingress listens at once and spools.
"""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import time
from typing import NamedTuple

from aurora_bridge.access_log import AccessLog
from aurora_bridge.aurora.errors import ApiReason
from aurora_bridge.aurora.inspection import SUBSCRIPTION_REMEDIES, State
from aurora_bridge.aurora.watch import watching
from aurora_bridge.auto_disable.guard import guarding
from aurora_bridge.bridge import Bridge
from aurora_bridge.control.commands import commands
from aurora_bridge.control.server import listening
from aurora_bridge.dedup.deduplicator import Deduplicator
from aurora_bridge.dedup.recurrence import Interval
from aurora_bridge.kafka.client import make_client
from aurora_bridge.kafka.cluster_guard import ClusterGuard
from aurora_bridge.kafka.create_topics import create_at_start
from aurora_bridge.kafka.error_actions import ERROR_REASONS
from aurora_bridge.kafka.follower import Follower
from aurora_bridge.kafka.problem_reasons import REASONS
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.kafka.security import Security
from aurora_bridge.kafka.sender import Sender
from aurora_bridge.logs import fields
from aurora_bridge.loop_lag import measure
from aurora_bridge.metrics import Metrics
from aurora_bridge.outbox.drainer import Drainer
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.outbox.spool_file import FILE as SPOOL_FILE
from aurora_bridge.replay import Replay
from aurora_bridge.routing import make_routing
from aurora_bridge.secret_files import SecretFiles
from aurora_bridge.settings import KafkaSettings, Settings
from aurora_bridge.signals import Stop, on_hangup, stop_on_signals
from aurora_bridge.state.database import broken_files
from aurora_bridge.state.directory import instance_name, locked, room
from aurora_bridge.tasks import Failure, essential, helper
from aurora_bridge.web.readiness import Readiness
from aurora_bridge.web.server import admin, ingress
from aurora_bridge.web.status_collector import StatusCollector
from aurora_bridge.webhook.catalogue import CATALOGUE, EVENTS

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 2.0
_DAY_SECONDS = 86_400
_GC_THRESHOLD = 50_000
"""Allocations between two collections: a webhook leaves no cycles, and each pass visits everything in flight."""


class _Started(NamedTuple):
    """What `run` needs of the parts while they run."""

    bridge: Bridge
    spool: Spool | None
    url: str
    """Where webhooks come in."""
    admin_url: str


async def run(settings: Settings, on_ready: Callable[[str, str], None]) -> str:
    """Serve until SIGTERM or SIGINT, and return which; `on_ready` is told the URLs of ingress and admin port.

    Raises `SettingsError`, `StateError`, `ListenError` (could not start) and `Failure` (could not go on).
    """
    stop = stop_on_signals()
    async with AsyncExitStack() as stack:
        started = await _start(settings, stack, stop)

        on_ready(started.url, started.admin_url)
        urls = {"webhooks": started.url, "admin": started.admin_url}
        log.info("serving", extra=fields(**urls, state=str(settings.state_dir)))
        await _until_stopped(stop, started.spool)

        log.info("stopping", extra=fields(reason=stop.reason))
        started.bridge.stopping = True  # not ready: load balancers take this instance out during the pause
        await stop.pause(settings.ingress.shutdown_pause_seconds)
        # The stack now ends the parts in reverse: stop listening, answer what is in flight, write the index, let the
        # sender flush, commit and close the spool, release the lock.
    if started.spool is not None and started.spool.failed.is_set():
        msg = "the spool's disk failed; the log has the cause"
        raise Failure(msg)
    return stop.reason


async def _start(settings: Settings, stack: AsyncExitStack, stop: Stop) -> _Started:
    """Start every part, each after what it relies on. They end with `stack`."""
    enter = stack.enter_async_context
    stack.enter_context(locked(settings.state_dir))
    metrics = make_metrics(subscriptions=settings.aurora.polled)
    _measure_state(settings.state_dir, metrics)
    files = SecretFiles(metrics)
    routing = make_routing(settings, files, metrics)
    for warning in routing.warnings:
        log.warning("%s", warning)

    # How an event becomes durable: the spool, the sender, and the publisher over both.
    spool = await enter(_spool(settings, metrics)) if settings.spool.enabled else None
    problems = Problems(metrics)
    security = Security(settings.kafka, partial(problems.set, "unusable_file"), problems.token)
    guard = ClusterGuard(settings.state_dir, settings.kafka.cluster_id)
    connect = partial(make_client, settings.kafka, security, check_cluster=guard.check)
    make_sender = None
    if not settings.embedded_log:
        make_sender = partial(Sender, settings.kafka, connect, EVENTS, problems=problems, metrics=metrics)
    publisher = Publisher(settings.deadlines, EVENTS, make_sender, spool, metrics)
    sender = publisher.sender
    if sender is not None:
        await _start_sender(sender, settings.kafka, security, guard, stack, stop)
    if sender is not None and spool is not None:
        await enter(essential(Drainer(publisher, sender, spool).run(), stop.ask))

    # Same event or new one: the index, and the follower that reads what it lacks.
    instance = instance_name(settings.state_dir)
    dedup = await enter(_dedup(settings, instance, spool, publisher, metrics, stop))
    if sender is not None:
        follower = Follower(
            connect,
            settings.kafka.topic_prefix,
            EVENTS,
            dedup.log,
            stored=sender.take_stored,
            window_days=settings.index.window_days,
            problems=problems,
            metrics=metrics,
        )
        await enter(helper("following the topics", follower.run))

    # The way of a webhook, and what watches over it.
    bridge = Bridge(settings, routing.routes, dedup, publisher, instance=instance, metrics=metrics)
    await enter(essential(bridge.watch(), stop.ask))
    replay = Replay(routing.routes, dedup, bridge)
    await enter(listening(settings.state_dir, commands(spool, publisher, guard, dedup, replay)))
    await enter(_reloading(files))
    attempts = await enter(guarding(settings.state_dir, metrics, routing.routes.tenants))
    access_log = AccessLog(
        metrics,
        attempts,
        log_deliveries=settings.ingress.log_deliveries,
        trusted_proxies=settings.ingress.trusted_proxies,
    )
    await enter(helper("measuring", partial(measure, metrics)))
    subscriptions = await enter(watching(settings, routing.routes, metrics))

    # The two ports. The ingress is the last to start, and the first to end.
    readiness = Readiness(bridge, sender, spool)
    status = StatusCollector(settings, readiness, publisher, dedup, access_log, metrics, subscriptions)
    await enter(helper("sampling for the status page", status.history.run))
    admin_url = await enter(admin(readiness, metrics, status.collect, settings.admin))
    url = await enter(
        ingress(
            bridge,
            readiness.is_ready,
            access_log,
            settings.ingress,
            answer_seconds=settings.deadlines.answer_seconds,
            files=files,
            metrics=metrics,
        )
    )
    _freeze_heap()
    return _Started(bridge, spool, url, admin_url)


async def _start_sender(  # noqa: PLR0913, PLR0917 - what it sends with
    sender: Sender,
    kafka: KafkaSettings,
    security: Security,
    guard: ClusterGuard,
    stack: AsyncExitStack,
    stop: Stop,
) -> None:
    """Start the sender, and what helps it. It ends with `stack`, after a last flush."""

    async def follow_cluster() -> None:
        while True:
            await guard.accepted.wait()
            sender.reconnect()

    async def create_topics() -> None:
        while True:
            accepted = guard.accepted
            await create_at_start(kafka, EVENTS, security, sender.problems, guard.check)
            await accepted.wait()

    await stack.enter_async_context(essential(sender.run(), stop.ask))
    await stack.enter_async_context(helper("following the cluster that is accepted", follow_cluster))
    if kafka.create_topics:
        await stack.enter_async_context(helper("creating the topics", create_topics))
    stack.push_async_callback(sender.flush, _FLUSH_SECONDS)


@asynccontextmanager
async def _reloading(files: SecretFiles) -> AsyncIterator[None]:
    """Reload secret files that changed, checked every few seconds, and on SIGHUP."""
    async with helper("checking the secret files", files.run):
        with on_hangup(files.check_soon):
            yield


@asynccontextmanager
async def _spool(settings: Settings, metrics: Metrics) -> AsyncIterator[Spool]:
    spool = Spool(settings.state_dir, settings.spool.max_bytes)
    spool.start()
    metrics.spool_events.source = lambda: spool.waiting
    metrics.spool_bytes.source = lambda: spool.stats.bytes
    metrics.spool_limit_bytes[()] = spool.limit_bytes
    metrics.spool_room_bytes.source = lambda: spool.room_bytes(metrics.state_disk_free_bytes.value())
    metrics.spool_quarantined_events.source = lambda: spool.stats.quarantined
    metrics.spool_oldest_seconds.source = lambda: spool.oldest_seconds(time())
    keep_seconds = settings.spool.retention_days * _DAY_SECONDS if settings.embedded_log else None
    try:
        async with helper("maintaining the spool", partial(spool.maintain, keep_seconds)):
            yield spool
    finally:
        if not await spool.stop(_FLUSH_SECONDS):
            log.error("the disk does not answer; what was not acknowledged may be missing from the spool")


@asynccontextmanager
async def _dedup(  # noqa: PLR0913, PLR0917 - what it relies on
    settings: Settings,
    instance: str,
    spool: Spool | None,
    publisher: Publisher,
    metrics: Metrics,
    stop: Stop,
) -> AsyncIterator[Deduplicator]:
    dedup = Deduplicator(
        settings.state_dir,
        settings.index,
        settings.deadlines.publish_seconds / 3,  # a third for the log, one for the file; the last is Kafka's
        metrics,
        instance=instance,
        spool=spool,
        kafka=not settings.embedded_log,
        has_backlog=publisher.has_backlog,
    )
    dedup.start()
    try:
        async with essential(dedup.run(), stop.ask):
            yield dedup
    finally:
        if not await dedup.stop(_FLUSH_SECONDS):
            log.error("the disk does not answer; the index may miss the last events")


def make_metrics(*, subscriptions: bool = True) -> Metrics:
    """Return the metrics with this version's label values; with those of Aurora's subscriptions if they are polled."""
    seen: Mapping[str, Sequence[str]] = {
        "subscription_states": tuple(State),
        "subscription_problems": tuple(SUBSCRIPTION_REMEDIES),
        "api_errors": tuple(ApiReason),
    }
    return Metrics(
        version=version("aurora-bridge"),
        events=EVENTS,
        attributes=[(name, attribute) for name, kind in CATALOGUE.items() for attribute in kind.values],
        intervals=[interval.value for interval in Interval],
        publish_errors=ERROR_REASONS,
        kafka_problems=tuple(REASONS),
        **(seen if subscriptions else {}),
    )


def _measure_state(directory: Path, metrics: Metrics) -> None:
    metrics.state_disk_free_bytes.source = lambda: room(directory).free
    metrics.state_disk_size_bytes.source = lambda: room(directory).size
    metrics.broken_files.sources = lambda: {SPOOL_FILE: len(broken_files(directory, SPOOL_FILE))}


def _freeze_heap() -> None:
    """Exempt from garbage collection what lives as long as the daemon."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 20)


async def _until_stopped(stop: Stop, spool: Spool | None) -> None:
    """Return on a signal, or once a part or the spool's disk has failed."""
    conditions = [stop.wait()] if spool is None else [stop.wait(), spool.failed.wait()]
    waits = [asyncio.create_task(condition) for condition in conditions]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    if not stop.reason:
        stop.ask("the spool's disk failed")
