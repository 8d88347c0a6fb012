"""A re-send that was declared: how long it lasts, what it counts, and what of it a restart knows."""

from pathlib import Path

import pytest

from aurora_bridge.dedup import resend
from aurora_bridge.dedup.resend import FILE, Declaration, Resend
from aurora_bridge.state import line_file
from aurora_bridge.state.directory import StateError
from tests.dedup.events import DAY, HOUR, NOON, SECOND


@pytest.mark.proves("a declared re-send outlasts restarts and ends by itself")
def test_it_lasts_a_day_and_begun_again_a_day_from_then() -> None:
    declared = Declaration().begin(NOON)._replace(known=3, new=1)
    assert [declared.lasts(NOON + after) for after in (0, DAY - 1, DAY)] == [True, True, False]
    assert declared.begin(NOON + HOUR) == (NOON, NOON + HOUR + DAY, 3, 1)
    assert declared.begin(NOON + DAY) == (NOON + DAY, NOON + 2 * DAY, 0, 0)


def test_it_can_be_ended_once() -> None:
    ended = Declaration().begin(NOON).end(NOON + HOUR)
    assert ended == (NOON, NOON + HOUR, 0, 0)
    for nothing in (ended, Declaration()):
        with pytest.raises(ValueError, match="no re-send is in progress"):
            nothing.end(NOON + HOUR)


async def test_what_it_counts_is_known_after_a_restart(tmp_path: Path) -> None:
    before = Resend(tmp_path)
    before.count(NOON, known=True)
    assert await before.begin(NOON) == (NOON, NOON + DAY, 0, 0)
    for at, known in ((NOON, True), (NOON + HOUR, True), (NOON + HOUR, False), (NOON + DAY, True)):
        before.count(at, known=known)
    await before.save()
    assert Resend(tmp_path).declared == before.declared == (NOON, NOON + DAY, 2, 1)
    await before.end(NOON + HOUR)
    assert not Resend(tmp_path).lasts(NOON + HOUR)


async def test_what_cannot_be_kept_is_not_declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: Path, _line: str) -> None:
        raise OSError(28, "No space left on device")

    declared = Resend(tmp_path)
    monkeypatch.setattr(line_file, "write_durably", fail)
    with pytest.raises(ValueError, match="No space left on device"):
        await declared.begin(NOON)
    assert not declared.lasts(NOON)


@pytest.mark.parametrize("text", ["", "[]", "{}x", '{"begun":1}', '{"known":"many"}'])
def test_a_file_that_holds_no_declaration_is_none_and_is_told(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_text(text)
    assert Resend(tmp_path).declared == Declaration()
    assert "Delete it" in caplog.text
    with pytest.raises(StateError):
        resend.read(tmp_path)


async def test_that_it_is_over_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    declared = Resend(tmp_path)
    await declared.begin(NOON)
    for after in (0, SECOND, DAY, DAY + SECOND):
        declared.tell(NOON + after)
    assert caplog.text.count("the re-send is over") == 1
