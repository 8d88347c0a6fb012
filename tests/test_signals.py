"""What a signal does to the daemon, at any moment of its life."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from aurora_bridge import __main__, cli
from aurora_bridge.signals import Stop, on_hangup

FOR_EVER: Final = 1e6


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


async def test_the_first_who_asks_gives_the_reason() -> None:
    stop = Stop()
    stop.ask("SIGTERM")
    stop.ask("a part of the daemon failed")
    await stop.wait()
    assert stop.reason == "SIGTERM"


async def test_who_asks_again_cuts_the_pause() -> None:
    stop = Stop()
    stop.ask("SIGINT")
    pause = asyncio.create_task(stop.pause(FOR_EVER))
    await asyncio.sleep(0)
    assert not pause.done()
    stop.ask("SIGINT")
    await pause


async def test_a_pause_ends_by_itself_and_may_be_none() -> None:
    stop = Stop()
    await stop.pause(0)
    await stop.pause(0.001)


async def test_a_hangup_is_acted_on_meanwhile_and_ignored_afterwards() -> None:
    acted = asyncio.Event()
    with on_hangup(acted.set):
        os.kill(os.getpid(), signal.SIGHUP)
        await acted.wait()
    os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["serve"], signal.SIG_IGN),
        (["--config", "x", "serve"], signal.SIG_IGN),
        (["tail", "--follow"], signal.SIG_DFL),
    ],
)
def test_a_hangup_while_the_modules_load_ends_a_command_and_not_the_daemon(
    monkeypatch: pytest.MonkeyPatch, words: list[str], expected: signal.Handlers
) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    monkeypatch.setattr(sys, "argv", ["aurora-bridge", *words])
    monkeypatch.setattr(cli, "main", lambda: 7)
    assert __main__.main() == 7
    assert signal.getsignal(signal.SIGHUP) == expected


def test_an_interrupt_while_the_modules_load_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["aurora-bridge", "config"])
    monkeypatch.setattr(cli, "main", interrupted)
    assert __main__.main() == 130
