"""What the status page could be about: a quiet daemon, to be changed in one place or the other."""

from math import inf
from typing import Any

from aurora_bridge.access_log import RefusedRequest
from aurora_bridge.aurora.checks import Check, Finding
from aurora_bridge.aurora.errors import ApiReason, AuroraError
from aurora_bridge.aurora.inspection import Inspection, State
from aurora_bridge.aurora.watch import Seen
from aurora_bridge.auto_disable.attempts import Subscription
from aurora_bridge.bridge import DeadLetter
from aurora_bridge.dedup.outstanding import Outstanding
from aurora_bridge.dedup.resend import Declaration
from aurora_bridge.garbled_templates import GarbledTemplate
from aurora_bridge.kafka.problem_reasons import Problem
from aurora_bridge.outcomes import DeadLetterReason, Reason
from aurora_bridge.suggested_templates import Paste
from aurora_bridge.web.history import Window
from aurora_bridge.web.status import Answers, Kafka, Refused, Spool, Status, Topic, Volume

NOW = 1_800_000_000.0
KAFKA = Kafka("kafka:9092", "aurora.", [], {}, 0.0)
SPOOL = Spool(0, 4096, 1_000_000, 1_000_000, inf, 0.0, 0, full=False, failed=False)
QUIET = Status(
    now=NOW,
    started=NOW - 7200,
    version="1.2.3",
    state_dir="/var/lib/aurora-bridge",
    stopping=False,
    ready=True,
    kafka=KAFKA,
    topics=[Topic("lead_changed", True, 0, NOW - 180, 3, 1), Topic("lead_created", True, 0, 0.0, 0, 0)],  # noqa: FBT003
    spool=SPOOL,
    volume=Volume(8e9, 1e10),
    windows=[Window(60.0, 3, 0, 0.002, 0.0075), Window(300.0, 0, 0, inf, inf)],
    answers=[Answers("published", 3, 0.002, 0.0075, 2.0, 0), Answers("refused", 0, 0, 0, 0, 0)],
    in_flight=0,
    oldest_unanswered=0.0,
    refused=[],
    last_refused=[],
    failing=[],
    subscriptions=None,
    dead_letters={},
    last_dead_letters=[],
    garbled_templates=[],
    broken_spools=[],
    index_failed=False,
    index_complete=True,
    reading=None,
    index_bypassed=0,
    outstanding=Outstanding({}, {}, 0, 0),
    resend=Declaration(),
    lag=0,
    other_instances=0,
    credentials={},
    takes_from_anyone=False,
    failing_files=[],
    routes=[Paste("lead_changed", "default", "https://HOST/lead_changed?lead_id=<LEAD_ID>")],
    public_url="",
)
AWAY = QUIET._replace(topics=[topic._replace(writable=False, waiting=2) for topic in QUIET.topics])


def refused(reason: Reason, seconds_ago: float, path: str = "", **more: Any) -> Status:  # noqa: ANN401
    """Return a daemon that last refused something so long ago; with a `path`, on that one, which is Aurora's."""
    when = NOW - seconds_ago
    last = RefusedRequest(when, reason, None, "192.0.2.7", path, None, known_path=bool(path))._replace(**more)
    return QUIET._replace(refused=[Refused(reason, 7, when)], last_refused=[last])


def found(check: Check, *events: str, where: str = "id-1, lead_created", **more: Any) -> Seen:  # noqa: ANN401
    """Return a look at Aurora's subscriptions, a minute ago, in which something was wrong."""
    counts = {("lead_changed", State.ENABLED): 1, ("lead_created", State.DISABLED): 1}
    finding = Finding(check, where, "this is wrong. Fix it.", events=events or ["lead_created"])
    return Seen(NOW - 60, Inspection(counts, [finding]))._replace(**more)


def eventful(text: str) -> Status:
    """Return a daemon of which everything is shown, with `text` wherever a text can be."""
    return QUIET._replace(
        version=text,
        state_dir=text,
        kafka=Kafka(text, text, [Problem("unreachable", text, text)], {text: 1}, NOW - 60),
        topics=[Topic(text, False, 1, NOW, 1, 0), Topic(f"{text}2", True, 0, 0.0, 0, 0)],  # noqa: FBT003
        refused=[Refused(reason, 1, NOW) for reason in Reason],
        last_refused=[RefusedRequest(NOW, Reason.NO_ROUTE, None, text, text, text, known_path=True)],
        failing=[Subscription(text, text, 30, 20, 20, 60.0), Subscription(text, text, 30, 1, 1, inf)],
        dead_letters={reason.value: 1 for reason in DeadLetterReason},
        last_dead_letters=[DeadLetter(NOW, DeadLetterReason.NOT_UTF8, text, text, text)],
        in_flight=1,
        oldest_unanswered=9.0,
        subscriptions=found(
            Check.NO_ROUTE, where=text, error=AuroraError(ApiReason.INVALID, text, text, messages=[text])
        ),
        garbled_templates=[(GarbledTemplate(NOW, text, text, text, (text,)), text)],
        broken_spools=[text],
        index_failed=True,
        credentials={text: 1},
        failing_files=[text],
        routes=[Paste(text, text, text)],
    )
