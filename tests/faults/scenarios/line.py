"""A line between daemon and brokers that is slow or long. Spans and numbers are those at scale 1.

The daemon starts with a backlog that has to get through the line, and webhooks go on coming. What lies in the broker
and what went over the line is compared: nothing may go over it again and again, and no id may be there twice.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from math import inf
from threading import Event
from time import monotonic
from typing import Final, cast

from tests.faults.line import LineCluster
from tests.faults.scenario import Scenario
from tests.faults.scenarios.partitions import LOOK_SECONDS, backlog
from tests.faults.stage import EVENTS, Stage
from tests.support.daemon import Daemon

EVENT_BYTES: Final = 4000
TOPICS: Final[Mapping[str, str]] = {
    "lead_created": "lead_id",
    "project_created": "project_id",
    "project_deleted": "project_id",
    "asset_created": "asset_id",
    "design_created": "design_id",
    "lead_converted": "lead_id",
    "design_request_created": "design_request_id",
    "auto_designer_job_completed": "job_id",
    "panel_irradiance_analysis_job_completed": "job_id",
    "performance_simulation_job_completed": "job_id",
}
"""Events that a backlog is made of, and what identifies each."""
ONE: Final = {"project_created": "project_id"}
"""An event of which no live webhook tells."""
MEGABYTE: Final = 1_000_000
SLOW: Final = 1_500_000
NARROW: Final = 200_000
ROUND_TRIP: Final = 0.3
LONG_RATE: Final = 700_000
"""Bytes a second that a backlog goes at least over the long line. One batch of 128 KiB in a round trip is 430,000."""
LEAST_BYTES: Final = 6 * MEGABYTE
"""Of a backlog, whatever the scale."""
SPARE: Final = 3.0
"""So much longer than the line takes for its bytes, a backlog may take."""
MANY: Final = 20
START_SECONDS: Final = 10.0
OVERHEAD: Final = 1.3
"""Bytes that went up for each that is stored: the heads of requests, metadata, and a request that was under way."""
SOON_SECONDS: Final = 1.5
SLOWLY: Final = "the backlog does not get through the line"
AGAIN: Final = "bytes went over the line again"
BESIDE: Final = "beside a backlog, events of other topics are published after"


def slow(stage: Stage) -> None:
    """The line carries 1.5 MB/s, and the daemon starts with a backlog of ten topics."""
    with _through_the_line(stage, TOPICS, rate=SLOW, megabytes=60, most=200):
        pass


def narrow(stage: Stage) -> None:
    """The line carries 200 kB/s, and the daemon starts with a backlog of ten topics."""
    with _through_the_line(stage, TOPICS, rate=NARROW, megabytes=20, most=40):
        pass


def beside_a_backlog(stage: Stage) -> None:
    """The line carries 1.5 MB/s; one topic has a large backlog, and events of others are published beside it."""
    with _through_the_line(stage, ONE, rate=SLOW, megabytes=100, most=200) as span:
        _expect_soon(stage, *span)


def long(stage: Stage) -> None:
    """A round trip takes 300 ms, and the daemon starts with a backlog of one topic; then all is published directly."""
    with _through_the_line(stage, ONE, round_trip=ROUND_TRIP, megabytes=60) as span:
        if left(stage.daemon, ONE):
            return
        _expect_soon(stage, *span)
        since = stage.wait_until_usual()
        stage.wait(60)
        answers = [line for line in stage.answers(since) if '"duplicate"' not in line["body"]]
        spooled = sum('"spooled"' in line["body"] for line in answers)
        fastest = min((line["seconds"] for line in answers), default=0.0)
        stage.measured["fastest publish over the long line, s"] = round(fastest, 2)
        stage.expect(fastest >= ROUND_TRIP, f"a publish took {fastest:.2f} s: the line was not long")
        stage.expect(not spooled, f"over the long line, {spooled} of {len(answers)} were spooled")


@contextmanager
def _through_the_line(  # noqa: PLR0913 - what a line is like, and what has to get through it
    stage: Stage,
    topics: Mapping[str, str],
    *,
    rate: float = inf,
    round_trip: float = 0.0,
    megabytes: int,
    most: float = inf,
) -> Iterator[tuple[float, float]]:
    """Have a backlog of these topics drain over the line; the block is given the span in which others flow beside it.

    While the block runs, the line is as it was; then it is fixed, so that whatever became of the backlog is judged.
    """
    line = cast("LineCluster", stage.cluster).line
    size = leave_behind(stage, topics, max(LEAST_BYTES, int(stage.span(megabytes * MEGABYTE))))
    lowest = min(rate, LONG_RATE if round_trip else inf)
    line.narrow(rate)
    line.lengthen(round_trip)
    carried, stored, began = line.up.carried, _stored(stage), monotonic()
    with stage.load(connected=False, most=most):
        deadline = began + START_SECONDS + SPARE * size / lowest
        flowing = wait_until(lambda: _flows(stage.daemon, set(EVENTS.values()) - topics.keys()), deadline)
        moved = wait_until(lambda: _stored(stage) - stored > size / 10, deadline)
        ended = wait_until(lambda: not left(stage.daemon, topics), deadline)
        through, up = _stored(stage) - stored, line.up.carried - carried
        stage.measured |= {"backlog, MB": round(size / MEGABYTE, 1), "through in, s": round(ended - began, 1)}
        stage.measured["of it, kB/s"] = round(through * 0.9 / (ended - moved) / 1000) if ended > moved else 0
        stage.measured["bytes up for each that is stored"] = round(up / max(1, through), 2)
        waiting = left(stage.daemon, topics)
        stage.expect(not waiting, f"{SLOWLY}: after {ended - began:.0f} s {waiting:g} events of it wait")
        stage.expect(up < OVERHEAD * through, f"{AGAIN}: {up} bytes, and {through} are stored")
        if round_trip and not waiting:
            stage.expect(through * 0.9 / (ended - moved) > LONG_RATE, f"{SLOWLY} at {LONG_RATE / 1000:g} kB/s")
        yield flowing, ended
        line.narrow(inf)
        line.lengthen(0.0)
        stage.wait(20)


def leave_behind(stage: Stage, topics: Mapping[str, str], size: int) -> int:
    """Have the daemon's spool hold about so many bytes of large events, and end the daemon; return how many.

    Nothing of it is sent: a daemon that has met no Kafka yet has nothing in doubt, which could be there twice.
    """
    (node,) = stage.cluster.nodes
    stage.daemon.start()
    stage.daemon.wait_until_connected()  # the topics are there
    stage.daemon.terminate()
    node.pause()
    stage.daemon.start()
    large = [stage.manual.large(*topic, EVENT_BYTES) for topic in islice(cycle(topics.items()), size // EVENT_BYTES)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda webhook: stage.manual.send(webhook, stage.daemon.url), large))
    outcomes = {answer.outcome for answer in answers}
    stage.expect(outcomes == {"spooled"}, f"the events of the backlog are {outcomes}")
    stage.daemon.terminate()
    node.resume()
    return sum(len(webhook.target) for webhook in large)


def _stored(stage: Stage) -> int:
    """Return how much the broker has of the topics, as it was sent."""
    (node,) = stage.cluster.nodes
    return sum(path.stat().st_size for path in node.directory.rglob(f"{stage.prefix}*/*.log"))


def left(one: Daemon, topics: Iterable[str]) -> float:
    """Return how many events of these topics wait in the spool."""
    return sum(backlog(one, event) for event in topics)


def _flows(one: Daemon, events: Iterable[str]) -> bool:
    """Whether events of these topics go to Kafka directly."""
    return bool(one.metrics().value("aurora_bridge_kafka_connected")) and not left(one, events)


def wait_until(so: Callable[[], object], deadline: float) -> float:
    """Wait; return when something was so, or the deadline."""
    while not so() and monotonic() < deadline:
        Event().wait(LOOK_SECONDS)
    return min(monotonic(), deadline)


def _expect_soon(stage: Stage, since: float, until: float) -> None:
    """Expect 90 of 100 events that came beside the backlog to be published soon."""
    answers = [
        line for events in stage.answers_by_event(since, until).items() if events[0] not in ONE for line in events[1]
    ]
    seconds = sorted(
        inf if '"spooled"' in line["body"] else line["seconds"]
        for line in answers
        if line["at"] - line["seconds"] > since and '"duplicate"' not in line["body"]
    )
    stage.expect(len(seconds) > MANY, f"only {len(seconds)} events came beside the backlog: nothing was tried")
    if seconds:
        p90 = seconds[len(seconds) * 9 // 10]
        stage.measured["p90 beside the backlog, s"] = round(p90, 2)
        stage.expect(p90 < SOON_SECONDS, f"{BESIDE} {p90:.2f} s (p90 of {len(seconds)}), and not within {SOON_SECONDS}")


SCENARIOS = [
    Scenario("08-line-slow", slow, nodes=1, cluster=LineCluster, once=True),
    Scenario("08-line-narrow", narrow, nodes=1, cluster=LineCluster, once=True),
    Scenario("08-line-slow-beside-a-backlog", beside_a_backlog, nodes=1, cluster=LineCluster, once=True),
    Scenario("08-line-long", long, nodes=1, cluster=LineCluster, once=True),
]
