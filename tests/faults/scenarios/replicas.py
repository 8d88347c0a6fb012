"""The same webhook many times at once: at one daemon while Kafka hangs, at two daemons. Spans are those at scale 1."""

from collections.abc import Callable
from functools import partial
from math import inf
from threading import Event

from tests.faults.hooks import commits
from tests.faults.manual_sender import KINDS, Answer, ManualSender, Webhook, at_once
from tests.faults.scenario import Scenario
from tests.faults.stage import SCHEDULE, Stage
from tests.support.daemon import Daemon

COPIES = 50
PAIRS = 2000
"""Webhooks that both daemons get, at scale 1."""
SKEW_SECONDS = 1.0
"""Up to so much later the second daemon gets it: around the half second in which the one learns of the other."""


def copies_while_kafka_hangs(stage: Stage) -> None:
    """50 copies of a webhook come together while all brokers are frozen, and the spool's disk is slow."""
    with stage.load():
        stage.wait(20)
        told = frozen(stage, COPIES)
        stage.wait(20)
    committed = commits(stage.daemon.folder)
    for webhook, answers in told:
        what = f"{COPIES} copies of a {webhook.kind} while Kafka hangs"
        stage.expect({answer.status for answer in answers} == {200}, f"{what}: {statuses(answers)}")
        stage.expect(len({answer.id for answer in answers}) == 1, f"{what}: several ids")
        first = [answer.outcome for answer in answers if answer.outcome != "duplicate"]
        stage.expect(first == ["spooled"], f"{what}: outcomes beside duplicates: {first}")
        early = sum(answer.accepted and answer.at < committed.get(answer.id, inf) for answer in answers)
        stage.expect(not early, f"{what}: {early} answered 2xx before the spool's commit")


def copies_refused(stage: Stage) -> None:
    """50 copies come together while all brokers are frozen, without a spool: all fail, and retries keep the id."""
    with stage.load():
        stage.wait(20)
        told = frozen(stage, COPIES)
        for webhook, refused in told:
            what = f"{COPIES} copies of a {webhook.kind} while Kafka hangs, without a spool"
            stage.daemon.wait_until(
                "it takes events of that kind again", partial(_takes, stage, webhook.kind), SCHEDULE[0]
            )
            again = at_once([partial(stage.manual.send, webhook, stage.daemon.url, attempt=2)] * COPIES)
            stage.expect({answer.status for answer in refused} == {503}, f"{what}: {statuses(refused)}")
            stage.expect({answer.status for answer in again} == {200}, f"{what}: retries {statuses(again)}")
            stage.expect(len({answer.id for answer in (*refused, *again)}) == 1, f"{what}: several ids")
        stage.wait(20)


def _takes(stage: Stage, kind: str, daemon: Daemon) -> bool:
    """Whether a fresh event of a kind is accepted. Aurora's first retry comes later than that."""
    return stage.manual.send(stage.manual.new(kind), daemon.url).accepted


def frozen(stage: Stage, copies: int) -> list[tuple[Webhook, list[Answer]]]:
    """Freeze all brokers while copies of a state and of a once-event come; return what they were answered."""
    webhooks = [stage.manual.new(kind) for kind in KINDS]
    for node in stage.cluster.nodes:
        node.pause()
    calls = [partial(stage.manual.send, webhook, stage.daemon.url) for webhook in webhooks for _ in range(copies)]
    heard = at_once(calls)
    for node in stage.cluster.nodes:
        node.resume()
    stage.cluster.wait_until_ready()
    return [(webhook, heard[at * copies :][:copies]) for at, webhook in enumerate(webhooks)]


def statuses(answers: list[Answer]) -> dict[int, int]:
    """Return how many were answered what."""
    found = [answer.status for answer in answers]
    return {status: found.count(status) for status in sorted(set(found))}


def same_webhook_to_both(stage: Stage) -> None:
    """The same webhooks come to both daemons at once, or up to a second apart; some while all brokers are frozen."""
    pairs = max(100, int(stage.span(PAIRS)))
    told: list[tuple[Webhook, list[Answer]]] = []
    with stage.load():
        while len(told) < pairs:
            told += _tell_both(stage, 20)
    for node in stage.cluster.nodes:
        node.pause()
    away = _tell_both(stage, 40)
    for node in stage.cluster.nodes:
        node.resume()
    stage.cluster.wait_until_ready()
    told += away
    refused = sum(not answer.accepted for _, answers in told for answer in answers)
    stage.expect(not refused, f"{refused} of both daemons' answers are no 2xx")
    several = sum(len({answer.id for answer in answers}) > 1 for _, answers in told)
    stage.expect(not several, f"{several} webhooks got an id from each daemon")
    both = sum(all(answer.outcome != "duplicate" for answer in answers) for _, answers in told)
    stage.expect(both, "no webhook was taken for new by both daemons: they were not told at once")
    stage.measured |= {"webhooks sent to both": len(told), "taken for new by both": both}


def _tell_both(stage: Stage, count: int) -> list[tuple[Webhook, list[Answer]]]:
    """Send webhooks to both daemons, half of them at the same moment."""
    webhooks = [stage.manual.new(stage.random.choice(KINDS)) for _ in range(count)]
    calls: list[Callable[[], Answer]] = []
    for number, webhook in enumerate(webhooks):
        daemons = stage.random.sample(stage.daemons, 2)
        skew = stage.random.uniform(0, SKEW_SECONDS) if number % 2 else 0.0
        calls.append(partial(stage.manual.send, webhook, daemons[0].url))
        calls.append(partial(_send_after, skew, stage.manual, webhook, daemons[1].url))
    answers = at_once(calls)
    return [(webhook, answers[2 * at :][:2]) for at, webhook in enumerate(webhooks)]


def _send_after(seconds: float, sender: ManualSender, webhook: Webhook, url: str) -> Answer:
    Event().wait(seconds)
    return sender.send(webhook, url)


SCENARIOS = [
    Scenario("02-copies-while-kafka-hangs", copies_while_kafka_hangs, hook="slow-commits"),
    Scenario("02-copies-refused", copies_refused, settings={"spool__enabled": False}),
    Scenario("03-same-webhook-to-both", same_webhook_to_both, daemons=2),
]
