"""`aurora-bridge tail`: prints events as JSON lines, from where they are kept.

That is Kafka where it is configured (`kafka.reader`), else the embedded log, which is read beside a living daemon in
short transactions. Standard output gets the events and nothing else, one CloudEvent a line, so that
`aurora-bridge tail | jq .data` works; Ctrl-C and a reader that has enough (`| head`) end it without a word.
"""

import argparse
import asyncio
import difflib
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import sleep

from aurora_bridge.bridge import EVENTS
from aurora_bridge.cli.command import Subparsers, add_command
from aurora_bridge.kafka.reader import read_topics
from aurora_bridge.settings import Settings
from aurora_bridge.state.look import look_into_spool, read_from
from aurora_bridge.webhook.catalogue import LEGACY_NAMES
from aurora_bridge.webhook.text import canonical_name

_GROUP = 500
"""Events of one transaction: short enough not to hold up the daemon's checkpoints."""
_LOOK_SECONDS = 0.2
_MOST_SHOWN = 3

_EXAMPLES = """
  aurora-bridge tail                                     everything there is
  aurora-bridge tail --follow | jq -c .data              what comes, as it comes
  aurora-bridge tail --event lead_created --event project_created
  aurora-bridge tail --event dead_letter                 deliveries that carried no readable event
"""


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = add_command(
        subparsers,
        "tail",
        run,
        help="print events as JSON lines",
        description="Prints the events in Kafka, or in the embedded log where no Kafka is configured, as JSON lines.",
        examples=_EXAMPLES,
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    parser.add_argument(
        "--event", action="append", type=_event, metavar="NAME", help="only events of this name; can be given again"
    )


def _event(text: str) -> str:
    """Return today's name of an event. Raises `ArgumentTypeError` with the names that were perhaps meant."""
    name = canonical_name(text)
    name = LEGACY_NAMES.get(name, name)
    if name in EVENTS:
        return name
    similar = [known for known in EVENTS if name in known] or difflib.get_close_matches(name, EVENTS)
    meant = f" Did you mean {' or '.join(similar[:_MOST_SHOWN])}?" if similar else ""
    msg = f"no event is called {text!r}.{meant} What Aurora sends and the bridge does not know is in unrecognized."
    raise argparse.ArgumentTypeError(msg)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print events; return the exit code."""
    try:
        _tail(settings, arguments.event or [], follow=arguments.follow)
    except KeyboardInterrupt:
        """The usual end of `--follow`."""
    return os.EX_OK


def _tail(settings: Settings, events: Sequence[str], *, follow: bool) -> None:
    if settings.embedded_log:
        _tail_log(settings.state_dir, events, follow=follow)
    else:
        asyncio.run(read_topics(settings.kafka, events or EVENTS, _show, follow=follow))


def _tail_log(directory: Path, events: Sequence[str], *, follow: bool) -> None:
    with closing(look_into_spool(directory)) as db:
        seq = 0
        while True:
            records = read_from(db, seq, events, _GROUP)
            if records:
                _show([record.value for record in records])
                seq = records[-1].seq or seq
            elif follow:
                sleep(_LOOK_SECONDS)
            else:
                return


def _show(values: Sequence[bytes]) -> None:
    sys.stdout.buffer.writelines(value + b"\n" for value in values)
    sys.stdout.buffer.flush()
