"""Each measurement gives figures of its shape, at tiny counts; no figure is judged."""

import os
import shutil
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import cache_from_source
from itertools import count, islice
from pathlib import Path

import pytest

from aurora_bridge.webhook.catalogue import CATALOGUE, Recurrence
from bench import drain, index, instructions, profile, runs, servers, soak, unloaded
from bench.__main__ import MEASUREMENTS, USUAL, Bench, measurement
from bench.load import BRIEF, SIGNALS, TRAFFIC
from bench.runs import SPOOLED, Scenario
from bench.servers import written_bytes
from tests.support.broker import KafkaCluster
from tests.support.daemon import PATIENT
from tests.support.topics import delete_topics, topic_names


@pytest.fixture
def bench(kafka1: KafkaCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(runs, "REST_SECONDS", 0.05)
    monkeypatch.setattr(runs, "WARM_UP_WEBHOOKS", 50)
    for variant in (servers.DIRECT, *servers.VARIANTS.values()):
        for name, value in PATIENT.items() if variant.kafka else ():
            monkeypatch.setitem(variant.settings, name.upper(), str(value))
    options = Namespace(rounds=1, against=None, compiled=None, peer=[])
    with ExitStack() as stack:
        bench = Bench(options, stack)
        bench.kafka = kafka1
        yield bench
    # The broker serves the whole run: with thousands of topics, it takes a minute to start again.
    delete_topics(kafka1.plain, *topic_names(kafka1.plain, "test-"))


def test_the_daemons_need_not_be_compiled_while_they_are_measured() -> None:
    compiled = Path(cache_from_source(str(servers.SOURCES / "aurora_bridge" / "bridge.py")))
    compiled.unlink(missing_ok=True)
    with ExitStack() as stack:
        assert servers.SOURCES in Bench(Namespace(rounds=1, against=None, compiled=None), stack).sources.values()
    assert compiled.exists()


def requests(traffic: str, many: int = 100) -> list[bytes]:
    return list(islice(TRAFFIC[traffic](), many))


def test_new_events_are_all_different_and_the_same_again_are_not() -> None:
    assert len(set(requests("new") + requests("new"))) == 200
    assert requests("same again") == requests("same again")
    assert len(set(requests("same again"))) == 100


def test_a_burst_is_of_one_type() -> None:
    assert {request.split(b"?")[0] for request in requests("one type")} == {b"GET /agreement_status_changed"}


def test_what_is_sent_again_is_a_duplicate_however_late() -> None:
    core = {name: event for name, event in CATALOGUE.items() if event.core}
    assert {name for name, event in core.items() if event.recurrence is Recurrence.SIGNAL} == SIGNALS
    assert {name for name, event in core.items() if event.unannounced_states} == BRIEF
    paths = {request.split(b"?")[0].removeprefix(b"GET /").decode() for request in requests("same again")}
    assert not paths & (SIGNALS | BRIEF)


def test_written_bytes_are_those_of_the_process(tmp_path: Path) -> None:
    before = written_bytes(os.getpid())
    with (tmp_path / "file").open("wb") as file:
        file.write(bytes(100_000))
        os.fsync(file.fileno())
    assert written_bytes(os.getpid()) - before >= 100_000


def test_a_straight_line_has_its_slope_and_a_narrow_interval() -> None:
    """Until half-way caches fill; then 2 bytes a webhook."""
    samples = [(1000 * i, min(i, 50) + 0.002 * i) for i in range(100)]
    figures = soak.Figures.of("daemon", 50.0, samples)
    assert figures.slope == pytest.approx(2.0)
    assert figures.margin == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(
    ("looks", "span"),
    [([(0, 5), (2, 3), (5, 0)], [1.0, 3.0]), ([(0, 5), (5, 0)], [1.0, 2.0]), ([(5, 0)], [0.0, 1.0])],
    ids=["seen", "between two looks", "before the first look"],
)
def test_a_drain_takes_time_however_short(
    monkeypatch: pytest.MonkeyPatch, looks: list[tuple[int, int]], span: list[float]
) -> None:
    clock, answers = count(0.0), iter(looks)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(
        servers, "metrics", lambda _: dict(zip((drain.DRAINED, SPOOLED), map(float, next(answers)), strict=True))
    )
    server = servers.Server("daemon", 0, 0, Path(), 0.0, 0.0)
    assert list(drain.drained(server, -1.0, 0.0)) == span


def test_the_hottest_frames_are_those_in_which_stacks_of_the_event_loop_end() -> None:
    stacks = ["MainThread;run;write 6", "MainThread;run 1", "MainThread;other;write 3", "spool;fsync 90"]
    assert profile.hottest(stacks) == [("write", 0.9), ("run", 0.1)]


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="no valgrind")
def test_instructions_are_those_of_webhooks_and_of_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "WARM_UP_WEBHOOKS", 20)
    monkeypatch.setattr(instructions, "REST_SECONDS", 0.5)
    (figures,) = measurement("instructions=20")[1](bench)
    assert len(figures.per_webhook) == 1
    assert figures.idle > 0


def test_counting_instructions_without_valgrind_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SystemExit, match="apt-get install valgrind"):
        instructions.measure(1, 1, [], Path(), "")


def test_import_is_timed_once_a_round() -> None:
    (times,) = unloaded.imports(2, {"aurora-bridge": servers.SOURCES})
    assert len(times.seconds) == 2


def test_every_usual_measurement_is_one() -> None:
    assert [measurement(name)[0] for name in (*USUAL, *MEASUREMENTS)] == [*USUAL, *MEASUREMENTS]
    with pytest.raises(ValueError, match="nothing"):
        measurement("nothing=5")


@pytest.mark.parametrize(
    ("argument", "rounds", "outcome"),
    [
        ("8=50", 2, {"published": 150}),
        ("200/s=50", 1, {"published": 100}),
        ("burst-8=50", 1, {"published": 100}),
        ("duplicates-8=50", 1, {"published": 50, "duplicate": 50}),
        ("spool-8=50", 1, {"spooled": 100}),
    ],
)
def test_a_scenario_sends_its_webhooks_the_way_it_names(
    bench: Bench, argument: str, rounds: int, outcome: dict[str, int]
) -> None:
    bench.rounds = rounds
    _, measure = measurement(argument)
    hello, *daemons = measure(bench)
    assert hello.server == "hello-world"
    assert daemons[0].server == "aurora-bridge"
    assert daemons[-1].outcomes == outcome
    for record in (hello, *daemons):
        assert [sum(each.outcomes.values()) for each in record.rounds] == [50] * rounds


@pytest.mark.parametrize("argument", ["start=2", "idle=1", "soak=2", "index=1000", "drain=2000", "follow=500"])
def test_a_measurement_names_the_daemon(bench: Bench, argument: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "SCENARIO", Scenario(connections=8, count=50, rate=1000))
    _, measure = measurement(argument)
    figures = measure(bench)
    assert figures
    assert all(getattr(each, "server", "aurora-bridge").startswith("aurora-bridge") for each in figures)
