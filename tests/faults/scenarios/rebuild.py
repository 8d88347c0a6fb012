"""The index is gone, and comes back from Kafka. Spans are those at scale 1."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from time import monotonic, time
from typing import Any, Final

from confluent_kafka import Producer

from tests.e2e.recompute import partition_of
from tests.faults.known_events import Known
from tests.faults.manual_sender import Answer, Webhook
from tests.faults.scenario import Scenario
from tests.faults.stage import Stage
from tests.support.daemon import Daemon

RECORDS: Final = 1_000_000
AGAIN: Final = 10_000
"""Old deliveries that are sent again."""
OLDEST_SECONDS: Final = 6 * 3600
"""Within the repeat window of states."""
REBUILD_SECONDS: Final = 900.0
FLUSH_SECONDS: Final = 300.0
SENDERS: Final = 16
PARTITIONS: Final = 3
"""Of each topic, as the daemon makes them."""


def index_rebuilt(stage: Stage) -> None:
    """The index is deleted and rebuilt from a million records; then 10,000 of their deliveries are sent again.

    One record in four is a state that has a successor. It is no duplicate once it comes again, but its successor is.
    """
    daemon = stage.daemon
    with stage.load():  # makes the topics
        known = Known(stage)
        known.expect_same_decisions("before the index was deleted")
        stage.wait(60)
    daemon.terminate()
    for file in daemon.state.glob("index.db*"):
        file.unlink()
    old = _publish_old(stage, max(20_000, int(stage.span(RECORDS))))
    superseded = [earlier for earlier, later in pairwise(old) if earlier.subject == later.subject]
    began = monotonic()
    daemon.start()
    daemon.wait_until("the index is rebuilt", lambda daemon: _followed(daemon) >= len(old), REBUILD_SECONDS)
    stage.wait_until_complete()
    stage.measured["seconds to rebuild"] = round(monotonic() - began, 1)
    stage.measured["records read"] = _followed(daemon)
    stage.measured["MiB at most"] = _peak_mib(daemon)
    known.expect_same_decisions("after the index was rebuilt")
    count = max(1000, int(stage.span(AGAIN)))
    again = stage.random.sample(list({*old} - {*superseded}), count)
    new = sum(answer.outcome != "duplicate" for answer in _send(stage, again))
    stage.expect(not new, f"{new} of {count} old deliveries are no duplicates")
    back = [stage.manual.again(webhook) for webhook in stage.random.sample(superseded, count // 10)]
    hidden = sum(answer.outcome == "duplicate" for answer in _send(stage, back))
    stage.expect(not hidden, f"{hidden} of {len(back)} states that came back are taken for duplicates")
    stage.measured |= {"sent again": count, "states that came back": len(back)}


def _send(stage: Stage, webhooks: list[Webhook]) -> list[Answer]:
    with ThreadPoolExecutor(SENDERS) as pool:
        return list(pool.map(lambda webhook: stage.manual.send(webhook, stage.daemon.url), webhooks))


def _followed(daemon: Daemon) -> float:
    return daemon.metrics().value("aurora_bridge_followed_records_total")


def _peak_mib(daemon: Daemon) -> int:
    lines = Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM"))


def _publish_old(stage: Stage, count: int) -> list[Webhook]:
    """Let records of the last hours lie in Kafka as the daemon would have written them: states and once-events."""
    instance = (stage.daemon.state / "instance").read_text().strip()
    producer = Producer({"bootstrap.servers": stage.cluster.plain, "linger.ms": 50, "queue.buffering.max.messages": 0})
    first = time() - OLDEST_SECONDS
    webhooks: list[Webhook] = []
    for number in range(count):  # a once-event, a state, another, and its successor
        subject = webhooks[-1].subject if number % 4 == 3 else None
        webhook = stage.manual.new("state" if number % 4 else "once", subject)
        at = datetime.fromtimestamp(first + number * OLDEST_SECONDS / (count + 1), UTC)
        stage.manual.note_accepted(webhook, at.timestamp())
        webhooks.append(webhook)
        producer.produce(**_record(webhook, at, instance, stage.prefix))
        producer.poll(0)
    unsent = producer.flush(FLUSH_SECONDS)
    stage.expect(not unsent, f"{unsent} old records could not be written")
    return webhooks


def _record(webhook: Webhook, at: datetime, instance: str, prefix: str) -> dict[str, Any]:
    """Return a record as the daemon writes it, as the arguments of `produce`."""
    event, tenant = webhook.target[1:].partition("?")[0], "default"
    kind, about = ("agreement", "agreement_id") if webhook.kind == "state" else ("lead", "lead_id")
    subject = f"{kind}/{webhook.data[about]}"
    fingerprint = _digest([tenant, event, webhook.data])
    time = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    name = f"{fingerprint}.{at:%Y%m%d}" if webhook.kind == "state" else fingerprint
    headers = {
        "content-type": "application/cloudevents+json; charset=UTF-8",
        "aurora-bridge-fingerprint": fingerprint,
        "aurora-bridge-event": event,
        "aurora-bridge-subject": subject,
        "aurora-bridge-time": time,
        "aurora-bridge-instance": instance,
        "aurora-bridge-route": "default",
        "aurora-bridge-attempt": "1",
    }
    if webhook.kind == "state":
        headers["aurora-bridge-family"] = _digest([[event, sorted(webhook.data)], tenant, subject])
    value = {
        "data": webhook.data,
        "datacontenttype": "application/json",
        "dataschema": f"urn:aurora-bridge:schema:{event}:1",
        "fingerprint": fingerprint,
        "id": name,
        "repeat": False,
        "source": f"/aurora/{tenant}",
        "specversion": "1.0",
        "subject": subject,
        "time": time,
        "type": f"com.aurorasolar.{event}",
    }
    return {
        "topic": prefix + event,
        "partition": partition_of(subject, PARTITIONS),
        "key": name,
        "value": _json(value),
        "timestamp": int(at.timestamp() * 1000),
        "headers": headers,
    }


def _digest(value: object) -> str:
    return hashlib.sha256(_json(value).encode()).hexdigest()[:32]


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


SCENARIOS = [Scenario("14-index-rebuilt", index_rebuilt)]
