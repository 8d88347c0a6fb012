"""Connections get what the system's limit of open files leaves, and the daemon keeps some for itself."""

import logging
import resource

import pytest

from aurora_bridge.web.file_descriptors import SPARE, connections_allowed

UNLIMITED = resource.RLIM_INFINITY


@pytest.mark.proves("An attacker cannot: exhaust the file descriptors that the daemon needs for Kafka")
@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "allowed", "limit"),
    [
        (1024, 524_288, 4096, 4096, 4096 + SPARE),
        (1024, UNLIMITED, 4096, 4096, 4096 + SPARE),
        (65_536, 65_536, 4096, 4096, 65_536),
        (UNLIMITED, UNLIMITED, 4096, 4096, UNLIMITED),
        (1024, 4096, 4096, 4096 - SPARE, 4096),
        (256, 600, 4096, 300, 600),
        (256, 400, 100, 100, 400),
        (1024, 65_536, 100, 100, 1024),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_is_needed_and_the_rest_is_kept(  # noqa: PLR0913, PLR0917 - a table
    soft: int,
    hard: int,
    wanted: int,
    allowed: int,
    limit: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: now[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: now.append(limits))
    with caplog.at_level(logging.WARNING):
        assert connections_allowed(wanted) == allowed
    assert now[-1] == (limit, hard)
    assert ("ulimit -Hn" in caplog.text) is (allowed < wanted)
