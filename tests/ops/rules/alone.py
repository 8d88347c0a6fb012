"""States of daemons without a Kafka: what happens to the process, to the index and to the answers.

As in `scene`, a state starts its daemon and returns what then happens to it.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import Final, Protocol

from aurora_bridge.simulator.in_thread import running
from tests.ops.rules.faulty import CLOCK, HANGS
from tests.ops.rules.process import starved, still
from tests.support.daemon import Daemon
from tests.support.http import Connection, request

GOOD: Final = [("X-Aurora-Webhook-Token", "valid")]
LATE: Final = 10
"""Known webhooks that come again while the index does not answer."""
LOST: Final = 50
"""Answers that are lost in each of two ways: enough to stand out of what all daemons get."""
ALIKE: Final = 3
"""Events that look like others, as many as the alert waits for."""
STILL_SECONDS: Final = 8.5
"""Longer than an answer may take."""

Happening = Callable[[], object]


class Start(Protocol):
    """Starts a daemon, with a fault of `faulty`."""

    def __call__(self, name: str, *, fault: str | None = None, **settings: object) -> Daemon: ...


def starving(start: Start, stack: ExitStack) -> Happening:
    """The process gets too little CPU, until the end."""
    daemon = start("starving")
    return lambda: stack.enter_context(starved(daemon.process))


def stuck(start: Start, stack: ExitStack) -> Happening:
    """One delivery is never answered, others are."""
    daemon = start("stuck", fault="stuck")

    def happen() -> None:
        waiting = stack.enter_context(Connection(daemon.url))
        waiting.send(request("/lead_created?lead_id=stuck", GOOD))
        daemon.wait_until("it is under way", under_way)
        assert daemon.get("/lead_created?lead_id=1", GOOD).status == 200

    return happen


def suspended(start: Start, _stack: ExitStack) -> Happening:
    """The process stands still while a delivery is under way."""
    daemon = start("suspended", fault="slow-index", deadlines__publish_seconds=7, deadlines__spool_seconds=7.5)
    remember(daemon, ["/lead_created?lead_id=1"])

    def happen() -> None:
        hangs = daemon.folder / HANGS
        hangs.touch()
        with Connection(daemon.url) as connection:
            connection.send(request("/lead_created?lead_id=1", GOOD))
            daemon.wait_until("it is under way", under_way)
            with still(daemon.process):
                sleep(STILL_SECONDS)
            assert connection.receive().json["reason"] == "too_late"
        hangs.unlink()

    return happen


def late(start: Start, _stack: ExitStack) -> Happening:
    """The disk of the index does not answer for a while."""
    daemon = start("late", fault="slow-index")
    targets = [f"/lead_created?lead_id={number}" for number in range(LATE)]
    remember(daemon, targets)

    def happen() -> None:
        hangs = daemon.folder / HANGS
        hangs.touch()
        answers = [daemon.get(target, GOOD) for target in targets]
        hangs.unlink()
        assert {answer.status for answer in answers} == {200}

    return happen


def lost(start: Start, _stack: ExitStack) -> Happening:
    """Clients leave before the answer, or do not get it; and Aurora tries again."""
    daemon = start("lost", fault="fast-retries")
    targets = [f"/lead_created?lead_id={number}" for number in range(2 * LOST)]

    def happen() -> None:
        with still(daemon.process):
            for target in targets[:LOST]:
                with Connection(daemon.url) as connection:
                    connection.send(request(target, GOOD))
        for target in targets[LOST:]:
            daemon.get(target, GOOD)
        daemon.wait_until("all have come", lambda daemon: received(daemon) == len(targets))
        sleep(30 / CLOCK)
        assert {daemon.get(target, GOOD).json["outcome"] for target in targets} == {"duplicate"}

    return happen


def alike(start: Start, _stack: ExitStack) -> Happening:
    """Events come that look like others, when Aurora does not retry."""
    daemon = start("alike", fault="no-retries")
    targets = [f"/lead_created?lead_id={number}" for number in range(ALIKE)]

    def happen() -> None:
        assert {daemon.get(target, GOOD).status for target in targets} == {200}
        assert {daemon.get(target, GOOD).json["outcome"] for target in targets} == {"duplicate"}

    return happen


def unsubscribed(start: Start, stack: ExitStack) -> Happening:
    """Of Aurora's subscriptions one is off, one leads nowhere, and there are no others."""
    aurora = stack.enter_context(running())
    key = Path(stack.enter_context(TemporaryDirectory())) / "api-key"
    key.write_text(f"{aurora.token}\n")
    daemon = start(
        "unsubscribed",
        aurora__api_url=aurora.url,
        aurora__api_token_file=key,
        aurora__tenant_id="simulated",
        aurora__poll_seconds=1,
    )

    def happen() -> None:
        header, token = GOOD[0]
        off = {"enabled": False, "header_auth_key": header, "header_auth_value": token}
        aurora.subscribe("lead_created", daemon.url, **off)
        aurora.subscribe("lead_changed", f"{daemon.url}/nowhere/at/all?lead_id=<LEAD_ID>")
        daemon.wait_until("it was seen", lambda daemon: "switched_off" in daemon.log.read_text())

    return happen


ALONE: Final = (starving, stuck, suspended, late, lost, alike, unsubscribed)


def remember(daemon: Daemon, targets: list[str]) -> None:
    """Have the index's file, and nothing else, know events: for what is new it is not asked."""
    assert {daemon.get(target, GOOD).status for target in targets} == {200}
    daemon.terminate()
    daemon.start()
    daemon.wait_until("its index is complete", lambda daemon: daemon.metrics().value("aurora_bridge_index_complete"))


def under_way(daemon: Daemon) -> bool:
    """Whether a delivery is not answered yet."""
    return bool(daemon.metrics().value("aurora_bridge_in_flight_deliveries"))


def received(daemon: Daemon) -> float:
    """Return how many deliveries were answered, whether somebody got the answer or not."""
    return daemon.metrics().value("aurora_bridge_deliveries_total")
