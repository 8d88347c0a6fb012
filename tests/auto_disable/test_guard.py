"""The guard around the counts: its file, its metrics, its warnings."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event
from time import time_ns
from typing import Any

import pytest

from aurora_bridge.auto_disable import guard as module
from aurora_bridge.auto_disable.attempts import WARNED_AT
from aurora_bridge.auto_disable.guard import FILE, AutoDisableGuard, guarding
from aurora_bridge.metrics import Metrics
from aurora_bridge.remedies import AUTO_DISABLE

KEY = ("default", "lead_created")
TENANTS = {"default": "acme"}
SERIES = ("acme", *KEY)
NOW = 500_000 * 3_600_000_000
PATIENCE = 30.0


def fail(guard: AutoDisableGuard, count: int = WARNED_AT) -> None:
    for _ in range(count):
        guard.attempts.enter(KEY, NOW, failed=True)


def warnings(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record)["fields"] for record in caplog.records if "switch a subscription off" in record.getMessage()]


def test_the_metrics_are_those_of_the_last_update(tmp_path: Path) -> None:
    metrics = Metrics()
    guard = AutoDisableGuard(tmp_path, metrics, TENANTS)
    guard.attempts.enter(KEY, NOW, failed=False)
    fail(guard)
    guard.update(NOW)
    gauges = (metrics.attempts, metrics.failed_attempts, metrics.failed_in_a_row, metrics.auto_disable_risk)
    assert [gauge[SERIES] for gauge in gauges] == [WARNED_AT + 1, WARNED_AT, WARNED_AT, 1]
    guard.attempts.enter(KEY, NOW, failed=False)
    guard.update(NOW)
    assert [gauge[SERIES] for gauge in gauges] == [WARNED_AT + 2, WARNED_AT, 0, 0]
    guard.update(NOW + 49 * 3_600_000_000)
    assert [gauge[SERIES] for gauge in gauges] == [0, 0, 0, 0]


def test_a_risk_is_logged_when_it_begins_and_when_it_begins_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    guard = AutoDisableGuard(tmp_path, Metrics(), TENANTS)
    fail(guard, WARNED_AT - 1)
    guard.update(NOW)
    assert warnings(caplog) == []
    for _ in range(3):
        fail(guard, 1)
        guard.update(NOW + 60_000_000)
    expected = {"route": "default", "event": "lead_created", "attempts": 20, "failures": 20, "in_a_row": 20}
    assert warnings(caplog) == [expected | {"seconds_left": 240, "remedy": AUTO_DISABLE}]
    guard.attempts.enter(KEY, NOW, failed=False)
    guard.update(NOW)
    fail(guard)
    guard.update(NOW)
    assert len(warnings(caplog)) == 2


async def test_a_restart_goes_on_with_what_was_written_and_warns_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    guard = AutoDisableGuard(tmp_path, Metrics(), TENANTS)
    fail(guard)
    await guard.write()
    metrics = Metrics()
    AutoDisableGuard(tmp_path, metrics, TENANTS).update(NOW)
    assert (metrics.failed_in_a_row[SERIES], len(warnings(caplog))) == (WARNED_AT, 1)


async def test_after_a_restart_it_is_known_when_an_event_last_came_if_there_is_such_an_event(tmp_path: Path) -> None:
    guard = AutoDisableGuard(tmp_path, Metrics(), TENANTS)
    guard.attempts.enter(KEY, NOW, failed=False)
    guard.attempts.enter(("default", "of_another_version"), NOW, failed=False)
    await guard.write()
    metrics = Metrics(events=[KEY[1], "lead_changed"])
    AutoDisableGuard(tmp_path, metrics, TENANTS)
    assert metrics.event_last_received == {KEY[1]: NOW / 1e6, "lead_changed": 0}


async def test_what_came_last_is_written_at_the_end(tmp_path: Path) -> None:
    now = time_ns() // 1000
    async with guarding(tmp_path, Metrics(), TENANTS) as attempts:
        attempts.enter(KEY, now, failed=True)
    assert AutoDisableGuard(tmp_path, Metrics(), TENANTS).attempts.evaluate(now)[0].failures == 1


async def until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not look():  # noqa: ASYNC110 - a file and a gauge have no event
            await asyncio.sleep(0)


async def test_it_updates_and_writes_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS", 0)
    metrics = Metrics()
    async with guarding(tmp_path, metrics, TENANTS) as attempts:
        attempts.enter(KEY, time_ns() // 1000, failed=True)
        await until(lambda: SERIES in metrics.attempts and (tmp_path / FILE).exists())


async def test_a_disk_that_hangs_holds_up_neither_the_warning_nor_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sound = Event()
    monkeypatch.setattr(module, "_SECONDS", 0)
    monkeypatch.setattr(module, "_LAST_WRITE_SECONDS", 0)
    monkeypatch.setattr(module, "write_durably", lambda _path, _line: sound.wait(PATIENCE))
    metrics = Metrics()
    try:
        async with guarding(tmp_path, metrics, TENANTS) as attempts:
            for count in (1, 2):
                attempts.enter(KEY, time_ns() // 1000, failed=True)
                await until(lambda count=count: metrics.failed_attempts.get(SERIES) == count)  # type: ignore[misc]
    finally:
        sound.set()
    assert "cannot be written in time" in caplog.text


async def test_what_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    guard = AutoDisableGuard(tmp_path, Metrics(), TENANTS)
    await guard.write()
    assert not (tmp_path / FILE).exists()
    fail(guard)
    await guard.write()
    (tmp_path / FILE).unlink()
    await guard.write()
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("found", [b"", b"{", b"\xff", b"[7]"])
def test_a_file_that_cannot_be_read_is_told_and_counting_starts_over(
    tmp_path: Path, found: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(found)
    guard = AutoDisableGuard(tmp_path, Metrics(), TENANTS)
    assert guard.attempts.evaluate(NOW) == []
    assert "cannot be read" in caplog.text


async def test_a_disk_that_fails_is_told_once_and_written_again_when_it_is_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    guard = AutoDisableGuard(tmp_path, Metrics(), TENANTS)
    fail(guard)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        await guard.write()
        await guard.write()
    assert caplog.text.count("cannot be written (Input/output error)") == 1
    await guard.write()
    assert AutoDisableGuard(tmp_path, Metrics(), TENANTS).attempts.evaluate(NOW)[0].failures == WARNED_AT
