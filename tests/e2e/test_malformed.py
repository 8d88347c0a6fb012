"""Whatever comes in, the answer is as it was recorded, no fault of the daemon's, and no body becomes a request."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.stores import spooled
from tests.faults.fuzz import Fuzzer
from tests.samples.load import MALFORMED_TOKEN, load_malformed
from tests.support.daemon import Daemon
from tests.support.replay import replay

GOOD: Final = [("X-Aurora-Webhook-Token", MALFORMED_TOKEN)]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that wants a token."""
    folder = tmp_path_factory.mktemp("malformed")
    tokens = folder / "tokens"
    tokens.write_text(f"{MALFORMED_TOKEN}\n")
    with Daemon(folder, auth__tokens_file=tokens) as daemon:
        yield daemon


@pytest.mark.proves(
    "An attacker cannot: hide a second request in the body",
    "An attacker cannot: crash the daemon",
    "An attacker cannot: be sent elsewhere",
    "Where one request ends: Every case below is answered as recorded",
    "Where one request ends: Headers and body are parsed as those of any other request",
)
@pytest.mark.parametrize("file", ["http", "smuggling", "targets", "unescaped"])
def test_what_is_malformed_is_answered_as_recorded(daemon: Daemon, file: str) -> None:
    cases = [case for case in load_malformed() if case.file == file]
    assert len(cases) > 40
    before = accepted(daemon)
    assert replay(daemon.url, [case for case in cases if 200 not in case.statuses]) == []
    assert accepted(daemon) == before
    assert replay(daemon.url, [case for case in cases if 200 in case.statuses]) == []
    assert accepted(daemon) == before + sum(case.statuses.count(200) for case in cases)
    assert {status for case in cases for status in case.statuses} <= {200, 400, 401, 404, 405, 414}
    assert not any("smuggled" in str(stored.event) for stored in spooled(daemon.state))
    assert [line for line in daemon.log_lines() if line["level"] == "ERROR"] == []


def accepted(daemon: Daemon) -> float:
    """Return how many deliveries were taken, also those that were known already."""
    metrics = daemon.metrics()
    return metrics.value("aurora_bridge_deliveries_total") - metrics.value(
        "aurora_bridge_deliveries_total", outcome="refused"
    )


@pytest.mark.proves(
    "no two genuine events share an id",
    "An attacker cannot: crash the daemon",
    "An attacker cannot: make one event pass for another",
)
def test_whatever_a_fuzzer_makes_is_answered_and_no_two_contents_share_an_id(daemon: Daemon, tmp_path: Path) -> None:
    fuzzer = Fuzzer(daemon.url, GOOD, tmp_path)
    fuzzer.run(examples=100)
    assert len(fuzzer.meanings) > 20
    assert daemon.metrics().value("aurora_bridge_refusals_total", reason="internal_error") == 0
