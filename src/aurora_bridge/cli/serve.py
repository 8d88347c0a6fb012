"""`aurora-bridge serve`: the daemon."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

import uvloop

from aurora_bridge import daemon, logs
from aurora_bridge.settings import Settings, SettingsError, load
from aurora_bridge.state.directory import StateError
from aurora_bridge.web.server import ListenError

EX_CONFIG = 78

_EXAMPLE = "agreement_status_changed?project_id=p-1&agreement_id=a-1&status=signed"


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser("serve", help="take webhooks until SIGTERM", description=__doc__)
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve; return the exit code."""
    try:
        settings = load(arguments.config)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    os.umask(0o077)  # the state directory holds customers' data
    logs.configure(settings.log.level, settings.log.format)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(daemon.run(settings, lambda url, admin: _announce(settings, url, admin)))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    except (StateError, ListenError, daemon.Failure) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _announce(settings: Settings, url: str, admin: str) -> None:
    """Tell a person at a terminal where everything is, and what to try."""
    lines = [f"webhooks  {url}", f"admin     {admin}  (/readyz, /metrics)"]
    if settings.embedded_log and settings.auth.tokens_file is None:
        lines += [
            "",
            "send one:",
            f"    curl '{url}/{_EXAMPLE}'",
            "see its event:",
            f"    AURORA_BRIDGE_STATE_DIR={settings.state_dir} {sys.argv[0]} tail",
        ]
    print("\n".join(lines), flush=True)
