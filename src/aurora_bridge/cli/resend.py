"""`aurora-bridge resend`: says what to ask Aurora to send again, and declares that it is being sent.

A running daemon is asked (`control`). Without one, the command takes the directory's lock and changes the declaration
itself; the next start honours it.
"""

import argparse
import os
from collections.abc import Callable, Iterable
from math import ceil
from time import time

from aurora_bridge.cli.arguments import event_name, moment
from aurora_bridge.cli.command import EX_FAILED, Subparsers, add_command, add_group
from aurora_bridge.cli.output import put, tell
from aurora_bridge.control.client import ask
from aurora_bridge.control.commands import RESEND_BEGIN, RESEND_END, RESEND_STATUS
from aurora_bridge.dedup import resend
from aurora_bridge.dedup.inspect import missing_of
from aurora_bridge.dedup.outstanding import Window, outstanding, to_request
from aurora_bridge.dedup.resend import Declaration
from aurora_bridge.settings import Settings
from aurora_bridge.state.directory import InUseError, StateError, locked
from aurora_bridge.web.formatting import counted, duration
from aurora_bridge.web.formatting import moment as spoken

_EXAMPLES = """\
  aurora-bridge resend request  what to ask Aurora to send again after an outage
  aurora-bridge resend begin    before Aurora sends it
  aurora-bridge resend status
  aurora-bridge resend end      once it has arrived
"""
_BEGIN_EXAMPLES = """\
  aurora-bridge resend begin
  for pod in $(kubectl get pods -l app.kubernetes.io/component=bridge -o name); do
    kubectl exec "$pod" -c aurora-bridge -- aurora-bridge resend begin; done
"""
_END_EXAMPLES = """\
  aurora-bridge resend end
"""
_STATUS_EXAMPLES = """\
  aurora-bridge resend status
"""
_REQUEST_EXAMPLES = """\
  aurora-bridge resend request
  aurora-bridge resend request --pending     also what Aurora's retries may still deliver
  aurora-bridge resend request --from 2026-11-23T08:00Z --to 2026-11-23T17:30Z --event agreement_status_changed
"""
_REACH_MS = 30 * 86_400_000
"""Aurora can re-send what is up to 30 days old."""


def add(subparsers: Subparsers) -> None:
    """Register the command and its subcommands."""
    below = add_group(
        subparsers,
        "resend",
        help="webhooks that Aurora sends again on request: request, begin, status, end",
        description="Aurora's support can send webhooks of the last 30 days again. While a re-send is declared, "
        "everything that was accepted before is a duplicate.",
        examples=_EXAMPLES,
    )
    add_command(
        below,
        "begin",
        _begin,
        help="declare that a re-send begins",
        description="For 24 h, across restarts, everything that was accepted before is a duplicate. Run it again to "
        "start the 24 h anew. Run it on each replica.",
        examples=_BEGIN_EXAMPLES,
    )
    add_command(
        below,
        "end",
        _end,
        help="declare that it is over",
        description="Ends a declared re-send, and prints what arrived. Run it on each replica.",
        examples=_END_EXAMPLES,
    )
    add_command(
        below,
        "status",
        _status,
        help="print whether one is declared, and how much of it was known",
        description="Prints whether this replica has a declared re-send, and how many deliveries since its beginning "
        "were known or new. Aurora does not mark re-sent webhooks, so ordinary ones are counted, too.",
        examples=_STATUS_EXAMPLES,
    )
    request = add_command(
        below,
        "request",
        _request,
        help="print what to ask Aurora to send again",
        description="Prints events and time windows (UTC) that no retry of Aurora can still deliver: deliveries that "
        "this replica refused, and the time in which it did not run; or the window in the options. Add what was "
        "refused by a proxy in front, or for its credentials: the daemon does not know it. Asking for too much does "
        "no harm while a re-send is declared.",
        examples=_REQUEST_EXAMPLES,
    )
    request.add_argument("--from", dest="from_ms", type=moment, metavar="TIME", help="start of the window")
    request.add_argument("--to", dest="to_ms", type=moment, metavar="TIME", help="end of the window; default: now")
    words = "only this event; can be repeated"
    request.add_argument("--event", action="append", type=event_name, metavar="EVENT", help=words)
    request.add_argument("--pending", action="store_true", help="also what Aurora's retries may still deliver")


def _begin(_arguments: argparse.Namespace, settings: Settings) -> int:
    return _show(_change(settings, RESEND_BEGIN, Declaration.begin))


def _end(_arguments: argparse.Namespace, settings: Settings) -> int:
    try:
        return _show(_change(settings, RESEND_END, Declaration.end))
    except ValueError as error:
        return _fail(f"There is nothing to end: {error}.")


def _status(_arguments: argparse.Namespace, settings: Settings) -> int:
    return _show(_change(settings, RESEND_STATUS, lambda declared, _now_ms: declared))


def _change(
    settings: Settings, command: str, change: Callable[[Declaration, int], Declaration]
) -> tuple[Declaration, int]:
    """Change the declaration, through the daemon or here; return it, and the number of other known replicas."""
    directory = settings.state_dir
    if not directory.exists():
        msg = f"The state directory {directory} does not exist. Set AURORA_BRIDGE_STATE_DIR to the daemon's."
        raise StateError(msg)
    try:
        with locked(directory):
            before = resend.read(directory)
            declared = change(before, int(time() * 1000))
            if declared != before:
                resend.write(directory, declared)
            return declared, 0
    except InUseError:
        answer = ask(directory, command)
    others = answer.pop("others")
    return Declaration(**answer), others


def _show(answer: tuple[Declaration, int]) -> int:
    declared, others = answer
    now_ms = int(time() * 1000)
    if not declared.begun_ms:
        put("no re-send has been declared")
        return os.EX_OK
    begun, ends = _utc(declared.begun_ms), _utc(declared.ends_ms)
    if declared.lasts(now_ms):
        left = duration(ceil((declared.ends_ms - now_ms) / 1000))
        put(f"a re-send declared at {begun} is in effect; it ends by itself at {ends}, in {left}")
    else:
        put(f"the last re-send lasted from {begun} to {ends}")
    put(f"known  {declared.known}", f"new    {declared.new}")
    if others:
        tell(f"{counted(others, 'other replica')} published to these topics: run this on each of them.")
    return os.EX_OK


def _request(arguments: argparse.Namespace, settings: Settings) -> int:
    now_ms = int(time() * 1000)
    if arguments.from_ms is not None:
        to_ms = now_ms if arguments.to_ms is None else arguments.to_ms
        if to_ms <= now_ms - _REACH_MS:
            return _fail("Aurora can send again what is up to 30 days old, and this window ended before that.")
        windows = [Window(event, arguments.from_ms, to_ms) for event in arguments.event or [""]]
    elif arguments.to_ms is not None:
        return _fail("--to requires --from: add the start of the window.")
    else:
        found = missing_of(settings.state_dir)
        windows = to_request(found, now_ms, pending=arguments.pending)
        if arguments.event:
            windows = [window for window in windows if window.event in {"", *arguments.event}]
        pending = sum(outstanding(found, now_ms).pending.values())
        if pending and not arguments.pending:
            latest = _utc(outstanding(found, now_ms).latest_ms)
            tell(
                f"Aurora may still retry {counted(pending, 'delivery', 'deliveries')}, until {latest}. It does not if "
                "the subscription was switched off: --pending asks for these, too."
            )
    if any(window.from_ms >= window.to_ms for window in windows):
        return _fail("--from must be before --to. Correct one of the two.")
    return _print(windows, now_ms)


def _print(windows: Iterable[Window], now_ms: int) -> int:
    wanted = [
        window._replace(from_ms=max(window.from_ms, now_ms - _REACH_MS))
        for window in windows
        if window.to_ms > now_ms - _REACH_MS
    ]
    if not wanted:
        tell(
            "This state directory knows of nothing missing that Aurora can still send (30 days). For an outage in "
            "front of the daemon, give --from and --to."
        )
        return os.EX_OK
    put("Please send these webhooks again (all times are UTC):", "")
    width = max(len(window.event or "all events") for window in wanted)
    for window in wanted:
        known = f"  {window.deliveries} refused" if window.deliveries else ""
        put(f"{window.event or 'all events':{width}}  {_utc(window.from_ms)}  to  {_utc(window.to_ms)}{known}")
    tell("Before Aurora sends them: aurora-bridge resend begin, on each replica.")
    return os.EX_OK


def _utc(time_ms: int) -> str:
    return spoken(time_ms / 1000)


def _fail(problem: str) -> int:
    tell(problem)
    return EX_FAILED
