"""Formats a log record as one line: a JSON object for machines, text for people at a terminal.

Values go into fields, not into the message, so that messages can be counted and fields queried:
`log.info("spool is full", extra=fields(topic=topic, bytes=size))`. `setup` chooses the format.
"""

import json
import logging
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

_FRAMES = 8  # the innermost ones of a traceback
_CAUSES = 4  # the exception itself and what led to it
_LONGEST_ERROR = 2000  # characters


def fields(**values: object) -> dict[str, dict[str, object]]:
    """Return `values` as the `extra` of a log call. Must not contain secrets; a `SecretStr` prints as asterisks."""
    return {"fields": values}


def compact(error: BaseException) -> str:
    """Return an exception on one line, with its causes: `OSError: no space at spool.py:31 commit < spool.py:12 run`.

    This includes the exception's text, so do not use it for exceptions of libraries that quote their input.
    """
    chain = [error]
    while len(chain) < _CAUSES and (cause := _cause(chain[-1])) is not None:
        chain.append(cause)
    return " from ".join(_compact_one(link) for link in chain)[:_LONGEST_ERROR]


def _cause(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _compact_one(error: BaseException) -> str:
    inner = f" ({'; '.join(map(compact, error.exceptions))})" if isinstance(error, BaseExceptionGroup) else ""
    return f"{type(error).__name__}: {error} at {origin(error)}{inner}"


def origin(error: BaseException) -> str:
    """Return where an exception came from: files, lines and functions, innermost first, without any of its text."""
    frames = [
        f"{Path(frame.f_code.co_filename).name}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return " < ".join(reversed(frames[-_FRAMES:])) or "an unknown place"


def _content(record: logging.LogRecord) -> dict[str, Any]:
    head = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "level": record.levelname,
        "logger": record.name,
        "message": record.getMessage(),
    }
    tail = {"error": compact(record.exc_info[1])} if record.exc_info and record.exc_info[1] else {}
    return head | tail | {name: value for name, value in getattr(record, "fields", {}).items() if name not in head}


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `time` (RFC 3339, UTC, microseconds), `level`, `logger`, `message`, `error`, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. Never raises for a field, however odd: a log line must not end what it reports on."""
        return _json(_content(record))


class TextFormatter(logging.Formatter):
    """The same for people: time, level, logger and message, then fields as `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. Escapes what could move a terminal's cursor or forge a second line."""
        content = _content(record)
        head = f"{content.pop('time')} {content.pop('level'):<7} {content.pop('logger')}: {content.pop('message')}"
        return _printable(" ".join([head, *(f"{name}={_json(value)}" for name, value in content.items())]))


def _json(value: object) -> str:
    try:
        return orjson.dumps(value, default=str).decode()
    except orjson.JSONEncodeError:  # a lone surrogate, an integer beyond 64 bits, a key that is not a string
        return json.dumps(value, default=str)


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
