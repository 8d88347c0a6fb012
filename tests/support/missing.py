"""What a test does without something that it needs: it is skipped loudly, or fails where nothing may be missing."""

import os
from typing import Final, NoReturn

import pytest

CI: Final = os.environ.get("CI") == "true"
"""Whether a test that cannot run counts as a failure."""
SKIPPED: Final = "not to be had: "
"""Begins the reason of each such skip, by which the summary tells it from others."""


def unavailable(reason: str) -> NoReturn:
    """End the test that runs: what it needs is not to be had, for a reason that says how to get it."""
    if CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(SKIPPED + reason)
