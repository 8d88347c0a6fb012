"""What all commands share: settings from `--config` and the environment, examples in the help, exit codes."""

import argparse
import logging
import os
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

from aurora_bridge import logs
from aurora_bridge.cli.output import tell
from aurora_bridge.control.client import ControlError
from aurora_bridge.kafka.topic_consumer import ReadError
from aurora_bridge.os_errors import explain, user
from aurora_bridge.settings import Settings, SettingsError, load
from aurora_bridge.settings.error_messages import both_names
from aurora_bridge.state.directory import StateError

EX_FAILED = 1
Run = Callable[[argparse.Namespace, Settings], int]
"""Carries out a command and returns its exit code."""
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - its type has no public name


def add_command(  # noqa: PLR0913 - argparse needs them
    subparsers: Subparsers,
    name: str,
    run: Run,
    *,
    help: str,  # noqa: A002 - argparse's own name
    description: str,
    examples: str,
) -> argparse.ArgumentParser:
    """Register a command that runs with the effective settings; return its parser, to add arguments."""
    parser = subparsers.add_parser(
        name,
        help=help,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config(parser)
    parser.set_defaults(run=partial(_run, run))
    return parser


def add_group(
    subparsers: Subparsers,
    name: str,
    *,
    help: str,  # noqa: A002 - as above
    description: str,
    examples: str,
) -> Subparsers:
    """Register a command with subcommands; return where to register these."""
    parser = subparsers.add_parser(
        name,
        help=help,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config(parser)
    return parser.add_subparsers(metavar="COMMAND", required=True)


def add_config(parser: argparse.ArgumentParser, default: str | None = argparse.SUPPRESS) -> None:
    """Add `--config` to a parser; by default, if omitted, one given before the command still applies."""
    words = "settings file (TOML); default: the one AURORA_BRIDGE_CONFIG names"
    parser.add_argument("--config", type=Path, default=default, metavar="FILE", help=words)


def need_kafka(settings: Settings, name: str) -> None:
    """Raise `SettingsError` if Kafka is not configured, which the command `name` needs."""
    if settings.embedded_log:
        brokers = both_names("kafka.bootstrap_servers")
        raise SettingsError(
            [f"{brokers}: not set, and {name} needs Kafka. Set it to your brokers, as in kafka-1:9092."]
        )


def _run(run: Run, arguments: argparse.Namespace) -> int:
    try:
        settings = load(arguments.config)
        logs.configure("error", settings.log.format)  # `serve` says more
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a command itself reports what failed, once
        return run(arguments, settings)
    except SettingsError as error:
        tell(error)
        return os.EX_CONFIG
    except (StateError, ReadError, ControlError) as error:
        tell(error)
    except sqlite3.Error as error:
        tell(f"A file of the state directory cannot be used by the user {user()}: {error}. Is its volume full?")
    except OSError as error:
        tell(explain(error))
    except KeyboardInterrupt:
        """Say nothing: whoever pressed Ctrl-C knows."""
    return EX_FAILED
