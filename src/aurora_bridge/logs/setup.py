"""Installs formats and filters on the root logger, and on the loggers of libraries that would log secrets."""

import logging
import sys
import time
from typing import Literal, TextIO

from aurora_bridge.logs.formats import JsonFormatter, TextFormatter
from aurora_bridge.logs.libraries import LibraryErrors, LibraryLines

_LINES_A_MINUTE = 10


def configure(
    level: Literal["debug", "info", "warning", "error"] = "info",
    format: Literal["auto", "json", "text"] = "auto",  # noqa: A002 - the name of the setting
    stream: TextIO | None = None,
) -> None:
    """Log to `stream` (default: standard error) and nowhere else.

    `auto` is text if the stream is a terminal, else JSON. Calling it again replaces the earlier configuration.
    """
    stream = stream or sys.stderr
    text = format == "text" or (format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    handler.addFilter(LibraryLines("aiokafka", _LINES_A_MINUTE, time.monotonic))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # A line that cannot be written is dropped: logging's report of that would print the arguments of the call.
    logging.raiseExceptions = False
    # At DEBUG aiokafka prints SASL passwords and payloads.
    logging.getLogger("aiokafka").setLevel(max(logging.INFO, root.level))
    # At DEBUG AWS's libraries print signed URLs and session tokens, at INFO a line for each token.
    for library in ("boto3", "botocore", "urllib3"):
        logging.getLogger(library).setLevel(max(logging.WARNING, root.level))
    # aiohttp's access log has complete request lines, with secrets, and halves the throughput.
    logging.getLogger("aiohttp.access").setLevel(logging.CRITICAL + 1)
    for library, fault in {"aiohttp.server": "fault in the HTTP server", "asyncio": "fault in the event loop"}.items():
        logging.getLogger(library).filters = [LibraryErrors(fault, _LINES_A_MINUTE, time.monotonic)]
