"""The daemon's start: it waits for nothing, keeps others out, and survives a broken file."""

import socket
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.stores import spooled
from tests.support import http
from tests.support.daemon import PROGRAM, Daemon, command
from tests.support.ports import HOST, free_ports

GARBAGE = b"this is no database, whatever its name says. " * 500
INDEX = ("index_complete", "index_failed", "index_bypassed_total")


def target() -> str:
    """Return a target that nobody used before."""
    return f"/project_created?project_id={uuid4()}&source=app"


@pytest.mark.proves("the start waits for nothing, and Kafka away is ready")
def test_it_listens_at_once_and_accepts_while_kafka_is_down(tmp_path: Path) -> None:
    (nobody,) = free_ports(1)
    daemon = Daemon(tmp_path, kafka__bootstrap_servers=f"{HOST}:{nobody}")
    daemon.program = [PROGRAM]
    with daemon:
        response = daemon.get(target())
        status, document = daemon.ready()
        (kept,) = spooled(daemon.state)
    assert daemon.seconds_to_listen < 5
    assert (response.status, response.json["outcome"], response.json["id"]) == (200, "spooled", kept.key)
    assert (status, document["ready"]) == (200, True)
    assert any("kafka" in reason for reason in document["reasons"])


def test_without_a_spool_it_listens_at_once_and_says_that_it_is_not_ready_while_kafka_is_down(tmp_path: Path) -> None:
    (nobody,) = free_ports(1)
    with Daemon(tmp_path, kafka__bootstrap_servers=f"{HOST}:{nobody}", spool__enabled=False) as daemon:
        response = daemon.get(target())
        status, document = daemon.ready()
    assert (response.status, response.json["reason"]) == (503, "kafka_unavailable")
    assert response.headers["retry-after"] == "30"
    assert (status, document["ready"]) == (503, False)


@pytest.mark.proves("a second daemon is kept out")
def test_a_second_daemon_is_kept_out_of_the_state_directory(tmp_path: Path) -> None:
    with Daemon(tmp_path) as first:
        second = command("serve", cwd=tmp_path, ingress__port=0, admin__port=0, state_dir=first.state)
        answered = first.get(target()).status
    assert (second.returncode, second.stdout, answered) == (1, "", 200)
    assert f"{first.state} is used by another aurora-bridge (process {first.process.pid})" in second.stderr
    assert "Traceback" not in second.stderr


def test_the_state_directory_is_free_again_after_a_crash(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    for _ in range(2):
        with daemon:
            assert daemon.get(target()).status == 200
            daemon.kill()
    assert len(spooled(daemon.state)) == 2


def test_a_broken_spool_is_moved_away_and_the_daemon_starts(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.state.mkdir()
    (daemon.state / "spool.db").write_bytes(GARBAGE)
    with daemon:
        response = daemon.get(target())
        ids = [kept.key for kept in spooled(daemon.state)]
        counted = daemon.metrics().value("aurora_bridge_broken_files", file="spool.db")
        page = http.get(daemon.admin_url, "/").body.decode()
    (moved,) = daemon.state.glob("spool.db.broken-*")
    assert moved.read_bytes() == GARBAGE
    assert (response.status, [response.json["id"]]) == (200, ids)
    assert (counted, moved.name in page) == (1, True)
    assert "<title>Bad: Events may have been lost" in page
    assert any(line["level"] == "ERROR" and str(moved) in line["message"] for line in daemon.log_lines())


@pytest.mark.proves("a failing index hides no event and refuses none")
@pytest.mark.parametrize("what", ["no database", "of an older version"])
def test_an_index_that_cannot_be_used_is_rebuilt_from_the_log(what: str, tmp_path: Path) -> None:
    known = target()
    daemon = Daemon(tmp_path)
    index = daemon.state / "index.db"
    with daemon:
        assert daemon.get(known).json["outcome"] == "spooled"
        daemon.terminate()
        index.write_bytes(GARBAGE)
        if what == "of an older version":
            index.unlink()
            with closing(sqlite3.connect(index)) as database:
                database.executescript("CREATE TABLE seen (fingerprint); PRAGMA user_version=3")
        daemon.start()
        assert daemon.get(known).json["outcome"] == "duplicate"
        assert daemon.get(target()).json["outcome"] == "spooled"
        metrics = daemon.metrics()
        page = http.get(daemon.admin_url, "/").body.decode()
    assert [metrics.value(f"aurora_bridge_{name}") for name in INDEX] == [1, 0, 0]
    assert "<title>Good: Nothing is being lost" in page
    assert list(daemon.state.glob("*.broken-*")) == []
    assert any(line["message"].startswith(f"{index} cannot be used (") for line in daemon.log_lines())


@pytest.mark.proves("a failing index hides no event and refuses none")
def test_the_index_is_not_complete_before_the_log_was_read_and_the_page_says_so(tmp_path: Path) -> None:
    (nobody,) = free_ports(1)
    with Daemon(tmp_path, kafka__bootstrap_servers=f"{HOST}:{nobody}") as daemon:
        page = http.get(daemon.admin_url, "/").body.decode()
        metrics = daemon.metrics()
    assert "The log is still to be read into the index" in page
    assert [metrics.value(f"aurora_bridge_{name}") for name in INDEX] == [0, 0, 0]


def test_a_port_that_is_taken_ends_the_start_with_a_message(tmp_path: Path) -> None:
    with Daemon(tmp_path) as first:
        port = first.url.rpartition(":")[2]
        second = command("serve", cwd=tmp_path, ingress__port=port, admin__port=0, state_dir=tmp_path / "other")
    assert (second.returncode, second.stdout) == (1, "")
    assert f"Cannot listen on {HOST}:{port}" in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.proves("Admin port and control socket: the admin port is on loopback unless ADMIN__HOST says otherwise")
def test_the_admin_port_is_on_loopback_alone_unless_it_is_set_whatever_the_ingress_is_on(tmp_path: Path) -> None:
    elsewhere = "127.0.0.2"  # another address of this machine, which a port on 127.0.0.1 does not answer on
    tokens = tmp_path / "tokens"
    tokens.write_text("word\n")
    everywhere = "0.0.0.0"  # noqa: S104 - what is tried
    with Daemon(tmp_path, ingress__host=everywhere, embedded=True, auth__tokens_file=tokens) as daemon:
        ingress, admin = (int(url.rsplit(":", 1)[1].strip("/")) for url in (daemon.url, daemon.admin_url))
        assert http.get(f"http://{elsewhere}:{ingress}", "/-/healthy").status == 200
        assert http.get(f"http://127.0.0.1:{admin}", "/livez").status == 200
        with pytest.raises(ConnectionRefusedError):
            http.get(f"http://{elsewhere}:{admin}", "/livez")


def test_every_address_is_those_of_both_families(tmp_path: Path) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with Daemon(tmp_path, ingress__host="::", embedded=True, auth__allow_anonymous=True) as daemon:
        port = daemon.url.rsplit(":", 1)[1].strip("/")
        for host in ("127.0.0.1", "127.0.0.2", "[::1]"):
            assert http.get(f"http://{host}:{port}", "/-/healthy").status == 200


@pytest.mark.proves("Admin port and control socket: only the daemon's user can read what it writes")
def test_what_the_daemon_writes_is_its_users_alone_whatever_its_umask_is(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, state_dir=tmp_path / "below" / "state")
    daemon.program = ["sh", "-c", 'umask 0 && exec "$0" "$@"', PROGRAM]
    with daemon:
        assert daemon.get(target()).status == 200
        written = [tmp_path / "below", *(tmp_path / "below").rglob("*")]
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) & 0o077 for path in written}
    assert modes.keys() >= {"state", "spool.db", "spool.db-wal", "index.db", "control.sock"}
    assert set(modes.values()) == {0}
