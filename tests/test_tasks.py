"""What ends the daemon; what only helps is started again whatever it raises, and the log is not flooded by it."""

import asyncio
from unittest.mock import patch

import pytest

from aurora_bridge import tasks
from aurora_bridge.signals import Stop
from aurora_bridge.tasks import LINES_A_MINUTE, Failure, essential, helper, keep_running


class Failing:
    """Raises what it is given, one after the other, and returns when there is nothing left."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.runs = 0

    async def run(self) -> None:
        self.runs += 1
        if self.errors:
            raise self.errors.pop(0)


async def test_it_is_started_again_until_it_returns(caplog: pytest.LogCaptureFixture) -> None:
    failing = Failing(AttributeError("of nobody"), NotImplementedError())
    with patch.object(tasks, "AGAIN_SECONDS", 0):
        await keep_running("measuring", failing.run)
    assert failing.runs == 3
    assert [record.getMessage() for record in caplog.records] == ["measuring failed; trying again"] * 2
    assert [record.exc_info and record.exc_info[0] for record in caplog.records] == [
        AttributeError,
        NotImplementedError,
    ]


async def test_what_fails_for_ever_gets_a_few_lines_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    failing = Failing(*[ValueError()] * 10 * LINES_A_MINUTE)
    with patch.object(tasks, "AGAIN_SECONDS", 0):
        await keep_running("measuring", failing.run)
    assert len(caplog.records) == LINES_A_MINUTE


async def test_it_can_be_cancelled() -> None:
    failing = Failing(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await keep_running("measuring", failing.run)
    assert failing.runs == 1


async def fail() -> None:
    """Fail in a way that nobody thought of."""
    msg = "of nobody's"
    raise AttributeError(msg)


async def test_the_daemon_stops_when_a_part_fails_without_which_no_event_gets_on_its_way() -> None:
    stop = Stop()
    with pytest.raises(Failure):
        async with essential(fail(), stop.ask):
            await stop.wait()
    assert stop.reason == "a part of the daemon failed"


async def test_what_only_helps_is_started_again_and_ends_with_the_daemon() -> None:
    runs = 0
    again = asyncio.Event()

    async def fail_once() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            await fail()
        again.set()
        await asyncio.Event().wait()

    with patch.object(tasks, "AGAIN_SECONDS", 0):
        async with helper("measuring", fail_once):
            await again.wait()
    assert runs == 2
