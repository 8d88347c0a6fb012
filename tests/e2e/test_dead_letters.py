"""Dead letters are counted, shown and replayed, by the commands beside a real daemon, on both stores."""

import json
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch
from uuid import uuid4

import pytest

from aurora_bridge.cli import dead_letters
from aurora_bridge.cli.output import ReaderGoneError
from aurora_bridge.control.client import ask
from aurora_bridge.control.commands import REPLAY
from tests.cli.in_process import here
from tests.e2e.stores import Place, Stored
from tests.support.daemon import PATIENT, Daemon
from tests.support.ports import HOST, free_ports

pytestmark = pytest.mark.slow

BROKEN: Final = "/contracts?agreement_id=v-<AGREEMENT_ID>&status=<STATUS>"
MENDED: Final = "/contracts?agreement_id=<AGREEMENT_ID>&status=<STATUS>"


class Bench:
    """A daemon with one route of its own, whose template can be fixed, and the commands beside it."""

    def __init__(self, folder: Path, place: Place) -> None:
        self.place = place
        self.secrets: str | None = None
        """Names of secrets in the settings of the commands."""
        self._config = folder / "bridge.toml"
        self.write(BROKEN)
        self._kafka = {"kafka__bootstrap_servers": place.bootstrap, "kafka__topic_prefix": place.prefix}
        self.daemon = place.daemon(folder, config=self._config, **PATIENT)
        self.daemon.start()
        place.settle(self.daemon)

    def write(self, template: str, secrets: str = "") -> None:
        """Let the next start have this template, and these names of secrets."""
        ingress = f'[ingress]\nsecret_parameters = ["{secrets}"]\n' if secrets else ""
        self._config.write_text(f'{ingress}[[routes]]\ntemplate = "{template}"\nevent = "agreement_status_changed"\n')

    def fix(self) -> None:
        self.write(MENDED)
        self.restart()

    def restart(self) -> None:
        self.daemon.terminate()
        self.daemon.start()
        self.place.settle(self.daemon)

    def bury(self, query: str, path: str = "/contracts") -> dict[str, Any]:
        """Send a delivery that becomes a dead letter; return its event."""
        answer = self.daemon.get(f"{path}?{query}").json
        assert answer["outcome"] == "dead_lettered", answer
        (stored,) = [each for each in self.place.read(self.daemon) if each.key == answer["id"]]
        return stored.event

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        settings: dict[str, object] = {"state_dir": self.daemon.state, "config": self._config}
        settings |= {"ingress__secret_parameters": self.secrets} | (self._kafka if self.place.bootstrap else {})
        return here("dead-letters", *arguments, **settings)

    def ask(self, letter: dict[str, Any]) -> dict[str, Any]:
        """Ask the daemon to replay a dead letter, whatever the log says of it."""
        return ask(self.daemon.state, REPLAY, event=letter, dry_run=False)

    def replay(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        """Return what a replay says, line by line."""
        done = self.run("replay", *arguments)
        assert done.returncode == code, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def events(self, agreement: str) -> list[Stored]:
        """Return what is stored of an agreement."""
        return [each for each in self.place.read(self.daemon) if each.event.get("subject") == f"agreement/{agreement}"]

    def marks(self, letter: dict[str, Any]) -> list[Stored]:
        """Return the records that are keyed by a dead letter's id, but for itself."""
        return [each for each in self.place.read(self.daemon) if each.key == letter["id"] != each.event["id"]]


@pytest.fixture
def bench(tmp_path: Path, place: Place) -> Iterator[Bench]:
    bench = Bench(tmp_path, place)
    yield bench
    bench.daemon.kill()


def name() -> str:
    return f"a-{uuid4()}"


@pytest.mark.proves("a dead letter is replayed once, and never with a hidden value")
def test_a_fixed_template_brings_the_events_with_the_time_at_which_they_came(bench: Bench) -> None:
    agreement = name()
    letter = bench.bury(f"agreement_id={agreement}&status=signed")
    (line,) = bench.replay(letter["id"], code=1)
    assert (line["outcome"], line["reason"]) == ("dead_lettered", "not_as_template")
    bench.fix()
    (line,) = bench.replay(letter["id"])
    assert line == {
        "dead_letter": letter["id"],
        "outcome": "readable",
        "reason": None,
        "event": "agreement_status_changed",
        "id": None,
    }
    assert bench.events(agreement) == []  # it was a dry run
    (line,) = bench.replay(letter["id"], "--yes")
    (stored,) = bench.events(agreement)
    assert (line["outcome"], line["id"]) == (bench.place.outcome, stored.event["id"])
    assert stored.event["time"] == letter["time"]
    assert stored.event["data"] == {"agreement_id": agreement, "status": "signed"}
    (mark,) = bench.marks(letter)
    assert mark.event["data"] == {
        "dead_letter": letter["id"],
        "event": "agreement_status_changed",
        "event_id": stored.event["id"],
    }


@pytest.mark.proves("a dead letter is replayed once, and never with a hidden value")
def test_a_dead_letter_is_never_replayed_twice(bench: Bench) -> None:
    """Neither by the command, which reads the marks, nor by a daemon that is asked all the same, nor by two at once."""
    agreement = name()
    letter = bench.bury(f"agreement_id={agreement}&status=signed")
    bench.fix()
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(bench.ask, [letter] * 8))
    outcomes = Counter(result["outcome"] for result in results)
    assert outcomes == {bench.place.outcome: 1, "replayed_before": 7}
    assert bench.replay(letter["id"], "--yes") == []
    (bench.daemon.state / "index.db").unlink()
    bench.restart()
    assert bench.ask(letter)["outcome"] == "replayed_before"
    assert len(bench.events(agreement)) == 1
    assert len(bench.marks(letter)) == 1


def test_what_is_no_state_is_not_replayed_twice_either(bench: Bench) -> None:
    """No dedup of its own would keep a signal from coming again."""
    lead = name()
    letter = bench.bury(f"lead_id={lead}&lead_id=other", "/lead_changed")
    forged = letter | {"data": letter["data"] | {"target": f"/lead_changed?lead_id={lead}"}}
    assert [bench.ask(forged)["outcome"] for _ in range(2)] == [bench.place.outcome, "replayed_before"]


@pytest.mark.proves(
    "a dead letter is replayed once, and never with a hidden value",
    "No secret comes out: not in what is shown of a dead letter",
)
def test_an_attribute_with_a_hidden_value_is_not_replayed(bench: Bench) -> None:
    agreement = name()
    bench.write(BROKEN, secrets="status")
    bench.restart()
    letter = bench.bury(f"agreement_id={agreement}&status=signed")
    assert "signed" not in letter["data"]["target"]
    bench.fix()
    for arguments in ((), ("--yes",)):
        (line,) = bench.replay(letter["id"], *arguments, code=1)
        assert (line["outcome"], line["reason"]) == ("refused", "hidden_value")
    assert "1 not replayed: a value in the target is hidden" in bench.run("replay", letter["id"]).stderr
    assert bench.events(agreement) == []
    assert bench.marks(letter) == []


def test_a_secret_that_is_no_attribute_is_not_missed(bench: Bench) -> None:
    agreement = name()
    letter = bench.bury(f"agreement_id={agreement}&status=signed&token=canary&session_token=canary")
    assert "canary" not in letter["data"]["target"]
    bench.fix()
    (line,) = bench.replay(letter["id"], "--yes")
    assert line["outcome"] == bench.place.outcome
    (stored,) = bench.events(agreement)
    assert stored.event["data"] == {"agreement_id": agreement, "status": "signed"}


@pytest.mark.proves("No secret comes out: not in what is shown of a dead letter")
def test_what_is_a_secret_by_now_is_shown_nowhere(bench: Bench) -> None:
    letter = bench.bury(f"agreement_id={name()}&status=signed&pin=canary")
    (shown,) = map(json.loads, bench.run("show", letter["id"]).stdout.splitlines())
    assert shown["data"]["target"] == letter["data"]["target"]
    assert shown["replayed"] is False
    assert "canary" in shown["data"]["target"]
    bench.secrets = "pin"
    for arguments in (("show", letter["id"]), ("list", "--json", letter["id"]), ("replay", letter["id"])):
        done = bench.run(*arguments)
        assert letter["id"] in done.stdout or arguments[0] == "list"
        assert "canary" not in done.stdout + done.stderr
    (shown,) = map(json.loads, bench.run("show", letter["id"]).stdout.splitlines())
    assert shown["data"]["target"].endswith("&pin=***")


def test_the_attempts_of_one_delivery_become_one_event(bench: Bench) -> None:
    agreement = name()
    letters = [bench.bury(f"agreement_id={agreement}&status=signed") for _ in range(3)]
    bench.fix()
    lines = bench.replay(*(letter["id"] for letter in letters), "--yes")
    assert [line["outcome"] for line in lines] == [bench.place.outcome, "duplicate", "duplicate"]
    (stored,) = bench.events(agreement)
    assert {line["id"] for line in lines} == {stored.event["id"]}
    assert stored.event["time"] == letters[0]["time"]


@pytest.mark.proves("a dead letter is replayed once, and never with a hidden value")
def test_a_state_that_is_replayed_is_no_later_than_what_came_since(bench: Bench) -> None:
    agreement = name()
    letter = bench.bury(f"agreement_id={agreement}&status=sent")
    bench.fix()
    signed, sent = (f"/contracts?agreement_id={agreement}&status={status}" for status in ("signed", "sent"))
    assert bench.daemon.get(signed).json["outcome"] == bench.place.outcome
    (line,) = bench.replay(letter["id"], "--yes")
    assert line["outcome"] == bench.place.outcome
    assert bench.daemon.get(signed).json["outcome"] == "duplicate"
    assert bench.daemon.get(sent).json["outcome"] == bench.place.outcome
    assert len({stored.event["id"] for stored in bench.events(agreement)}) == 3


def test_an_event_that_came_by_itself_since_is_a_duplicate(bench: Bench) -> None:
    lead = name()
    letter = bench.bury(f"lead_id={lead}&source=api&source=lcai", "/lead_created")
    fixed = f"/lead_created?lead_id={lead}&source=api"
    came = bench.daemon.get(fixed).json
    forged = letter | {"data": letter["data"] | {"target": fixed}}
    result = bench.ask(forged)
    assert (result["outcome"], result["id"]) == ("duplicate", came["id"])


def test_they_are_counted_by_reason_route_and_template(bench: Bench) -> None:
    first, second = (bench.bury(f"agreement_id={name()}&status=signed") for _ in range(2))
    other = bench.bury(f"agreement_id={name()}&status=%FF")
    ids = [letter["id"] for letter in (first, second, other)]
    bench.fix()
    bench.replay(first["id"], "--yes")
    lines = [json.loads(line) for line in bench.run("list", "--json", *ids).stdout.splitlines()]
    (told,) = [line for line in lines if line["reason"] == "not_as_template"]
    assert told == {
        "letters": 2,
        "replayed": 1,
        "reason": "not_as_template",
        "route": "/contracts",
        "event": "agreement_status_changed",
        "template": "/contracts?agreement_id=...&status=...",
        "first": first["time"],
        "last": second["time"],
    }
    table = bench.run("list", *ids).stdout.splitlines()
    assert table[0].split() == ["letters", "replayed", "reason", "route", "last", "template"]
    assert len(table) == 3
    assert bench.run("list", "--reason", "not_utf8", *ids).stdout.count("/contracts?") == 1


def test_the_progress_of_a_replay_is_told(bench: Bench) -> None:
    ids = [bench.bury(f"agreement_id={name()}&status=signed")["id"] for _ in range(2)]
    bench.fix()
    with patch("aurora_bridge.cli.dead_letters._TELL_SECONDS", -1):
        done = bench.run("replay", *ids, "--yes")
    assert done.stderr.splitlines() == ["2 to replay", "0 of 2 done", "1 of 2 done", f"2 {bench.place.outcome}"]
    assert bench.run("replay", *ids, "--yes").stderr.splitlines() == ["0 to replay, 2 replayed before"]


def test_without_a_daemon_nothing_is_replayed_and_the_message_says_why(bench: Bench) -> None:
    letter = bench.bury(f"agreement_id={name()}&status=signed")
    bench.daemon.terminate()
    done = bench.run("replay", letter["id"])
    assert done.returncode == 1
    assert done.stderr.startswith(f"No daemon is running with {bench.daemon.state}, and only a daemon can replay.")
    bench.daemon.start()


def test_an_id_that_is_none_is_told(bench: Bench) -> None:
    done = bench.run("show", "nonsense")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("no such dead letter: nonsense.")


@pytest.mark.proves("a dead letter is replayed once, and never with a hidden value")
def test_a_crash_before_the_mark_leaves_no_second_event(tmp_path: Path) -> None:
    """What is left then is what lies in the log: the event without its mark, and an index that knows of neither."""
    bench = Bench(tmp_path, Place())
    agreement = name()
    letter = bench.bury(f"agreement_id={agreement}&status=signed")
    bench.fix()
    bench.replay(letter["id"], "--yes")
    bench.daemon.kill()
    (bench.daemon.state / "index.db").unlink()
    with closing(sqlite3.connect(bench.daemon.state / "spool.db")) as database, database:
        assert database.execute("DELETE FROM events WHERE value LIKE '%dead_letter_replayed%'").rowcount == 1
    bench.daemon.start()
    try:
        (line,) = bench.replay(letter["id"], "--yes")
        assert line["outcome"] == "duplicate"
        assert [stored.event["id"] for stored in bench.events(agreement)] == [line["id"]]
        assert bench.replay(letter["id"], "--yes") == []
    finally:
        bench.daemon.kill()


def test_while_kafka_is_away_those_that_wait_in_the_spool_are_shown_and_what_could_not_be_read_is_said(
    tmp_path: Path,
) -> None:
    (nobody,) = free_ports(1)
    settings: dict[str, object] = {"kafka__bootstrap_servers": f"{HOST}:{nobody}"}
    with Daemon(tmp_path, **settings) as daemon:
        answer = daemon.get("/lead_created?lead_id=%FF").json
        assert answer["outcome"] == "dead_lettered"
        shown = here("dead-letters", "show", state_dir=daemon.state, **settings)
    assert [json.loads(line)["id"] for line in shown.stdout.splitlines()] == [answer["id"]]
    assert (shown.returncode, f"{HOST}:{nobody}" in shown.stderr) == (1, True)


def test_a_replay_whose_reader_has_enough_is_no_success_and_can_be_run_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreements = [name(), name()]
    letters = [bench.bury(f"agreement_id={agreement}&status=signed")["id"] for agreement in agreements]
    bench.fix()

    def put(*_: bytes) -> None:
        raise ReaderGoneError

    with monkeypatch.context() as patched:
        patched.setattr(dead_letters, "put", put)
        done = bench.run("replay", *letters, "--yes")
    assert (done.returncode, "1 of 2 done. Run this again for the others." in done.stderr) == (1, True)
    assert len(bench.replay(*letters, "--yes")) == 1
    assert [len(bench.events(agreement)) for agreement in agreements] == [1, 1]
