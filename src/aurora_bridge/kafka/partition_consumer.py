"""Reads partitions in order, to their ends or as they grow, and skips what it cannot read.

Only committed records are read (`isolation.level=read_committed`). Records that are not events are skipped and reported
(`stored_events`). A partition that cannot be read does not hold up the others.

aiokafka's consumer is not used: it stops at a record that it cannot decode, and does not report reaching an end that
has no record.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable
from math import inf
from time import monotonic

from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    LeaderNotAvailableError,
    OffsetOutOfRangeError,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.structs import TopicPartition

from aurora_bridge.kafka.client import Client
from aurora_bridge.kafka.fetch import EARLIEST, LATEST, READ_COMMITTED, PartitionData, fetch_from, leaders, offsets
from aurora_bridge.kafka.problem_reasons import explain
from aurora_bridge.kafka.stored_events import Stored, at, decode

_WAIT_MS = 500
_RETRY_SECONDS = 0.2
_PATIENCE_SECONDS = 30.0
"""How long a partition may fail, poll after poll, before it is given up: three polls that time out."""
_MISSING_POLLS = 10
"""Polls in a row without a topic in the metadata before it counts as deleted: a broker's metadata can lag."""
_EMPTY_POLLS = 6
"""Empty responses in a row before the rest counts as compacted: tiered storage can be slow."""
_MAX_BYTES = 2**20
_MIN_BYTES = 2**14
"""Limits of a response. If one does not arrive before the client's timeout, the link is slow: quarter the limit."""
_NAMED = 10
"""Up to this many skipped records are reported one by one; the rest are only counted."""
_SHOWN = 5

Show = Callable[[list[Stored]], Awaitable[None]]
Tell = Callable[[str], None]
CaughtUp = Callable[[], None]


class ReadError(Exception):
    """The topics, or some of what is in them, cannot be read. The message says why and what to do."""


class PartitionConsumer:
    """Reads some topics, and tracks its position and the errors of each partition."""

    def __init__(self, client: Client, topics: list[str], tell: Tell, *, follow: bool, since_ms: int) -> None:
        """Take a client that knows the topics. `tell` hears what is skipped and, with `follow`, what fails."""
        self._client = client
        self._topics = topics
        self._tell = tell
        self._follow = follow
        self._since_ms = since_ms
        self._failures: list[str] = []
        self._partitions = {
            TopicPartition(topic, partition)
            for topic in topics
            for partition in client.cluster.partitions_for_topic(topic) or ()
        }
        """All partitions except those that were given up."""
        self._next: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        """End offsets when reading began, or lower if a new leader has less."""
        self._errors: dict[TopicPartition, Exception] = {}
        """Errors of the last poll."""
        self._since: dict[TopicPartition, float] = {}
        """Monotonic time since which each has failed; infinity once that was reported, with `follow`."""
        self._missing: Counter[str] = Counter()
        self._refused: set[TopicPartition] = set()
        self._max_bytes = _MAX_BYTES
        self._empty: Counter[TopicPartition] = Counter()
        self._skipped = 0
        self._undecodable = False

    async def run(self, show: Show, caught_up: CaughtUp) -> None:
        """Pass events to `show`, up to the end, or with `follow` for ever.

        `caught_up` is called once everything that was there when reading began was read or given up. Raises
        `ReadError`, after everything readable was read, and `KafkaError` if the client fails for good.
        """
        behind = True
        while self._left() or (self._follow and not self._refused):
            stored = await self._poll()
            if stored:
                await show(stored)
            self._lose_patience(monotonic())
            if behind and not any(map(self._is_behind, self._partitions)):
                behind = False
                caught_up()
            if self._errors or (self._follow and not self._left()):
                await asyncio.sleep(_RETRY_SECONDS)
                try:
                    await self._client.refresh()
                except KafkaConnectionError:  # the next poll tells, too, but of a client that works no more
                    if not self._client.alive:
                        raise
        if self._undecodable:
            self._failures.append("Batches that cannot be decoded may hold events.")
        if self._failures or self._follow:
            raise ReadError("\n".join(self._failures) or "Nothing is left to follow.")

    def tell_skipped(self) -> None:
        """Report how much was skipped, unless each was reported."""
        if self._skipped > _NAMED:
            self._tell(f"{self._skipped} were skipped in all; the first {_NAMED} are listed above.")

    def _left(self) -> list[TopicPartition]:
        return [place for place in sorted(self._partitions) if self._follow or self._is_behind(place)]

    def _is_behind(self, place: TopicPartition) -> bool:
        """Whether records that were there when reading began are left; False if the partition was given up."""
        if self._since.get(place) == inf:
            return False
        return place not in self._next or self._next[place] < self._ends[place]

    async def _poll(self) -> list[Stored]:
        """Fetch once from each broker, for the partitions that it leads."""
        nodes, missing, _ = leaders(self._client, self._topics)
        if self._follow:
            self._partitions |= nodes.keys() - self._refused
        self._errors = {}
        by_node: defaultdict[int, list[TopicPartition]] = defaultdict(list)
        for place in self._left():
            if place in nodes:
                by_node[nodes[place]].append(place)
            else:
                self._errors[place] = LeaderNotAvailableError("it has no leader")
        self._note_missing(missing)
        polled = await asyncio.gather(*(self._ask(node, places) for node, places in by_node.items()))
        return [stored for group in polled for stored in group]

    async def _ask(self, node: int, places: list[TopicPartition]) -> list[Stored]:
        """Return the next events of these partitions from one broker."""
        try:
            await self._begin(node, [place for place in places if place not in self._next])
            begins = {place: self._next[place] for place in self._left() if place in places and place in self._next}
            if not begins:
                return []
            parts = await fetch_from(
                self._client, node, begins, self._max_bytes, wait_ms=_WAIT_MS, isolation=READ_COMMITTED
            )
            if not any(part.data for part in parts):
                await self._note_empty(node, [part for part in parts if not part.code])
        except (KafkaError, OSError, TimeoutError) as error:
            if isinstance(error, RequestTimedOutError):
                self._max_bytes = max(self._max_bytes // 4, _MIN_BYTES)
            self._errors |= dict.fromkeys(places, error)
            return []
        return [stored for part in parts for stored in self._take(part)]

    async def _begin(self, node: int, places: list[TopicPartition]) -> None:
        """Find out where to begin (at the first record that is not too old) and where to end."""
        if not places:
            return
        nodes = dict.fromkeys(places, node)
        written = await offsets(self._client, nodes, LATEST)
        ends = await offsets(self._client, nodes, LATEST, isolation=READ_COMMITTED)
        begins = await offsets(self._client, nodes, self._since_ms or EARLIEST, isolation=READ_COMMITTED)
        for place in places:
            if place not in written.keys() & ends.keys() & begins.keys():
                self._errors[place] = LeaderNotAvailableError("its leader does not report its offsets")
                continue
            self._next[place] = begins[place] if begins[place] >= 0 else ends[place]
            self._ends[place] = min(ends[place], self._ends.get(place, ends[place]))
            if ends[place] < written[place]:
                self._tell(
                    f"{at(place, ends[place])} and later records wait for the end of a transaction; until then, no "
                    "consumer of committed records sees them."
                )

    async def _note_empty(self, node: int, parts: Iterable[PartitionData]) -> None:
        """Find out why a broker returned nothing: the rest was compacted, or a new leader has less."""
        shorter = {part.place: node for part in parts if part.end < self._ends[part.place]}
        if shorter:
            for place, end in (await offsets(self._client, shorter, LATEST, isolation=READ_COMMITTED)).items():
                self._ends[place] = min(self._ends[place], end)
        for place in [part.place for part in parts if part.place not in shorter]:
            begin, end = self._next[place], self._ends[place]
            self._empty[place] += 1
            if self._empty[place] >= _EMPTY_POLLS and begin < end:
                self._tell(f"{at(place, begin, end)} holds no records any more: the topic is compacted.")
                self._next[place] = end

    def _take(self, part: PartitionData) -> list[Stored]:
        place = part.place
        if part.code:
            self._handle_error(place, for_code(part.code)())
            return []
        if part.data:
            del self._empty[place]
        decoded = decode(part, self._next[place], inf if self._follow else self._ends[place], self._since_ms)
        self._next[place] = decoded.next
        for words in decoded.skipped:
            self._skipped += 1
            if self._skipped <= _NAMED:
                self._tell(f"{words}; skipped.")
        self._undecodable |= decoded.undecodable
        return decoded.events

    def _handle_error(self, place: TopicPartition, error: Exception) -> None:
        """Handle one of Kafka's errors."""
        if isinstance(error, OffsetOutOfRangeError):
            self._tell(
                f"{at(place, self._next.pop(place))} no longer exists; continuing with the first record that does."
            )
        elif isinstance(error, TopicAuthorizationFailedError):
            if place.topic not in {refused.topic for refused in self._refused}:
                self.fail(f"{explain(error, place.topic)}.")
            self._refused.add(place)
            self._partitions.discard(place)
        else:
            self._errors[place] = error

    def _note_missing(self, missing: Collection[str]) -> None:
        """Give up topics that are missing from the metadata for a while; with `follow`, until they are recreated."""
        gone = {place.topic for place in self._errors if place.topic in missing}
        self._missing = Counter({topic: self._missing[topic] + 1 for topic in gone})
        for topic in (topic for topic, polls in self._missing.items() if polls >= _MISSING_POLLS):
            self.fail(f"{topic} was deleted while it was read.")
            for place in [place for place in self._partitions if place.topic == topic]:
                self._partitions.discard(place)
                self._next.pop(place, None)
                self._ends.pop(place, None)

    def _lose_patience(self, now: float) -> None:
        """Give up partitions that have failed for a while; with `follow`, report them once."""
        self._since = {place: self._since.get(place, now) for place in self._errors}
        lost = [place for place, since in self._since.items() if now - since > _PATIENCE_SECONDS]
        if not lost:
            return
        names = listed(f"{place.topic}-{place.partition}" for place in lost)
        self.fail(f"{names} cannot be read: {explain(self._errors[lost[0]], '').words}.")
        if self._follow:
            self._since |= dict.fromkeys(lost, inf)
        else:
            self._partitions.difference_update(lost)

    def fail(self, words: str) -> None:
        """Note what cannot be read, to be raised at the end. With `follow` there is no end: report it at once."""
        if self._follow:
            self._tell(words)
        else:
            self._failures.append(words)


def listed(names: Iterable[str]) -> str:
    """Return the first names, and how many more there are."""
    first = sorted(names)
    more = f" and {len(first) - _SHOWN} more" if len(first) > _SHOWN else ""
    return ", ".join(first[:_SHOWN]) + more
