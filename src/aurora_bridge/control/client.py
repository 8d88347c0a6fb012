"""The client: sends requests to the daemon that runs in a state directory."""

import socket
from pathlib import Path
from typing import Any

import orjson

from aurora_bridge.control.address import MAX_LINE_BYTES, SOCKET, address
from aurora_bridge.os_errors import reason

_SECONDS = 15.0
"""Timeout for a response: longer than the daemon's own, so that the daemon reports what was wrong."""


class ControlError(Exception):
    """The daemon cannot be reached, or it refused. The message says why and what to do."""


def ask(directory: Path, command: str, **arguments: object) -> dict[str, Any]:
    """Send a command to a running daemon; return its response. Raises `ControlError`."""
    try:
        answer = orjson.loads(_exchange(directory, orjson.dumps({"command": command, **arguments}) + b"\n"))
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else error
        msg = (
            f"The daemon that holds {directory} does not answer at {directory / SOCKET}: {why}. Check in its log "
            "whether it listens there; if not, stop it and run this command again."
        )
        raise ControlError(msg) from error
    if "error" in answer:
        msg = f"The daemon that holds {directory} refuses: {answer['error']}. Its log may have more."
        raise ControlError(msg)
    return dict(answer)


def _exchange(directory: Path, request: bytes) -> bytes:
    """Return the response line. Raises `OSError`, `ValueError`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_SECONDS)
        with address(directory) as short:
            connection.connect(short)
        connection.sendall(request)
        with connection.makefile("rb") as answer:
            line = answer.readline(MAX_LINE_BYTES)
    if not line:
        msg = "it closed the connection: it is stopping, or has too many requests at once"
        raise ValueError(msg)
    return line
