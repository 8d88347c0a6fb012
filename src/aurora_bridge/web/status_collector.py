"""Collects what the status page shows (`status`) from every part of the daemon.

The parts know it anyway; for the page alone, only a short `history` is kept.
"""

from itertools import accumulate
from math import inf
from time import time

from aurora_bridge.access_log import AccessLog
from aurora_bridge.aurora.watch import SubscriptionWatch
from aurora_bridge.auto_disable.attempts import Subscription
from aurora_bridge.dedup.deduplicator import Deduplicator
from aurora_bridge.garbled_templates import GarbledTemplate
from aurora_bridge.metric_types import Counter, Series
from aurora_bridge.metrics import BUDGET_SECONDS, Metrics
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.spool_file import FILE as SPOOL_FILE
from aurora_bridge.outcomes import Outcome, Reason
from aurora_bridge.routing import DEFAULT
from aurora_bridge.settings import Settings
from aurora_bridge.settings.checks import takes_from_anyone
from aurora_bridge.state.database import broken_files
from aurora_bridge.suggested_templates import to_paste
from aurora_bridge.web.history import History, kept_bound
from aurora_bridge.web.readiness import Readiness
from aurora_bridge.web.status import Answers, Kafka, Reading, Refused, Spool, Status, Topic, Volume

_ACCEPTED = (Outcome.PUBLISHED, Outcome.SPOOLED, Outcome.DUPLICATE, Outcome.DEAD_LETTERED)


class StatusCollector:
    """Collects the status from the parts of the daemon."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts
        self,
        settings: Settings,
        readiness: Readiness,
        publisher: Publisher,
        dedup: Deduplicator,
        access_log: AccessLog,
        metrics: Metrics,
        watch: SubscriptionWatch | None = None,
    ) -> None:
        """Take now as the start of the daemon; `watch`, if any, polls Aurora's subscriptions."""
        self._settings = settings
        self._readiness = readiness
        self._publisher = publisher
        self._dedup = dedup
        self._access_log = access_log
        self._metrics = metrics
        self._watch = watch
        self.history = History(metrics, readiness.sender, readiness.spool)
        self._started = time()
        self._routes = list(to_paste(settings))

    def collect(self) -> Status:
        """Return the status of this moment."""
        metrics, now = self._metrics, time()
        bridge = self._readiness.bridge
        version = next(iter(metrics.build_info))[0]
        return Status(
            now=now,
            started=self._started,
            version=version,
            state_dir=str(self._settings.state_dir),
            stopping=bridge.stopping,
            ready=self._readiness.is_ready(),
            kafka=self._kafka(),
            topics=list(map(self._topic, self._publisher.backlogs)),
            spool=self._spool(now),
            volume=self._volume(),
            windows=list(self.history.windows()),
            answers=[_answers(outcome, metrics.response_seconds[outcome]) for outcome in Outcome],
            in_flight=int(metrics.in_flight_deliveries.value()),
            oldest_unanswered=metrics.oldest_unanswered_seconds.value(),
            refused=self._refused(),
            last_refused=sorted(self._access_log.last_refused(), key=lambda refused: -refused.time),
            failing=self._failing(now),
            subscriptions=None if self._watch is None else self._watch.seen,
            dead_letters=_counted(metrics.dead_letters),
            last_dead_letters=list(reversed(bridge.dead_letters)),
            garbled_templates=self._garbled_templates(),
            broken_spools=broken_files(self._settings.state_dir, SPOOL_FILE),
            index_failed=bool(metrics.index_failed.value()),
            index_complete=bool(metrics.index_complete.value()),
            reading=self._reading(),
            index_bypassed=metrics.index_bypassed[()],
            outstanding=self._dedup.outstanding.now(),
            resend=self._dedup.resend.declared,
            lag=int(metrics.follower_lag_records.value()),
            other_instances=int(metrics.other_instances.value()),
            credentials=_counted(metrics.credentials_used),
            failing_files=[str(file) for file, failing in metrics.secret_file_failing.items() if failing],
            takes_from_anyone=takes_from_anyone(self._settings),
            routes=self._routes,
            public_url=self._settings.ingress.public_url,
        )

    def _kafka(self) -> Kafka | None:
        sender, kafka = self._readiness.sender, self._settings.kafka
        if sender is None:
            return None
        errors = _counted(self._metrics.publish_errors)
        since = self.history.away_since()
        return Kafka(kafka.bootstrap_servers, kafka.topic_prefix, list(sender.problems), errors, since)

    def _topic(self, event: str) -> Topic:
        metrics, sender = self._metrics, self._readiness.sender
        return Topic(
            event,
            sender is None or sender.writable(event),
            self._publisher.backlogs[event].waiting,
            metrics.event_last_received[event],
            sum(metrics.deliveries[event, outcome] for outcome in _ACCEPTED),
            metrics.deliveries[event, Outcome.DUPLICATE],
        )

    def _spool(self, now: float) -> Spool | None:
        spool = self._readiness.spool
        if spool is None:
            return None
        stats, growth = spool.stats, self.history.spool_growth()
        room = spool.room_bytes(self._volume().free)
        return Spool(
            spool.waiting,
            stats.bytes,
            spool.limit_bytes,
            room,
            max(0.0, room - stats.bytes) / growth if growth > 0 else inf,
            spool.oldest_seconds(now),
            stats.quarantined,
            spool.full,
            spool.failed.is_set(),
        )

    def _volume(self) -> Volume:
        metrics = self._metrics
        return Volume(metrics.state_disk_free_bytes.value(), metrics.state_disk_size_bytes.value())

    def _reading(self) -> Reading | None:
        reading = self._dedup.log.current
        progress = reading.progress
        if reading.caught_up:
            return None
        return Reading(progress.read, progress.to_read, progress.seconds_left())

    def _garbled_templates(self) -> list[tuple[GarbledTemplate, str]]:
        found = sorted(self._readiness.bridge.garbled_templates.values(), key=lambda garbled: -garbled.time)
        return [(garbled, self._template_of(garbled)) for garbled in found]

    def _template_of(self, garbled: GarbledTemplate) -> str:
        path = garbled.route.partition("?")[0] if garbled.route != DEFAULT else "/"
        about = (garbled.event, garbled.tenant)
        return next(
            (paste.url for paste in self._routes if (paste.event, paste.tenant) == about and path in paste.url), ""
        )

    def _failing(self, now: float) -> list[Subscription]:
        found = [one for one in self._access_log.attempts.evaluate(int(now * 1e6)) if one.failures]
        return sorted(found, key=lambda one: (not one.at_risk, one.seconds_left, -one.in_a_row))

    def _refused(self) -> list[Refused]:
        metrics = self._metrics
        found = [Refused(reason, metrics.refusals[reason], metrics.last_refused[reason]) for reason in Reason]
        return sorted((refused for refused in found if refused.deliveries), key=lambda refused: -refused.last)


def _counted(counter: Counter) -> dict[str, int]:
    """Return the series of a counter that are not 0."""
    return {key if isinstance(key, str) else ", ".join(key): count for key, count in counter.items() if count}


def _answers(outcome: Outcome, series: Series) -> Answers:
    running = list(accumulate(series.counts))
    count = running[-1]
    half, most, all_ = (kept_bound(series.bounds, running, share) for share in (0.5, 0.99, 1))
    in_time = running[series.bounds.index(BUDGET_SECONDS)]
    return Answers(outcome.value, count, half, most, all_, count - in_time)
