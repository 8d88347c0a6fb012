"""Every metric: its name and labels, there from the start, in both text formats."""

from collections.abc import Iterator
from math import inf

import pytest
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample

from aurora_bridge.build import BUILD
from aurora_bridge.dedup.recurrence import Interval
from aurora_bridge.kafka.error_actions import ERROR_REASONS
from aurora_bridge.metric_types import Counter, Gauge, Histogram
from aurora_bridge.metrics import NO_EVENT, STAGES, Metrics
from aurora_bridge.outcomes import DeadLetterReason, Outcome, Reason
from aurora_bridge.webhook.catalogue import CATALOGUE, EVENTS

OUTCOMES = {outcome.value for outcome in Outcome}
VALUED = [(name, attribute) for name, event_type in CATALOGUE.items() for attribute in event_type.values]

FIXED: dict[str, dict[str, set[str]]] = {
    "aurora_bridge_deliveries_total": {"event": {*EVENTS, NO_EVENT}, "outcome": OUTCOMES},
    "aurora_bridge_refusals_total": {"reason": {reason.value for reason in Reason}},
    "aurora_bridge_dead_letters_total": {"reason": {reason.value for reason in DeadLetterReason}},
    "aurora_bridge_response_seconds_count": {"outcome": OUTCOMES},
    "aurora_bridge_stage_seconds_count": {"stage": set(STAGES)},
    "aurora_bridge_budget_seconds": {},
    "aurora_bridge_in_flight_deliveries": {},
    "aurora_bridge_oldest_unanswered_seconds": {},
    "aurora_bridge_duplicates_total": {
        "event": set(EVENTS),
        "interval": {"echo", "30s", "5min", "30min", "3h", "20h", "re-send", "none"},
    },
    "aurora_bridge_repeats_total": {"event": set(EVENTS)},
    "aurora_bridge_expected_retries_total": {},
    "aurora_bridge_backlog_events": {"event": set(EVENTS)},
    "aurora_bridge_spool_events": {},
    "aurora_bridge_spool_bytes": {},
    "aurora_bridge_spool_limit_bytes": {},
    "aurora_bridge_spool_room_bytes": {},
    "aurora_bridge_spool_oldest_seconds": {},
    "aurora_bridge_spool_quarantined_events": {},
    "aurora_bridge_drained_total": {},
    "aurora_bridge_state_disk_free_bytes": {},
    "aurora_bridge_state_disk_size_bytes": {},
    "aurora_bridge_publish_seconds_count": {},
    "aurora_bridge_publish_errors_total": {"reason": set(ERROR_REASONS)},
    "aurora_bridge_producer_ids_total": {},
    "aurora_bridge_ready": {},
    "aurora_bridge_kafka_configured": {},
    "aurora_bridge_kafka_connected": {},
    "aurora_bridge_event_last_received_timestamp_seconds": {"event": set(EVENTS)},
    "aurora_bridge_unknown_values_total": {
        "event": {name for name, _ in VALUED},
        "attribute": {attribute for _, attribute in VALUED},
    },
    "aurora_bridge_loop_lag_seconds_count": {},
    "aurora_bridge_build_info": {"version": {"1.2.3"}, "build": {BUILD}},
}
"""The metrics whose names others build on, with the values of their labels."""


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(
        version="1.2.3",
        events=EVENTS,
        attributes=VALUED,
        intervals=[interval.value for interval in Interval],
        publish_errors=ERROR_REASONS,
    )


def samples(metrics: Metrics) -> Iterator[Sample]:
    """Yield what a Prometheus would read."""
    for family in parse_text(generate_latest(metrics.registry).decode()):
        yield from family.samples


def open_families(metrics: Metrics) -> list[Metric]:
    """Return what a Prometheus would read that asks for OpenMetrics."""
    text = openmetrics.generate_latest(metrics.registry).decode()  # type: ignore[no-untyped-call]
    return list(parse_openmetrics(text))  # type: ignore[no-untyped-call]


def series(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for sample in samples(metrics) if sample.name == name}


@pytest.mark.parametrize("name", FIXED)
def test_every_series_is_there_from_the_start_under_its_fixed_name(metrics: Metrics, name: str) -> None:
    found = [sample for sample in samples(metrics) if sample.name == name]
    labels = FIXED[name]
    assert [labels.keys()] * len(found) == [sample.labels.keys() for sample in found]
    assert labels == {label: {sample.labels[label] for sample in found} for label in labels}
    combinations = 1
    for values in labels.values():
        combinations *= len(values)
    expected = len(VALUED) if name == "aurora_bridge_unknown_values_total" else combinations
    assert expected == len(found)


def test_counts_start_at_zero(metrics: Metrics) -> None:
    counted = [sample for sample in samples(metrics) if sample.name.startswith("aurora_bridge_")]
    constant = {"aurora_bridge_budget_seconds", "aurora_bridge_build_info"}
    assert set() == {sample.name for sample in counted if sample.value} - constant


def test_unknown_values_are_counted_for_the_attributes_whose_values_are_known(metrics: Metrics) -> None:
    name = "aurora_bridge_unknown_values_total"
    found = [sample.labels for sample in samples(metrics) if sample.name == name]
    assert set(VALUED) == {(labels["event"], labels["attribute"]) for labels in found}


def test_auroras_budget_is_ten_seconds(metrics: Metrics) -> None:
    assert series(metrics, "aurora_bridge_budget_seconds") == {(): 10}


def test_the_process_the_platform_and_the_collector_are_shown_too(metrics: Metrics) -> None:
    names = {sample.name for sample in samples(metrics)}
    expected = {"process_resident_memory_bytes", "process_open_fds", "python_info", "python_gc_collections_total"}
    assert set() == expected - names


def test_two_instances_do_not_share_anything(metrics: Metrics) -> None:
    other = Metrics(events=EVENTS)
    metrics.deliveries["lead_changed", "published"] += 1
    assert other.deliveries["lead_changed", "published"] == 0


# Undeclared


@pytest.mark.proves("An attacker cannot: add metric series by made-up paths")
@pytest.mark.parametrize(
    ("metric", "key"),
    [
        ("deliveries", ("no_such_event", "published")),
        ("deliveries", ("lead_changed", "no_such_outcome")),
        ("deliveries", "lead_changed"),
        ("refusals", "no_such_reason"),
        ("dead_letters", "no_route"),
        ("duplicates", ("lead_changed", "7s")),
        ("unknown_values", ("lead_changed", "status")),
        ("unknown_values", ("lead_created", "no_such_attribute")),
        ("publish_errors", "no_such_error"),
    ],
)
def test_a_label_that_was_not_declared_is_an_error(metrics: Metrics, metric: str, key: str) -> None:
    with pytest.raises(KeyError):
        getattr(metrics, metric)[key] += 1


def test_nor_is_a_stage_or_an_outcome_that_was_not_declared(metrics: Metrics) -> None:
    for histogram in (metrics.stage_seconds, metrics.response_seconds, metrics.publish_seconds):
        with pytest.raises(KeyError):
            histogram["undeclared"].observe(1.0)


def test_members_of_the_closed_sets_are_keys_themselves(metrics: Metrics) -> None:
    metrics.deliveries["lead_changed", Outcome.PUBLISHED] += 1
    metrics.refusals[Reason.NO_ROUTE] += 1
    metrics.dead_letters[DeadLetterReason.NOT_UTF8] += 1
    metrics.duplicates["lead_changed", Interval.RETRY_30S] += 1
    metrics.response_seconds[Outcome.SPOOLED].observe(0.5)
    assert series(metrics, "aurora_bridge_deliveries_total")["lead_changed", "published"] == 1
    assert series(metrics, "aurora_bridge_refusals_total")["no_route",] == 1
    assert series(metrics, "aurora_bridge_dead_letters_total")["not_utf8",] == 1
    assert series(metrics, "aurora_bridge_duplicates_total")["lead_changed", "30s"] == 1
    assert series(metrics, "aurora_bridge_response_seconds_count")["spooled",] == 1


# Gauges


def test_a_gauge_shows_its_source_when_it_has_one(metrics: Metrics) -> None:
    value = 3.0
    metrics.spool_events.source = lambda: value
    assert series(metrics, "aurora_bridge_spool_events") == {(): 3.0}
    value = 4.0
    assert series(metrics, "aurora_bridge_spool_events") == {(): 4.0}


def test_a_gauge_with_labels_shows_those_of_its_sources(metrics: Metrics) -> None:
    metrics.backlog_events.sources = lambda: {"lead_changed": 3.0}
    found = series(metrics, "aurora_bridge_backlog_events")
    assert {key: value for key, value in found.items() if value} == {("lead_changed",): 3.0}
    assert len(EVENTS) == len(found)


# Histograms


def buckets(metrics: Metrics, name: str, **labels: str) -> dict[float, float]:
    return {
        float(sample.labels["le"]): sample.value
        for sample in samples(metrics)
        if sample.name == f"{name}_bucket" and labels.items() <= sample.labels.items()
    }


def test_response_times_have_boundaries_at_the_deadlines_and_exactly_at_the_budget(metrics: Metrics) -> None:
    bounds = list(buckets(metrics, "aurora_bridge_response_seconds", outcome="published"))
    assert {3.0, 5.0, 8.0, 10.0, inf} <= set(bounds)
    assert len([bound for bound in bounds if bound < 0.05]) >= 10
    assert bounds == sorted(bounds)


def test_histograms_are_cumulative(metrics: Metrics) -> None:
    for seconds in (0.0004, 0.004, 0.7, 7.9, 9.9, 12.0, 100.0):
        metrics.response_seconds["published"].observe(seconds)
    found = buckets(metrics, "aurora_bridge_response_seconds", outcome="published")
    assert list(found.values()) == sorted(found.values())
    shown = {bound: found[bound] for bound in (0.0005, 0.005, 1.0, 8.0, 10.0, 15.0, inf)}
    assert shown == {0.0005: 1, 0.005: 2, 1.0: 3, 8.0: 4, 10.0: 5, 15.0: 6, inf: 7}
    assert series(metrics, "aurora_bridge_response_seconds_count")["published",] == 7
    assert series(metrics, "aurora_bridge_response_seconds_sum")["published",] == pytest.approx(130.5044)
    assert set(buckets(metrics, "aurora_bridge_response_seconds", outcome="spooled").values()) == {0}


def test_an_observation_on_a_boundary_belongs_to_the_bucket_below(metrics: Metrics) -> None:
    metrics.response_seconds["published"].observe(10.0)
    found = buckets(metrics, "aurora_bridge_response_seconds", outcome="published")
    assert (found[9.0], found[10.0]) == (0, 1)


# Text formats


def values(family: Metric) -> list[tuple[str, dict[str, str], float]]:
    return [(sample.name, sample.labels, sample.value) for sample in family.samples]


def test_both_text_formats_can_be_parsed_and_say_the_same(metrics: Metrics) -> None:
    text = {family.name: family for family in parse_text(generate_latest(metrics.registry).decode())}
    open_metrics = {family.name: family for family in open_families(metrics)}
    assert text.keys() == open_metrics.keys()
    for name, family in text.items():
        if name.startswith("aurora_bridge_"):
            assert family.type == open_metrics[name].type
            assert family.documentation == open_metrics[name].documentation
            assert values(family) == values(open_metrics[name])


def test_no_series_says_when_it_was_created(metrics: Metrics) -> None:
    names = {sample.name for sample in samples(metrics)}
    names |= {sample.name for family in open_families(metrics) for sample in family.samples}
    assert not [name for name in names if name.endswith("_created")]


def test_every_metric_is_described_and_named_in_base_units(metrics: Metrics) -> None:
    for declared in vars(metrics).values():
        if isinstance(declared, Counter | Gauge | Histogram):
            family = declared.collect()
            assert family.name.startswith("aurora_bridge_")
            assert family.documentation.endswith(".")
            assert not family.name.endswith(("_milliseconds", "_ms", "_kilobytes", "_minutes"))
