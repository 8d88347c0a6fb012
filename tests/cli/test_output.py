"""What cannot be written to standard output is told in one line, and nobody waits for an answer that came nowhere."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from time import time
from typing import IO, Final

import pytest

from aurora_bridge.control.address import SOCKET
from tests.cli.in_process import here
from tests.cli.spools import fill, value_of
from tests.outbox.records import make_record
from tests.support import http
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import POLL_SECONDS, PROGRAM, SECONDS, environment
from tests.support.topics import Record, create_topics, produce

pytestmark = pytest.mark.slow

PRINT: Final = "0123456789abcdef0123456789abcdef"
COMMANDS: Final = (
    "--help",
    "--version",
    "find --help",
    "config",
    "templates",
    "tail",
    f"find {PRINT}",
    "quarantine list",
    "quarantine list --json",
    "quarantine show 1",
    "completion bash",
    "templates --event lead_created",
    "tail -n 1",
)
"""Every command that prints, on a state directory with one event in it that is quarantined."""
FULL: Final = "Cannot write to standard output: No space left on device.\n"
CLOSED: Final = "Standard output is closed: redirect it to a file or to /dev/null.\n"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with one event, which is quarantined."""
    return filled(tmp_path_factory.mktemp("state"))


def filled(directory: Path) -> Path:
    record = make_record()
    record.fingerprint, record.value = PRINT, value_of(PRINT)
    fill(directory, record, quarantined="message_too_large")
    return directory


@contextmanager
def full() -> Iterator[IO[bytes]]:
    """A file on a volume without room."""
    with Path("/dev/full").open("wb") as file:
        yield file


@contextmanager
def unread() -> Iterator[IO[bytes]]:
    """A pipe whose reader has enough."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as pipe:
        yield pipe


def run(words: str, stdout: IO[bytes], **settings: object) -> tuple[int, str]:
    """Run a command with this standard output; return its exit code and its standard error."""
    ended = subprocess.run(
        [PROGRAM, *words.split()],
        check=False,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
    )
    return ended.returncode, ended.stderr


def run_closed(words: str, redirections: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command as a shell does that closes some of its files, as in `>&-`."""
    return subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {redirections}', PROGRAM, *words.split()],
        check=False,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.mark.parametrize("words", COMMANDS)
def test_a_full_volume_is_told_in_one_line_with_exit_code_1(words: str, state: Path) -> None:
    with full() as stdout:
        assert run(words, stdout, state_dir=state) == (1, FULL)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_reader_that_has_enough_ends_a_command_quietly(words: str, state: Path) -> None:
    with unread() as stdout:
        assert run(words, stdout, state_dir=state) == (0, "")


@pytest.mark.parametrize("words", COMMANDS)
def test_a_closed_standard_output_is_told_in_one_line_with_exit_code_1(words: str, state: Path) -> None:
    ended = run_closed(words, ">&-", state_dir=state)
    assert (ended.returncode, ended.stderr) == (1, CLOSED)


def test_without_standard_error_results_come_alone_and_the_exit_code_tells(state: Path) -> None:
    for words, code, lines in ((f"find {PRINT}", 0, 1), ("quarantine show 9", 1, 0)):
        for redirection in ("2>&-", "2>/dev/full"):
            ended = run_closed(words, redirection, state_dir=state)
            assert (ended.returncode, len(ended.stdout.splitlines()), ended.stderr) == (code, lines, "")


def test_what_cannot_be_printed_is_not_deleted(tmp_path: Path) -> None:
    filled(tmp_path)
    discard = "quarantine discard 1 --yes"
    with full() as stdout:
        assert run(discard, stdout, state_dir=tmp_path) == (1, f"{FULL[:-1]} Nothing was deleted.\n")
    with unread() as stdout:
        gone = "The reader of standard output closed it. Nothing was deleted.\n"
        assert run(discard, stdout, state_dir=tmp_path) == (1, gone)
    closed = run_closed(discard, ">&-", state_dir=tmp_path)
    assert (closed.returncode, closed.stderr) == (1, f"{CLOSED[:-1]} Nothing was deleted.\n")
    assert here("quarantine", "show", "1", state_dir=tmp_path).returncode == 0


def test_a_daemon_takes_webhooks_though_its_standard_output_is_full(tmp_path: Path) -> None:
    settings = {"ingress__port": 0, "admin__port": 0, "state_dir": tmp_path}
    with full() as stdout:
        daemon = subprocess.Popen(
            [PROGRAM, "serve"], env=environment(**settings), stdout=stdout, stderr=subprocess.PIPE, text=True
        )
    try:
        assert daemon.stderr is not None
        lines = map(json.loads, daemon.stderr)
        serving = next(line for line in lines if line["message"] == "serving")
        assert http.get(serving["webhooks"], "/lead_changed?lead_id=1").json["outcome"] == "spooled"
    finally:
        daemon.terminate()
        _, errors = daemon.communicate(timeout=SECONDS)
    assert (daemon.returncode, "Traceback" in errors) == (0, False)


@pytest.mark.parametrize("redirections", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_daemon_without_standard_streams_serves_and_ends_in_good_order(tmp_path: Path, redirections: str) -> None:
    settings = environment(ingress__port=0, admin__port=0, state_dir=tmp_path)
    daemon = subprocess.Popen(
        ["sh", "-c", f'exec "$0" serve {redirections}', PROGRAM],
        env=settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    watchdog = Timer(SECONDS, daemon.kill)
    watchdog.start()
    try:
        while not (tmp_path / SOCKET).exists():
            with pytest.raises(subprocess.TimeoutExpired):  # the pause between two looks; a death ends it
                daemon.wait(POLL_SECONDS)
        daemon.terminate()
        assert daemon.wait() == 0
    finally:
        watchdog.cancel()
        daemon.kill()


@pytest.mark.parametrize("words", ["tail", f"find {PRINT}", "topics", "topics --json"])
def test_what_comes_from_kafka_is_no_exception(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path, words: str
) -> None:
    topic = f"{prefix}lead_changed"
    create_topics(kafka.bootstrap, topic)
    produce(kafka.bootstrap, Record(topic, 0, 0, b"key", value_of(PRINT), {}, int(time() * 1000)))
    settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix, "state_dir": tmp_path}
    with full() as stdout:
        assert run(words, stdout, **settings) == (1, FULL)
    with unread() as stdout:
        assert run(words, stdout, **settings) == (0, "")
