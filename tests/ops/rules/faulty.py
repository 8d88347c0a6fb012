"""The daemon with a fault, a slow disk or a fast clock: `faulty.py FAULT serve`."""

import asyncio
import sqlite3
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from aurora_bridge import cli
from aurora_bridge.dedup import index, index_file, recurrence
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outcomes import Outcome
from aurora_bridge.state.database import used_bytes
from tests.faults.launch import run_faster
from tests.support.daemon import Daemon

REPOSITORY: Final = Path(__file__).parents[3]
HANGS: Final = "the-disk-hangs"
"""While this file is in the daemon's folder, the disk of the index does not answer."""
FAILS: Final = "the-disk-fails"
"""While this one is there, it fails."""
STUCK: Final = b"lead/stuck"
"""The subject whose deliveries never end."""
CLOCK: Final = 10
"""How much faster than Aurora's the clock of retries can be."""
_POLL_SECONDS = 0.01


def slow_index() -> None:
    """Have a look-up wait for the disk."""
    find = index.find

    def late(*asked: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever it takes and returns
        while Path(HANGS).exists():
            time.sleep(_POLL_SECONDS)
        return find(*asked, **named)

    index.find = late


def failing_index() -> None:
    """Have the index fail when it is looked at, as it is each second, and when it is opened again."""

    def fail(connection: sqlite3.Connection) -> int:
        if Path(FAILS).exists():
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        return used_bytes(connection)

    index.used_bytes = index_file.used_bytes = fail  # type: ignore[attr-defined]


def stuck() -> None:
    """Never end some deliveries, whoever cancels them."""
    publish = Publisher.publish

    async def never(publisher: Publisher, record: OutboxRecord) -> Outcome:
        while record.partition_key == STUCK:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue
        return await publish(publisher, record)

    Publisher.publish = never  # type: ignore[assignment, method-assign]


def no_retries() -> None:
    """Have no delivery fit Aurora's schedule, however soon it comes."""
    recurrence._INTERVALS = tuple((interval, -1, -1) for interval, _, _ in recurrence._INTERVALS)


FAULTS: Final[dict[str, Callable[[], None]]] = {
    "slow-index": slow_index,
    "failing-index": failing_index,
    "stuck": stuck,
    "fast-retries": partial(run_faster, CLOCK),
    "no-retries": no_retries,
}


def make_faulty(daemon: Daemon, fault: str) -> None:
    """Have a daemon that was not started yet start with a fault."""
    daemon.program = [sys.executable, "-m", "tests.ops.rules.faulty", fault]
    daemon.surroundings = {"PYTHONPATH": str(REPOSITORY)}


if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    sys.exit(cli.main())
