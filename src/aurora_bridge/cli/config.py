"""`aurora-bridge config`: checks the settings and prints the effective ones, without secrets.

The output is one JSON object (TOML cannot express "not set") with a member for each section of the settings file, and
with `sources` in the same form, which says where each value came from. Exit 0 if the daemon would start with these
settings, 78 (EX_CONFIG) if not; then standard error has a line for each problem. `settings.load` reads the settings.

`aurora-bridge config -` checks the settings of another machine, such as the ones that Helm renders: neither the files
that they name nor the environment here is read.
"""

import argparse
import os
import re
import sys
from pathlib import Path
from textwrap import dedent
from typing import Final

import orjson

from aurora_bridge.cli.command import Subparsers, add_command
from aurora_bridge.cli.output import put, tell
from aurora_bridge.metrics import Metrics
from aurora_bridge.routing import make_routing, secret_names, shown_template
from aurora_bridge.secret_files import FilesElsewhere, SecretFiles
from aurora_bridge.settings import Settings, redacted
from aurora_bridge.settings.load import FromElsewhere, read_sources
from aurora_bridge.settings.origins import origins, overridden
from aurora_bridge.web.server import tls_context

_EXAMPLES = """\
  aurora-bridge config                              the settings in this environment
  aurora-bridge config --config aurora-bridge.toml  the same with a settings file
  aurora-bridge config | jq .sources.kafka          where the values came from
  aurora-bridge config > /dev/null && echo fine     only check them
  helm template ... | aurora-bridge config -        what the chart renders from your values
"""

_IN_MANIFEST: Final = re.compile(r"^( *)aurora-bridge\.toml: \|\n((?:\1 +.*\n|\n)*)", re.MULTILINE)
"""The settings file in the chart's ConfigMap, as a literal block of YAML."""


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = add_command(
        subparsers,
        "config",
        run,
        help="check the settings and print the effective ones",
        description="Checks the settings and prints the effective ones as JSON, without secrets, and their origins.",
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "config",
        nargs="?",
        type=_given,
        default=argparse.SUPPRESS,
        metavar="FILE",
        help="the same as --config FILE; - is standard input: TOML or the output of `helm template`, for another "
        "machine, so that neither the secret files it names nor the environment here is read",
    )


def _given(text: str) -> Path | FromElsewhere | str:
    if text is argparse.SUPPRESS:  # argparse before 3.13 also converts defaults
        return text
    if text != "-":
        return Path(text)
    given = sys.stdin.read()
    manifest = _IN_MANIFEST.search(given)
    return FromElsewhere(Path("standard input"), dedent(manifest[2]) if manifest else given)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the effective settings and return the exit code."""
    metrics, sources = Metrics(), read_sources(arguments.config)
    files = FilesElsewhere(metrics) if isinstance(arguments.config, FromElsewhere) else SecretFiles(metrics)
    warnings = make_routing(settings, files, metrics).warnings
    tls_context(settings.ingress, files)
    for warning in (*overridden(sources), *warnings):
        tell(f"warning: {warning}")
    shown = redacted(settings)
    for route, table in zip(settings.routes, shown["routes"], strict=True):
        table["template"] = shown_template(route, settings)
    for table in shown["subscriptions"]:
        table["url_template"] = table["url_template"] and secret_names(settings).redact_target(
            table["url_template"].encode()
        )
    put(orjson.dumps(shown | {"sources": origins(sources)}, option=orjson.OPT_INDENT_2))
    return os.EX_OK
