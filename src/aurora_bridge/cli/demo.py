"""`aurora-bridge demo`: plays a week of webhooks in two minutes, with a day's outage, and checks that no event is lost.

`demo_week` plays it, with the daemon and `tail` as separate processes (`demo_programs`) and the simulator in this one.
`demo_check` compares what happened at Aurora with what is stored; `demo_screen` shows both.
"""

import argparse
import asyncio
import os
import signal
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import uvloop

from aurora_bridge.cli.arguments import patience
from aurora_bridge.cli.command import EX_FAILED, Subparsers
from aurora_bridge.cli.demo_programs import ProgramError, Programs
from aurora_bridge.cli.demo_screen import Screen
from aurora_bridge.cli.demo_week import play
from aurora_bridge.cli.output import tell
from aurora_bridge.os_errors import explain

_SECONDS: Final = 120.0
_EXAMPLES = """\
  aurora-bridge demo                            a week in two minutes; needs only this package
  aurora-bridge demo --kafka localhost:9092     with Kafka: creates the topics aurora.*, and writes to them
  aurora-bridge demo --seconds 10 | tail -n 20  only the summary, quickly
"""


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "demo",
        help="play a week of webhooks, with an outage, in two minutes",
        description="Starts a daemon, a simulated Aurora and `tail`, plays a week with a day's outage, and checks that "
        "each event is stored exactly once: exit 1 if not. It has its own state and ports. It uses no settings but "
        "AURORA_BRIDGE_KAFKA__... in the environment, and these only with --kafka.",
        epilog=f"examples:\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--kafka", metavar="BROKERS", help="publish to this Kafka, as in localhost:9092; default: the embedded log"
    )
    parser.add_argument(
        "--seconds", type=patience, default=_SECONDS, metavar="N", help="duration of the week; default 120"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="directory for state and logs, which is kept; default: a temporary one"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Play; return the exit code."""
    try:
        with ExitStack() as stack:
            if arguments.keep is None:
                folder = Path(stack.enter_context(TemporaryDirectory(prefix="aurora-bridge-demo-")))
            else:
                folder = arguments.keep.absolute()
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
            screen = stack.enter_context(closing(Screen()))
            loop = runner.get_loop()
            playing = loop.create_task(play(Programs(folder, arguments.kafka), arguments.seconds, screen))
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, playing.cancel)
            sums = loop.run_until_complete(playing)
    except asyncio.CancelledError:
        tell("Stopped." if arguments.keep else "Stopped, and left nothing behind.")
        return 128 + signal.SIGINT
    except ProgramError as error:
        tell(error)
        return EX_FAILED
    except OSError as error:
        tell(explain(error))
        return EX_FAILED
    return EX_FAILED if sums.problems() else os.EX_OK
