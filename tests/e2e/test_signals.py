"""Signals and the lines that a life of the daemon begins and ends with, watched from outside."""

import json
import re
import signal
import subprocess
from importlib.metadata import version
from pathlib import Path
from threading import Timer

from aurora_bridge.build import BUILD
from tests.support.daemon import PROGRAM, SECONDS, Daemon, command, environment
from tests.support.ports import free_ports


def test_a_life_begins_with_version_process_and_brokers_and_ends_with_the_reason(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Daemon(tmp_path, kafka__bootstrap_servers=f"127.0.0.1:{port}") as daemon:
        pid = daemon.process.pid
        assert daemon.terminate() == 0
    first, *_, last = daemon.log_lines()
    expected = {"version": version("aurora-bridge"), "build": BUILD, "pid": pid, "brokers": f"127.0.0.1:{port}"}
    assert first["message"] == "starting"
    assert first.items() >= expected.items()
    assert (last["level"], last["message"], last["reason"]) == ("INFO", "stopped", "SIGTERM")


def test_a_life_that_cannot_begin_ends_with_the_reason(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        other = Daemon(tmp_path, state_dir=daemon.state)
        ended = command("serve", cwd=tmp_path, state_dir=daemon.state, log__format="text")
    assert (ended.returncode, ended.stdout) == (1, "")
    first, last = ended.stderr.splitlines()
    assert "starting" in first
    assert "brokers=" in first
    assert f'stopped reason="The state directory {other.state} is used by another' in last


def test_a_hangup_reads_the_secret_files_and_ends_nothing(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("old\n")
    tokens.chmod(0o600)
    with Daemon(tmp_path, auth__tokens_file=tokens) as daemon:
        tokens.write_text("new\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_until(
            "the new token is valid",
            lambda daemon: daemon.get("/lead_changed?lead_id=1", [("X-Aurora-Webhook-Token", "new")]).status == 200,
        )
        messages = [line["message"] for line in daemon.log_lines()]
        assert "checking the secret files, as requested" in messages
        assert daemon.terminate() == 0


def ignores_hangups(pid: int) -> bool:
    """Whether a process got so far as to ignore SIGHUP."""
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = re.search(r"^SigIgn:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return ignored is not None and bool(int(ignored[1], 16) >> signal.SIGHUP - 1 & 1)


def test_hangups_at_every_moment_of_start_and_end_kill_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        settings = environment(ingress__port=0, admin__port=0, state_dir=tmp_path / "state")
        process = subprocess.Popen([PROGRAM, "serve"], env=settings, stdout=subprocess.DEVNULL, stderr=file)
    watchdog = Timer(SECONDS, process.kill)
    watchdog.start()
    try:
        while not ignores_hangups(process.pid):  # before its first line, only the system's default holds
            assert process.poll() is None
        while process.poll() is None:
            process.send_signal(signal.SIGHUP)
            if b'"serving"' in log.read_bytes() and b'"stopping"' not in log.read_bytes():
                process.terminate()
    finally:
        watchdog.cancel()
        process.kill()
    assert process.wait() == 0
    assert json.loads(log.read_text().splitlines()[-1])["reason"] == "SIGTERM"


def test_a_second_interrupt_cuts_the_pause(tmp_path: Path) -> None:
    with Daemon(tmp_path, ingress__shutdown_pause_seconds=600) as daemon:
        daemon.process.send_signal(signal.SIGINT)
        daemon.wait_until("it pauses", lambda daemon: "stopping" in {line["message"] for line in daemon.log_lines()})
        assert daemon.get("/lead_changed?lead_id=1").status == 200
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.process.wait(SECONDS) == 0
        daemon.terminate()
    assert daemon.log_lines()[-1]["reason"] == "SIGINT"
