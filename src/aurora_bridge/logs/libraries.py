"""Keeps client input that libraries log out of the log, and keeps libraries from flooding it.

aiohttp's server logs each malformed request with a traceback that contains its raw bytes, and asyncio logs the
arguments of a callback that failed. Such text cannot be redacted, so it is replaced. `setup` installs the filters.
"""

import logging
from collections import defaultdict
from collections.abc import Callable

from aurora_bridge.logs.formats import fields, origin
from aurora_bridge.logs.quota import Quota


class LibraryErrors(logging.Filter):
    """Rewrites the records of a library's logger that carry an exception.

    A malformed HTTP request becomes "malformed request". Any other exception is a fault, logged with the message
    `fault`, its type and its place. Of each kind, at most `lines` per minute pass; the next line that passes has the
    number of those left out. `monotonic` returns seconds.
    """

    def __init__(self, fault: str, lines: int, monotonic: Callable[[], float]) -> None:
        super().__init__()
        self._fault = fault
        self._malformed_quota = Quota(lines, monotonic)
        self._fault_quota = Quota(lines, monotonic)

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place. Returns False to leave it out."""
        if not record.exc_info:
            return True
        error = record.exc_info[1]
        malformed = type(error).__module__ == "aiohttp.http_exceptions"  # by name: only `web` imports aiohttp
        left_out = (self._malformed_quota if malformed else self._fault_quota).take()
        if left_out is None:
            return False
        found = {} if malformed or error is None else {"type": type(error).__name__, "at": origin(error)}
        record.msg, record.args = "malformed request" if malformed else self._fault, ()
        record.exc_info = record.exc_text = record.stack_info = None
        vars(record).update(fields(**found, **({"left_out": left_out} if left_out else {})))
        return True


class LibraryLines(logging.Filter):
    """Lets at most `lines` per minute pass of each message of a library, whatever its arguments.

    aiokafka logs each attempt to reach a broker that is away, dozens per second. Install it on a handler, because a
    logger's filters do not see what its children log.
    """

    def __init__(self, library: str, lines: int, monotonic: Callable[[], float]) -> None:
        super().__init__()
        self._library = library
        self._quotas: defaultdict[str, Quota] = defaultdict(lambda: Quota(lines, monotonic))

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False if the message has used up its lines; else add to the record how many were left out before."""
        if record.name.partition(".")[0] != self._library:
            return True
        left_out = self._quotas[str(record.msg)].take()
        if left_out:
            vars(record).update(fields(left_out=left_out))
        return left_out is not None
