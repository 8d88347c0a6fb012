"""How far each partition is known: where to begin, what is missing, what cannot be read.

`position` has the state of one partition; `follower` polls the brokers and reads.
"""

import logging
from collections.abc import Iterable, Mapping
from time import time

from aiokafka.errors import OffsetOutOfRangeError, TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition

from aurora_bridge.dedup.reading_progress import Reading
from aurora_bridge.kafka.client import Client
from aurora_bridge.kafka.fetch import EARLIEST, LATEST, Fetched, Nodes, UnreadableError, offsets
from aurora_bridge.kafka.position import Position

log = logging.getLogger(__name__)

_ABSENT_SECONDS = 2.0
"""A known topic that is missing for this long does not exist any more; a shorter absence may be a broker's lag."""
_SHRUNK_POLLS = 3
"""Polls in a row that must find a partition shorter than what is known of it: a new leader can lag for a moment."""
_DAY_MS = 86_400_000


class _Positions(dict[TopicPartition, Position]):
    """By partition; one that is asked for the first time resumes where the reading has it."""

    def __init__(self, reading: Reading, cluster: str) -> None:
        super().__init__()
        self._reading, self._cluster = reading, cluster

    def __missing__(self, place: TopicPartition) -> Position:
        position = self[place] = Position(self._reading.positions.get((self._cluster, *place)))
        return position


class Partitions:
    """All partitions of a cluster, for one `Reading`."""

    def __init__(self, reading: Reading, cluster: str, window_ms: int) -> None:
        """Resume each partition at its position in `reading`, or start at most `window_ms` in the past."""
        self._reading = reading
        self._cluster = cluster
        self._window_ms = window_ms
        self._positions = _Positions(reading, cluster)
        self.refused: set[TopicPartition] = set()
        """Partitions that could not be read."""
        self.unreadable: set[TopicPartition] = set()
        """Partitions with a batch that could not be decoded."""
        self._missing_since: dict[str, float] = {}

    @property
    def behind(self) -> int:
        """Number of unknown offsets in all partitions."""
        return sum(position.behind for position in self._positions.values())

    def next(self, place: TopicPartition) -> int:
        """Return the first unknown offset."""
        return self._positions[place].next or 0

    def read(self, reached: Mapping[TopicPartition, int]) -> None:
        """Note that everything below these offsets was read."""
        for place, offset in reached.items():
            position = self._positions[place]
            if position.next is not None:  # else it was reset, and starts over
                position.read(offset)
        self.tell(reached)

    def note_missing(self, topics: Iterable[str], now: float) -> set[str]:
        """Note topics that the metadata lacks at monotonic time `now`; return those that a lagging broker may hide.

        A topic that was known and stays missing starts over if it returns: then it was recreated.
        """
        self._missing_since = {topic: self._missing_since.get(topic, now) for topic in topics}
        hidden = set()
        for cluster, topic, partition in self._reading.positions if self._missing_since else ():
            if cluster != self._cluster or topic not in self._missing_since:
                continue
            if now - self._missing_since[topic] < _ABSENT_SECONDS:
                hidden.add(topic)
            else:
                self._positions[TopicPartition(topic, partition)] = Position()
        return hidden

    async def begin(self, client: Client, nodes: Nodes) -> None:
        """Find out where to begin with new partitions: as far back as the index reaches."""
        since_ms = int(time() * 1000) - self._window_ms
        new = {place: node for place, node in nodes.items() if self._positions[place].next is None}
        if not new:
            return
        firsts = await offsets(client, new, EARLIEST)
        ends = await offsets(client, new, LATEST)  # before the next request, so as to miss no record in between
        for place, young in (await offsets(client, new, since_ms)).items():
            if place in firsts and place in ends:
                begin = max(firsts[place], young if young >= 0 else ends[place])
                self._positions[place].begin(begin, cut=begin == firsts[place] > 0)

    async def see_ends(
        self, client: Client, nodes: Nodes, stored: Iterable[tuple[TopicPartition, int, int]]
    ) -> set[TopicPartition]:
        """Update end offsets, and where our own records were `stored`; return the partitions with a known end."""
        known = {place: self._positions[place].next or 0 for place in nodes}
        ends = await offsets(client, nodes, LATEST)
        for place, first, end in stored:
            self._positions[place].acknowledged(first, end - first)
        for place, end in ends.items():
            position = self._positions[place]
            position.see_end(end, known[place])
            if position.shrunk >= _SHRUNK_POLLS:
                log.warning("%s-%d was recreated; reading it from its beginning.", *place)
                self._positions[place] = Position()
        return set(ends)

    def gaps(self, nodes: Nodes, *, at_once: bool) -> dict[TopicPartition, int]:
        """Return the partitions to read now, with their nodes.

        These are all that have a gap, or unless `at_once`, those that had it at the last poll already.
        """
        gaps = {}
        for place, node in nodes.items():
            position = self._positions[place]
            waited, position.waited = position.waited, 0
            if not self.is_behind(place):
                continue
            if at_once or (position.next or 0) < waited:
                gaps[place] = node
            else:
                position.waited = position.end
        return gaps

    def tell(self, places: Iterable[TopicPartition]) -> None:
        """Record in the reading up to which offset each partition is known."""
        for place in places:
            known = self._positions[place].next
            if known is not None:
                self._reading.positions[self._cluster, place.topic, place.partition] = known

    def lacks_today(self, fetched: Fetched, now_ms: int) -> bool:
        """Whether records of today are gone: the beginning was deleted, or the topic is compacted."""
        position = self._positions[fetched.place]
        if not fetched.records or not (position.cut or fetched.gap):
            return False
        position.cut = False
        times = [record.time_ms for record in fetched.records]
        return (max(times) if fetched.gap else times[0]) >= now_ms - now_ms % _DAY_MS

    def is_readable(self, fetched: Fetched) -> bool:
        """Return whether a partition was read; handle the error if not. Raises what new metadata can fix."""
        if fetched.error is None:
            return True
        if isinstance(fetched.error, OffsetOutOfRangeError):
            log.info("%s-%d: unread records have expired; continuing with the first that is left", *fetched.place)
            self._positions[fetched.place].next = None  # start over at the partition's beginning
            return False
        if isinstance(fetched.error, TopicAuthorizationFailedError | UnreadableError):
            self.refused.add(fetched.place)
            if isinstance(fetched.error, UnreadableError) and fetched.place not in self.unreadable:
                self.unreadable.add(fetched.place)
                log.warning(
                    "%s-%d cannot be followed, so duplicate states may be published: %s; set the topic's "
                    "compression.type to 'producer', or install the codec",
                    *fetched.place,
                    fetched.error,
                )
            return False
        raise fetched.error

    def is_behind(self, place: TopicPartition, reached: int = 0) -> bool:
        """Return whether there is something to read: it has begun, may be read, and its end is not reached."""
        position = self._positions[place]
        if position.next is None or place in self.refused:
            return False
        return max(position.next, reached) < position.end

    def are_known(self, places: Iterable[TopicPartition]) -> bool:
        """Return whether all up to their ends is known, apart from new gaps, which may be unacknowledged sends."""
        return all(self._positions[place].known for place in places)
