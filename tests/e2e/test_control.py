"""The control socket of a real daemon: for its own user, gone after an orderly end, and nothing said there harms it."""

import socket
import stat
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.daemon import Daemon

GARBAGE = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"\xff\n",
    b"{}\n",
    b'{"command":"quarantine.retry","seq":[1e999]}\n',
    b"x" * 10**6,
)


def accepts(daemon: Daemon) -> bool:
    return daemon.get(f"/project_created?project_id={uuid4()}&source=app").status == 200


@pytest.mark.proves("Admin port and control socket: only the daemon's user can ask it through the control socket")
def test_only_its_own_user_can_ask_a_daemon_and_nobody_after_its_orderly_end(tmp_path: Path) -> None:
    path = tmp_path / "state" / "control.sock"
    with Daemon(tmp_path) as daemon:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        daemon.kill()
        assert path.exists()
        daemon.start()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(b'{"command":"quarantine.retry","seq":[1]}\n')
            assert connection.recv(1000) == b'{"seq":[]}\n'
        assert daemon.terminate() == 0
        assert not path.exists()


def test_garbage_on_the_socket_harms_nothing(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        for garbage in GARBAGE:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(15)
                connection.connect(str(daemon.state / "control.sock"))
                try:
                    connection.sendall(garbage)
                    told = connection.recv(1000)
                except (BrokenPipeError, ConnectionResetError):
                    told = b""
            assert told == b"" or b'"error"' in told
            assert accepts(daemon)
        assert daemon.terminate() == 0
        assert not [line for line in daemon.log_lines() if line["level"] in {"ERROR", "CRITICAL"}]
