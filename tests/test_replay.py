"""The replay of a dead letter: its event is durable before its mark, wherever it ends between the two."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final
from unittest.mock import patch

import pytest

from aurora_bridge.daemon import make_metrics
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outcomes import Outcome, Reason, Refusal
from aurora_bridge.redaction import SecretNames
from aurora_bridge.replay import REPLAYED, Replay, Result
from aurora_bridge.settings import Settings
from aurora_bridge.webhook.credentials import HEADER, Credentials, Secrets
from aurora_bridge.webhook.dead_letter import StoredDeadLetter
from aurora_bridge.webhook.route_rules import Rules
from aurora_bridge.webhook.routes import Route, Routes
from tests.support.embedded import PATIENCE, EmbeddedBridge

RECEIVED_US: Final = 1_795_489_511_454_000
LETTER: Final = StoredDeadLetter(
    "12ce9b27067856622ff6967e1acf4d41.20261124T030511454",
    "default",
    RECEIVED_US,
    "lead_changed",
    "not_as_template",
    "default",
    "/lead_changed?lead_id=l-1",
)


class Replaying(EmbeddedBridge):
    """A bridge, and what replays its dead letters; `publish` can be barred."""

    def __init__(self, directory: Path) -> None:
        tokens = Credentials("x-token", Secrets("tokens", (HEADER,), {}))
        routes = Routes("/", Route("default", "default", tokens, Rules(SecretNames(()))))
        settings = Settings(state_dir=directory)
        super().__init__(settings, routes, make_metrics())
        self.replay = Replay(routes, self.dedup, self.bridge)

    async def ask(self, letter: StoredDeadLetter, *, dry_run: bool) -> Result:
        """Replay a dead letter."""
        async with asyncio.timeout(PATIENCE):
            return await self.replay(letter, dry_run=dry_run)


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Replaying]:
    core = Replaying(tmp_path)
    await core.start()
    yield core
    await core.stop()


Publish = Callable[[OutboxRecord], Awaitable[Outcome]]


def barring(core: Replaying, topic: str, how: BaseException) -> Publish:
    """Return a `publish` that fails for one topic."""
    publish = core.publisher.publish

    async def fail(record: OutboxRecord) -> Outcome:
        if record.event == topic:
            raise how
        return await publish(record)

    return fail


@pytest.mark.parametrize("how", [Refusal(Reason.SPOOL_FULL), asyncio.CancelledError()], ids=["refused", "cancelled"])
async def test_without_its_event_a_dead_letter_is_not_marked(core: Replaying, how: BaseException) -> None:
    with (
        patch.object(core.publisher, "publish", barring(core, "lead_changed", how)),
        pytest.raises(type(how)),
    ):
        await core.ask(LETTER, dry_run=False)
    assert core.stored() == []
    result = await core.ask(LETTER, dry_run=False)
    assert result.outcome is Outcome.SPOOLED
    assert [stored.topic for stored in core.stored()] == ["lead_changed", "dead_letter"]


@pytest.mark.parametrize("how", [Refusal(Reason.SPOOL_FULL), asyncio.CancelledError()], ids=["refused", "cancelled"])
async def test_without_its_mark_it_is_replayed_again_and_its_event_is_a_duplicate(
    core: Replaying, how: BaseException
) -> None:
    with (
        patch.object(core.publisher, "publish", barring(core, "dead_letter", how)),
        pytest.raises(type(how)),
    ):
        await core.ask(LETTER, dry_run=False)
    (event,) = core.stored()
    again = await core.ask(LETTER, dry_run=False)
    assert (again.outcome, again.id) == (Outcome.DUPLICATE, event.event["id"])
    assert [stored.topic for stored in core.stored()] == ["lead_changed", "dead_letter"]
    assert (await core.ask(LETTER, dry_run=False)).outcome == REPLAYED


@pytest.mark.parametrize(("status", "outcome"), [("200", Outcome.SPOOLED), ("422", Outcome.DUPLICATE)])
async def test_only_what_aurora_was_refused_can_have_come_again_as_a_retry(
    core: Replaying, status: str, outcome: Outcome
) -> None:
    """Whatever is answered now: an operator may have changed that since."""
    results = []
    for minutes, state in ((0, "sent"), (10, "viewed"), (30, "sent")):
        letter = LETTER._replace(
            id=LETTER.id.replace("12ce", f"12{minutes:02}"),
            time_us=RECEIVED_US + minutes * 60_000_000,
            event="agreement_status_changed",
            target=f"/agreement_status_changed?agreement_id=a-1&status={state}",
            status=status,
        )
        results.append((await core.ask(letter, dry_run=False)).outcome)
    assert results == [Outcome.SPOOLED, Outcome.SPOOLED, outcome]


async def test_what_was_kept_is_judged_by_no_limit_of_requests(core: Replaying) -> None:
    """The limit may have been lowered since; and what is kept is percent-encoded, and may be longer than what came."""
    long = LETTER._replace(target=f"/lead_changed?lead_id={'%C3%A9' * 4000}")
    assert len(long.target) > Settings().ingress.max_target_bytes
    assert (await core.ask(long, dry_run=False)).outcome is Outcome.SPOOLED
    assert [stored.topic for stored in core.stored()] == ["lead_changed", "dead_letter"]


async def test_a_dry_run_changes_nothing(core: Replaying) -> None:
    assert (await core.ask(LETTER, dry_run=True)).event == "lead_changed"
    assert core.stored() == []


@pytest.mark.parametrize(
    ("target", "outcome", "reason"),
    [
        ("/nowhere/at/all", "refused", "no_route"),
        ("/lead_changed?lead_id=<LEAD_ID>", "dead_lettered", "unfilled_placeholder"),
        ("/lead_changed?lead_id=***", "refused", "hidden_value"),
    ],
)
async def test_what_carries_no_event_still_is_told_and_not_marked(
    core: Replaying, target: str, outcome: str, reason: str
) -> None:
    result = await core.ask(LETTER._replace(target=target), dry_run=False)
    assert (result.outcome, result.reason) == (outcome, reason)
    assert core.stored() == []
