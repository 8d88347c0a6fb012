"""`aurora-bridge subscriptions`: Aurora's subscriptions as a file: export, plan, apply, reenable.

`aurora` compares and tries them, `subscriptions_output` words the results.
"""

import argparse
import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from aurora_bridge.aurora.apply import carry_out
from aurora_bridge.aurora.checks import Finding, check, examine
from aurora_bridge.aurora.client import AuroraClient, connected
from aurora_bridge.aurora.desired import WantedSubscriptions, wanted_of
from aurora_bridge.aurora.diff import Plan, plan
from aurora_bridge.aurora.errors import AuroraError
from aurora_bridge.aurora.export import exported
from aurora_bridge.aurora.matching import Redact
from aurora_bridge.aurora.receiver import Receiver
from aurora_bridge.aurora.subscription import Subscription
from aurora_bridge.cli.command import EX_FAILED, Subparsers, add_command, add_group
from aurora_bridge.cli.confirm import confirmed, put_before_changing
from aurora_bridge.cli.output import put, tell
from aurora_bridge.cli.subscriptions_output import (
    change_in_words,
    findings_in_words,
    for_terminal,
    outcome_in_words,
    plan_in_words,
)
from aurora_bridge.metrics import Metrics
from aurora_bridge.routing import make_routing, secret_names
from aurora_bridge.secret_files import SecretFiles
from aurora_bridge.settings import Settings, SettingsError
from aurora_bridge.settings.error_messages import both_names
from aurora_bridge.settings.load import read_sources, settings_of
from aurora_bridge.web.formatting import counted
from aurora_bridge.webhook.catalogue import todays_name

EX_CHANGES: Final = 2
"""Of `plan`: there is something to apply, as with terraform's `-detailed-exitcode`."""
_EXAMPLES = """\
  aurora-bridge subscriptions export > subscriptions.toml    what Aurora has, as a file
  aurora-bridge subscriptions plan --file subscriptions.toml
  aurora-bridge subscriptions apply --file subscriptions.toml
  aurora-bridge subscriptions reenable agreement_status_changed
"""
_EXPORT_EXAMPLES = """\
  aurora-bridge subscriptions export > subscriptions.toml
"""
_PLAN_EXAMPLES = """\
  aurora-bridge subscriptions plan                                 the tables of the settings file
  aurora-bridge subscriptions plan --file subscriptions.toml
  aurora-bridge subscriptions plan --delete 5f0c0c1e-7f0c-4b86     with the deletion of one that no table wants
"""
_APPLY_EXAMPLES = """\
  aurora-bridge subscriptions apply
  aurora-bridge subscriptions apply --file subscriptions.toml --yes    in a pipeline
  aurora-bridge subscriptions apply --resend-credentials               after a secret was changed
"""
_REENABLE_EXAMPLES = """\
  aurora-bridge subscriptions reenable agreement_status_changed
  aurora-bridge subscriptions reenable 5f0c0c1e-7f0c-4b86 --yes
"""


def add(subparsers: Subparsers) -> None:
    """Register the command and those below it."""
    below = add_group(
        subparsers,
        "subscriptions",
        help="Aurora's subscriptions as a file: export, plan, apply, reenable",
        description="Compares the subscriptions that Aurora has with the [[subscriptions]] of a file, and makes them "
        "so. Needs AURORA__API_TOKEN_FILE, and AURORA__TENANT_ID or AURORA__PARTNER_APPLICATION_ID.",
        examples=_EXAMPLES,
    )
    add_command(
        below,
        "export",
        _calling(_export),
        help="print what Aurora has as [[subscriptions]]",
        description="Prints the subscriptions that Aurora has as [[subscriptions]] in TOML. A plan of that file is "
        "empty. Secrets are not printed.",
        examples=_EXPORT_EXAMPLES,
    )
    planning = add_command(
        below,
        "plan",
        _calling(_plan),
        help="print what would change in Aurora, and what would go wrong",
        description="Prints what `apply` would change, and tries each template on the daemon's own routes. Exit codes: "
        "0 nothing to change, 1 an error, 2 something to change, 64 wrong usage.",
        examples=_PLAN_EXAMPLES,
    )
    planning.usage_exit = os.EX_USAGE  # type: ignore[attr-defined]  # of `main`'s parser: 2 is taken
    planning.set_defaults(usage_exit=os.EX_USAGE)  # for what the parser of the whole command line finds wrong
    applying = add_command(
        below,
        "apply",
        _calling(_apply),
        help="make Aurora's subscriptions what the file says",
        description="Prints the plan, asks, and carries it out. Nothing is deleted that is not named by --delete, and "
        "nothing switched on again. After a failure, run it again: it goes on with what is left.",
        examples=_APPLY_EXAMPLES,
    )
    for one in (planning, applying):
        words = "file with [[subscriptions]] and nothing else; default: those of the settings file"
        one.add_argument("--file", type=Path, metavar="FILE", help=words)
        words = "delete the subscription of this id; may be given several times"
        one.add_argument("--delete", action="append", default=[], metavar="ID", help=words)
        words = "send every secret again, since Aurora does not show which it has"
        one.add_argument("--resend-credentials", action="store_true", help=words)
    reenabling = add_command(
        below,
        "reenable",
        _calling(_reenable),
        help="switch subscriptions on again",
        description="Switches subscriptions on that are off, as Aurora leaves them after 48 h of failures.",
        examples=_REENABLE_EXAMPLES,
    )
    reenabling.add_argument("names", nargs="+", metavar="EVENT_OR_ID", help="event of subscriptions, or id of one")
    for one in (applying, reenabling):
        one.add_argument("--yes", action="store_true", help="do not ask")


class _Session(NamedTuple):
    """What the commands work with."""

    client: AuroraClient
    settings: Settings
    receiver: Receiver
    redact: Redact


_Command = Callable[[argparse.Namespace, _Session], Coroutine[None, None, int]]


def _calling(command: _Command) -> Callable[[argparse.Namespace, Settings], int]:
    """Return a command that calls Aurora's API in the form of one that takes only the settings."""

    async def run(arguments: argparse.Namespace, settings: Settings) -> int:
        metrics = Metrics()
        routing = make_routing(settings, SecretFiles(metrics), metrics)
        secrets = secret_names(settings)
        async with connected(settings, on_wait=_tell_wait) as client:
            try:
                return await command(
                    arguments,
                    _Session(
                        client,
                        settings,
                        Receiver(settings, routing.routes),
                        lambda url: secrets.redact_target(url.encode(errors="surrogateescape")),
                    ),
                )
            except AuroraError as error:
                tell(error)
                tell(error.remedy)
                return EX_FAILED

    def start(arguments: argparse.Namespace, settings: Settings) -> int:
        if settings.aurora.api_token_file is None:
            key, *owners = (
                both_names(f"aurora.{name}") for name in ("api_token_file", "tenant_id", "partner_application_id")
            )
            raise SettingsError(
                [f"{key}: not set, and this command needs Aurora's API. Set it, and {' or '.join(owners)}."]
            )
        return asyncio.run(run(arguments, settings))

    return start


async def _export(_arguments: argparse.Namespace, session: _Session) -> int:
    actual = await session.client.list()
    put(*exported(actual, session.settings, session.receiver, session.redact))
    tell(
        f"{counted(len(actual), 'subscription')} exported, without secrets. To send one that is not the route's, add "
        "token_file or basic_file."
    )
    return os.EX_OK


async def _plan(arguments: argparse.Namespace, session: _Session) -> int:
    planned, findings = await _planned(arguments, session)
    put(*for_terminal(plan_in_words(planned)))
    _tell_findings(findings)
    if any(finding.error for finding in findings):
        return EX_FAILED
    return EX_CHANGES if planned.changes else os.EX_OK


async def _apply(arguments: argparse.Namespace, session: _Session) -> int:
    planned, findings = await _planned(arguments, session)
    put_before_changing(for_terminal(plan_in_words(planned)))
    _tell_findings(findings)
    if any(finding.error for finding in findings):
        tell("Nothing was changed: correct the errors first.")
        return EX_FAILED
    if not planned.changes:
        return os.EX_OK
    if not (arguments.yes or confirmed(f"Make {counted(len(planned.changes), 'change')}?")):
        return EX_FAILED
    total = len(planned.changes)
    try:
        applied = await carry_out(
            session.client,
            planned.changes,
            lambda *progress: tell(*for_terminal([change_in_words(total, *progress)])),
        )
    except asyncio.CancelledError:  # Ctrl-C
        tell("Stopped. The change under way may have been made. Run it again for the others.")
        raise
    for line in outcome_in_words(applied):
        tell(line)
    if applied.failures:
        return EX_FAILED
    left = plan(planned.wanted, await session.client.list(), session.redact)
    if left.changes:
        tell("Aurora accepted the changes, but shows something else:")
        put(*for_terminal(plan_in_words(left)))
        return EX_FAILED
    return os.EX_OK


async def _planned(arguments: argparse.Namespace, session: _Session) -> tuple[Plan, Sequence[Finding]]:
    wanted = _wanted(arguments, session)
    actual = await session.client.list()
    for one in arguments.delete:
        if one not in {subscription.id for subscription in actual}:
            tell(f"--delete {one}: Aurora has no such subscription.")
    planned = plan(
        wanted.subscriptions,
        actual,
        session.redact,
        delete=arguments.delete,
        resend_credentials=arguments.resend_credentials,
    )
    return planned, check(planned, wanted.left_out, session.receiver)


def _wanted(arguments: argparse.Namespace, session: _Session) -> WantedSubscriptions:
    """Return what the tables want. Raises `SettingsError`."""
    file, tables = arguments.file, session.settings.subscriptions
    if file is not None:
        sources = read_sources(file, {})
        if others := sorted(sources.table.keys() - {"subscriptions"}):
            words = "expected [[subscriptions]] only. Pass a settings file with --config."
            raise SettingsError([f"--file: {file} has {', '.join(others)}; {words}"])
        tables = settings_of(sources, {}).subscriptions
    if not tables:
        export = "aurora-bridge subscriptions export > subscriptions.toml"
        words = f"Start with those that Aurora has: {export}. Pass that with --file, or append it to the settings file."
        raise SettingsError([f"No [[subscriptions]] to work with. {words}"])
    return wanted_of(tables, session.settings, session.receiver)


async def _reenable(arguments: argparse.Namespace, session: _Session) -> int:
    actual = await session.client.list()
    chosen: dict[str, Subscription] = {}
    missing = []
    for name in arguments.names:
        found = [one for one in actual if one.id == name or (one.event and todays_name(one.event) == todays_name(name))]
        chosen |= {one.id: one for one in found}
        missing += [] if found else [name]
    for name in missing:
        tell(f"{name}: Aurora has no subscription of this event or id. aurora-bridge subscriptions export lists them.")
    off = [one for one in chosen.values() if one.enabled is not True]
    states = {True: "on already", False: "off", None: "not shown by Aurora"}
    lines = (
        f"{one.id}  {one.event or 'unknown'}  {states[one.enabled]}  {session.redact(one.url_template or '')}"
        for one in chosen.values()
    )
    put_before_changing(for_terminal(lines))
    _tell_findings(examine(off, session.receiver))
    if missing:
        return EX_FAILED
    if not off:
        return os.EX_OK
    if not (arguments.yes or confirmed(f"Switch {counted(len(off), 'subscription')} on?")):
        return EX_FAILED
    for number, one in enumerate(off, 1):
        await session.client.update(one.id, {"enabled": True})
        tell(*for_terminal([f"[{number}/{len(off)}] {one.id} is on"]))
    return os.EX_OK


def _tell_findings(findings: Sequence[Finding]) -> None:
    for line in for_terminal(findings_in_words(findings)):
        tell(line)


def _tell_wait(seconds: float) -> None:
    tell(f"Aurora's rate limit: waiting {seconds:.0f} s")
