"""What commands print: results to standard output, everything else to standard error."""

import os
import sys
from contextlib import suppress


class OutputError(Exception):
    """Standard output cannot be written to. The message says why."""


class ReaderGoneError(OutputError):
    """The reader of standard output has closed it (`| head`)."""


def put(*lines: str | bytes) -> None:
    """Write lines to standard output, and flush. Raises `OutputError`."""
    if sys.stdout is None:  # Python's sign that it was closed before the start
        msg = "Standard output is closed: redirect it to a file or to /dev/null."
        raise OutputError(msg)
    try:
        sys.stdout.buffer.writelines((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)
        sys.stdout.buffer.flush()
    except OSError as error:
        with suppress(OSError):  # else Python writes the rest again at exit, and fails
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            msg = "The reader of standard output closed it."
            raise ReaderGoneError(msg) from error
        msg = f"Cannot write to standard output: {error.strerror}."
        raise OutputError(msg) from error


def tell(words: object) -> None:
    """Write a line to standard error, and flush. A line that cannot be written is dropped: nobody could be told."""
    with suppress(OSError):
        print(words, file=sys.stderr, flush=True)
