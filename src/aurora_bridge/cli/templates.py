"""`aurora-bridge templates`: prints the URL templates to paste into Aurora, one subscription per line.

Standard output gets event and template, separated by a tab, first in the order of the settings file, then of the
catalogue. A secret in a template is shown as asterisks: put it back when you paste. An event of which only the name is
known has no line.
"""

import argparse
import os

from aurora_bridge.cli.arguments import no_event
from aurora_bridge.cli.command import EX_FAILED, Subparsers, add_command
from aurora_bridge.cli.output import put, tell
from aurora_bridge.settings import Settings
from aurora_bridge.suggested_templates import to_paste
from aurora_bridge.webhook.catalogue import EVENTS, todays_name

_EXAMPLES = """\
  aurora-bridge templates                                for every event
  aurora-bridge templates --event lead_created           for one; takes legacy names, in any case
  AURORA_BRIDGE_INGRESS__PUBLIC_URL=https://hooks.example.com aurora-bridge templates
"""


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = add_command(
        subparsers,
        "templates",
        run,
        help="print the URL template to paste into Aurora for every event",
        description="Prints event and URL template, one subscription per line, from the routes and "
        "INGRESS__PUBLIC_URL.",
        examples=_EXAMPLES,
    )
    parser.add_argument("--event", metavar="NAME", help="only this event")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the templates; return the exit code."""
    found = list(to_paste(settings))
    if arguments.event is not None:
        event, names = todays_name(arguments.event), sorted({*EVENTS, *(paste.event for paste in found)})
        found = [paste for paste in found if paste.event == event]
        if event not in names:
            tell(no_event(arguments.event, names))
        elif not found:
            tell(
                f"No route receives {event}, or only its name is known. For the default route, use Aurora's own "
                "suggestion with your host."
            )
    if not found:
        return EX_FAILED
    put(*(f"{paste.event}\t{paste.url}" for paste in found))
    if not settings.ingress.public_url:
        tell("HOST is a placeholder: set AURORA_BRIDGE_INGRESS__PUBLIC_URL to the URL that Aurora reaches.")
    return os.EX_OK
