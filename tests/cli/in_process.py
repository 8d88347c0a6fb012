"""Commands run in the test's own process: what a command line does, without the second that a new Python takes."""

import io
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from subprocess import CompletedProcess
from unittest.mock import patch

from aurora_bridge.cli import main
from tests.support.daemon import environment


def here(*arguments: str, **settings: object) -> CompletedProcess[str]:
    """Run a command with those settings, named as in the environment without the prefix, and no others."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    variables = patch.dict(os.environ, environment(**settings), clear=True)
    with _left_as_found(), variables, redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(list(arguments))
        except SystemExit as usage:
            code = int(usage.code or 0)
    return CompletedProcess(arguments, code, *(stream.buffer.getvalue().decode() for stream in (out, err)))


@contextmanager
def _left_as_found() -> Iterator[None]:
    """Undo what a command does to its process."""
    root, library = logging.getLogger(), logging.getLogger("aiokafka")
    handlers, levels = root.handlers, (root.level, library.level)
    umask = os.umask(0o022)
    os.umask(umask)
    if threading.current_thread() is threading.main_thread():
        # As in a new process: asyncio leaves Ctrl-C to a handler that it finds, such as one that a loop left behind.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        root.handlers = handlers
        for logger, level in zip((root, library), levels, strict=True):
            logger.setLevel(level)
        os.umask(umask)
