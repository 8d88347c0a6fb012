"""What the commands make of records: as they were written before, and under whatever key. An id stands in no key."""

import json
from collections.abc import Mapping
from pathlib import Path
from time import time
from typing import Any, Final

import pytest

from tests.cli.in_process import here
from tests.cli.spools import value_of
from tests.e2e.stores import published
from tests.samples.load import load_old_records, make_old_spool
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import Daemon
from tests.support.topics import ANY_TIME, create_topics, produce, transact
from tests.support.topics import Record as Stored

MODES: Final = ["structured", "binary"]
SIGNED: Final = "/agreement_status_changed?agreement_id=a-1&status=signed"
ID: Final = "0123456789abcdef0123456789abcdef"
ORDER: Final = "/order_created?order_id=1"


def events(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.parametrize("content_mode", MODES)
def test_records_of_before_are_found_and_printed(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path, content_mode: str
) -> None:
    records = load_old_records(content_mode)
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix, "state_dir": tmp_path}
    create_topics(kafka.bootstrap, *{prefix + record.topic for record in records}, config=ANY_TIME)
    for old in records:
        headers: dict[str, str | bytes | None] = dict(old.headers)
        key, value = old.key.encode(), old.value.encode()
        produce(kafka.bootstrap, Stored(prefix + old.topic, old.partition, 0, key, value, headers, old.timestamp))
    printed = events(here("tail", **settings).stdout)
    assert {event["id"]: event["time"] for event in printed} == {
        old.key: old.headers["aurora-bridge-time"] for old in records
    }
    for old in records:
        (copy,) = events(here("find", old.key, **settings).stdout)
        assert {name: copy[name] for name in ("id", "event", "received", "attempt", "route", "instance")} == {
            "id": old.key,
            "event": old.topic,
            "received": f"{old.headers['aurora-bridge-time'][:23]}Z",
            "attempt": "1",
            "route": "default",
            "instance": old.headers["aurora-bridge-instance"],
        }


@pytest.mark.parametrize("content_mode", MODES)
def test_a_spool_of_before_is_printed_searched_and_drained(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path, content_mode: str
) -> None:
    make_old_spool(content_mode, tmp_path / "spool.db")
    printed = events(here("tail", state_dir=tmp_path).stdout)
    assert len(printed) == 8
    assert [len(event["time"]) for event in printed] == [len("2026-11-23T17:24:05.123456Z")] * 8
    for row, event in enumerate(printed, 1):
        (copy,) = events(here("find", event["id"], state_dir=tmp_path).stdout)
        where = "quarantine" if row == 5 else "spool"
        assert (copy["where"], copy["row"], copy["received"]) == (where, row, f"{event['time'][:23]}Z")
    listed = here("quarantine", "list", state_dir=tmp_path).stdout.splitlines()[1:]
    assert [(line.split()[0], line.split()[-1]) for line in listed] == [("5", printed[4]["id"])]
    assert events(here("quarantine", "show", "5", state_dir=tmp_path).stdout) == [printed[4]]

    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    create_topics(kafka.bootstrap, *{prefix + old.topic for old in load_old_records(content_mode)}, config=ANY_TIME)
    assert here("quarantine", "retry", "5", state_dir=tmp_path).returncode == 0
    assert here("drain", str(tmp_path), **settings).returncode == 0
    there = events(here("tail", state_dir=tmp_path, **settings).stdout)
    assert sorted(there, key=_id) == sorted(printed, key=_id)


def _id(event: Mapping[str, Any]) -> str:
    return str(event["id"])


@pytest.mark.parametrize("content_mode", MODES)
def test_with_the_subject_as_key_the_id_is_in_the_event_and_what_has_no_subject_has_its_id_as_key(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path, content_mode: str
) -> None:
    settings = {
        "kafka__bootstrap_servers": kafka.bootstrap,
        "kafka__topic_prefix": prefix,
        "kafka__key": "subject",
        "kafka__content_mode": content_mode,
    }
    with Daemon(tmp_path, **settings) as daemon:
        daemon.wait_until_connected()
        daemon.wait_until("the index knows", lambda daemon: daemon.metrics().value("aurora_bridge_index_complete"))
        signed, order = (daemon.get(target).json["id"] for target in (SIGNED, ORDER))
        assert daemon.get(SIGNED).json == {"id": signed, "outcome": "duplicate"}
        assert daemon.terminate() == 0
    assert {record.topic: record.key for record in published(kafka.bootstrap, prefix)} == {
        "agreement_status_changed": "agreement/a-1",
        "order_created": order,
    }
    assert {event["id"] for event in events(here("tail", **settings).stdout)} == {signed, order}
    for wanted in (signed, order):
        (copy,) = events(here("find", wanted, state_dir=daemon.state, **settings).stdout)
        assert (copy["where"], copy["id"]) == ("kafka", wanted)


@pytest.mark.parametrize("content_mode", MODES)
def test_so_has_what_waits_in_the_spool(tmp_path: Path, content_mode: str) -> None:
    with Daemon(tmp_path, kafka__key="subject", kafka__content_mode=content_mode) as daemon:
        signed = daemon.get(SIGNED).json["id"]
        (event,) = events(here("tail", "--where", f"id={signed}", state_dir=daemon.state).stdout)
        (copy,) = events(here("find", signed, state_dir=daemon.state).stdout)
    assert (event["id"], copy["where"], copy["id"]) == (signed, "spool", signed)


def test_what_strangers_wrote_is_skipped_and_named_and_the_marker_of_a_transaction_is_an_end(
    kafka: KafkaCluster | NamedKafka, prefix: str
) -> None:
    topic, ids = f"{prefix}project_created", [f"{number:032}" for number in range(3)]
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    create_topics(kafka.bootstrap, topic, partitions=1)
    foreign: tuple[tuple[bytes, dict[str, str | bytes | None]], ...] = (
        (b"hello", {}),
        (value_of(ids[0]), {"ce_time": b"\xff"}),
        (value_of(ids[1]), {"aurora-bridge-route": b"\xff", "aurora-bridge-attempt": None}),
    )
    for value, headers in foreign:
        produce(kafka.bootstrap, Stored(topic, 0, 0, None, value, headers, int(time() * 1000)))
    transact(kafka.bootstrap, topic, value_of(ids[2]), commit=False)

    printed = here("tail", **settings)
    assert (printed.returncode, printed.stderr) == (0, f"{topic}-0@0 is not JSON; skipped.\n")
    assert [event["id"] for event in events(printed.stdout)] == ids[:2]
    found = here("find", ids[1], **settings)
    assert (found.returncode, found.stderr) == (0, f"{topic}-0@0 is not JSON; skipped.\n1 copy: 1 in Kafka.\n")
    assert [(copy["offset"], copy["route"], copy["attempt"]) for copy in events(found.stdout)] == [(2, "\ufffd", "")]
    assert here("find", ids[2], **settings).returncode == 1


@pytest.mark.parametrize("data", ["null", "[]", '"status"', "1"])
def test_data_that_is_no_object_meets_no_condition(kafka: KafkaCluster | NamedKafka, prefix: str, data: str) -> None:
    topic = f"{prefix}lead_changed"
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    create_topics(kafka.bootstrap, topic)
    value = json.dumps(json.loads(value_of(ID)) | {"data": json.loads(data)}).encode()
    produce(kafka.bootstrap, Stored(topic, 0, 0, None, value, {}, int(time() * 1000)))
    printed = here("tail", "--where", "status=signed", **settings)
    assert (printed.returncode, printed.stdout, printed.stderr) == (0, "", "")
    assert here("tail", "--where", f"id={ID}", **settings).stdout == f"{value.decode()}\n"
