"""`aurora-bridge replay`: republishes a window of a topic into another topic, for a consumer that lost its data.

Never into one that the daemon follows: it would take the copies for what other replicas published. `cli.dead_letters`
replays dead letters.
"""

import argparse
import asyncio
import os
from time import monotonic, time

import uvloop

from aurora_bridge.cli.arguments import moment, patience
from aurora_bridge.cli.check_cluster import refusing
from aurora_bridge.cli.command import EX_FAILED, Subparsers, add_command, need_kafka
from aurora_bridge.cli.output import tell
from aurora_bridge.kafka.republish import RepublishError, republish
from aurora_bridge.settings import Settings
from aurora_bridge.webhook.catalogue import EVENTS
from aurora_bridge.webhook.event import rfc3339

_PATIENCE_SECONDS = 60.0
_TELL_SECONDS = 1.0

_EXAMPLES = """\
  aurora-bridge replay --topic aurora.lead_created --from 6h --into crm.replay
  aurora-bridge replay --topic aurora.lead_created --from 2026-11-23T17:00Z --to 2026-11-23T19:30Z --into crm.replay
"""


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = add_command(
        subparsers,
        "replay",
        run,
        help="republish a window of a topic into another topic, for a consumer that lost its data",
        description="Copies what was published to a topic in a time window. Keys, values and headers are unchanged, so "
        "that a consumer can drop by id what it already has. Never writes to a topic that the daemon writes to. If "
        "interrupted, run it again.",
        examples=_EXAMPLES,
    )
    parser.add_argument("--topic", required=True, metavar="TOPIC", help="topic to read, by its full name")
    start = "start of the window, by the time of publication: RFC 3339, or a duration before now (90s, 15m, 2h, 1d)"
    parser.add_argument("--from", dest="start", required=True, type=moment, metavar="TIME", help=start)
    parser.add_argument("--to", dest="end", type=moment, metavar="TIME", help="end, exclusive; default: now")
    parser.add_argument("--into", required=True, metavar="TOPIC", help="topic to write to; it must exist")
    parser.add_argument(
        "--patience",
        type=patience,
        default=_PATIENCE_SECONDS,
        metavar="SECONDS",
        help="give up if Kafka accepts nothing for this long (default: 60)",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Republish; return the exit code."""
    need_kafka(settings, "replay")
    topic, into = arguments.topic, arguments.into
    followed = {settings.kafka.topic_prefix + event for event in EVENTS}
    if into in followed or into == topic:
        tell(
            f"{into} is a topic that the daemon writes to and follows. Name another one with --into."
            if into in followed
            else "--into is the topic that --topic names. Name another one."
        )
        return EX_FAILED
    now_ms = int(time() * 1000)
    window = range(arguments.start, now_ms if arguments.end is None else arguments.end)
    if not window:
        begin, end = rfc3339(window.start * 1000), rfc3339(window.stop * 1000)
        tell(f"--from ({begin}) must be before --to ({end}). Correct one of the two.")
        return EX_FAILED
    progress = _Progress()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            count = runner.run(
                republish(
                    settings.kafka,
                    topic,
                    into,
                    window,
                    patience=arguments.patience,
                    tell=tell,
                    progress=progress,
                    check_cluster=refusing(settings),
                )
            )
        except RepublishError as error:
            tell(f"{error} Run this again once that is fixed: the copies have the same ids.")
            return EX_FAILED
    tell(f"{count} republished from {topic} into {into}")
    return os.EX_OK


class _Progress:
    """Reports progress, at most once a second."""

    def __init__(self) -> None:
        self._told_at = monotonic()

    def __call__(self, count: int) -> None:
        if monotonic() - self._told_at > _TELL_SECONDS:
            tell(f"{count} republished")
            self._told_at = monotonic()
