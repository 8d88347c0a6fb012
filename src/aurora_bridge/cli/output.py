"""What commands print: results to standard output, everything else to standard error."""

import os
import sys
from contextlib import suppress


class OutputError(Exception):
    """Standard output cannot be written. The message says why."""


class ReaderGoneError(OutputError):
    """Whoever read standard output has enough (`| head`)."""


def put(*lines: str | bytes) -> None:
    """Write lines to standard output, at once. Raises `OutputError`."""
    if sys.stdout is None:  # Python's own way to say that it was closed before the start
        msg = "Standard output is closed: redirect it to a file or to /dev/null."
        raise OutputError(msg)
    try:
        sys.stdout.buffer.writelines((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)
        sys.stdout.buffer.flush()
    except OSError as error:
        with suppress(OSError):  # Python would try the rest of it again at its end, and fail
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            msg = "Nobody reads standard output any more."
            raise ReaderGoneError(msg) from error
        msg = f"Standard output cannot be written: {error.strerror}."
        raise OutputError(msg) from error


def tell(words: object) -> None:
    """Write a line to standard error, at once. One that cannot be written is dropped: nobody could be told."""
    with suppress(OSError):
        print(words, file=sys.stderr, flush=True)
