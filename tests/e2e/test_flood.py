"""A flood, of strangers and of somebody who may deliver: it adds no metric series, and next to nothing to the log.

`make faults` has a longer one of strangers, next to load (`faults/scenarios/clients.py: flood`).
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from time import monotonic
from typing import Final

import pytest

from aurora_bridge.auto_disable.attempts import NO_ROUTE
from aurora_bridge.routing import DEFAULT
from aurora_bridge.webhook.catalogue import EVENTS
from tests.faults.flood import pour
from tests.faults.process_stats import resident_bytes
from tests.support.daemon import Daemon, Metrics
from tests.support.http import Connection, request

TOKEN: Final = [("X-Aurora-Webhook-Token", "good-token")]
STRANGERS: Final = 4000
MORE_STRANGERS: Final = 12_000
MORE_MEMORY: Final = 1_000_000
"""Bytes, and so less than 100 for each further stranger; a few kB were measured."""
MADE_UP: Final = 2000
PIPELINED: Final = 50
LINES_A_MINUTE: Final = 120
"""20 for each reason, on known paths and on others: five kinds here. And those of the start."""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that wants a token."""
    tokens = tmp_path / "tokens"
    tokens.write_text("good-token\n")
    with Daemon(tmp_path, auth__tokens_file=tokens) as daemon:
        yield daemon


def lines_allowed(since: float) -> int:
    """Return how many lines a flood may write that began then: they are counted by the minute."""
    return LINES_A_MINUTE * (1 + int(monotonic() - since) // 60)


def series_of(metrics: Metrics) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """Return what there is but the attempts of the default route and of none, whose events are known ones."""
    known = [{("event", event), ("route", route)} for event in EVENTS for route in (DEFAULT, NO_ROUTE)]
    return {(name, labels) for name, labels in metrics if not any(each <= labels for each in known)}


@pytest.mark.proves(
    "An attacker cannot: fill the log by a flood",
    "An attacker cannot: add metric series by made-up paths",
    "An attacker cannot: add memory by a flood of requests that are refused",
    "An attacker can: Try credentials as fast as they are refused",
)
def test_strangers_add_no_series_no_memory_and_few_lines_and_keep_nobody_out(daemon: Daemon) -> None:
    began, series, random = monotonic(), series_of(daemon.metrics()), Random(1)
    statuses = pour(daemon.url, STRANGERS, random)
    memory = resident_bytes(daemon)
    statuses += pour(daemon.url, MORE_STRANGERS, random)
    grown = resident_bytes(daemon) - memory
    assert daemon.get("/lead_changed?lead_id=1", TOKEN).status == 200
    metrics = daemon.metrics()
    assert (set(statuses), statuses.total()) == ({400, 401, 404, 405}, STRANGERS + MORE_STRANGERS)
    assert series_of(metrics) == series
    assert metrics.value("aurora_bridge_refusals_total", reason="unauthorized") == statuses[401]
    assert grown < MORE_MEMORY
    assert len(daemon.log_lines()) < lines_allowed(began)


@pytest.mark.proves(
    "An attacker cannot: fill the log by a flood",
    "An attacker cannot: add metric series by made-up paths",
    "An attacker can: With a valid credential",
)
def test_whoever_may_deliver_adds_no_series_and_few_lines_by_what_he_makes_up(daemon: Daemon) -> None:
    began, series, outcomes = monotonic(), series_of(daemon.metrics()), Counter[str]()
    for first in range(0, MADE_UP, PIPELINED):
        with Connection(daemon.url) as connection:
            connection.send(b"".join(made_up(number) for number in range(first, first + PIPELINED)))
            outcomes.update(connection.receive().json["outcome"] for _ in range(PIPELINED))
    assert outcomes == {"spooled": MADE_UP // 2, "dead_lettered": MADE_UP // 2}
    assert series_of(daemon.metrics()) == series
    assert len(daemon.log_lines()) < lines_allowed(began)


def made_up(number: int) -> bytes:
    """Return an unknown event with an unknown attribute, or a dead letter, of which nothing came before."""
    value = "%ff" if number % 2 else "x"
    return request(f"/made_up_{number}?name_{number}={value}&other_{number}={number}", TOKEN)
