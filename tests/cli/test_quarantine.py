"""`aurora-bridge quarantine`: what Kafka rejects can be seen, sent again, and deleted."""

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from aurora_bridge.outbox.spool_file import FILE, start_spool
from aurora_bridge.state.directory import locked
from tests.cli.in_process import here
from tests.cli.spools import fill
from tests.e2e.stores import Place, spooled
from tests.outbox.records import make_record
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import PATIENT, Daemon
from tests.support.topics import configure_topic, create_topics

RECEIVED_MS = 1_795_454_645_123
"""2026-11-23T17:24:05.123Z."""


def quarantine(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return here("quarantine", *arguments, state_dir=state)


def listed(state: Path) -> dict[str, str]:
    """Return the rows of what is quarantined, by their ids."""
    _, *lines = quarantine(state, "list").stdout.splitlines() or [""]
    return {line.split()[-1]: line.split()[0] for line in lines}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The directory of a daemon that is gone: one event waits, two were quarantined."""
    state = tmp_path / "state"
    fill(state, make_record("waits"))
    refused = make_record("a", time_ms=RECEIVED_MS), make_record("b", size=100, time_ms=RECEIVED_MS)
    fill(state, *refused, quarantined="message_too_large")
    return state


def test_a_living_daemon_sends_again_or_deletes_what_kafka_refused(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    place, topic = Place(prefix, kafka.bootstrap), f"{prefix}lead_changed"
    create_topics(kafka.bootstrap, topic, config={"max.message.bytes": "2000"})
    with place.daemon(tmp_path, **PATIENT) as daemon:
        daemon.wait_until_connected()
        sent, deleted = (
            daemon.get(f"/lead_changed?lead_id={name}&note={'x' * 3000}").json["id"] for name in ("sent", "deleted")
        )
        rows = listed(daemon.state)
        assert list(rows) == [sent, deleted]
        assert json.loads(quarantine(daemon.state, "show", rows[sent]).stdout)["id"] == sent

        again = quarantine(daemon.state, "retry", rows[sent])
        assert (again.returncode, again.stderr) == (0, "1 back in the queue\n")
        daemon.wait_until("Kafka refused it again", lambda daemon: sent in listed(daemon.state))

        discarded = quarantine(daemon.state, "discard", rows[deleted], "--yes")
        assert (discarded.returncode, discarded.stderr) == (0, "1 deleted\n")
        assert json.loads(discarded.stdout)["id"] == deleted
        assert list(listed(daemon.state)) == [sent]

        configure_topic(kafka.bootstrap, topic, {"max.message.bytes": "1000000"})

        def arrived(daemon: Daemon) -> bool:
            quarantine(daemon.state, "retry", "--all")  # the broker may need a moment to learn its new limit
            return [stored.key for stored in place.read(daemon)] == [sent]

        daemon.wait_until("it is in Kafka", arrived)
        daemon.wait_until_drained()
        assert listed(daemon.state) == {}
        daemon.wait_until_connected()
        assert daemon.get("/lead_changed?lead_id=small").json["outcome"] == "published"


def damage(state: Path, row: int) -> None:
    """Damage the content of a row, which SQLite does not notice."""
    with closing(sqlite3.connect(state / FILE)) as db:
        db.execute("UPDATE events SET value='{' WHERE seq=?", (row,))
        db.commit()


@pytest.mark.parametrize("words", ["quarantine list", "quarantine show 2", "quarantine discard 2 --yes", "tail"])
def test_a_damaged_event_is_told_with_what_to_do_and_the_next_start_salvages_the_others(
    state: Path, words: str
) -> None:
    damage(state, 2)
    ended = here(*words.split(), state_dir=state)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"{state / FILE} is damaged: the content of a row is damaged. Restart the daemon: its start salvages what can "
        "be read.\n"
    )
    with closing(start_spool(state, 2**26)[0]) as db:
        assert db.execute("SELECT seq FROM events").fetchall() == [(1,), (3,)]


@pytest.mark.parametrize(
    ("words", "rows"), [("retry 3", [2]), ("discard 3 --yes", [2]), ("retry 2", [3]), ("retry --all", [])]
)
def test_a_damaged_event_holds_up_none_of_the_others(state: Path, words: str, rows: list[int]) -> None:
    damage(state, 2)
    ended = quarantine(state, *words.split())
    assert ended.returncode == 0
    with closing(sqlite3.connect(state / FILE)) as db:
        assert db.execute("SELECT seq FROM events WHERE set_aside IS NOT NULL").fetchall() == [(row,) for row in rows]


def test_what_was_quarantined_is_a_line_with_row_reason_size_receipt_event_and_id(state: Path) -> None:
    ended = quarantine(state, "list")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line.split() for line in ended.stdout.splitlines()] == [
        ["row", "reason", "bytes", "received", "event", "id"],
        ["2", "message_too_large", "23", "2026-11-23T17:24:05.123Z", "lead_changed", "a"],
        ["3", "message_too_large", "123", "2026-11-23T17:24:05.123Z", "lead_changed", "b"],
    ]


def test_the_list_is_also_json_lines(state: Path) -> None:
    ended = quarantine(state, "list", "--json")
    received = "2026-11-23T17:24:05.123Z"
    expected = {"reason": "message_too_large", "received": received, "event": "lead_changed"}
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [json.loads(line) for line in ended.stdout.splitlines()] == [
        {"row": 2, "bytes": 23, "id": "a", **expected},
        {"row": 3, "bytes": 123, "id": "b", **expected},
    ]


def test_an_empty_list_has_no_json_lines(tmp_path: Path) -> None:
    fill(tmp_path, make_record("waits"))
    ended = quarantine(tmp_path, "list", "--json")
    assert (ended.returncode, ended.stdout) == (0, "")


def test_everything_can_be_discarded(state: Path) -> None:
    discarded = quarantine(state, "discard", "--all", "--yes")
    assert (discarded.returncode, discarded.stderr) == (0, "2 deleted\n")
    assert [json.loads(line)["id"] for line in discarded.stdout.splitlines()] == ["a", "b"]
    assert [stored.key for stored in spooled(state)] == ["waits"]


@pytest.mark.parametrize("row", ["0", "-1", "9223372036854775808", "9" * 5000, "1.5", "x"])
@pytest.mark.parametrize("words", [("show",), ("retry",), ("discard", "--yes")])
def test_a_number_that_no_row_has_is_wrong_usage(state: Path, words: tuple[str, ...], row: str) -> None:
    ended = quarantine(state, *words, row)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "is not a row: use a whole number above 0" in ended.stderr
    assert len(spooled(state)) == 3


def test_events_are_shown_by_their_rows_as_json(state: Path) -> None:
    shown = quarantine(state, "show", "3", "2")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert [json.loads(line)["id"] for line in shown.stdout.splitlines()] == ["a", "b"]


def test_where_no_daemon_lives_a_retry_puts_the_event_back_for_the_next_start(state: Path) -> None:
    again = quarantine(state, "retry", "2")
    assert (again.returncode, again.stderr) == (0, "1 back in the queue\n")
    assert list(listed(state)) == ["b"]
    assert [stored.key for stored in spooled(state)] == ["waits", "a", "b"]


def test_where_no_daemon_lives_a_discard_deletes_and_prints_the_event(state: Path) -> None:
    discarded = quarantine(state, "discard", "2", "3", "--yes")
    assert (discarded.returncode, discarded.stderr) == (0, "2 deleted\n")
    assert [json.loads(line)["id"] for line in discarded.stdout.splitlines()] == ["a", "b"]
    assert [stored.key for stored in spooled(state)] == ["waits"]


@pytest.mark.parametrize("arguments", [("show",), ("retry",), ("discard", "--yes")])
def test_a_row_that_is_not_in_quarantine_is_told_with_exit_code_1_and_left_alone(
    state: Path, arguments: tuple[str, ...]
) -> None:
    ended = quarantine(state, *arguments, "1", "17")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "not in quarantine: 1, 17. `aurora-bridge quarantine list` shows what is." in ended.stderr
    assert [stored.key for stored in spooled(state)] == ["waits", "a", "b"]


@pytest.mark.parametrize(
    "arguments", [("retry",), ("retry", "--all", "2"), ("discard", "--all"), ("discard", "--yes"), ()]
)
def test_which_rows_and_that_a_discard_is_meant_must_be_said(state: Path, arguments: tuple[str, ...]) -> None:
    ended = quarantine(state, *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "usage: aurora-bridge quarantine" in ended.stderr
    assert len(spooled(state)) == 3


def test_a_directory_that_is_held_by_who_does_not_listen_is_told_and_left_alone(state: Path) -> None:
    with locked(state):
        ended = quarantine(state, "retry", "2")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"The daemon that holds {state} does not answer at {state}/control.sock" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [("list",), ("show", "1"), ("retry", "1"), ("discard", "1", "--yes")])
def test_a_directory_without_a_spool_is_told_and_not_made(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = quarantine(tmp_path / "nowhere", *arguments)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "nowhere holds no events" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_its_former_name_says_the_new_one() -> None:
    ended = here("set-aside", "list")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "aurora-bridge: `set-aside` is now `quarantine`: run `aurora-bridge quarantine`.\n"


def test_beside_a_living_daemon_that_quarantined_nothing_there_is_nothing_to_do(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.get("/lead_changed?lead_id=1")
        seen, again = quarantine(daemon.state, "list"), quarantine(daemon.state, "retry", "--all")
    assert (seen.returncode, seen.stderr) == (0, "the quarantine is empty\n")
    assert (again.returncode, again.stderr) == (0, "0 back in the queue\n")
