"""`aurora-bridge topics`: shows the topics in Kafka, and which of their settings could lose events.

Standard output gets the table (or JSON lines), standard error the problems and remedies. Only `--apply` changes
anything: it creates missing topics, as the daemon does at start; existing topics stay unchanged.
"""

import argparse
import asyncio
import os
from collections.abc import Iterator, Sequence

import orjson

from aurora_bridge.cli.check_cluster import refusing, warning
from aurora_bridge.cli.command import EX_FAILED, Subparsers, add_command, need_kafka
from aurora_bridge.cli.output import put, tell
from aurora_bridge.kafka.describe_topics import Topic, create_and_wait, describe_topics
from aurora_bridge.kafka.problem_reasons import not_created
from aurora_bridge.settings import Settings
from aurora_bridge.webhook.catalogue import CATALOGUE, EVENTS, Recurrence

_DAY_MS = 86_400_000
_FOR_EVER = -1
_COLUMNS = ("topic", "partitions", "replicas", "min.insync", "retention", "max.message.bytes", "unclean election")
_MOST_NAMED = 3
_GROWTH = 6
"""Most bytes of a record for one byte of its target: escaped in JSON, and some of them again in subject and key."""
_FRAME_BYTES = 2048
"""The rest of a record."""

_EXAMPLES = """\
  aurora-bridge topics                existing topics, and what to fix
  aurora-bridge topics --apply        create missing ones, according to KAFKA__PARTITIONS and so on
  aurora-bridge topics --json | jq -r 'select(.exists | not).topic'
"""


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = add_command(
        subparsers,
        "topics",
        run,
        help="show the topics; create missing ones",
        description="Shows every topic that the daemon writes to, and warns of what could lose events. Exit 1 if a "
        "topic is missing or this user may not see it; warnings alone exit 0.",
        examples=_EXAMPLES,
    )
    parser.add_argument("--apply", action="store_true", help="create missing topics")
    parser.add_argument("--json", action="store_true", help="print JSON lines instead of a table")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the topics; return the exit code."""
    need_kafka(settings, "topics")
    if arguments.apply:
        creation = asyncio.run(create_and_wait(settings.kafka, EVENTS, refusing(settings)))
        tell(f"{len(creation.created)} created")
        for problem in not_created(creation.failed):
            tell(f"not created: {problem}")
    topics = asyncio.run(describe_topics(settings.kafka, EVENTS, warning(settings)))
    if arguments.json:
        _print_json(topics)
    else:
        _print_table(topics)
    problems = [*_absent(topics, applied=arguments.apply), *_forbidden(topics)]
    for line in (*problems, *_warnings(topics, settings)):
        tell(line)
    return EX_FAILED if problems else os.EX_OK


def _print_json(topics: Sequence[Topic]) -> None:
    for topic in topics:
        line = {
            "topic": topic.name,
            "exists": topic.exists,
            "partitions": topic.partitions,
            "replicas": topic.replicas,
            **topic.config,
        }
        put(orjson.dumps(line))


def _print_table(topics: Sequence[Topic]) -> None:
    rows = [_COLUMNS, *map(_row, topics)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    put(*("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows))


def _row(topic: Topic) -> tuple[str, ...]:
    if not topic.exists:
        return (topic.name, (topic.missing_acl and "not allowed") or "missing", *[""] * (len(_COLUMNS) - 2))
    retention = _number(topic, "retention.ms")
    return (
        topic.name,
        str(topic.partitions),
        str(topic.replicas),
        topic.config.get("min.insync.replicas", "?"),
        "?" if retention is None else _retention(retention),
        topic.config.get("max.message.bytes", "?"),
        topic.config.get("unclean.leader.election.enable", "?"),
    )


def _retention(milliseconds: int) -> str:
    return "for ever" if milliseconds == _FOR_EVER else f"{milliseconds / _DAY_MS:g} d"


def _number(topic: Topic, name: str) -> int | None:
    return int(topic.config[name]) if name in topic.config else None


def _absent(topics: Sequence[Topic], *, applied: bool) -> Iterator[str]:
    missing = [topic for topic in topics if not topic.exists and not topic.missing_acl]
    if missing and applied:
        yield f"still missing: {_names(missing, topics)}. Kafka did not create them; the first lines say why."
    elif missing:
        yield (
            f"missing: {_names(missing, topics)}. Create them with `aurora-bridge topics --apply`; meanwhile "
            "their events wait in the spool."
        )


def _forbidden(topics: Sequence[Topic]) -> Iterator[str]:
    for acl in ("Describe", "DescribeConfigs"):
        denied = [topic for topic in topics if topic.missing_acl == acl]
        if denied:
            resources = ", ".join(f"Topic:{topic.name}" for topic in denied[:_MOST_NAMED])
            more = f" and {len(denied) - _MOST_NAMED} more" if len(denied) > _MOST_NAMED else ""
            yield f"not allowed: this user lacks the ACL {acl} on {resources}{more}. Grant it on the topics' prefix."


def _warnings(topics: Sequence[Topic], settings: Settings) -> Iterator[str]:
    """Yield a line for each way to lose events, with its remedy."""
    described = [topic for topic in topics if topic.config]

    def those(text: str, chosen: list[Topic]) -> Iterator[str]:
        if chosen:
            yield f"warning: {text}: {_names(chosen, topics)}."

    yield from those(
        "min.insync.replicas is 1, so an acknowledged event may be on one broker only; set it to 2, with 3 replicas",
        [topic for topic in described if _number(topic, "min.insync.replicas") == 1],
    )
    yield from those(
        "min.insync.replicas exceeds the number of replicas, so Kafka accepts nothing; add replicas",
        [topic for topic in described if (_number(topic, "min.insync.replicas") or 0) > topic.replicas],
    )
    yield from those(
        "a lagging replica may become leader and lose acknowledged events; set unclean.leader.election.enable=false",
        [topic for topic in described if topic.config.get("unclean.leader.election.enable") == "true"],
    )
    window_ms = settings.index.window_days * _DAY_MS
    yield from those(
        f"events expire before the {settings.index.window_days} days of INDEX__WINDOW_DAYS; set retention.ms to at "
        f"least {window_ms}",
        [topic for topic in described if 0 <= (_number(topic, "retention.ms") or 0) < window_ms],
    )
    if settings.kafka.key == "subject":
        compacted = [topic for topic in described if "compact" in topic.config.get("cleanup.policy", "")]
        yield from those(
            "compaction keeps one event per subject, but it does not replace the others; set cleanup.policy=delete",
            [topic for topic in compacted if not _is_of_states(topic.name.removeprefix(settings.kafka.topic_prefix))],
        )
    largest = _GROWTH * settings.ingress.max_target_bytes + _FRAME_BYTES
    yield from those(
        f"the largest event (INGRESS__MAX_TARGET_BYTES is {settings.ingress.max_target_bytes}) does not fit and would "
        f"be quarantined; set max.message.bytes to at least {largest}",
        [topic for topic in described if (_number(topic, "max.message.bytes") or largest) < largest],
    )


def _is_of_states(event: str) -> bool:
    return event in CATALOGUE and CATALOGUE[event].recurrence is Recurrence.STATE


def _names(chosen: Sequence[Topic], topics: Sequence[Topic]) -> str:
    if len(chosen) == len(topics):
        return f"all {len(topics)} topics"
    names = ", ".join(topic.name for topic in chosen[:_MOST_NAMED])
    return f"{names} and {len(chosen) - _MOST_NAMED} more" if len(chosen) > _MOST_NAMED else names
