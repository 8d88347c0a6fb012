"""Thousands of deliveries are judged as by two dictionaries, whatever has left memory, and whoever starts again."""

from pathlib import Path
from random import Random

import pytest

from aurora_bridge.dedup.deduplicator import Decision
from aurora_bridge.dedup.lifecycle import Happening
from aurora_bridge.dedup.memory import Entry
from aurora_bridge.dedup.recurrence import Action
from aurora_bridge.webhook.event import Event
from tests.dedup.events import DAY, HOUR, MINUTE, NOON, SECOND, once, signal, state
from tests.dedup.life import PUBLISHED, Life, lives, turns
from tests.dedup.model import Model

EVENTS = [
    *(state(letter, f"{subject}") for letter in "ABCD" for subject in range(8)),
    *(state(letter, f"filtered {subject}", window=MINUTE) for letter in "AB" for subject in range(4)),
    *(once(f"{number}") for number in range(8)),
    *(signal(f"{number}") for number in range(4)),
]
LATER = [0, 1, SECOND, 20 * SECOND, 30 * SECOND, 5 * MINUTE, HOUR, DAY // 3]


def facts(action: Action, entry: Entry) -> tuple[object, ...]:
    """Return what is to be the same."""
    return action, entry.time_ms, entry.id_ms, entry.repeat, entry.attempt if action is Action.RETRY else None


class Both:
    """A life and a model, to which the same happens."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.model = Model()
        self.now = NOON

    async def burst(self, life: Life, count: int) -> None:
        """Let deliveries come together; each is stored or refused, acknowledged late, heard or not."""
        deliveries = [(self.random.choice(EVENTS), self._later(SECOND)) for _ in range(count)]
        expected = [self.model.claim(event, at) for event, at in deliveries]
        decisions = await life.claims(*deliveries)
        assert [facts(one.action, one.entry) for one in decisions] == [facts(*one) for one in expected]
        for (event, at), decision, (_, entry) in zip(deliveries, decisions, expected, strict=True):
            await self._end(life, decision, entry, event)
            in_time = self.random.random() < 0.7
            life.answer(decision, at, in_time=in_time)
            if not in_time:
                self.model.unheard(entry, at)
        self._later(*LATER)

    async def _end(self, life: Life, decision: Decision, entry: Entry, event: Event) -> None:
        if decision.action not in PUBLISHED:
            return
        end = self.random.choice([Happening.STORED, Happening.STORED, Happening.REFUSED, Happening.STORED_LATE])
        if end is Happening.STORED:
            await life.store(event, decision.entry)
            self.model.stored(entry)
            return
        await life.refuse(decision.entry)
        self.model.happened(entry, Happening.REFUSED)
        if end is Happening.STORED_LATE:
            life.dedup.stored_late(decision.entry)
            self.model.happened(entry, end)

    def _later(self, *steps: int) -> int:
        self.now += self.random.choice(steps)
        return self.now


@pytest.mark.parametrize("seed", range(4))
async def test_deliveries_are_judged_as_by_two_dictionaries(tmp_path: Path, seed: int) -> None:
    both = Both(seed)
    async with lives() as start:
        life = start(tmp_path)
        for _ in range(150):
            await life.complete(both.now)
            await both.burst(life, both.random.choice([1, 1, 5, 20]))
            what = both.random.random()
            if what < 0.02:
                life = start(await life.stop())
            elif what < 0.2:
                await life.written()
            elif what < 0.6:
                await turns()
