"""What the demo shows: a line for each event as it is accepted or first refused, how far it is, and the sums.

A terminal gets colours, unless NO_COLOR is set, and a last line that counts; a pipe gets plain lines.
"""

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from shutil import get_terminal_size
from typing import Final

from aurora_bridge.cli.demo_programs import Daemon, Programs
from aurora_bridge.cli.demo_sums import Sums
from aurora_bridge.cli.output import put
from aurora_bridge.simulator.aurora import Aurora
from aurora_bridge.simulator.deliveries import RETRY_SECONDS, Delivery, State
from aurora_bridge.web.words import duration

_BOLD, _DIM, _RED, _GREEN, _YELLOW = "1", "2", "31", "32", "33"
_OUTCOMES: Final = 13
"""Width of the longest, `200 published`."""


class Screen:
    """Standard output."""

    def __init__(self) -> None:
        self._terminal = sys.stdout is not None and sys.stdout.isatty()
        self._colours = self._terminal and not os.environ.get("NO_COLOR")  # https://no-color.org

    def close(self) -> None:
        """Leave a terminal without the line that counts."""
        self._last("")

    def say(self, *lines: str) -> None:
        """Show lines. Raises `OutputError`."""
        if lines:
            self._last("")
            put(*lines)

    def headline(self, at: float, words: str) -> None:
        """Show that something happens to the daemon, or at Aurora."""
        self.say("", self._in(_BOLD, f"{_spoken(at)}  {words}"), "")

    def attempt(self, delivery: Delivery, outcome: str) -> Iterator[str]:
        """Yield the line of a delivery's last attempt; there is none for duplicates, and for retries that fail."""
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
        """Show how far it is, in a last line that the next one takes the place of."""
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
    """Return where everything is."""
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
    """Return the sums, whether they are right, and what is not as in life."""
    totals, happened, last = aurora.totals, sums.happened.total(), RETRY_SECONDS[-1]
    retried = sum(len(one.attempts) > 1 and one.state is State.DELIVERED for one in aurora.ledger)
    table = (
        (happened, "events happened at Aurora"),
        (len(aurora.ledger), f"deliveries: one of each, and {resent:,} that were sent again on request"),
        (totals["attempts"], f"attempts, of which {totals['refused']:,} were refused or got no answer"),
        (retried, "deliveries came by a retry"),
        (totals["failed"], "deliveries were given up after their sixth attempt"),
        (len(sums.stored), "events are stored"),
        (sums.outcomes["duplicate"], "deliveries were dropped as duplicates"),
        (sums.copies, "copies are stored, with the id of the first"),
    )
    problems = [f"WRONG: {problem}." for problem in sums.problems()]
    return [
        "",
        *(f"{number:7,}  {words}" for number, words in table),
        "",
        *(problems or [f"Right: each of the {happened:,} events is stored exactly once."]),
        "",
        f"Not as in life: Aurora's clock went {speed:,.0f} times as fast as that of the daemon. To the daemon",
        "- an event's `time`, which is that of its receipt, lies within this demo;",
        f"- the retry after {duration(last)} came after {last / speed:.1f} s, which is no interval of Aurora's;",
        "- the repeat window of a day did not end.",
    ]


def _spoken(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%a %H:%M}"
