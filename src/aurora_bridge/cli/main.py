"""`aurora-bridge`: finds the command and runs it.

Only the module of the command that is asked for is imported: with all of them, the daemon would start later, and be
larger.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from aurora_bridge.build import BUILD
from aurora_bridge.cli.command import EX_FAILED, Subparsers, add_config
from aurora_bridge.cli.output import OutputError, ReaderGoneError, put, tell

COMMANDS = (
    *("serve", "config", "templates", "subscriptions", "topics", "tail", "find", "replay", "dead-letters"),
    *("quarantine", "resend", "drain", "cluster", "simulate", "demo", "completion"),
)
"""In the order of the help. Each has a module that is named like it."""
_EPILOG = """exit codes: 0 done, 1 failed while running, 2 wrong usage, 78 a setting is wrong (the message names it)"""


class _Parser(argparse.ArgumentParser):
    """Prints help and version the way commands print their results."""

    usage_exit = 2
    """Exit code for wrong usage."""
    renamed: Mapping[str, str] = MappingProxyType({"set-aside": "quarantine"})
    """Today's name of a command by its former name."""

    def error(self, message: str) -> NoReturn:
        """Report wrong usage, and exit with the command's code for it."""
        for former, name in self.renamed.items():
            if f"invalid choice: {former!r}" in message:
                self.exit(self.usage_exit, f"{self.prog}: `{former}` is now `{name}`: run `{self.prog} {name}`.\n")
        self.print_usage(sys.stderr)
        self.exit(self.usage_exit, f"{self.prog}: error: {message}\n")

    def _print_message(self, message: str, file: object = None) -> None:
        (put if file is sys.stdout else tell)(message.removesuffix("\n"))


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; return its exit code."""
    if sys.stderr is None:  # it was closed before the start
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
    try:
        return _run(arguments)
    except ReaderGoneError:
        return os.EX_OK
    except OutputError as error:
        tell(error)
        return EX_FAILED


def _run(arguments: list[str] | None) -> int:
    parser = make_parser(_commands_in(sys.argv[1:] if arguments is None else arguments))
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.print_usage(sys.stderr)
        tell(f"{parser.prog}: error: unrecognized arguments: {' '.join(unknown)}")
        return int(getattr(parsed, "usage_exit", _Parser.usage_exit))
    return int(parsed.run(parsed))


def _commands_in(words: Sequence[str]) -> Sequence[str]:
    """Return the command of a command line, or all of them if it does not begin with one."""
    after_config = words[2:] if words[:1] == ["--config"] else words
    return after_config[:1] if after_config and after_config[0] in COMMANDS else COMMANDS


def make_parser(commands: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser of the whole command line, or of some of its commands."""
    parser: argparse.ArgumentParser = _Parser(
        prog="aurora-bridge",
        description="Takes the webhooks of Aurora Solar and publishes each as a canonical event to Kafka.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('aurora-bridge')} ({BUILD})")
    add_config(parser, default=None)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in commands:
        add: Callable[[Subparsers], None] = import_module(f"{__package__}.{command.replace('-', '_')}").add
        add(subparsers)
    return parser
