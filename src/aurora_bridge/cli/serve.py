"""`aurora-bridge serve`: the daemon."""

import argparse
import asyncio
import logging
import os
import sys
from contextlib import suppress
from importlib.metadata import version

import uvloop

from aurora_bridge import daemon, logs
from aurora_bridge.build import BUILD
from aurora_bridge.cli.command import EX_FAILED, Subparsers, add_command
from aurora_bridge.cli.output import OutputError, put, tell
from aurora_bridge.logs import fields
from aurora_bridge.os_errors import explain
from aurora_bridge.settings import Settings, SettingsError
from aurora_bridge.state.directory import StateError
from aurora_bridge.tasks import Failure
from aurora_bridge.web.server import ListenError

log = logging.getLogger(__name__)

_EXAMPLE = "agreement_status_changed?project_id=p-1&agreement_id=a-1&status=signed"
_EXAMPLES = """\
  aurora-bridge serve                              on loopback, with the embedded log
  aurora-bridge serve --config aurora-bridge.toml  with a settings file
"""


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    add_command(
        subparsers,
        "serve",
        run,
        help="receive webhooks until SIGTERM",
        description="Receives webhooks and publishes their events, until SIGTERM or Ctrl-C.",
        examples=_EXAMPLES,
    )


def run(_arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve; return the exit code."""
    os.umask(0o077)  # the state directory holds customer data
    logs.configure(settings.log.level, settings.log.format)
    brokers = settings.kafka.bootstrap_servers or "none, events stay in the embedded log"
    log.info("starting", extra=fields(version=version("aurora-bridge"), build=BUILD, pid=os.getpid(), brokers=brokers))
    code, reason = EX_FAILED, "an internal error"
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            reason = runner.run(daemon.run(settings, lambda url, admin: _on_ready(settings, url, admin)))
            code = os.EX_OK
    except (ListenError, StateError, Failure) as error:
        reason = str(error)
    except SettingsError as error:
        tell(error)
        code, reason = os.EX_CONFIG, "a setting is wrong, see above"
    except OSError as error:
        reason = explain(error)
    finally:
        log.log(logging.ERROR if code else logging.INFO, "stopped", extra=fields(reason=reason))
    return code


def _on_ready(settings: Settings, url: str, admin: str) -> None:
    """Print the URLs, and what to try first."""
    lines = [f"webhooks  {url}", f"admin     {admin}  (/readyz, /metrics)"]
    anyone = settings.default_route and settings.auth.tokens_file is None and settings.auth.basic_file is None
    if settings.embedded_log and anyone and not settings.ingress.proxy_protocol:
        lines += [
            "",
            "send one:",
            f"    curl '{url}/{_EXAMPLE}'",
            "see its event:",
            f"    AURORA_BRIDGE_STATE_DIR={settings.state_dir} {sys.argv[0]} tail",
        ]
    with suppress(OutputError):  # no reason not to receive webhooks
        put(*lines)
