"""`aurora-bridge replay`: a window of a topic into another one, unchanged, and never where the daemon would read it."""

import json
import re
from collections import defaultdict
from datetime import UTC, datetime
from subprocess import CompletedProcess
from time import time
from typing import Final
from unittest.mock import patch

import pytest

from tests.cli.in_process import here
from tests.cli.spools import value_of
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.topics import Record, create_topics, produce, read_all

pytestmark = pytest.mark.slow

NOW: Final = int(time() * 1000)
SOURCE, TARGET = "lead_created", "copies"
MANY: Final = 5000
SUBJECTS: Final = 50
SECOND: Final = 1000


class Topics:
    """A topic with events, and one to copy them into."""

    def __init__(self, kafka: KafkaCluster | NamedKafka, prefix: str) -> None:
        self.bootstrap, self.prefix = kafka.bootstrap, prefix
        self.source, self.target = prefix + SOURCE, f"{prefix}{TARGET}"
        create_topics(kafka.bootstrap, self.source, self.target, partitions=3)

    def write(self, *ages: int) -> None:
        """Write a record for each of the ages, in seconds, in binary mode, which says more in its headers."""
        for number, age in enumerate(ages):
            id_ = f"{number:032x}"
            headers: dict[str, str | bytes | None] = {
                "ce_id": id_,
                "ce_fingerprint": id_,
                "ce_time": "2026-11-24T03:05:11.454Z",
                "aurora-bridge-attempt": "1",
                "aurora-bridge-nothing": None,
            }
            record = Record(
                self.source, number % 3, -1, f"key-{number}".encode(), b'{"a":1}', headers, NOW - age * SECOND
            )
            produce(self.bootstrap, record)

    def replay(self, *arguments: str, topic: str = "", into: str = "") -> CompletedProcess[str]:
        return here(
            *("replay", "--topic", topic or self.source, "--into", into or self.target, *arguments),
            kafka__bootstrap_servers=self.bootstrap,
            kafka__topic_prefix=self.prefix,
        )

    def copies(self) -> list[Record]:
        return read_all(self.bootstrap, [self.target])


@pytest.fixture
def topics(kafka: KafkaCluster | NamedKafka, prefix: str) -> Topics:
    return Topics(kafka, prefix)


def test_what_was_published_in_the_window_is_there_again_unchanged(topics: Topics) -> None:
    topics.write(500, 400, 300, 200, 100)
    produce(topics.bootstrap, Record(topics.source, 0, -1, b"key", b"no event", {}, NOW - 300 * SECOND))
    begin, end = (datetime.fromtimestamp(NOW / 1000 - age, UTC).isoformat() for age in (450, 150))
    done = topics.replay("--from", begin, "--to", end)
    assert done.returncode == 0, done.stderr
    assert f"3 republished from {topics.source} into {topics.target}" in done.stderr
    assert f"{topics.source}-0@2 is not JSON; skipped." in done.stderr
    came = {(record.key, record.value, tuple(record.headers.items())) for record in topics.copies()}
    wanted = [record for record in read_all(topics.bootstrap, [topics.source]) if record.value != b"no event"]
    window = range(NOW - 450 * SECOND, NOW - 150 * SECOND)
    assert came == {
        (record.key, record.value, tuple(record.headers.items())) for record in wanted if record.timestamp in window
    }
    assert len(came) == 3


def test_many_are_copied_in_the_order_of_their_subjects_and_the_progress_is_told(topics: Topics) -> None:
    def value(number: int) -> bytes:
        event = json.loads(value_of(f"{number:032x}")) | {"subject": f"lead/{number % SUBJECTS}"}
        return json.dumps(event).encode()

    records = [
        Record(topics.source, number % SUBJECTS % 3, -1, str(number).encode(), value(number), {}, NOW)
        for number in range(MANY)
    ]
    produce(topics.bootstrap, *records)
    with patch("aurora_bridge.cli.replay._TELL_SECONDS", -1):
        done = topics.replay("--from", "6h")
    assert done.returncode == 0, done.stderr
    *progress, last = done.stderr.splitlines()
    assert progress[-1] == f"{MANY} republished"
    assert last == f"{MANY} republished from {topics.source} into {topics.target}"
    copies = topics.copies()
    assert len(copies) == MANY
    assert by_subject(copies) == by_subject(read_all(topics.bootstrap, [topics.source]))
    assert len({(int(record.key or b"") % SUBJECTS, record.partition) for record in copies}) == SUBJECTS


def by_subject(records: list[Record]) -> dict[int, list[int]]:
    """Return the numbers of records by their subject, in their order."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for record in records:
        number = int(record.key or b"")
        found[number % SUBJECTS].append(number)
    return found


@pytest.mark.parametrize("event", [SOURCE, "lead_changed", "unrecognized", "dead_letter"])
def test_nothing_goes_into_a_topic_that_is_followed(topics: Topics, event: str) -> None:
    topics.write(10)
    done = topics.replay("--from", "6h", into=topics.prefix + event)
    assert (done.returncode, done.stderr.count("is a topic that the daemon writes to and follows")) == (1, 1)
    assert len(read_all(topics.bootstrap, [topics.source])) == 1


def test_nothing_goes_back_into_the_topic_that_is_read(topics: Topics) -> None:
    done = topics.replay("--from", "6h", topic=topics.target)
    assert (done.returncode, done.stderr) == (1, "--into is the topic that --topic names. Name another one.\n")


def test_a_topic_that_is_missing_is_told_and_not_created(topics: Topics) -> None:
    done = topics.replay("--from", "6h", into=f"{topics.prefix}nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith(f"There is no topic {topics.prefix}nowhere.")
    done = topics.replay("--from", "6h", topic=f"{topics.prefix}nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith(f"There is no topic {topics.prefix}nowhere.")


def test_a_window_that_is_empty_is_told(topics: Topics) -> None:
    done = topics.replay("--from", "6h", "--to", "12h")
    assert done.returncode == 1
    assert re.fullmatch(r"--from \(.*\) must be before --to \(.*\)\. Correct one of the two\.\n", done.stderr)


def test_what_kafka_refuses_ends_it_with_the_reason(topics: Topics) -> None:
    create_topics(topics.bootstrap, f"{topics.prefix}small", partitions=1, config={"max.message.bytes": "200"})
    big = json.loads(value_of("0" * 32)) | {"data": {"a": "x" * 1000}}
    produce(topics.bootstrap, Record(topics.source, 0, -1, b"key", json.dumps(big).encode(), {}, NOW))
    done = topics.replay("--from", "6h", into=f"{topics.prefix}small")
    assert done.returncode == 1
    assert "message_too_large" in done.stderr
    assert "0 were republished" in done.stderr
