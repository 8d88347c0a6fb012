"""`aurora-bridge tail`: prints events as JSON lines, from where they are kept.

That is Kafka where it is configured (`kafka.reader`), else the embedded log, which is read beside a living daemon in
short transactions. Standard output gets the events and nothing else, one CloudEvent a line, so that
`aurora-bridge tail | jq .data` works; Ctrl-C and a reader that has enough (`| head`) end it without a word.
"""

import argparse
import asyncio
import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import partial
from time import sleep

import orjson

from aurora_bridge.bridge import EVENTS
from aurora_bridge.cli.arguments import Condition, condition, event_name, moment
from aurora_bridge.cli.command import Subparsers, add_command
from aurora_bridge.cli.output import put, tell
from aurora_bridge.cli.right_cluster import warning
from aurora_bridge.kafka.reader import Stored, read_topics
from aurora_bridge.outbox.inspect import inspect_spool
from aurora_bridge.outbox.rows import read
from aurora_bridge.settings import Settings
from aurora_bridge.webhook.event import structured

_GROUP = 500
"""Events of one transaction: short enough not to hold up the daemon's checkpoints."""
_LOOK_SECONDS = 0.2

_EXAMPLES = """\
  aurora-bridge tail                                     everything there is
  aurora-bridge tail --follow | jq -c .data              what comes, as it comes
  aurora-bridge tail --event lead_created --event project_created
  aurora-bridge tail --event dead_letter                 deliveries that carried no readable event
  aurora-bridge tail --since 2h                          also 90s, 15m, 1d, or 2026-11-23T17:24:05Z
  aurora-bridge tail --where status=signed --where subject=agreement/a-1
"""


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = add_command(
        subparsers,
        "tail",
        run,
        help="print events as JSON lines",
        description="Prints the events in Kafka, or in the embedded log where no Kafka is configured, as JSON lines. "
        "Records that are not events are skipped, and named on standard error. Exit 1 if not everything could be read.",
        examples=_EXAMPLES,
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    parser.add_argument(
        "--event", action="append", type=event_name, metavar="NAME", help="only events of this name; can be given again"
    )
    parser.add_argument(
        "--since",
        type=moment,
        default=0,
        metavar="TIME",
        help="only what was first received then or later: RFC 3339, or a duration before now (90s, 15m, 2h, 1d)",
    )
    parser.add_argument(
        "--where",
        action="append",
        type=condition,
        metavar="NAME=VALUE",
        help="only events with this attribute, or this id, subject or type; all of several must hold",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print events; return the exit code."""
    events, where = arguments.event or [], arguments.where or []
    try:
        if settings.embedded_log:
            _tail_log(settings, events, where, follow=arguments.follow, since_ms=arguments.since)
        else:
            asyncio.run(
                read_topics(
                    settings.kafka,
                    events or EVENTS,
                    partial(_show_stored, where, arguments.since),
                    tell=tell,
                    follow=arguments.follow,
                    since_ms=arguments.since,
                    check_cluster=warning(settings),
                )
            )
    except KeyboardInterrupt:
        """The usual end of `--follow`."""
    return os.EX_OK


def _tail_log(
    settings: Settings, events: Sequence[str], where: Sequence[Condition], *, follow: bool, since_ms: int
) -> None:
    with closing(inspect_spool(settings.state_dir)) as db:
        seq = 0
        while True:
            records = read(db, seq, events, _GROUP)
            if records:
                values = (structured(record.value, record.headers) for record in records if record.time_ms >= since_ms)
                _show(where, values)
                seq = records[-1].seq or seq
            elif follow:
                sleep(_LOOK_SECONDS)
            else:
                return


def _show_stored(where: Sequence[Condition], since_ms: int, records: Iterable[Stored]) -> None:
    """Show those that were received since then: what waited in a spool has a later timestamp than its `time`."""
    _show(where, (record.event for record in records if record.identity.time_us >= since_ms * 1000))


def _show(where: Sequence[Condition], events: Iterable[bytes]) -> None:
    put(*(event for event in events if not where or _holds(where, event)))


def _holds(where: Sequence[Condition], value: bytes) -> bool:
    event = orjson.loads(value)
    return all(condition.holds(event) for condition in where)
