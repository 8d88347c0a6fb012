"""`aurora-bridge dead-letters`: lists, shows and replays deliveries that carried no readable event.

`read_dead_letters` reads them. To replay one, the running daemon is asked (`control`): it reads the target by its
present routes, and deduplicates and publishes as usual.
"""

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any

import orjson

from aurora_bridge.cli.arguments import moment
from aurora_bridge.cli.command import EX_FAILED, Subparsers, add_command, add_group
from aurora_bridge.cli.output import OutputError, ReaderGoneError, put, tell
from aurora_bridge.cli.read_dead_letters import Letters, read_letters
from aurora_bridge.control.client import ControlError, ask
from aurora_bridge.control.commands import REPLAY
from aurora_bridge.kafka.topic_consumer import ReadError
from aurora_bridge.outcomes import DeadLetterReason, Outcome
from aurora_bridge.redaction import redact_path
from aurora_bridge.replay import HIDDEN_VALUE, READABLE, REPLAYED
from aurora_bridge.routing import secret_names
from aurora_bridge.settings import Settings
from aurora_bridge.state.directory import InUseError, locked
from aurora_bridge.webhook.catalogue import todays_name
from aurora_bridge.webhook.dead_letter import StoredDeadLetter
from aurora_bridge.webhook.event import rfc3339

_TELL_SECONDS = 1.0
_LONGEST_TEMPLATE = 200
_FORM = "{:>8}  {:>8}  {:<20}  {:<16}  {:<24}  {}"
_COLUMNS = ("letters", "replayed", "reason", "route", "last", "template")

_EXAMPLES = """\
  aurora-bridge dead-letters list                              how many, by reason, route and template
  aurora-bridge dead-letters show --reason not_as_template     each with its target
  aurora-bridge dead-letters replay --reason not_as_template   dry run: what would happen to them
  aurora-bridge dead-letters replay --reason not_as_template --yes
"""
_LIST_EXAMPLES = """\
  aurora-bridge dead-letters list --since 1d
  aurora-bridge dead-letters list --json | jq -r 'select(.replayed < .letters).template'
"""
_SHOW_EXAMPLES = """\
  aurora-bridge dead-letters show --since 1h | jq -r .data.target
  aurora-bridge dead-letters show 12ce9b27067856622ff6967e1acf4d41.20261124T092447107
"""
_REPLAY_EXAMPLES = """\
  aurora-bridge dead-letters replay                           dry run: what would happen to all
  aurora-bridge dead-letters replay --route /contracts --yes  those of a route whose template was fixed
  aurora-bridge dead-letters replay --since 2026-11-24 --yes > replayed.jsonl
"""


def add(subparsers: Subparsers) -> None:
    """Register the command and its subcommands."""
    below = add_group(
        subparsers,
        "dead-letters",
        help="deliveries that carried no readable event: list, show, replay",
        description="Deliveries with valid credentials that carried no readable event are kept as dead letters.",
        examples=_EXAMPLES,
    )
    listing = add_command(
        below,
        "list",
        _list,
        help="how many there are, by reason, route and template",
        description="Counts dead letters by reason, route and template (their target without its values), and how "
        "many of them were replayed.",
        examples=_LIST_EXAMPLES,
    )
    listing.add_argument("--json", action="store_true", help="print JSON lines instead of a table")
    show = add_command(
        below,
        "show",
        _show,
        help="print dead letters as JSON lines",
        description="Prints dead letters as JSON lines, in order of receipt. Secrets in their targets are ***.",
        examples=_SHOW_EXAMPLES,
    )
    replay = add_command(
        below,
        "replay",
        _replay,
        help="publish what the present routes can read",
        description="Asks the running daemon to read dead letters again, by its present routes, and to publish their "
        "events with the time of their receipt. Each is marked, and never replayed again. Without --yes, nothing is "
        "published. Exit 1 if any of them still carries no readable event.",
        examples=_REPLAY_EXAMPLES,
    )
    replay.add_argument("--yes", action="store_true", help="publish; without it, say what would happen to them")
    for each in (listing, show, replay):
        _add_choice(each)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", nargs="*", metavar="ID", help="only the dead letters with these ids")
    parser.add_argument(
        "--reason",
        choices=[reason.value for reason in DeadLetterReason],
        metavar="REASON",
        help="only those with this reason",
    )
    parser.add_argument("--route", metavar="NAME", help="only those that came by this route")
    parser.add_argument("--event", type=todays_name, metavar="NAME", help="only those of this event")
    parser.add_argument(
        "--since",
        type=moment,
        default=0,
        metavar="TIME",
        help="only those received then or later: RFC 3339, or a duration before now (90s, 15m, 2h, 1d)",
    )


def _list(arguments: argparse.Namespace, settings: Settings) -> int:
    letters, failure = read_letters(arguments, settings)
    secrets = secret_names(settings)
    groups: dict[tuple[str, str, str], dict[str, Any]] = {}
    for letter, _ in letters:
        template = _template(secrets.redact_target(letter.target.encode()))
        line = groups.setdefault(
            (letter.reason, letter.route, template),
            {
                "letters": 0,
                "replayed": 0,
                "reason": letter.reason,
                "route": letter.route,
                "event": letter.event,
                "template": template,
                "first": rfc3339(letter.time_us),
            },
        )
        line["letters"] += 1
        line["replayed"] += letter.id in letters.replayed
        line["last"] = rfc3339(letter.time_us)
    lines = sorted(groups.values(), key=lambda line: line["letters"] - line["replayed"], reverse=True)
    if arguments.json:
        put(*map(orjson.dumps, lines))
    elif lines:
        put(_FORM.format(*_COLUMNS), *(_FORM.format(*(line[column] for column in _COLUMNS)) for line in lines))
    else:
        tell("no dead letter")
    return _end(failure)


def _template(target: str) -> str:
    """Return what all deliveries of one URL template share: the path, redacted, and the parameter names."""
    path, mark, query = target.partition("?")
    names = [name + ("=..." if sign else "") for name, sign, _ in (each.partition("=") for each in query.split("&"))]
    template = redact_path(path.encode()) + mark + "&".join(names)
    return template if len(template) <= _LONGEST_TEMPLATE else template[:_LONGEST_TEMPLATE] + "..."


def _show(arguments: argparse.Namespace, settings: Settings) -> int:
    letters, failure = read_letters(arguments, settings)
    secrets = secret_names(settings)
    for letter, event in letters:
        document = orjson.loads(event)
        document["data"]["target"] = secrets.redact_target(letter.target.encode())
        document["replayed"] = letter.id in letters.replayed
        put(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
    return max(_end(failure), _missing(arguments.id, letters))


def _replay(arguments: argparse.Namespace, settings: Settings) -> int:
    _need_daemon(settings)
    letters, failure = read_letters(arguments, settings)
    if failure:
        raise ReadError(failure)  # the unread part may hold marks
    waiting = [(letter, event) for letter, event in letters if letter.id not in letters.replayed]
    known = len(letters.found) - len(waiting)
    tell(f"{len(waiting)} to replay" + (f", {known} replayed before" if known else ""))
    outcomes = _ask_all(waiting, settings, dry_run=not arguments.yes)
    for line in _summary(outcomes, dry_run=not arguments.yes):
        tell(line)
    failed = any(outcome in {Outcome.DEAD_LETTERED, Outcome.REFUSED} for outcome, _ in outcomes)
    return max(EX_FAILED if failed else os.EX_OK, _missing(arguments.id, letters))


def _need_daemon(settings: Settings) -> None:
    directory = settings.state_dir
    if directory.exists():
        try:
            with locked(directory):
                """No daemon holds the lock."""
        except InUseError:
            return
    msg = (
        f"No daemon is running with {directory}, and only a daemon can replay. Start it (aurora-bridge serve), or set "
        "AURORA_BRIDGE_STATE_DIR to your daemon's directory."
    )
    raise ControlError(msg)


def _ask_all(
    waiting: Sequence[tuple[StoredDeadLetter, bytes]], settings: Settings, *, dry_run: bool
) -> Counter[tuple[str, str]]:
    """Ask the daemon to replay each, and print its results; return the count of each pair of outcome and reason.

    Raises `OutputError`, also if the reader closes standard output before all were replayed.
    """
    outcomes: Counter[tuple[str, str]] = Counter()
    told_at = monotonic()
    for number, (letter, event) in enumerate(waiting):
        if monotonic() - told_at > _TELL_SECONDS:
            tell(f"{number} of {len(waiting)} done")
            told_at = monotonic()
        result = ask(settings.state_dir, REPLAY, event=orjson.loads(event), dry_run=dry_run)
        outcomes[result["outcome"], result["reason"] or ""] += 1
        try:
            put(orjson.dumps({"dead_letter": letter.id, **result}))
        except ReaderGoneError as error:
            if dry_run:
                raise
            msg = f"{error} {number + 1} of {len(waiting)} done. Run this again for the others."
            raise OutputError(msg) from error
    return outcomes


def _summary(outcomes: Counter[tuple[str, str]], *, dry_run: bool) -> Iterator[str]:
    for (outcome, reason), count in sorted(outcomes.items()):
        if outcome == READABLE:
            yield f"{count} carry a readable event now: run this again with --yes"
        elif reason == HIDDEN_VALUE:
            yield f"{count} not replayed: a value in the target is hidden (***), since it was a secret"
        elif outcome == Outcome.DEAD_LETTERED:
            yield f"{count} still carry no readable event: {reason}"
        elif outcome == Outcome.REFUSED:
            yield f"{count} not replayed: {reason}"
        elif outcome == REPLAYED:
            yield f"{count} replayed before"
        else:
            yield f"{count} {outcome}"
    if dry_run and outcomes:
        yield "nothing was published: this was a dry run"


def _missing(wanted: Sequence[str], letters: Letters) -> int:
    """Report the ids that were not found; return the exit code."""
    missing = [each for each in wanted if each not in letters.found]
    if not missing:
        return os.EX_OK
    tell(f"no such dead letter: {', '.join(missing)}. `aurora-bridge dead-letters show` shows all.")
    return EX_FAILED


def _end(failure: str) -> int:
    if failure:
        tell(failure)
    return EX_FAILED if failure else os.EX_OK
