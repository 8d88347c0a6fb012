"""Keeps out of the log what libraries would put there of a client's input, and keeps them from flooding it.

aiohttp's server logs each malformed request with a traceback that holds its raw bytes, asyncio the arguments of a
callback that failed. Neither text is ours to redact, so it is replaced. `setup` installs the filters.
"""

import logging
from collections import defaultdict
from collections.abc import Callable

from aurora_bridge.logs.formats import fields, origin
from aurora_bridge.logs.quota import Quota


class LibraryErrors(logging.Filter):
    """Rewrites the records of a library's logger that carry an exception.

    A malformed HTTP request becomes "malformed request". Any other exception is a fault, logged as `fault` with its
    type and place. Of each of the two at most `lines` a minute pass; the next that does says how many were
    left out before it. `monotonic` gives seconds.
    """

    def __init__(self, fault: str, lines: int, monotonic: Callable[[], float]) -> None:
        super().__init__()
        self._fault = fault
        self._malformed_quota = Quota(lines, monotonic)
        self._fault_quota = Quota(lines, monotonic)

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; False leaves it out."""
        if not record.exc_info:
            return True
        error = record.exc_info[1]
        malformed = type(error).__module__ == "aiohttp.http_exceptions"  # by name: only the web room knows aiohttp
        left_out = (self._malformed_quota if malformed else self._fault_quota).take()
        if left_out is None:
            return False
        found = {} if malformed or error is None else {"type": type(error).__name__, "at": origin(error)}
        record.msg, record.args = "malformed request" if malformed else self._fault, ()
        record.exc_info = record.exc_text = record.stack_info = None
        vars(record).update(fields(**found, **({"left_out": left_out} if left_out else {})))
        return True


class LibraryLines(logging.Filter):
    """Lets at most `lines` a minute pass of each message of a library, whatever its arguments.

    aiokafka writes a line for each attempt at a broker that is away, dozens a second. Goes on a handler, since a
    logger's filters do not see what its children log.
    """

    def __init__(self, library: str, lines: int, monotonic: Callable[[], float]) -> None:
        super().__init__()
        self._library = library
        self._quotas: defaultdict[str, Quota] = defaultdict(lambda: Quota(lines, monotonic))

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave a record out when its message had its lines; else say how many were left out before it."""
        if record.name.partition(".")[0] != self._library:
            return True
        left_out = self._quotas[str(record.msg)].take()
        if left_out:
            vars(record).update(fields(left_out=left_out))
        return left_out is not None
