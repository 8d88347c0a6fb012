"""Files that change while the daemon runs: taken over within one look, and what cannot be used leaves the last good."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from aurora_bridge import secret_files
from aurora_bridge.metrics import Metrics
from aurora_bridge.secret_files import CHECK_SECONDS, SecretFileError, SecretFiles


class Taker:
    """Takes contents over, and refuses empty ones."""

    def __init__(self) -> None:
        self.taken: list[list[bytes]] = []

    def __call__(self, contents: Sequence[bytes]) -> None:
        if not all(contents):
            msg = "holds nothing"
            raise ValueError(msg)
        for content in contents:
            content.decode()
        self.taken.append(list(contents))


class Observed:
    """A file that is followed, and what came of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "tokens"
        self.file.write_bytes(b"one")
        self.file.chmod(0o600)
        self.metrics = Metrics()
        self.files = SecretFiles(self.metrics)
        self.taker = Taker()

    def follow(self, *paths: Path) -> None:
        """Follow the file, or others that belong together."""
        self.files.follow(paths or [self.file], self.taker)

    def check(self) -> None:
        """Check once."""
        asyncio.run(self.files.check())

    @property
    def failing(self) -> float:
        """What the metric says of the file."""
        return self.metrics.secret_file_failing[str(self.file)]


@pytest.fixture
def observed(tmp_path: Path) -> Observed:
    return Observed(tmp_path)


@pytest.mark.proves("Where each secret lives: tokens and Basic pairs of Aurora")
def test_a_look_comes_often_enough_for_a_change_to_hold_within_ten_seconds() -> None:
    assert CHECK_SECONDS <= 5


def test_the_content_is_handed_over_at_once_and_after_each_change_only(observed: Observed) -> None:
    observed.follow()
    observed.check()
    observed.file.write_bytes(b"two")
    observed.check()
    observed.check()
    assert observed.taker.taken == [[b"one"], [b"two"]]
    assert observed.metrics.secret_file_reloads[str(observed.file)] == 1


def test_a_change_that_leaves_time_and_size_alone_is_seen(observed: Observed) -> None:
    observed.follow()
    before = observed.file.stat()
    observed.file.write_bytes(b"two")
    os.utime(observed.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    observed.check()
    assert observed.taker.taken[-1] == [b"two"]


def test_the_swap_of_a_symbolic_link_is_seen_as_kubernetes_does_it(observed: Observed) -> None:
    """Secret -> ..data/secret, and ..data -> ..2026_1 is renamed over."""
    folder = observed.folder
    for version, content in (("..2026_1", b"one"), ("..2026_2", b"two")):
        (folder / version).mkdir()
        (folder / version / "secret").write_bytes(content)
    (folder / "..data").symlink_to("..2026_1")
    (folder / "secret").symlink_to("..data/secret")
    observed.follow(folder / "secret")
    (folder / "..data_tmp").symlink_to("..2026_2")
    (folder / "..data_tmp").rename(folder / "..data")
    (folder / "..2026_1" / "secret").unlink()
    observed.check()
    assert observed.taker.taken == [[b"one"], [b"two"]]


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.proves("Where each secret lives: tokens and Basic pairs of Aurora")
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.write_bytes(b""), "holds nothing"),
        (lambda file: file.write_bytes(b"canary \xff"), "is not UTF-8"),
        (Path.unlink, "cannot be read (No such file or directory)"),
        (make_folder, "cannot be read (Is a directory)"),
    ],
    ids=["empty", "not UTF-8", "missing", "a folder"],
)
def test_what_cannot_be_used_leaves_the_last_good_and_says_so_once_until_it_is_fixed(
    observed: Observed, spoil: Callable[[Path], object], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    observed.follow()
    spoil(observed.file)
    observed.check()
    observed.check()
    assert (observed.taker.taken, observed.failing) == ([[b"one"]], 1)
    (line,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert line.getMessage() == f"{observed.file} {words}; what it held before stays in force"
    assert "canary" not in caplog.text
    if observed.file.is_dir():
        observed.file.rmdir()
    observed.file.write_bytes(b"two")
    observed.check()
    assert (observed.taker.taken, observed.failing) == ([[b"one"], [b"two"]], 0)


def test_a_file_that_comes_back_as_it_was_is_no_change(observed: Observed) -> None:
    observed.follow()
    observed.file.unlink()
    observed.check()
    observed.file.write_bytes(b"one")
    observed.check()
    assert (observed.taker.taken, observed.failing) == ([[b"one"]], 0)
    assert observed.metrics.secret_file_reloads[str(observed.file)] == 0


def test_one_file_that_fails_holds_up_no_other(observed: Observed) -> None:
    other = observed.folder / "other"
    other.write_bytes(b"three")
    observed.follow()
    observed.follow(other)
    observed.file.unlink()
    other.write_bytes(b"four")
    observed.check()
    assert observed.taker.taken == [[b"one"], [b"three"], [b"four"]]


def test_files_that_belong_together_are_handed_over_together(observed: Observed) -> None:
    key = observed.folder / "key"
    key.write_bytes(b"k-one")
    observed.follow(observed.file, key)
    key.write_bytes(b"k-two")
    observed.check()
    assert observed.taker.taken == [[b"one", b"k-one"], [b"one", b"k-two"]]
    key.unlink()
    observed.check()
    assert observed.failing == 1 == observed.metrics.secret_file_failing[str(key)]


@pytest.mark.parametrize("content", [b"", None, b"\xff"])
def test_a_file_that_cannot_be_used_at_first_is_refused_by_name(observed: Observed, content: bytes | None) -> None:
    if content is None:
        observed.file.unlink()
    else:
        observed.file.write_bytes(content)
    with pytest.raises(SecretFileError, match=str(observed.file)):
        observed.follow()


def test_what_every_user_may_read_is_noted(observed: Observed) -> None:
    other = observed.folder / "other"
    other.write_bytes(b"x")
    other.chmod(0o644)
    observed.follow()
    observed.follow(other)
    assert observed.files.exposed == [other]


def test_what_is_wrong_is_said_again_when_it_changes_and_so_is_that_it_is_fixed(
    observed: Observed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    observed.follow()
    observed.file.write_bytes(b"")
    observed.check()
    observed.check()
    observed.file.unlink()
    observed.check()
    observed.file.write_bytes(b"one")
    observed.check()
    said = [record.getMessage() for record in caplog.records]
    assert [line.removeprefix(str(observed.file)) for line in said] == [
        " holds nothing; what it held before stays in force",
        " cannot be read (No such file or directory); what it held before stays in force",
        "can be used again",
    ]
    assert observed.failing == 0


async def test_who_asks_gets_a_look_without_waiting_for_the_next(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_files, "CHECK_SECONDS", 1e6)
    taken = asyncio.Event()
    observed.files.follow([observed.file], lambda _contents: taken.set())
    taken.clear()
    observed.file.write_bytes(b"two")
    run = asyncio.create_task(observed.files.run())
    observed.files.check_soon()
    await taken.wait()
    run.cancel()
