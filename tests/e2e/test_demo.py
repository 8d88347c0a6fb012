"""`aurora-bridge demo`, played fast: its sums are right, it tells if they are not, and it leaves nothing behind."""

import re
import signal
import subprocess
from pathlib import Path

import pytest

from aurora_bridge.cli import demo_week
from aurora_bridge.cli.demo_check import Sums
from tests.cli.in_process import here
from tests.e2e.stores import published, spooled
from tests.support import http
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import PROGRAM, SECONDS, environment
from tests.support.ports import HOST, free_ports

FAST = ("demo", "--seconds", "1")
RIGHT = "Right: each of the 346 events is stored exactly once."


def played(folder: Path, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Play it to its end: its processes start one after the other, and each takes its time on a busy machine."""
    return subprocess.run(
        [PROGRAM, *FAST, *arguments],
        check=False,
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=5 * SECONDS,
    )


def test_a_week_with_an_outage_is_stored_exactly_once(tmp_path: Path) -> None:
    ended = played(tmp_path, "--keep", str(tmp_path))
    assert (ended.returncode, ended.stderr) == (0, "")
    for words in (
        "200 spooled    lead_created",
        "no answer      agreement_status_changed",
        "attempt 6, 23 h late",
        "$ aurora-bridge resend end",
        "346  events are stored",
        "176  deliveries were dropped as duplicates",
        RIGHT,
    ):
        assert words in ended.stdout
    assert "\033" not in ended.stdout
    assert len(spooled(tmp_path / "state")) == 346


def test_an_event_that_is_missing_is_told_with_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    store, lost = Sums.store, list[bytes]()

    def lose_the_first(sums: Sums, line: bytes) -> None:
        if lost:
            store(sums, line)
        else:
            lost.append(line)

    monkeypatch.setattr(Sums, "store", lose_the_first)
    monkeypatch.setattr(demo_week, "_PATIENCE_SECONDS", 1.0)
    ended = here(*FAST)
    assert ended.returncode == 1
    assert "WRONG: 1 event not stored: " in ended.stdout
    assert "Right: " not in ended.stdout


@pytest.mark.parametrize("moment", ["status page", "is stopped", "resend begin"])
def test_a_signal_ends_it_at_any_time_and_nothing_is_left_behind(tmp_path: Path, moment: str) -> None:
    given = environment() | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen([PROGRAM, *FAST], env=given, stdout=-1, stderr=-1, text=True) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        seen = ""
        while moment not in seen or "webhooks" not in seen:
            seen += demo.stdout.readline()
        demo.send_signal(signal.SIGINT)
        demo.stdout.read()
        assert (demo.wait(SECONDS), demo.stderr.read()) == (130, "Stopped, and left nothing behind.\n")
    assert list(tmp_path.iterdir()) == []
    url = re.findall(r"http://\S+:\d+", seen)[0]
    with pytest.raises(ConnectionRefusedError):
        http.get(url, "/")


def test_a_reader_that_has_enough_ends_it_and_nothing_is_left_behind(tmp_path: Path) -> None:
    given = environment() | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen([PROGRAM, *FAST], env=given, stdout=-1, stderr=-1, text=True) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        demo.stdout.readline()
        demo.stdout.close()
        assert (demo.wait(SECONDS), demo.stderr.read()) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_a_kafka_that_is_away_is_told(tmp_path: Path) -> None:
    (nobody,) = free_ports(1)
    ended = played(tmp_path, "--kafka", f"{HOST}:{nobody}")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"Kafka at {HOST}:{nobody}" in ended.stderr


@pytest.mark.slow
def test_each_demo_has_events_of_its_own_in_kafka(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    for count in (346, 2 * 346):
        ended = played(tmp_path, "--kafka", kafka.bootstrap, kafka__topic_prefix=prefix)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert RIGHT in ended.stdout
        assert len({stored.event["id"] for stored in published(kafka.bootstrap, prefix)}) == count
