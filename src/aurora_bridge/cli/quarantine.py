"""`aurora-bridge quarantine`: shows events that Kafka rejected, sends them again, or deletes them.

The spool is read with or without a running daemon. A change is made by the running daemon (`control`); without one, the
command takes the directory's lock and changes the file itself.
"""

import argparse
import os
import sqlite3
from collections.abc import Callable, Sequence
from typing import Literal

import orjson

from aurora_bridge.cli.arguments import row
from aurora_bridge.cli.command import EX_FAILED, Subparsers, add_command, add_group
from aurora_bridge.cli.output import OutputError, put, tell
from aurora_bridge.control.address import MAX_ROWS
from aurora_bridge.control.client import ask
from aurora_bridge.control.commands import DISCARD, RETRY
from aurora_bridge.outbox import quarantine
from aurora_bridge.outbox.inspect import inspect_spool
from aurora_bridge.outbox.spool_file import open_spool
from aurora_bridge.settings import Settings
from aurora_bridge.state.directory import InUseError, locked
from aurora_bridge.webhook.event import rfc3339

_CHANGES: dict[str, Callable[[sqlite3.Connection, Sequence[int]], list[quarantine.Place]]] = {
    RETRY: quarantine.restore,
    DISCARD: quarantine.discard,
}
_FORM = "{:>8}  {:24}  {:>7}  {:<24}  {:<30}  {}"

_EXAMPLES = """\
  aurora-bridge quarantine list         what was quarantined, and why
  aurora-bridge quarantine show 17      the event of row 17
  aurora-bridge quarantine retry 17 18  send two again, once the cause is fixed
  aurora-bridge quarantine retry --all
  aurora-bridge quarantine discard 17 --yes > row-17.json
"""
_LIST_EXAMPLES = """\
  aurora-bridge quarantine list
  aurora-bridge quarantine list --json | jq -r 'select(.reason == "message_too_large").row'
"""
_SHOW_EXAMPLES = """\
  aurora-bridge quarantine show 17
  aurora-bridge quarantine show 17 18 | jq .data
"""
_RETRY_EXAMPLES = """\
  aurora-bridge quarantine retry 17 18
  aurora-bridge quarantine retry --all
"""
_DISCARD_EXAMPLES = """\
  aurora-bridge quarantine discard 17 --yes
  aurora-bridge quarantine discard --all --yes > discarded.jsonl  keep what is deleted
"""


def add(subparsers: Subparsers) -> None:
    """Register the command and its subcommands."""
    below = add_group(
        subparsers,
        "quarantine",
        help="what Kafka rejected: list, show, retry, discard",
        description="Events that Kafka rejects, most likely because they are too large, are quarantined in the spool.",
        examples=_EXAMPLES,
    )
    listing = add_command(
        below,
        "list",
        _list,
        help="one line per event: row, reason, bytes, time of receipt, event, id",
        description="Lists what is quarantined, in order of receipt.",
        examples=_LIST_EXAMPLES,
    )
    listing.add_argument("--json", action="store_true", help="print JSON lines instead of a table")
    show = add_command(
        below,
        "show",
        _show,
        help="print events as JSON lines",
        description="Prints quarantined events as JSON lines.",
        examples=_SHOW_EXAMPLES,
    )
    _add_rows(show)
    retry = add_command(
        below,
        "retry",
        _retry,
        help="send events again",
        description="Puts events back into their topics' queues, in order of receipt. Fix the cause first: what Kafka "
        "rejects again is quarantined again. Without a running daemon, the next start sends them.",
        examples=_RETRY_EXAMPLES,
    )
    _add_rows_or_all(retry)
    discard = add_command(
        below,
        "discard",
        _discard,
        help="delete events for good",
        description="Deletes quarantined events, and prints them as JSON lines, so that you can keep them.",
        examples=_DISCARD_EXAMPLES,
    )
    _add_rows_or_all(discard)
    discard.add_argument("--yes", action="store_true", required=True, help="required, since it cannot be undone")


def _add_rows_or_all(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="everything in quarantine")
    _add_rows(which, "*")


def _add_rows(parser: "argparse._ActionsContainer", nargs: Literal["+", "*"] = "+") -> None:
    help_text = "row number, as `list` shows it"
    parser.add_argument("seq", nargs=nargs, default=[], type=row, metavar="ROW", help=help_text)


def _list(arguments: argparse.Namespace, settings: Settings) -> int:
    with inspect_spool(settings.state_dir) as db:
        rows = list(quarantine.listed(db))
    if not rows:
        tell("the quarantine is empty")
        return os.EX_OK
    table = [_columns(each) for each in rows]
    if arguments.json:
        put(*map(orjson.dumps, table))
    else:
        put(_FORM.format(*table[0]), *(_FORM.format(*line.values()) for line in table))
    return os.EX_OK


def _columns(each: quarantine.Quarantined) -> dict[str, object]:
    return {
        "row": each.seq,
        "reason": each.reason,
        "bytes": each.bytes,
        "received": rfc3339(each.time_ms * 1000),
        "event": each.event,
        "id": each.id,
    }


def _show(arguments: argparse.Namespace, settings: Settings) -> int:
    return _missing(arguments.seq, _print_events(arguments.seq, settings))


def _retry(arguments: argparse.Namespace, settings: Settings) -> int:
    found = _change(settings, RETRY, _chosen(arguments, settings))
    tell(f"{len(found)} back in the queue")
    return _missing(arguments.seq, found)


def _discard(arguments: argparse.Namespace, settings: Settings) -> int:
    try:
        rows = _print_events(_chosen(arguments, settings), settings)  # first: what cannot be printed is not deleted
    except OutputError as error:
        tell(f"{error} Nothing was deleted.")
        return EX_FAILED
    found = _change(settings, DISCARD, rows)
    tell(f"{len(found)} deleted")
    return _missing(arguments.seq, found)


def _chosen(arguments: argparse.Namespace, settings: Settings) -> list[int]:
    """Return the requested rows that exist."""
    with inspect_spool(settings.state_dir) as db:
        return [seq for seq in quarantine.all_seqs(db) if arguments.all or seq in arguments.seq]


def _print_events(rows: Sequence[int], settings: Settings) -> list[int]:
    """Print the events of `rows`; return the rows that exist."""
    found: list[int] = []
    with inspect_spool(settings.state_dir) as db:
        for start in range(0, len(rows), MAX_ROWS):
            events = quarantine.events_of(db, rows[start : start + MAX_ROWS])
            put(*events.values())
            found += events
    return found


def _change(settings: Settings, command: str, rows: Sequence[int]) -> list[int]:
    """Change rows, through the daemon or here; return those that were found."""
    directory = settings.state_dir
    try:
        with locked(directory), open_spool(directory, settings.spool.max_bytes) as db:
            return [seq for seq, _ in _CHANGES[command](db, rows)]
    except InUseError:
        found: list[int] = []
        for start in range(0, len(rows), MAX_ROWS):
            found += ask(directory, command, seq=rows[start : start + MAX_ROWS])["seq"]
        return found


def _missing(wanted: Sequence[int], found: Sequence[int]) -> int:
    """Report the rows that are not in quarantine; return the exit code."""
    missing = [str(seq) for seq in wanted if seq not in found]
    if not missing:
        return os.EX_OK
    tell(f"not in quarantine: {', '.join(missing)}. `aurora-bridge quarantine list` shows what is.")
    return EX_FAILED
