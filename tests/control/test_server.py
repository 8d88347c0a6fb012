"""The control socket: one line of JSON each way, bounded, for the daemon's own user, only while the daemon lives."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aurora_bridge.control import server
from aurora_bridge.control.address import MAX_LINE_BYTES, SOCKET, address
from aurora_bridge.control.client import ControlError, ask
from aurora_bridge.control.server import CONNECTIONS, Command, Request, listening
from aurora_bridge.outcomes import Reason, Refusal

PATIENCE = 30.0


async def double(request: Request) -> dict[str, object]:
    if request["number"] == 13:
        message = "13 brings bad luck"
        raise ValueError(message)
    return {"number": 2 * request["number"]}


async def refuse(_request: Request) -> dict[str, object]:
    raise Refusal(Reason.SPOOL_FULL)


async def hang(_request: Request) -> dict[str, object]:
    await asyncio.Event().wait()
    return {}


COMMANDS: dict[str, Command] = {"double": double, "refuse": refuse, "hang": hang}


async def asked(directory: Path, number: int) -> object:
    """Ask for a double, as a command does."""
    return (await asyncio.to_thread(ask, directory, "double", number=number))["number"]


@asynccontextmanager
async def connected(directory: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    with address(directory) as path:
        reader, writer = await asyncio.open_unix_connection(path)
    try:
        async with asyncio.timeout(PATIENCE):
            yield reader, writer
    finally:
        writer.close()


async def said(directory: Path, data: bytes) -> bytes:
    """Return what is answered to these bytes, nothing if the connection is cut."""
    async with connected(directory) as (reader, writer):
        writer.write(data)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_a_command_is_answered(tmp_path: Path) -> None:
    async with listening(tmp_path, COMMANDS):
        assert await asked(tmp_path, 21) == 42


@pytest.mark.proves("Admin port and control socket: only the daemon's user can ask it through the control socket")
async def test_only_the_daemons_user_may_ask_whatever_its_umask_is(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with listening(tmp_path, COMMANDS):
            mode = (tmp_path / SOCKET).stat().st_mode
    finally:
        os.umask(before)
    assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o600)


async def test_at_the_end_the_socket_is_gone(tmp_path: Path) -> None:
    async with listening(tmp_path, COMMANDS):
        assert await asked(tmp_path, 1) == 2
    assert not (tmp_path / SOCKET).exists()


async def test_a_socket_that_a_dead_daemon_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / SOCKET))
    async with listening(tmp_path, COMMANDS):
        assert await asked(tmp_path, 1) == 2


async def test_a_state_directory_may_have_a_longer_path_than_a_socket(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120) / ("e" * 120)
    directory.mkdir(parents=True)
    async with listening(directory, COMMANDS):
        assert stat.S_ISSOCK((directory / SOCKET).stat().st_mode)
        assert await asked(directory, 3) == 6
    assert not (directory / SOCKET).exists()


async def test_a_daemon_that_stops_before_it_answers_is_told(tmp_path: Path) -> None:
    began = asyncio.Event()

    async def begin(_request: Request) -> dict[str, object]:
        began.set()
        await asyncio.Event().wait()
        return {}

    async with listening(tmp_path, {"begin": begin}):
        asking = asyncio.create_task(asyncio.to_thread(ask, tmp_path, "begin"))
        await began.wait()
    with pytest.raises(ControlError, match="it closed the connection: it is stopping"):
        await asking


async def test_where_no_socket_can_be_the_daemon_lives_without_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(tmp_path / "missing", COMMANDS):
        assert "no control socket" in caplog.text
    (tmp_path / "missing").mkdir()
    with pytest.raises(ControlError, match="does not answer"):
        ask(tmp_path / "missing", "double", number=1)


async def test_a_refusal_is_told_with_its_reason(tmp_path: Path) -> None:
    async with listening(tmp_path, COMMANDS):
        with pytest.raises(ControlError, match="refuses: spool_full"):
            await asyncio.to_thread(ask, tmp_path, "refuse")
        with pytest.raises(ControlError, match="refuses: 13 brings bad luck"):
            await asked(tmp_path, 13)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"[]\n",
        b"17\n",
        b'{"command":"unknown"}\n',
        b'{"command":["double"]}\n',
        b"\xff\x00\n",
        b"x" * (2 * MAX_LINE_BYTES + 100),
    ],
)
async def test_garbage_is_an_error_and_harms_nobody(tmp_path: Path, garbage: bytes) -> None:
    async with listening(tmp_path, COMMANDS):
        answer = await said(tmp_path, garbage)
        assert await asked(tmp_path, 1) == 2
    told = b'{"error":"not a valid request; the commands are double, refuse, hang"}\n'
    cut = {b""} if len(garbage) > MAX_LINE_BYTES else set()  # what is not read may cost the answer
    assert answer in {told, *cut}


async def test_a_request_that_lacks_an_argument_leaves_the_others_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(tmp_path, COMMANDS):
        assert await said(tmp_path, b'{"command":"double"}\n') == b'{"error":"internal_error"}\n'
        assert "a command failed" in caplog.text
        assert await asked(tmp_path, 1) == 2


async def test_one_more_connection_than_allowed_is_sent_away(tmp_path: Path) -> None:
    async with listening(tmp_path, COMMANDS):
        silent = [connected(tmp_path) for _ in range(CONNECTIONS)]
        for connection in silent:
            await connection.__aenter__()
        assert await said(tmp_path, b'{"command":"double","number":1}\n') == b""
        for connection in silent:
            await connection.__aexit__(None, None, None)


@pytest.mark.parametrize("begun", [b"", b'{"command":"hang"}\n'])
async def test_who_is_silent_and_what_takes_too_long_is_given_up(
    tmp_path: Path, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SECONDS", 0.05)
    async with listening(tmp_path, COMMANDS):
        assert await said(tmp_path, begun) == b""


async def test_the_end_waits_for_no_request(tmp_path: Path) -> None:
    async with listening(tmp_path, COMMANDS):
        waiting = asyncio.create_task(said(tmp_path, b'{"command":"hang"}\n'))
        await asked(tmp_path, 1)  # the one before was taken, too
    assert await waiting == b""
