"""What the status page could be about: a quiet daemon, to be changed in one place or the other."""

from aurora_bridge.bridge import DeadLetter, GarbledTemplate
from aurora_bridge.kafka.reasons import Problem
from aurora_bridge.refusal import Defect, Reason
from aurora_bridge.routing import Paste
from aurora_bridge.web.status import Answers, Kafka, Refused, Spool, Status, Topic

NOW = 1_800_000_000.0
KAFKA = Kafka("kafka:9092", "aurora.", [], {})
SPOOL = Spool(0, 4096, 1_000_000, 0.0, 0, full=False, failed=False)
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
    answers=[Answers("published", 3, 0.002, 0.0075, 2.0, 0), Answers("refused", 0, 0, 0, 0, 0)],
    in_flight=0,
    oldest_unanswered=0.0,
    refused=[],
    dead_letters={},
    last_dead_letters=[],
    garbled_templates=[],
    broken_spools=[],
    index_failed=False,
    index_complete=True,
    reading=None,
    unjudged=0,
    lag=0,
    other_instances=0,
    credentials={},
    takes_from_anyone=False,
    failing_files=[],
    routes=[Paste("lead_changed", "default", "https://HOST/lead_changed?lead_id=<LEAD_ID>")],
    public_url="",
)
AWAY = QUIET._replace(topics=[topic._replace(writable=False, waiting=2) for topic in QUIET.topics])


def refused(reason: Reason, seconds_ago: float) -> Status:
    """Return a daemon that last refused something so long ago."""
    return QUIET._replace(refused=[Refused(reason, 7, NOW - seconds_ago)])


def eventful(text: str) -> Status:
    """Return a daemon of which everything is shown, with `text` wherever a text can be."""
    return QUIET._replace(
        version=text,
        state_dir=text,
        kafka=Kafka(text, text, [Problem("unreachable", text, text)], {text: 1}),
        topics=[Topic(text, False, 1, NOW, 1, 0), Topic(f"{text}2", True, 0, 0.0, 0, 0)],  # noqa: FBT003
        refused=[Refused(reason, 1, NOW) for reason in Reason],
        dead_letters={defect.value: 1 for defect in Defect},
        last_dead_letters=[DeadLetter(NOW, Defect.NOT_UTF8, text, text, text)],
        in_flight=1,
        oldest_unanswered=9.0,
        garbled_templates=[(GarbledTemplate(NOW, text, text, text, (text,)), text)],
        broken_spools=[text],
        index_failed=True,
        credentials={text: 1},
        failing_files=[text],
        routes=[Paste(text, text, text)],
    )
