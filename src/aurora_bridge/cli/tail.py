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

from aurora_bridge import logs
from aurora_bridge.bridge import EVENTS
from aurora_bridge.kafka.reader import ReadError, read_topics
from aurora_bridge.settings import Settings, SettingsError, load
from aurora_bridge.state.database import open_beside
from aurora_bridge.state.directory import StateError
from aurora_bridge.state.spool import FILE, read_from
from aurora_bridge.webhook.catalogue import LEGACY_NAMES
from aurora_bridge.webhook.text import canonical_name

_GROUP = 500
"""Events of one transaction: short enough not to hold up the daemon's checkpoints."""
_LOOK_SECONDS = 0.2
_MOST_SHOWN = 3

_EXAMPLES = """examples:
  aurora-bridge tail                                     everything there is
  aurora-bridge tail --follow | jq -c .data              what comes, as it comes
  aurora-bridge tail --event lead_created --event project_created
  aurora-bridge tail --event dead_letter                 deliveries that carried no readable event
"""


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "tail",
        help="print events as JSON lines",
        description="Prints the events in Kafka, or in the embedded log where no Kafka is configured, as JSON lines.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings file (TOML); default: the one AURORA_BRIDGE_CONFIG names"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    parser.add_argument(
        "--event", action="append", type=_event, metavar="NAME", help="only events of this name; can be given again"
    )
    parser.set_defaults(run=run)


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


def run(arguments: argparse.Namespace) -> int:
    """Print events; return the exit code."""
    try:
        settings = load(arguments.config)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return os.EX_CONFIG
    logs.configure("error", settings.log.format)
    try:
        _tail(settings, arguments.event or [], follow=arguments.follow)
    except KeyboardInterrupt:
        """The usual end of `--follow`."""
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try the pipe again at its end
    except (StateError, ReadError) as error:
        print(error, file=sys.stderr)
        return 1
    return os.EX_OK


def _tail(settings: Settings, events: Sequence[str], *, follow: bool) -> None:
    if settings.embedded_log:
        _tail_log(settings.state_dir, events, follow=follow)
    else:
        asyncio.run(read_topics(settings.kafka, events or EVENTS, _show, follow=follow))


def _tail_log(directory: Path, events: Sequence[str], *, follow: bool) -> None:
    path = directory / FILE
    if not path.exists():
        msg = (
            f"{directory} holds no events: no daemon ran with this state directory. Set AURORA_BRIDGE_STATE_DIR to "
            "that of your daemon (relative paths start at the working directory), or start one: aurora-bridge serve."
        )
        raise StateError(msg)
    with closing(open_beside(path)) as db:
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
