"""The status page fits a phone, by a real Chromium."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aurora_bridge.web.page import page
from aurora_bridge.web.status import Status
from tests.support.browser import Browser
from tests.web.statuses import AWAY, QUIET, eventful

PHONE = 375
LONG = "/var/lib/" + "a-long-name" * 10


@pytest.fixture(scope="module")
def browser(program: Callable[[str], str]) -> Iterator[Browser]:
    """A Chromium."""
    with Browser(program("chromium")) as browser:
        yield browser


@pytest.mark.ops
@pytest.mark.parametrize(
    "status", [QUIET, AWAY, eventful("word"), eventful(LONG)], ids=["quiet", "away", "all", "long"]
)
def test_it_is_no_wider_than_a_phone_whatever_it_shows(browser: Browser, tmp_path: Path, status: Status) -> None:
    file = tmp_path / "page.html"
    file.write_text(page(status, refreshing=False))
    assert browser.show(file.as_uri(), PHONE) == PHONE


@pytest.mark.ops
def test_what_is_too_wide_is_noticed(browser: Browser, tmp_path: Path) -> None:
    """So that the test above can fail."""
    file = tmp_path / "page.html"
    file.write_text(page(QUIET, refreshing=False).replace("<main>", f"<main><pre>{'x' * 1000}</pre>"))
    assert browser.show(file.as_uri(), PHONE) > PHONE
