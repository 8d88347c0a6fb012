"""Before a command changes something: shows what it is about to change, and asks."""

import signal
import sys
from collections.abc import Iterable

from aurora_bridge.cli.output import OutputError, ReaderGoneError, put, tell


def confirmed(question: str) -> bool:
    """Ask on the terminal; without one, say how to do it without asking, and return False."""
    if sys.stdin is None or not sys.stdin.isatty():  # None: it was closed before the start
        tell("Nothing was changed: there is no terminal to ask. Add --yes to do it without asking.")
        return False
    tell(f"{question} Only yes is taken:")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # asyncio's would wait for the answer
    try:
        if sys.stdin.readline().strip().lower() == "yes":
            return True
    except KeyboardInterrupt:
        """Ctrl-C is a no, too."""
    finally:
        signal.signal(signal.SIGINT, before)
    tell("Nothing was changed.")
    return False


def put_before_changing(lines: Iterable[str]) -> None:
    """Print what is about to be changed. Raises `OutputError`, even if the reader has only had enough (`| head`)."""
    try:
        put(*lines)
    except ReaderGoneError as error:
        msg = "Nothing was changed: nobody reads standard output. Redirect it to a file or to /dev/null."
        raise OutputError(msg) from error
