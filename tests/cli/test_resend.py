"""`aurora-bridge resend`: a re-send is declared where no daemon lives, and what to ask Aurora for is printed."""

import re
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess
from time import time

import pytest

from aurora_bridge.dedup import index, outstanding, resend
from tests.cli.in_process import here
from tests.support.damage import damage_table

HOUR, DAY = 3_600_000, 86_400_000
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The directory of a daemon that is gone."""
    with closing(index.open_index(tmp_path / index.FILE, 2**26)):
        return tmp_path


def run(state: Path, *arguments: str) -> CompletedProcess[str]:
    return here("resend", *arguments, state_dir=state)


def test_it_is_declared_prolonged_and_ended_for_the_next_start(state: Path) -> None:
    assert run(state, "status").stdout == "no re-send has been declared\n"
    assert run(state, "end").returncode == 1
    left = "(1 day|23 h)"  # by whether a millisecond has passed
    told = (
        rf"a re-send declared at {MOMENT} is in effect; it ends by itself at {MOMENT}, in {left}\nknown  0\nnew    0\n"
    )
    for command in ("begin", "begin", "status"):
        assert re.fullmatch(told, run(state, command).stdout)
        assert resend.read(state).lasts(int(time() * 1000))
    assert run(state, "end").stdout.startswith("the last re-send lasted from ")
    assert not resend.read(state).lasts(int(time() * 1000))


def test_a_directory_that_is_none_is_told_and_not_made(tmp_path: Path) -> None:
    for command in ("begin", "end", "status", "request"):
        asked = run(tmp_path / "none", command)
        assert (asked.returncode, asked.stdout) == (1, "")
        assert str(tmp_path / "none") in asked.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_an_outage_there_is_nothing_to_ask_for(state: Path) -> None:
    asked = run(state, "request")
    assert (asked.returncode, asked.stdout) == (0, "")
    assert "give --from and --to" in asked.stderr


def test_an_index_that_cannot_be_read_is_told_and_taken_for_no_word_of_what_is_missing(state: Path) -> None:
    with closing(index.open_index(state / index.FILE, 2**26)) as db:
        outstanding.note(db, [(f"{number}", "lead_created", number * 60_000) for number in range(2000)])
    damage_table(state / index.FILE, "refused_by_minute")
    asked = run(state, "request")
    assert (asked.returncode, asked.stdout) == (1, "")
    assert asked.stderr.startswith(f"{state / index.FILE} cannot be read: database disk image is malformed. ")


def test_what_can_no_longer_come_is_asked_for(state: Path) -> None:
    now = int(time() * 1000)
    with closing(index.open_index(state / index.FILE, 2**26)) as db:
        refused = [("a", "lead_created", now - 3 * DAY), ("b", "order_created", now - HOUR), ("c", "asset_created", 0)]
        outstanding.note(db, refused)
        outstanding.note_alive(db, now - 10 * DAY, now - 6 * DAY)
        outstanding.note_alive(db, now - 4 * DAY, now)
    asked = run(state, "request")
    assert re.fullmatch(
        r"Please send these webhooks again \(all times are UTC\):\n\n"
        rf"lead_created  {MOMENT}  to  {MOMENT}  1 refused\nall events    {MOMENT}  to  {MOMENT}\n",
        asked.stdout,
    )
    assert "Aurora may still retry 1 delivery, until " in asked.stderr
    assert "aurora-bridge resend begin, on each replica" in asked.stderr
    assert "order_created" in run(state, "request", "--pending").stdout
    assert "lead_created" not in run(state, "request", "--event", "order_created").stdout


def test_a_window_that_is_given_is_printed_in_utc_for_each_event(state: Path) -> None:
    asked = run(state, "request", "--from", "2d", "--event", "lead_created", "--event", "order_created")
    assert re.findall(rf"^(\S+) +{MOMENT}  to  {MOMENT}$", asked.stdout, re.MULTILINE) == [
        "lead_created",
        "order_created",
    ]
    assert re.search(rf"^all events  {MOMENT}  to", run(state, "request", "--from", "2d").stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--to", "1d"], "--to requires --from"),
        (["--from", "1d", "--to", "2d"], "--from must be before --to"),
        (["--from", "60d", "--to", "40d"], "Aurora can send again what is up to 30 days old"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(state: Path, arguments: list[str], why: str) -> None:
    asked = run(state, "request", *arguments)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert why in asked.stderr
