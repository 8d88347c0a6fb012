"""Two replicas that follow each other's records at arbitrary moments: one judges by what it knows, and nothing else.

The rule is the design's, written down once more: a state is a duplicate if and only if it is the latest of its subject
among the events that this replica has accepted or read, by their times. What is read while a delivery is judged may
count for that one or not; for every later one it does. Within the lag both may give one id away: the first counts.
"""

import asyncio
from collections import defaultdict
from pathlib import Path
from random import Random

import pytest
from aurora_bridge.dedup.claims import End, Verdict
from aurora_bridge.dedup.following import Followed

from aurora_bridge.dedup.deduplicator import Deduplicator
from aurora_bridge.dedup.recurrence import Action
from aurora_bridge.metrics import Metrics
from aurora_bridge.settings import IndexSettings
from aurora_bridge.webhook.event import Event
from tests.models.desk import DAY, NOW, SECOND, state

PATIENCE = 30.0
STEPS = 400
SUBJECTS = ("1", "2")


class Replica:
    """A deduplicator, what it published, and what it ought to know."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.log: list[Followed] = []
        self.known: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        self.directory = directory
        self._ids: set[tuple[str, int]] = set()
        self._read = 0
        self.start()

    def start(self) -> None:
        """Start, perhaps again."""
        self.dedup = Deduplicator(self.directory, IndexSettings(), PATIENCE, Metrics(), follows=True)
        self.dedup.start()
        self.dedup.follow_succeeded(None)

    async def stop(self) -> None:
        """End in order."""
        assert await self.dedup.stop(PATIENCE)

    def latest(self, event: Event) -> str | None:
        """Return the fingerprint of the latest state that it ought to know."""
        return max(self.known[event.family_key or ""], default=(0, None))[1]

    async def deliver(self, event: Event, at: int) -> Verdict:
        """Let a delivery go its way."""
        verdict = await self.dedup.claim(event._replace(repeat_window_us=DAY), at)
        claim = verdict.claim
        if verdict.action is Action.PUBLISH:
            self.dedup.end(claim, End.DURABLE)
            told = (claim.fingerprint, claim.time_us, claim.id_ms)
            self.log.append(Followed(*told, once=False, attempt=1, family_key=event.family_key, instance=self.name))
            self.learn(self.log[-1])
        self.dedup.answered(claim, at, in_time=True)
        return verdict

    async def follow(self, other: "Replica", records: int) -> None:
        """Read so many records of the other's at most."""
        told = other.log[self._read : self._read + records]
        self._read += len(told)
        if told:
            assert await self.dedup.follow(told, self.name)
        for record in told:
            self.learn(record)

    def learn(self, record: Followed) -> None:
        """Know an event, by its first record."""
        if (record.fingerprint, record.id_ms) not in self._ids:
            self._ids.add((record.fingerprint, record.id_ms))
            self.known[record.family_key or ""].append((record.time_us, record.fingerprint))


@pytest.mark.parametrize("seed", range(3))
async def test_a_state_is_a_duplicate_if_and_only_if_it_is_the_latest_that_is_known_here(
    tmp_path: Path, seed: int
) -> None:
    random, now = Random(seed), NOW
    replicas = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        replicas.append(Replica(name, tmp_path / name))
    try:
        for _ in range(STEPS):
            one, other = random.sample(replicas, 2)
            now += random.choice([1, 1000, SECOND])
            event = state(random.choice("ABC"), random.choice(SUBJECTS))
            match random.choice(["deliver", "deliver", "follow", "both", "both", "pause", "restart"]):
                case "deliver":
                    expected = {one.latest(event) == event.fingerprint}
                    assert ((await one.deliver(event, now)).action is not Action.PUBLISH) in expected
                case "follow":
                    await one.follow(other, random.randint(1, 5))
                case "both":
                    before = one.latest(event)
                    verdict, _ = await asyncio.gather(one.deliver(event, now), one.follow(other, random.randint(1, 3)))
                    read = [known for known in one.known[event.family_key or ""] if known[0] < now]
                    after = max(read, default=(0, None))[1]
                    is_known = verdict.action is not Action.PUBLISH
                    assert is_known in {before == event.fingerprint, after == event.fingerprint}
                case "pause":
                    await asyncio.sleep(random.choice([0, 0, 0.06]))  # the index learns, or does not
                case "restart" if random.random() < 0.2:
                    await one.stop()
                    one.start()
    finally:
        for replica in replicas:
            await replica.stop()
