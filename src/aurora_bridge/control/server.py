"""The server: listens in the state directory for as long as the daemon runs.

A connection carries one request, `{"command": NAME, ...}`, and one response: the command's result, or `{"error": WHY}`.
Line length, time and connections are limited. Only the daemon's user and root can open the socket (mode 0600), so
nothing else is checked.
"""

import asyncio
import logging
import os
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from aurora_bridge.control.address import MAX_LINE_BYTES, SOCKET, address
from aurora_bridge.outcomes import Reason, Refusal

log = logging.getLogger(__name__)

CONNECTIONS = 8
"""Limit of open connections; one more is closed. Each can hold two lines in memory: 4 MiB in all."""
SECONDS = 10.0
"""Timeout for receiving a request, running it, and sending the response."""

Request = Mapping[str, Any]
Command = Callable[[Request], Awaitable[dict[str, object]]]
"""Handles a request. Raises `ValueError` if it is invalid, and `Refusal`."""


@asynccontextmanager
async def listening(directory: Path, commands: Mapping[str, Command]) -> AsyncIterator[None]:
    """Serve requests to the daemon that holds the directory's lock. Logs a warning if there can be no socket."""
    path = directory / SOCKET
    server = _Server(commands)
    try:
        listener = await asyncio.start_unix_server(server.connect, sock=_bind(directory), limit=MAX_LINE_BYTES)
    except OSError as error:
        log.warning("no control socket at %s: %s; stop this daemon to run commands that change something", path, error)
        yield
        return
    try:
        yield
    finally:
        listener.close()
        path.unlink(missing_ok=True)
        await server.stop()


def _bind(directory: Path) -> socket.socket:
    """Return a bound socket. Replaces one that a former daemon left: the lock shows that no other is running."""
    (directory / SOCKET).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address(directory) as short:
            listener.bind(short)
        os.chmod(directory / SOCKET, 0o600)  # noqa: PTH101 - one call; until then the daemon's umask keeps others out
    except OSError:
        listener.close()
        raise
    return listener


class _Server:
    """Serves connections."""

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self._commands = commands
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Cancel all connections."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def connect(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve a connection, or close it if there are too many."""
        if len(self._tasks) >= CONNECTIONS:
            writer.close()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                writer.write(orjson.dumps(await self._answer(reader)) + b"\n")
                await writer.drain()
        except (OSError, TimeoutError):
            """The other side is gone, or takes too long."""
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: StreamReader) -> dict[str, object]:
        try:
            request = orjson.loads(await reader.readline())
            command = self._commands[request["command"]]
        except (ValueError, TypeError, KeyError):
            return {"error": f"not a valid request; the commands are {', '.join(self._commands)}"}
        try:
            return await command(request)
        except ValueError as error:
            return {"error": str(error)}
        except Refusal as refusal:
            return {"error": refusal.reason.value}
        except Exception:
            log.exception("a command failed: %s", request["command"])
            return {"error": Reason.INTERNAL_ERROR.value}
