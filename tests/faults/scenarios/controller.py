"""The controller is away, and the brokers are there: what only it can do has to wait. Spans are those at scale 1.

It makes topics, elects leaders, and gives brokers the producer ids that they hand on. Brokers lead and take records
without it.
"""

from functools import partial
from threading import Event
from time import monotonic
from typing import Final

from tests.faults.scenario import Scenario
from tests.faults.scenarios.line import wait_until
from tests.faults.scenarios.partitions import NOISE_SHARE
from tests.faults.stage import EVENTS, Stage
from tests.support.broker import KafkaCluster
from tests.support.daemon import Daemon
from tests.support.node import KafkaNode
from tests.support.topics import create_topics, topic_names

LEAST_SECONDS: Final = 10.0
"""That it is away, whatever the scale."""
LINES: Final = 1.0
"""Of the log in a second: what is wrong is to be said, and not again and again."""
BACK_SECONDS: Final = 30.0
NOT_BACK: Final = "after the controller came back, the daemon"
NOT_STARTED: Final = "started without a controller, the daemon"
LOOK_SECONDS: Final = 0.05


def away_at_start(stage: Stage) -> None:
    """The daemon starts while the controller is frozen: there are no topics, and nobody who could make them."""
    _start_without(stage)


def no_producer_ids(stage: Stage) -> None:
    """The daemon starts while the controller is frozen: there are topics, and no producer ids."""
    create_topics(stage.cluster.plain, *(stage.prefix + event for event in EVENTS.values()))
    _start_without(stage)


def _start_without(stage: Stage) -> None:
    (controller,) = stage.cluster.controllers
    controller.pause()
    with stage.load(connected=False):
        began = monotonic()
        answer = stage.probe()
        stage.expect(answer.outcome == "spooled", f"without a controller, it answered {answer}")
        connected = _looks(stage, max(LEAST_SECONDS, stage.span(60)))
        stage.expect(
            not any(connected), f"it said that Kafka is connected at {sum(connected)} of {len(connected)} looks"
        )
        status, document = stage.daemon.ready()
        stage.expect(status == 200 and document["reasons"], f"readiness is {status}, and says {document}")
        lines, seconds = len(stage.daemon.log_lines()), monotonic() - began
        stage.measured["lines of the log while it was away"] = lines
        stage.expect(lines <= LINES * seconds, f"{lines} lines of the log in {seconds:.0f} s")
        refused = stage.daemon.metrics().value("aurora_bridge_refusals_total")
        stage.expect(not refused, f"{refused:g} webhooks were refused meanwhile")
        controller.resume()
        _expect_back(stage)
        stage.wait(20)


def _looks(stage: Stage, seconds: float) -> list[bool]:
    """Return what the daemon said in a while of whether Kafka is connected."""
    deadline, looks = monotonic() + seconds, []
    while monotonic() < deadline:
        looks.append(bool(stage.daemon.metrics().value("aurora_bridge_kafka_connected")))
        Event().wait(LOOK_SECONDS)
    return looks


def _expect_back(stage: Stage) -> None:
    """Expect the daemon to go on by itself; else have it go on, so that what it took is judged."""
    began = monotonic()
    wait_until(lambda: _is_well(stage.daemon), began + BACK_SECONDS)
    stage.measured["well again after, s"] = round(monotonic() - began, 1)
    code = stage.daemon.process.poll()
    if code is None and _is_well(stage.daemon):
        return
    state = f"complains: {stage.daemon.ready()[1]['reasons']}" if code is None else f"has ended, with exit code {code}"
    stage.expect(None, f"{NOT_BACK} {state}")
    missing = {stage.prefix + event for event in EVENTS.values()} - set(topic_names(stage.cluster.plain, stage.prefix))
    if missing:
        create_topics(stage.cluster.plain, *sorted(missing))
    stage.daemon.heal()


def _is_well(one: Daemon) -> bool:
    return one.process.poll() is None and not one.ready()[1]["reasons"]


def away_later(stage: Stage) -> None:
    """The controller is dead for a minute, in which the daemon is restarted, and frozen for another: all flows on."""
    (controller,) = stage.cluster.controllers
    with stage.load():
        for end in (KafkaNode.kill, KafkaNode.pause):
            since = stage.wait_until_usual()
            end(controller)
            stage.wait(30)
            _expect_flow(stage, since)
            if controller.up:
                controller.resume()
            else:
                stage.daemon.terminate()
                stage.daemon.start()
                began = monotonic()
                wait_until(partial(_is_well, stage.daemon), began + BACK_SECONDS)
                stage.expect(_is_well(stage.daemon), f"{NOT_STARTED} says {stage.daemon.ready()}")
                stage.wait(30)
                stage.cluster.restore()
            stage.fixed()
        stage.wait(20)


def _expect_flow(stage: Stage, since: float) -> None:
    answers = stage.answers(since)
    spooled = sum('"published"' not in line["body"] and '"duplicate"' not in line["body"] for line in answers)
    stage.expect(spooled <= NOISE_SHARE * len(answers), f"{spooled} of {len(answers)} events were not published")


_controlled = partial(KafkaCluster, controllers=1)

SCENARIOS = [
    Scenario("04-controller-away", away_later, cluster=_controlled),
    Scenario("10-start-controller-away", away_at_start, nodes=1, cluster=_controlled),
    Scenario("10-start-no-producer-ids", no_producer_ids, nodes=1, cluster=_controlled),
]
