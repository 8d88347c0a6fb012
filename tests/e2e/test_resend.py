"""Retries and re-sends, with a real daemon: what it refused is pending until it comes, a re-send outlasts a restart."""

from pathlib import Path
from uuid import uuid4

import pytest

from tests.support import http
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import PATIENT, Daemon, command

STATE, SIGNAL = "/project_status_changed?status=sold&project_id={}", "/lead_changed?lead_id={}"


def resend(daemon: Daemon, *arguments: str) -> str:
    """Return what a command says, which must succeed."""
    ended = command("resend", *arguments, cwd=daemon.folder, state_dir=daemon.state)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def outcomes(daemon: Daemon, targets: list[str]) -> list[str]:
    return [daemon.get(target).json["outcome"] for target in targets]


def page(daemon: Daemon) -> str:
    return http.get(daemon.admin_url, "/").body.decode()


@pytest.mark.proves("a declared re-send outlasts restarts and ends by itself")
def test_while_a_resend_is_declared_signals_are_duplicates_through_restarts_and_it_can_be_ended(tmp_path: Path) -> None:
    signals = [SIGNAL.format(uuid4()) for _ in range(3)]
    with Daemon(tmp_path) as daemon:
        assert outcomes(daemon, [*signals, signals[0]]) == ["spooled"] * 4
        assert "it ends by itself at" in resend(daemon, "begin")
        assert outcomes(daemon, signals) == ["duplicate"] * 3
        assert daemon.terminate() == 0

        daemon.start()
        assert daemon.metrics().value("aurora_bridge_resend_in_progress") == 1
        assert "A re-send is declared" in page(daemon)
        assert outcomes(daemon, [signals[0], SIGNAL.format(uuid4())]) == ["duplicate", "spooled"]
        assert resend(daemon, "status").splitlines()[1:] == ["known  4", "new    1"]
        of_resend = daemon.metrics().value("aurora_bridge_duplicates_total", interval="re-send")
        assert of_resend == 1, "since the restart"
        daemon.kill()

        daemon.start()
        assert outcomes(daemon, signals[:1]) == ["duplicate"]
        assert resend(daemon, "end").startswith("the last re-send lasted from ")
        assert outcomes(daemon, signals[:1]) == ["spooled"]
        assert daemon.metrics().value("aurora_bridge_resend_in_progress") == 0


@pytest.mark.proves("what was refused is listed until it comes again")
def test_what_was_refused_is_pending_through_a_restart_until_its_retry_comes(tmp_path: Path) -> None:
    targets = [STATE.format(uuid4()) + "&note=" + "x" * 1200 for _ in range(2)]
    name = "aurora_bridge_retry_pending_deliveries"
    with Daemon(tmp_path, ingress__max_target_bytes=1024) as daemon:
        assert [daemon.get(target).status for target in [*targets, targets[0]]] == [414] * 3
        daemon.wait_until("it is counted", lambda it: it.metrics().value(name, event="project_status_changed") == 2)
        assert daemon.metrics().value("aurora_bridge_retry_pending_until_timestamp_seconds") > 0
        daemon.kill()
    with Daemon(tmp_path) as daemon:
        daemon.wait_until("it is known", lambda it: it.metrics().value(name, event="project_status_changed") == 2)
        assert "Aurora still owes 2 deliveries that were refused" in page(daemon)
        assert "project_status_changed" in resend(daemon, "request", "--pending")
        assert resend(daemon, "request") == ""
        assert outcomes(daemon, targets[:1]) == ["spooled"]
        daemon.wait_until("one came", lambda it: it.metrics().value(name, event="project_status_changed") == 1)
        assert outcomes(daemon, targets) == ["duplicate", "spooled"]
        daemon.wait_until("all came", lambda it: it.metrics().value(name, event="project_status_changed") == 0)
        assert daemon.metrics().value("aurora_bridge_missed_deliveries", event="project_status_changed") == 0
        assert "still owes" not in page(daemon)


def test_what_one_replica_refused_is_pending_until_another_has_it_and_each_is_told_of_a_resend(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    target = STATE.format(uuid4()) + "&note=" + "x" * 1200
    name = "aurora_bridge_retry_pending_deliveries"
    settings = {**PATIENT, "kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
    with (
        Daemon(tmp_path / "one", ingress__max_target_bytes=1024, **settings) as one,
        Daemon(tmp_path / "other", **settings) as other,
    ):
        for daemon in (one, other):
            daemon.wait_until_connected()
        assert one.get(target).status == 414
        one.wait_until("it is counted", lambda it: it.metrics().value(name, event="project_status_changed") == 1)
        assert other.get(target).status == 200
        one.wait_until("it came", lambda it: it.metrics().value(name, event="project_status_changed") == 0)
        begun = command("resend", "begin", cwd=one.folder, state_dir=one.state)
        assert "1 other replica published to these topics: run this on each of them" in begun.stderr
        assert resend(other, "status") == "no re-send has been declared\n"
