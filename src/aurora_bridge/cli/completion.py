"""`aurora-bridge completion`: prints a completion script for commands, options and event names.

shtab generates it from the parser.
"""

import argparse
import os

import shtab

from aurora_bridge.cli.command import Subparsers
from aurora_bridge.cli.main import make_parser
from aurora_bridge.cli.output import put
from aurora_bridge.webhook.catalogue import EVENTS

_SHELLS = ("bash", "zsh", "fish")
_EXAMPLES = """\
  source <(aurora-bridge completion bash)          in ~/.bashrc
  aurora-bridge completion zsh > "${fpath[1]}/_aurora-bridge"
  aurora-bridge completion fish > ~/.config/fish/completions/aurora-bridge.fish
"""


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    own = subparsers.add_parser(
        "completion",
        help="print a completion script for your shell",
        description="Prints a script that makes a shell complete commands, options and event names.",
        epilog=f"examples:\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument("shell", choices=_SHELLS, help="your shell")
    own.set_defaults(run=_print)


def _print(arguments: argparse.Namespace) -> int:
    parser = make_parser()
    _complete_values(parser)
    put(shtab.complete(parser, shell=arguments.shell))
    return os.EX_OK


def _complete_values(parser: argparse.ArgumentParser) -> None:
    """Tell shtab which arguments are event names, files or directories."""
    for action in parser._actions:  # noqa: SLF001 - there is no public way; shtab does the same
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - likewise
            for below in action.choices.values():
                _complete_values(below)
        elif action.dest in {"event", "names"}:
            action.choices = EVENTS
        elif action.dest in {"config", "file", "init", "state_dir"}:
            action.complete = shtab.DIRECTORY if action.dest == "state_dir" else shtab.FILE  # type: ignore[attr-defined]
