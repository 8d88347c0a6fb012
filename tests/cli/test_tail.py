"""`aurora-bridge tail`: the events as JSON lines, from the embedded log or from Kafka, and nothing but the events."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from time import time, time_ns
from typing import Final

import pytest

from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.webhook.catalogue import Recurrence
from aurora_bridge.webhook.event import Event, Headers, encode, encode_binary, rfc3339
from tests.cli.in_process import here
from tests.cli.spools import fill, value_of
from tests.outbox.records import make_record
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import PATIENT, PROGRAM, SECONDS, Daemon, command, environment
from tests.support.ports import HOST, free_ports
from tests.support.topics import ANY_TIME, create_topics, produce, topic_names
from tests.support.topics import Record as Stored

pytestmark = pytest.mark.slow

TARGETS: Final = (
    "/project_created?project_id=p-1&source=app",
    "/lead_changed?lead_id=l-1",
    "/design_request_completed?design_request_id=r-1&status=designer_completed",
    "/agreement_status_changed?agreement_id=%3CAGREEMENT_ID%3E",
    "/roof_painted?roof_id=caf%C3%A9",
    "/lead_changed?lead_id=l-2",
)


MOMENTS: Final = (1_795_454_645_000, 1_795_454_645_999, 1_795_454_646_000, 1_795_454_645_500, 1_795_541_045_000)
"""Receipts in milliseconds: 2026-11-23T17:24:05Z, a moment later, two out of order, and the next day."""

SINCE: Final = {
    "2026-11-23T17:24:05Z": [0, 1, 2, 3, 4],
    "2026-11-23T17:24:05.500Z": [1, 2, 3, 4],
    "2026-11-23T18:24:06+01:00": [2, 4],
    "2026-11-24": [4],
    "2026-11-25T00:00:00": [],
}


def at(number: int, timestamp_ms: int) -> OutboxRecord:
    """Return a record received then."""
    return make_record(str(number), time_ms=timestamp_ms)


def numbers(output: str) -> list[int]:
    """Return the numbers of the records in an output."""
    return [int(json.loads(line)["id"]) for line in output.splitlines()]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A living daemon with some events in its embedded log."""
    with Daemon(tmp_path_factory.mktemp("tail")) as daemon:
        for target in TARGETS:
            assert daemon.get(target).status == 200
        yield daemon


def tail(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command beside a daemon."""
    return here("tail", *arguments, state_dir=daemon.state)


def types(output: str) -> list[str]:
    """Return the types of the events in the lines of an output, without what they have in common."""
    return [json.loads(line)["type"].removeprefix("com.aurorasolar.") for line in output.splitlines()]


@contextmanager
def following(folder: Path, *arguments: str, **settings: object) -> Iterator[subprocess.Popen[str]]:
    """Run `tail --follow`; a reader that waits for a line too long finds the end of the output."""
    process = subprocess.Popen(
        [PROGRAM, "tail", "--follow", *arguments],
        cwd=folder,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = Timer(SECONDS, process.kill)
    watchdog.start()
    try:
        with process:
            yield process
            process.wait(SECONDS)
    finally:
        watchdog.cancel()
        process.kill()


def lines(process: subprocess.Popen[str], count: int) -> str:
    """Return the next lines of its output."""
    assert process.stdout is not None
    return "".join(process.stdout.readline() for _ in range(count))


# The embedded log.


def test_of_what_is_there_the_last_are_printed(daemon: Daemon) -> None:
    everything = tail(daemon).stdout.splitlines()
    for n in (0, 1, 4, len(everything), 1_000_000):
        ended = tail(daemon, "-n", str(n))
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout.splitlines() == everything[len(everything) - min(n, len(everything)) :]


def test_the_last_are_counted_among_those_that_are_asked_for(daemon: Daemon) -> None:
    assert [
        json.loads(line)["data"]["lead_id"]
        for line in tail(daemon, "-n", "1", "--event", "lead_changed").stdout.splitlines()
    ] == ["l-2"]
    assert types(tail(daemon, "-n", "2", "--where", "lead_id=l-1").stdout) == ["lead_changed"]


@pytest.mark.parametrize("n", ["-1", "1000001", "9" * 5000, "1.5", "", "x"])
def test_a_number_of_events_that_is_out_of_range_is_wrong_usage(daemon: Daemon, n: str) -> None:
    ended = tail(daemon, f"--lines={n}")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "is not a number of events: use a whole number from 0 to 1000000." in ended.stderr


def test_what_follows_the_last_is_printed_as_it_comes(tmp_path: Path) -> None:
    fill(tmp_path, *(at(number, MOMENTS[0]) for number in range(3)))
    with following(tmp_path, "-n", "1", state_dir=tmp_path) as process:
        assert numbers(lines(process, 1)) == [2]
        fill(tmp_path, at(7, MOMENTS[0]), at(8, MOMENTS[0]))
        assert numbers(lines(process, 2)) == [7, 8]
        process.send_signal(signal.SIGINT)


def test_every_event_is_a_line_in_the_order_of_receipt(daemon: Daemon) -> None:
    ended = tail(daemon)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert types(ended.stdout) == [
        "project_created",
        "lead_changed",
        "design_request_completed",
        "aurora-bridge.dead_letter",
        "roof_painted",
        "lead_changed",
    ]
    assert "café" in ended.stdout


def test_an_event_is_printed_as_it_is_stored(daemon: Daemon) -> None:
    first, *_ = tail(daemon).stdout.splitlines()
    assert first == json.dumps(json.loads(first), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def test_only_the_named_events_are_printed(daemon: Daemon) -> None:
    ended = tail(daemon, "--event", "lead_changed", "--event", "dead_letter")
    assert types(ended.stdout) == ["lead_changed", "aurora-bridge.dead_letter", "lead_changed"]


@pytest.mark.parametrize("name", ["design_request_completion", "DesignRequestCompleted", "design-request-completed"])
def test_an_event_goes_by_its_old_names_too(daemon: Daemon, name: str) -> None:
    assert types(tail(daemon, "--event", name).stdout) == ["design_request_completed"]


def test_a_name_that_no_event_has_is_wrong_usage_and_answered_with_similar_ones(daemon: Daemon) -> None:
    ended = tail(daemon, "--event", "lead_change")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "no event is called 'lead_change'. Did you mean lead_changed?" in ended.stderr


def test_an_event_that_the_bridge_does_not_know_is_found_in_unrecognized(daemon: Daemon) -> None:
    ended = tail(daemon, "--event", "roof_painted")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "unrecognized" in ended.stderr
    assert types(tail(daemon, "--event", "unrecognized").stdout) == ["roof_painted"]


def test_the_log_can_be_read_after_the_daemons_end(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.get(TARGETS[0])
        assert daemon.terminate() == 0
    assert types(tail(daemon).stdout) == ["project_created"]


def test_a_state_directory_without_a_log_is_told_with_exit_code_1_and_not_made(tmp_path: Path) -> None:
    ended = command("tail", cwd=tmp_path, state_dir="nowhere")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "nowhere holds no events" in ended.stderr
    assert "AURORA_BRIDGE_STATE_DIR" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_log_is_told_with_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "spool.db").write_text("no database" * 100)
    ended = here("tail", state_dir=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "spool.db cannot be read" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_settings_can_come_from_a_file(daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "bridge.toml"
    file.write_text(f'state_dir = "{daemon.state}"\n')
    ended = here("tail", "--config", str(file))
    assert (ended.returncode, len(ended.stdout.splitlines())) == (0, len(TARGETS))


def test_following_goes_on_with_what_comes_until_it_is_interrupted(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.get(TARGETS[0])
        with following(
            tmp_path, "--event", "project_created", "--event", "lead_changed", state_dir=daemon.state
        ) as tail:
            assert types(lines(tail, 1)) == ["project_created"]
            daemon.get(TARGETS[1])
            assert types(lines(tail, 1)) == ["lead_changed"]
            daemon.get(TARGETS[4])
            daemon.get(TARGETS[5])
            assert types(lines(tail, 1)) == ["lead_changed"]
            tail.send_signal(signal.SIGINT)
            assert tail.communicate(timeout=SECONDS) == ("", "")
    assert tail.returncode == 0


def test_a_reader_that_has_enough_ends_it_quietly(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.get(TARGETS[0])
        with following(tmp_path, state_dir=daemon.state) as tail:
            assert tail.stdout is not None
            assert tail.stderr is not None
            lines(tail, 1)
            tail.stdout.close()
            daemon.get(TARGETS[1])
            assert tail.stderr.read() == ""
    assert tail.returncode == 0


def test_only_what_was_received_since_then_is_printed(tmp_path: Path) -> None:
    fill(tmp_path, *(at(number, timestamp) for number, timestamp in enumerate(MOMENTS)))
    for since, wanted in SINCE.items():
        ended = here("tail", "--since", since, state_dir=tmp_path)
        assert (since, ended.returncode, numbers(ended.stdout)) == (since, 0, wanted)


def test_a_duration_counts_back_from_now(tmp_path: Path) -> None:
    now = int(time() * 1000)
    ages = {"60s": 10, "15m": 14 * 60, "2h": 119 * 60, "1d": 23 * 3600}
    fill(tmp_path, *(at(number, now - age * 1000) for number, age in enumerate(ages.values())))
    for number, since in enumerate(ages):
        ended = here("tail", "--since", since, state_dir=tmp_path)
        assert numbers(ended.stdout) == list(range(number + 1))


@pytest.mark.parametrize(
    ("conditions", "wanted"),
    [
        (["source=app"], ["project_created"]),
        (["LeadId=l-2"], ["lead_changed"]),
        (["subject=project/p-1"], ["project_created"]),
        (["type=com.aurorasolar.roof_painted", "roof_id=café"], ["roof_painted"]),
        (["source=app", "project_id=p-2"], []),
        (["note="], []),
    ],
)
def test_only_events_that_meet_every_condition_are_printed(
    daemon: Daemon, conditions: list[str], wanted: list[str]
) -> None:
    arguments = [word for condition in conditions for word in ("--where", condition)]
    ended = here("tail", *arguments, state_dir=daemon.state)
    assert (ended.returncode, types(ended.stdout)) == (0, wanted)


def test_a_condition_finds_an_event_by_its_id_and_what_came_empty_by_nothing(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        id_ = daemon.get("/lead_changed?lead_id=1&note=").json["id"]
        daemon.get("/lead_changed?lead_id=2&note=x")
        by_id, empty = (here("tail", "--where", text, state_dir=daemon.state) for text in (f"id={id_}", "note="))
    assert [json.loads(line)["id"] for line in by_id.stdout.splitlines()] == [id_]
    assert by_id.stdout == empty.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--since", "yesterday"), "'yesterday' is not a time or a duration. Write a time as in 2026-11-23T17"),
        (("--since", "5 months"), "a duration before now as in 90s, 15m, 2h or 1d."),
        (("--where", "status"), "'status' is not a condition. Write NAME=VALUE: an attribute, as in status=signed"),
        (("--where", "=x"), "'=x' is not a condition."),
    ],
)
def test_what_is_no_time_or_no_condition_is_wrong_usage_and_answered_with_an_example(
    arguments: tuple[str, ...], words: str
) -> None:
    ended = here("tail", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert words in ended.stderr


# Kafka.


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_conditions_choose_among_what_is_in_kafka_whichever_mode_it_was_written_in(
    kafka: KafkaCluster | NamedKafka, prefix: str, mode: str
) -> None:
    topic = f"{prefix}lead_changed"
    create_topics(kafka.bootstrap, topic)
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    now = time_ns()
    for number in range(3):
        data: dict[str, str | None] = {"lead_id": f"l-{number}", "note": None}
        id_, received = f"{number:032}", rfc3339(now // 1000)
        event = Event("lead_changed", "com.aurorasolar.lead_changed", "t", Recurrence.SIGNAL, None, data, id_, None)
        headers: Headers = []
        if mode == "binary":
            value, headers = encode_binary(event, id_, received, repeat=False)
        else:
            value = encode(event, id_, received, repeat=False)
        produce(kafka.bootstrap, Stored(topic, number, 0, b"key", value, dict(headers), now // 1_000_000))
    everything = here("tail", **settings)
    some = here("tail", "--since", "1h", "--where", "lead_id=l-1", "--where", "note=", **settings)
    assert sorted(numbers(everything.stdout)) == [0, 1, 2]
    assert (numbers(some.stdout), json.loads(some.stdout)["type"]) == ([1], "com.aurorasolar.lead_changed")


def test_a_records_timestamp_in_kafka_says_whether_it_came_since_then(
    kafka: KafkaCluster | NamedKafka, prefix: str
) -> None:
    topic = f"{prefix}lead_changed"
    create_topics(kafka.bootstrap, topic, partitions=1, config=ANY_TIME)
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    for number, timestamp in enumerate(MOMENTS):
        produce(kafka.bootstrap, Stored(topic, 0, 0, b"key", value_of(f"{number:032}", timestamp), {}, timestamp))
    for since, wanted in SINCE.items():
        ended = here("tail", "--since", since, **settings)
        assert (since, ended.returncode, numbers(ended.stdout)) == (since, 0, wanted)


def test_an_event_that_was_drained_late_came_when_it_was_received(
    kafka: KafkaCluster | NamedKafka, prefix: str
) -> None:
    topic, fingerprint = f"{prefix}lead_changed", "f" * 32
    create_topics(kafka.bootstrap, topic, partitions=1, config=ANY_TIME)
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    for received in (MOMENTS[0] - 1, MOMENTS[0]):
        produce(kafka.bootstrap, Stored(topic, 0, 0, b"key", value_of(fingerprint, received), {}, MOMENTS[-1]))
    ended = here("tail", "--since", "2026-11-23T17:24:05Z", **settings)
    assert [json.loads(line)["time"] for line in ended.stdout.splitlines()] == ["2026-11-23T17:24:05.000Z"]


def test_the_last_events_in_kafka_are_the_newest_of_all_partitions(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    topics = [f"{prefix}lead_changed", f"{prefix}lead_created"]
    create_topics(kafka.bootstrap, *topics, partitions=1, config=ANY_TIME)
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}

    def store(topic: str, number: int, timestamp_ms: int) -> None:
        value = value_of(f"{number:032}", timestamp_ms)
        produce(kafka.bootstrap, Stored(topic, 0, 0, b"key", value, {}, timestamp_ms))

    for number, timestamp_ms in enumerate(MOMENTS):
        store(topics[number % 2], number, timestamp_ms)
    for n, wanted in ((0, []), (1, [4]), (3, [1, 2, 4]), (9, [0, 3, 1, 2, 4])):
        ended = here("tail", "-n", str(n), **settings)
        assert (ended.returncode, numbers(ended.stdout)) == (0, wanted)
    with following(tmp_path, "-n", "2", **settings) as tail:
        assert numbers(lines(tail, 2)) == [2, 4]
        store(topics[0], 7, MOMENTS[0])
        assert numbers(lines(tail, 1)) == [7]
        tail.send_signal(signal.SIGINT)


def test_with_kafka_configured_the_events_come_from_the_topics(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix, **PATIENT}
    with Daemon(tmp_path, **settings) as daemon:
        daemon.wait_until_connected()
        for target in TARGETS:
            assert daemon.get(target).json["outcome"] in {"published", "dead_lettered"}
        everything = here("tail", **settings)
        some = here("tail", "--event", "lead_changed", **settings)
        with following(tmp_path, "--event", "lead_changed", **settings) as tail:
            assert types(lines(tail, 2)) == ["lead_changed", "lead_changed"]
            daemon.get("/lead_changed?lead_id=l-3")
            assert "l-3" in lines(tail, 1)
            tail.send_signal(signal.SIGINT)
            assert tail.communicate(timeout=SECONDS) == ("", "")
    assert tail.returncode == 0
    assert (everything.returncode, everything.stderr) == (0, "")
    assert sorted(types(everything.stdout)) == [
        "aurora-bridge.dead_letter",
        "design_request_completed",
        "lead_changed",
        "lead_changed",
        "project_created",
        "roof_painted",
    ]
    assert (some.returncode, types(some.stdout)) == (0, ["lead_changed", "lead_changed"])


def test_empty_topics_are_read_to_their_end_at_once(kafka: KafkaCluster | NamedKafka, prefix: str) -> None:
    create_topics(kafka.bootstrap, f"{prefix}lead_changed")
    ended = here("tail", kafka__bootstrap_servers=kafka.bootstrap, kafka__topic_prefix=prefix)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_topics_that_do_not_exist_are_told_with_exit_code_1(kafka: KafkaCluster | NamedKafka, prefix: str) -> None:
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    ended = here("tail", "--event", "lead_changed", **settings)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"none of the topics {prefix}lead_changed" in ended.stderr


def test_a_kafka_that_is_away_is_told_with_exit_code_1() -> None:
    (nobody,) = free_ports(1)
    ended = here("tail", kafka__bootstrap_servers=f"{HOST}:{nobody}")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"Kafka at {HOST}:{nobody} cannot be read" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_reading_creates_no_topic_where_kafka_would_let_it(kafka_creating: KafkaCluster, prefix: str) -> None:
    topic = f"{prefix}lead_changed"
    create_topics(kafka_creating.bootstrap, topic)
    ended = here("tail", kafka__bootstrap_servers=kafka_creating.bootstrap, kafka__topic_prefix=prefix)
    assert (ended.returncode, topic_names(kafka_creating.bootstrap, prefix)) == (0, [topic])
