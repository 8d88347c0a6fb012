"""One look at the parts of the daemon."""

import asyncio
from math import inf
from pathlib import Path
from time import time, time_ns
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aurora_bridge.access_log import AccessLog
from aurora_bridge.auto_disable.attempts import Attempts
from aurora_bridge.bridge import DeadLetter
from aurora_bridge.dedup.deduplicator import Deduplicator
from aurora_bridge.dedup.outstanding import Outstanding
from aurora_bridge.dedup.reading_progress import Progress
from aurora_bridge.dedup.resend import Declaration
from aurora_bridge.garbled_templates import GarbledTemplate
from aurora_bridge.kafka.problem_reasons import Problem
from aurora_bridge.kafka.sender import Sender
from aurora_bridge.metrics import Metrics
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.outcomes import DeadLetterReason, Outcome, Reason
from aurora_bridge.settings import Settings
from aurora_bridge.web.readiness import Readiness
from aurora_bridge.web.status import Answers, Reading, Refused, Volume
from aurora_bridge.web.status_collector import StatusCollector
from aurora_bridge.webhook.catalogue import EVENTS
from tests.web.serving import BridgeDouble

UNREACHABLE = Problem("unreachable", "kafka:9092")


class Observing:
    """A collector over parts that a test can change."""

    def __init__(self, sender: object = None, spool: object = None, **settings: Any) -> None:  # noqa: ANN401
        self.metrics = Metrics(version="1.2.3", events=EVENTS, publish_errors=["not_leader"])
        self.bridge = BridgeDouble()
        made = Settings(**settings)
        self.publisher = Publisher(made.deadlines, EVENTS, None, None, self.metrics)
        readiness = Readiness(self.bridge, cast("Sender | None", sender), cast("Spool | None", spool))
        self.log_reader = SimpleNamespace(current=SimpleNamespace(caught_up=True, progress=Progress()))
        self.access_log = AccessLog(self.metrics, Attempts(), log_deliveries=False)
        outstanding = SimpleNamespace(now=lambda: Outstanding({}, {}, 0, 0))
        parts = SimpleNamespace(
            log=self.log_reader, outstanding=outstanding, resend=SimpleNamespace(declared=Declaration())
        )
        dedup = cast("Deduplicator", parts)
        self.collector = StatusCollector(made, readiness, self.publisher, dedup, self.access_log, self.metrics)


def kafka(*missing: str) -> Any:  # noqa: ANN401 - a double
    return SimpleNamespace(
        missing=lambda: list(missing),
        writable=lambda event: event not in missing,
        problems=[UNREACHABLE],
    )


async def test_each_event_is_shown_with_its_topic_and_its_deliveries() -> None:
    observing = Observing(kafka("lead_created"))
    observing.publisher.backlogs["lead_created"].waiting = 2
    observing.metrics.event_last_received["lead_created"] = 17.0
    for outcome in Outcome:
        observing.metrics.deliveries["lead_created", outcome] += 1
    status = observing.collector.collect()
    (topic,) = [topic for topic in status.topics if topic.event == "lead_created"]
    assert topic == ("lead_created", False, 2, 17.0, 4, 1)
    assert len(status.topics) == len(EVENTS)
    assert all(topic.writable for topic in status.topics if topic.event != "lead_created")


async def test_what_is_wrong_with_kafka_is_taken_from_the_sender_and_what_it_said_from_the_metrics() -> None:
    observing = Observing(kafka())
    observing.metrics.publish_errors["not_leader"] += 1
    found = observing.collector.collect().kafka
    assert found is not None
    assert (found.problems, found.errors) == ([UNREACHABLE], {"not_leader": 1})


async def test_without_kafka_and_spool_there_is_nothing_to_say_of_them() -> None:
    status = Observing().collector.collect()
    assert (status.kafka, status.spool) == (None, None)
    assert all(topic.writable for topic in status.topics)


async def test_the_spool_is_shown_as_of_its_last_look() -> None:
    spool = SimpleNamespace(
        waiting=3,
        stats=SimpleNamespace(bytes=10, quarantined=1),
        room_bytes=lambda _free: 50.0,
        limit_bytes=100,
        oldest_seconds=lambda _now: 5.0,
        full=True,
        failed=asyncio.Event(),
    )
    assert Observing(spool=spool).collector.collect().spool == (3, 10, 100, 50.0, inf, 5.0, 1, True, False)


async def test_reasons_that_refused_anything_are_shown_the_latest_first() -> None:
    observing = Observing()
    for reason, when in ((Reason.NO_ROUTE, 1.0), (Reason.UNAUTHORIZED, 2.0)):
        observing.metrics.refusals[reason] += 1
        observing.metrics.last_refused[reason] = when
    refused = observing.collector.collect().refused
    assert refused == [Refused(Reason.UNAUTHORIZED, 1, 2.0), Refused(Reason.NO_ROUTE, 1, 1.0)]


async def test_a_garbled_template_comes_with_the_one_to_paste_of_its_route() -> None:
    templates = ["/b/<PROJECT_ID>?l=<LEAD_ID>", "https://h/a/<PROJECT_ID>?l=<LEAD_ID>"]
    routes = [{"template": template, "event": "lead_changed", "tenant": "acme"} for template in templates]
    observing = Observing(routes=routes)
    for number, (event, tenant, route) in enumerate(
        [
            ("lead_changed", "acme", "/a/<PROJECT_ID>"),
            ("lead_changed", "acme", "/b/<PROJECT_ID>"),
            ("lead_created", "default", "default"),
            ("order_created", "default", "default"),
        ]
    ):
        garbled = GarbledTemplate(float(-number), event, tenant, route, ("amp;l",))
        observing.bridge.garbled_templates[event, route] = garbled
    assert [template for _, template in observing.collector.collect().garbled_templates] == [
        "https://h/a/<PROJECT_ID>?l=<LEAD_ID>",
        "https://HOST/b/<PROJECT_ID>?l=<LEAD_ID>",
        "https://HOST/lead_created?lead_id=<LEAD_ID>",
        "",
    ]


async def test_the_last_dead_letters_are_shown_the_latest_first() -> None:
    observing = Observing()
    letters = [
        DeadLetter(time(), DeadLetterReason.NOT_UTF8, "lead_created", "default", key) for key in ("first", "second")
    ]
    observing.bridge.dead_letters.extend(letters)
    assert observing.collector.collect().last_dead_letters == [*reversed(letters)]


async def test_how_soon_answers_left_is_told_by_bounds_that_they_kept() -> None:
    observing = Observing()
    series = observing.metrics.response_seconds[Outcome.PUBLISHED]
    for seconds in (*[0.0009] * 90, *[0.0019] * 8, 0.4, 11.0):
        series.observe(seconds)
    answers = {answers.outcome: answers for answers in observing.collector.collect().answers}
    assert answers["published"] == Answers("published", 100, 0.001, 0.5, 15.0, 1)
    assert answers["spooled"].deliveries == 0


async def test_an_answer_beyond_every_bound_is_longer_than_all() -> None:
    observing = Observing()
    observing.metrics.response_seconds[Outcome.REFUSED].observe(16.0)
    (late,) = [answers for answers in observing.collector.collect().answers if answers.deliveries]
    assert (late.all, late.late) == (float("inf"), 1)


async def test_the_room_on_the_volume_is_asked_at_each_look() -> None:
    observing = Observing()
    observing.metrics.state_disk_free_bytes.source = lambda: 3.0
    observing.metrics.state_disk_size_bytes.source = lambda: 4.0
    assert observing.collector.collect().volume == Volume(3.0, 4.0)


@pytest.mark.parametrize(("growth", "seconds"), [(4.0, 100.0), (0.0, inf), (-1.0, inf)])
async def test_when_the_spool_is_full_is_told_by_its_growth(
    monkeypatch: pytest.MonkeyPatch, growth: float, seconds: float
) -> None:
    spool = SimpleNamespace(
        waiting=3,
        stats=SimpleNamespace(bytes=100, quarantined=0),
        limit_bytes=1000,
        room_bytes=lambda _free: 500,
        oldest_seconds=lambda _now: 5.0,
        full=False,
        failed=asyncio.Event(),
    )
    observing = Observing(spool=spool)
    monkeypatch.setattr(observing.collector.history, "spool_growth", lambda: growth)
    found = observing.collector.collect().spool
    assert found is not None
    assert found.full_in_seconds == seconds


async def test_secret_files_that_cannot_be_used_and_credentials_that_were_used_are_named() -> None:
    observing = Observing()
    observing.metrics.secret_file_failing |= {"/etc/tokens": 1.0, "/etc/good": 0.0}
    observing.metrics.credentials_used |= {("/etc/tokens", "header", "2"): 4}
    status = observing.collector.collect()
    assert (status.failing_files, status.credentials) == (["/etc/tokens"], {"/etc/tokens, header, 2": 4})


@pytest.mark.parametrize(("public_url", "shown"), [("https://hooks.example.com", True), ("", False)])
async def test_that_anyone_may_deliver_through_a_proxy_is_shown(public_url: str, *, shown: bool) -> None:
    assert Observing(ingress={"public_url": public_url}).collector.collect().takes_from_anyone is shown


async def test_spools_that_were_moved_away_are_named_until_they_are_gone(tmp_path: Path) -> None:
    collector = Observing(state_dir=tmp_path).collector
    file = tmp_path / "spool.db.broken-1"
    file.touch()
    assert collector.collect().broken_spools == [file.name]
    file.unlink()
    assert collector.collect().broken_spools == []


async def test_how_the_index_is_is_asked_at_each_look() -> None:
    """Not taken from what Prometheus saw last."""
    observing = Observing()
    for value in (1, 0):
        observing.metrics.index_failed.source = observing.metrics.index_complete.source = lambda value=value: value
        status = observing.collector.collect()
        assert (status.index_failed, status.index_complete) == (value, value)


async def test_how_far_the_log_was_read_is_shown_until_its_end() -> None:
    observing = Observing()
    assert observing.collector.collect().reading is None
    observing.log_reader.current.caught_up = False
    observing.log_reader.current.progress.note(0, 7)
    assert observing.collector.collect().reading == Reading(0, 7, float("inf"))


async def test_the_templates_to_paste_begin_with_the_public_url() -> None:
    status = Observing(ingress={"public_url": "https://hooks.example.com"}).collector.collect()
    assert all(paste.url.startswith("https://hooks.example.com/") for paste in status.routes)


async def test_of_the_subscriptions_those_that_fail_are_shown_and_first_what_aurora_switches_off_the_soonest() -> None:
    observing, now_us = Observing(), time_ns() // 1000
    for event, failures in (("fine", 0), ("few", 1), ("many", 40), ("more", 90), ("off", 100)):
        observing.access_log.attempts.enter(("default", event), now_us, failed=False)
        for _ in range(failures):
            observing.access_log.attempts.enter(("default", event), now_us, failed=True)
    shown = observing.collector.collect().failing
    assert [(one.event, one.failures) for one in shown] == [("off", 100), ("more", 90), ("many", 40), ("few", 1)]
