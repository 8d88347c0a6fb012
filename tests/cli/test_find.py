"""`aurora-bridge find`: every copy of an event, wherever it lies, and how often it was received."""

import json
from pathlib import Path
from subprocess import CompletedProcess
from time import time
from typing import Any

import pytest

from aurora_bridge.dedup.index import FILE as INDEX
from aurora_bridge.outbox.record import OutboxRecord
from tests.cli.in_process import here
from tests.cli.spools import fill, value_of
from tests.outbox.records import make_record
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import Daemon
from tests.support.ports import HOST, free_ports
from tests.support.topics import ANY_TIME, create_topics, produce, read_all
from tests.support.topics import Record as Stored

DAY_MS = 86_400_000
PRINT = "0123456789abcdef0123456789abcdef"


def lines(ended: CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ended.stdout.splitlines()]


def spooled(id_: str, event: str = "lead_changed", *, key: str = "lead/1") -> OutboxRecord:
    """Return a record as it is kept in the spool; its key tells nothing."""
    record = make_record(key, event)
    record.fingerprint, record.value = id_.partition(".")[0], value_of(id_)
    return record


def test_in_kafka_it_is_found_by_its_id_with_its_place_its_receipt_and_its_route(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    with Daemon(tmp_path, **settings) as daemon:
        daemon.wait_until_connected()
        state, once, again = (
            daemon.get(target).json["id"]
            for target in (
                "/agreement_status_changed?agreement_id=a-1&status=signed",
                "/project_created?project_id=p-1&source=app",
                "/lead_changed?lead_id=l-1",
            )
        )
        assert daemon.get("/project_created?project_id=p-1&source=app").json["outcome"] == "duplicate"
        assert daemon.terminate() == 0
    topic = f"{prefix}agreement_status_changed"
    (stored,) = read_all(kafka.bootstrap, [topic])
    produce(kafka.bootstrap, stored)  # a copy, as a crash can leave one

    found = here("find", state, state_dir=daemon.state, **settings)
    assert found.returncode == 0
    assert [(line["topic"], line["partition"], line["offset"]) for line in lines(found)] == [
        (topic, stored.partition, stored.offset),
        (topic, stored.partition, stored.offset + 1),
    ]
    told = {name: str(lines(found)[0][name]) for name in ("where", "id", "event", "received", "attempt", "route")}
    assert told == {
        "where": "kafka",
        "id": state,
        "event": "agreement_status_changed",
        "received": json.loads(stored.value or b"")["time"],
        "attempt": "1",
        "route": "default",
    }
    assert lines(found)[0]["instance"] == (daemon.state / "instance").read_text().strip()
    assert found.stderr == f"2 copies: 2 in Kafka.\nThe index has it as first received {told['received']}.\n"

    (line,) = lines(here("find", once, state_dir=daemon.state, **settings))
    assert (line["id"], line["event"]) == (once, "project_created")
    by_fingerprint = here("find", again.partition(".")[0], state_dir=daemon.state, **settings)
    assert [line["id"] for line in lines(by_fingerprint)] == [again]
    elsewhere = here("find", state, "--event", "lead_changed", state_dir=daemon.state, **settings)
    assert (elsewhere.returncode, elsewhere.stdout) == (1, "")
    assert f"{state} was not found in the spool in {daemon.state}; topic {prefix}lead_changed at" in elsewhere.stderr


def test_a_topic_is_read_from_the_time_in_the_id_on(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    topic = f"{prefix}lead_changed"
    create_topics(kafka.bootstrap, topic, partitions=1, config=ANY_TIME)
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix, "state_dir": tmp_path}
    day, millisecond = f"{PRINT}.20261123", f"{PRINT}.20261123T172405123"
    noon = 1_795_435_200_000
    for id_, timestamp in (
        (day, noon - 2 * DAY_MS),
        (day, noon),
        (millisecond, noon),
        (millisecond, 1_795_454_645_123),
    ):
        produce(kafka.bootstrap, Stored(topic, 0, 0, b"key", value_of(id_), {}, timestamp))
    assert [line["offset"] for line in lines(here("find", PRINT, **settings))] == [0, 1, 2, 3]
    assert [line["offset"] for line in lines(here("find", day, **settings))] == [1]
    assert [line["offset"] for line in lines(here("find", millisecond, **settings))] == [3]
    assert [line["offset"] for line in lines(here("find", PRINT, "--since", "2026-11-23", **settings))] == [1, 2, 3]


def test_neither_a_key_nor_what_is_no_event_makes_a_copy(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    topic = f"{prefix}lead_changed"
    create_topics(kafka.bootstrap, topic, partitions=1)
    for key, value in ((PRINT, value_of("f" * 32)), (PRINT, b"{}"), (PRINT, b"\xff"), ("", value_of(PRINT))):
        produce(kafka.bootstrap, Stored(topic, 0, 0, key.encode(), value, {}, int(time() * 1000)))
    fill(tmp_path, spooled("f" * 32, key=PRINT), spooled(PRINT))
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix, "state_dir": tmp_path}
    found = lines(here("find", PRINT, **settings))
    assert [(line["where"], line.get("offset"), line.get("row")) for line in found] == [
        ("spool", None, 2),
        ("kafka", 3, None),
    ]


def test_in_the_spool_what_waits_is_told_from_what_was_quarantined(tmp_path: Path) -> None:
    fill(tmp_path, spooled(PRINT), spooled(f"{PRINT}.20261124"), spooled("f" * 32))
    fill(tmp_path, spooled(f"{PRINT}.20261125"), quarantined="message_too_large")
    found = here("find", PRINT, state_dir=tmp_path)
    assert (found.returncode, found.stderr) == (0, "3 copies: 2 in the spool, 1 in quarantine.\n")
    assert [(line["where"], line["row"], line["id"], line.get("reason")) for line in lines(found)] == [
        ("spool", 1, PRINT, None),
        ("spool", 2, f"{PRINT}.20261124", None),
        ("quarantine", 4, f"{PRINT}.20261125", "message_too_large"),
    ]
    one = here("find", f"{PRINT}.20261124", state_dir=tmp_path)
    assert [line["row"] for line in lines(one)] == [2]


def test_beside_a_living_daemon_the_spool_is_read(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        id_ = daemon.get("/lead_changed?lead_id=1").json["id"]
        found = here("find", id_, state_dir=daemon.state)
    assert [(line["where"], line["id"], line["route"]) for line in lines(found)] == [("spool", id_, "default")]


def test_what_is_nowhere_is_told_with_exit_code_1_and_where_it_was_looked_for(tmp_path: Path) -> None:
    nowhere = here("find", PRINT, state_dir=tmp_path)
    assert (nowhere.returncode, nowhere.stdout) == (1, "")
    assert f"{PRINT} was not found in" in nowhere.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_index_that_cannot_be_read_is_told_and_what_is_found_is_found(tmp_path: Path) -> None:
    fill(tmp_path, spooled(PRINT))
    (tmp_path / INDEX).write_bytes(b"\xff" * 4096)
    found = here("find", PRINT, state_dir=tmp_path)
    assert (found.returncode, len(lines(found))) == (0, 1)
    summary, index = found.stderr.splitlines()
    assert summary == "1 copy: 1 in the spool."
    assert index.startswith(f"{tmp_path / INDEX} cannot be read: file is not a database")


def test_when_kafka_is_away_what_the_spool_holds_is_printed_with_exit_code_1(tmp_path: Path) -> None:
    (nobody,) = free_ports(1)
    fill(tmp_path, spooled(PRINT))
    found = here("find", PRINT, state_dir=tmp_path, kafka__bootstrap_servers=f"{HOST}:{nobody}")
    assert (found.returncode, len(lines(found))) == (1, 1)
    assert f"Kafka at {HOST}:{nobody} cannot be read" in found.stderr


@pytest.mark.parametrize("text", ["", "0123", PRINT.upper(), f"{PRINT}.2026", f"{PRINT}.20261399", f"{PRINT}%"])
def test_what_is_no_id_is_wrong_usage_and_answered_with_an_example(text: str) -> None:
    ended = here("find", text)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"{text!r} is not an event's id" in ended.stderr
