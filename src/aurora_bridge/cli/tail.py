"""`aurora-bridge tail`: prints events as JSON lines, from Kafka or the embedded log.

From Kafka if it is configured (`kafka.topic_consumer`), else from the embedded log, which is read in short transactions
while the daemon may be running. Standard output gets only events, one CloudEvent per line, so that
`aurora-bridge tail | jq .data` works. Ctrl-C, and a reader that stops (`| head`), end it silently.
"""

import argparse
import asyncio
import itertools
import os
from collections.abc import Iterable, Sequence
from functools import partial
from heapq import heappush, heappushpop
from time import sleep

import orjson

from aurora_bridge.cli.arguments import Condition, condition, count, event_name, moment
from aurora_bridge.cli.check_cluster import warning
from aurora_bridge.cli.command import Subparsers, add_command
from aurora_bridge.cli.output import put, tell
from aurora_bridge.kafka.topic_consumer import ReadError, Stored, read_topics
from aurora_bridge.outbox.inspect import inspect_spool
from aurora_bridge.outbox.rows import read
from aurora_bridge.settings import Settings
from aurora_bridge.webhook.catalogue import EVENTS
from aurora_bridge.webhook.event import structured

_GROUP = 500
"""Events read in one transaction: short enough not to hold up the daemon's checkpoints."""
_POLL_SECONDS = 0.2

_EXAMPLES = """\
  aurora-bridge tail                                     all events
  aurora-bridge tail -n 10                               the last ten
  aurora-bridge tail --follow -n 0 | jq -c .data         new events as they arrive
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
        description="Prints the events in Kafka, or in the embedded log if Kafka is not configured, as JSON lines. "
        "Records that are not events are skipped, and named on standard error. Exit 1 if not everything could be read.",
        examples=_EXAMPLES,
    )
    parser.add_argument("-f", "--follow", action="store_true", help="keep printing new events, until Ctrl-C")
    parser.add_argument(
        "-n",
        "--lines",
        type=count,
        metavar="N",
        help="only the last N existing events; reads all of them, so narrow it with --event and --since",
    )
    parser.add_argument(
        "--event", action="append", type=event_name, metavar="NAME", help="only events of this name; can be repeated"
    )
    parser.add_argument(
        "--since",
        type=moment,
        default=0,
        metavar="TIME",
        help="only events first received then or later: RFC 3339, or a duration before now (90s, 15m, 2h, 1d)",
    )
    parser.add_argument(
        "--where",
        action="append",
        type=condition,
        metavar="NAME=VALUE",
        help="only events with this attribute, id, subject or type; can be repeated, and all must hold",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print events; return the exit code."""
    events, printer = arguments.event or [], _Printer(arguments.where or [], arguments.lines)
    try:
        if settings.embedded_log:
            _tail_log(settings, events, printer, follow=arguments.follow, since_ms=arguments.since)
        else:
            asyncio.run(
                read_topics(
                    settings.kafka,
                    events or EVENTS,
                    partial(_show_stored, printer, arguments.since),
                    tell=tell,
                    follow=arguments.follow,
                    since_ms=arguments.since,
                    check_cluster=warning(settings),
                    caught_up=printer.release,
                )
            )
    except KeyboardInterrupt:
        """The usual end of `--follow`."""
    except ReadError:
        printer.release()
        raise
    return os.EX_OK


def _tail_log(settings: Settings, events: Sequence[str], printer: "_Printer", *, follow: bool, since_ms: int) -> None:
    with inspect_spool(settings.state_dir) as db:
        seq = 0
        while True:
            records = read(db, seq, events, _GROUP)
            if records:
                recent = (record for record in records if record.time_ms >= since_ms)
                printer.show((record.seq or 0, structured(record.value, record.headers)) for record in recent)
                seq = records[-1].seq or seq
                continue
            printer.release()
            if not follow:
                return
            sleep(_POLL_SECONDS)


async def _show_stored(printer: "_Printer", since_ms: int, records: Iterable[Stored]) -> None:
    """Show the events received since then by their `time`: a record that waited in a spool has a later timestamp."""
    times = ((record.identity.time_us, record.event) for record in records)
    printer.show((time_us, event) for time_us, event in times if time_us >= since_ms * 1000)


class _Printer:
    """Prints the events that meet the conditions. With `last`, keeps only that many until `release`."""

    def __init__(self, where: Sequence[Condition], last: int | None) -> None:
        self._where = where
        self._last = last
        self._held: list[tuple[int, int, bytes]] = []
        """A heap of sort key, arrival number and event."""
        self._numbers = itertools.count()

    def show(self, events: Iterable[tuple[int, bytes]]) -> None:
        """Print or hold events, each of which comes with its sort key."""
        wanted = ((place, event) for place, event in events if self._holds(event))
        if self._last is None:
            put(*(event for _, event in wanted))
            return
        for place, event in wanted:
            add = heappush if len(self._held) < self._last else heappushpop
            add(self._held, (place, next(self._numbers), event))

    def release(self) -> None:
        """Print the held events, and print later ones at once."""
        if self._held:
            put(*(event for _, _, event in sorted(self._held)))
        self._held, self._last = [], None

    def _holds(self, value: bytes) -> bool:
        if not self._where:
            return True
        event = orjson.loads(value)
        return all(condition.holds(event) for condition in self._where)
