"""The words for an error of the operating system name the file and the user."""

import errno
import os
import pwd

import pytest

from aurora_bridge.os_errors import explain, reason, user


def test_the_user_goes_by_name_or_by_number_where_the_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert user() == pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_001)
    assert user() == "4000000001"


def test_what_is_denied_is_denied_to_somebody() -> None:
    assert reason(OSError(errno.EACCES, "Permission denied", "/x")) == f"Permission denied for the user {user()}"
    assert reason(OSError(errno.ENOSPC, "No space left on device", "/x")) == "No space left on device"
    assert reason(TimeoutError()) == "TimeoutError"


def test_a_line_of_its_own_names_what_there_is_to_name() -> None:
    rename = OSError(errno.EXDEV, "Invalid cross-device link", "/a", None, "/b")
    assert explain(rename) == f"/a to /b: Invalid cross-device link (as the user {user()})."
    assert explain(OSError("odd")) == f"odd (as the user {user()})."
    assert explain(TimeoutError()) == f"TimeoutError (as the user {user()})."
    assert len(explain(OSError(errno.ENAMETOOLONG, "File name too long", "x" * 10_000))) < 300
