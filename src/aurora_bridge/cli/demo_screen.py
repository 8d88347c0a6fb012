"""What the demo prints: a line for each event when it is accepted or first refused, the progress, and the sums.

A terminal gets colours, unless NO_COLOR is set, and a progress line at the bottom; a pipe gets plain lines.
"""

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from shutil import get_terminal_size
from typing import Final

from aurora_bridge.cli.demo_check import Sums
from aurora_bridge.cli.demo_programs import Daemon, Programs
from aurora_bridge.cli.output import put
from aurora_bridge.simulator.aurora import Aurora
from aurora_bridge.simulator.deliveries import RETRY_SECONDS, Delivery, State
from aurora_bridge.web.formatting import duration

_BOLD, _DIM, _RED, _GREEN, _YELLOW = "1", "2", "31", "32", "33"
_OUTCOMES: Final = 13
"""Width of the longest outcome, `200 published`."""


class Screen:
    """Prints to standard output."""

    def __init__(self) -> None:
        self._terminal = sys.stdout is not None and sys.stdout.isatty()
        self._colours = self._terminal and not os.environ.get("NO_COLOR")  # https://no-color.org

    def close(self) -> None:
        """Clear the progress line."""
        self._last("")

    def say(self, *lines: str) -> None:
        """Show lines. Raises `OutputError`."""
        if lines:
            self._last("")
            put(*lines)

    def headline(self, at: float, words: str) -> None:
        """Announce what happens to the daemon, or at Aurora."""
        self.say("", self._in(_BOLD, f"{_spoken(at)}  {words}"), "")

    def attempt(self, delivery: Delivery, outcome: str) -> Iterator[str]:
        """Yield a line for a delivery's last attempt, none for duplicates and failed retries."""
        at, _, answer = delivery.attempts[-1]
        number = len(delivery.attempts)
        if outcome.endswith("duplicate") or (number > 1 and not answer.succeeded):
            return
        what = " ".join(value for name, value in delivery.attributes.items() if not name.endswith("_id"))
        late = f"  attempt {number}, {duration(at - delivery.attempts[0][0])} late" if number > 1 else ""
        answered = self._in(_GREEN if answer.succeeded else _RED, f"{outcome:{_OUTCOMES}}")
        event = f"{delivery.event}  {what}".rstrip()
        yield f"{self._in(_DIM, _spoken(at))}  {answered}  {event}{self._in(_YELLOW, late)}"

    def progress(self, now: float, aurora: Aurora, sums: Sums) -> None:
        """Replace the progress line."""
        totals = aurora.totals
        self._last(
            f"{_spoken(now)}  attempts {totals['attempts']:,}, failed {totals['refused']:,}, "
            f"pending {aurora.pending():,}, "
            f"stored {len(sums.stored):,}, duplicates {sums.outcomes['duplicate']:,}"
        )

    def _last(self, line: str) -> None:
        if self._terminal:
            sys.stdout.write(f"\r\033[K{line[: get_terminal_size().columns - 1]}")
            sys.stdout.flush()

    def _in(self, colour: str, words: str) -> str:
        return f"\033[{colour}m{words}\033[0m" if self._colours and words else words


def opening(programs: Programs, daemon: Daemon, seconds: float) -> list[str]:
    """Return the introduction: URLs and paths."""
    return [
        f"A week of Aurora's webhooks in {duration(seconds)}. Ctrl-C ends it.",
        "",
        f"status page  {daemon.admin_url}/",
        f"webhooks     {daemon.url}",
        f"events       {f'Kafka at {programs.kafka}' if programs.kafka else 'the log of the daemon'}, read by `tail`",
        f"state, logs  {programs.folder}",
        "",
    ]


def closing(aurora: Aurora, sums: Sums, resent: int, speed: float) -> list[str]:
    """Return the sums, whether they are right, and what differs from production."""
    totals, happened, last = aurora.totals, sums.happened.total(), RETRY_SECONDS[-1]
    retried = sum(len(one.attempts) > 1 and one.state is State.DELIVERED for one in aurora.ledger)
    table = (
        (happened, "events happened at Aurora"),
        (len(aurora.ledger), f"deliveries: one of each event, and {resent:,} sent again on request"),
        (totals["attempts"], f"attempts, of which {totals['refused']:,} were refused or got no answer"),
        (retried, "deliveries arrived with a retry"),
        (totals["failed"], "deliveries were given up after their sixth attempt"),
        (len(sums.stored), "events are stored"),
        (sums.outcomes["duplicate"], "deliveries were dropped as duplicates"),
        (sums.copies, "copies are stored, with the id of the original"),
    )
    problems = [f"WRONG: {problem}." for problem in sums.problems()]
    return [
        "",
        *(f"{number:7,}  {words}" for number, words in table),
        "",
        *(problems or [f"Right: each of the {happened:,} events is stored exactly once."]),
        "",
        f"Unlike in production, Aurora's clock ran {speed:,.0f} times as fast as the daemon's. To the daemon",
        "- the `time` of an event, its receipt, is within this demo;",
        f"- the retry after {duration(last)} came after {last / speed:.1f} s, which is not one of Aurora's intervals;",
        "- the repeat window of a day did not end.",
    ]


def _spoken(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%a %H:%M}"
