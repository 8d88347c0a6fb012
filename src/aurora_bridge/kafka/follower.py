"""Follows the topics, so that a replica knows what others published, and what it published itself before it knew.

Every half second it looks where the partitions end. Where our own acknowledgements account for every offset, nobody
else wrote and nothing is read (`kafka.position`); what is missing is fetched, key and headers only, and goes into the
index (`dedup`). A gap without other replicas is usually a send of ours whose acknowledgement is still on its way, so it
is read only if it is still there at the next look; with other replicas, at once.

`dedup` is told when the index is up to date, and when it cannot be known to be: then new states get ids of their own.
A client apart from the sender's, since a broker answers the requests of one connection in turn.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from time import monotonic, time

from aiokafka.errors import KafkaError, OffsetOutOfRangeError, TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition

from aurora_bridge.dedup.deduplicator import Deduplicator
from aurora_bridge.dedup.following import Followed, followed
from aurora_bridge.kafka.fetch import EARLIEST, LATEST, Fetched, UnreadableError, fetch, offsets
from aurora_bridge.kafka.position import Position
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.kafka.wire import Client
from aurora_bridge.logs import fields
from aurora_bridge.metrics import Metrics

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
_FETCH_BYTES = 2**20
"""Of one answer: about a thousand records, decoded in some ten milliseconds."""
_GROUP = 5000
"""Records the index takes together: its pages are written once for all of them. Some 100 ms of its time, and 3 MB."""
_RETRY_SECONDS = 1.0
_METADATA_SECONDS = 5.0
_CHECKPOINT_SECONDS = 2.0
_CLOSE_SECONDS = 0.5
_AGAIN_SECONDS = 0.1
_GIVE_UP_SECONDS = 2.0
"""After so long without success, the client is made anew, and judging waits for no catch-up."""
_STALE_SECONDS = 10.0
"""With other replicas: for so long after a look the index counts as up to date."""
_SHRUNK_LOOKS = 3
"""Looks in a row that must find a partition shorter than what is known of it: a new leader can lag for a moment."""
_DAY_SECONDS = 86_400


class Follower:
    """Keeps the index up to date with the topics of `events`."""

    def __init__(  # noqa: PLR0913 - its parts
        self,
        connect: Callable[[], Client],
        prefix: str,
        events: Iterable[str],
        dedup: Deduplicator,
        *,
        instance: str,
        stored: Callable[[], Iterable[tuple[TopicPartition, int, int]]],
        window_days: int,
        problems: Problems,
        metrics: Metrics,
    ) -> None:
        """Follow with clients that `connect` makes, from `window_days` back at most; records of `instance` are ours.

        `stored` gives where records of ours were stored since it was last called (`Sender.take_stored`). What may not
        be read is noted in `problems`, which are the sender's as well.
        """
        self._connect = connect
        self._topics = [prefix + event for event in events]
        self._dedup = dedup
        self._instance = instance
        self._stored = stored
        self._window_seconds = window_days * _DAY_SECONDS
        self._positions = {TopicPartition(*place): Position(offset) for place, offset in dedup.positions.items()}
        self._shrunk: defaultdict[TopicPartition, int] = defaultdict(int)
        self._others: dict[str, float] = {name: us / 1e6 for name, us in dedup.instances.items() if name != instance}
        self._waited: dict[TopicPartition, int] = {}
        self._refused: set[TopicPartition] = set()
        self._unreadable: set[TopicPartition] = set()
        self._relearned = False
        self._metadata_at = 0.0
        self._checkpoint_at = 0.0
        self._all_seen = False
        """Whether the last look saw the end of every partition of every topic."""
        self._problems = problems
        dedup.known_positions = self._known
        metrics.follower_lag_records.source = lambda: sum(position.behind for position in self._positions.values())
        metrics.other_instances.source = lambda: len(self._recent_others())

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            client = self._connect()
            try:
                if not self._relearned:  # takes no Kafka: retries of what waits here may come while that is away
                    relearned = await self._dedup.relearn(self._instance)
                    self._note_stored()
                    self._relearned = relearned
                await client.bootstrap()
                client.set_topics(self._topics)
                await client.refresh()
                self._dedup.follow_began()
                self._refused.clear()
                if self._relearned:
                    await self._follow(client)
            except (KafkaError, OSError, TimeoutError) as error:
                told = any(self._problems)  # by the sender, once; this comes again and again
                log.log(logging.DEBUG if told else logging.INFO, "the topics cannot be followed: %r", error)
                self._dedup.follow_failed()
            finally:
                await self._close(client)
            await asyncio.sleep(self._problems.pause(_RETRY_SECONDS))

    def _note_stored(self) -> None:
        """Take note of where records of ours were stored.

        What left the spool before that was looked through may be unknown: it is read like another's.
        """
        for place, first, end in self._stored():
            if self._relearned:
                self._position(place).acknowledged(first, end - first)

    async def _close(self, client: Client) -> None:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await client.close()
        except Exception as error:  # noqa: BLE001 - whatever ended the client's own tasks comes out here
            log.info("the follower's client did not close cleanly: %r", error)

    async def _follow(self, client: Client) -> None:
        """Look again and again, until that has failed for a while.

        One failure is nothing out of the ordinary: a broker may end a connection at any time (KIP-368), and a leader
        may move. A client without its metadata task is never good again. Raises what went wrong.
        """
        failing_since: float | None = None
        self._metadata_at = monotonic()
        while True:
            began = monotonic()
            try:
                await self._catch_up(client, began)
            except (KafkaError, OSError, TimeoutError):
                failing_since = failing_since or began
                if not client.alive or monotonic() - failing_since > _GIVE_UP_SECONDS:
                    raise
                client.force_metadata_update()
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                failing_since = None
                await asyncio.sleep(max(0.0, began + LOOK_SECONDS - monotonic()))

    async def _catch_up(self, client: Client, now: float) -> None:
        """Look once, at monotonic time `now`, and read what is missing."""
        if not (self._all_seen and client.alive) or now - self._metadata_at > _METADATA_SECONDS:
            self._metadata_at = now
            self._refused.clear()  # perhaps they may be read by now
            await client.refresh()
        places, missing, dark = self._places(client)
        await self._begin(client, places)
        seen = await self._look(client, places)
        gaps = self._gaps(places)
        await self._read(client, gaps)
        self._problems.set("read_denied", {place.topic for place in self._refused - self._unreadable})
        dark |= missing & client.cluster.unauthorized_topics
        self._all_seen = not missing and not dark and seen == places.keys()
        if not dark and all(place in seen and self._is_known(place) for place in places):
            self._dedup.follow_succeeded(now + _STALE_SECONDS if self._recent_others() else None)
        if now - self._checkpoint_at > _CHECKPOINT_SECONDS:
            self._checkpoint_at = now
            self._dedup.checkpoint()

    def _places(self, client: Client) -> tuple[dict[TopicPartition, int], set[str], set[str]]:
        """Return every partition that has a leader, with its node; the topics that are not there; and the dark ones.

        Those have a partition without a leader: what lies in it cannot be known.
        """
        places: dict[TopicPartition, int] = {}
        missing: set[str] = set()
        dark: set[str] = set()
        for topic in self._topics:
            partitions = client.cluster.partitions_for_topic(topic)
            if not partitions:
                missing.add(topic)
            for partition in partitions or ():
                place = TopicPartition(topic, partition)
                leader = client.cluster.leader_for_partition(place)
                if leader is None or leader < 0:
                    dark.add(topic)
                else:
                    places[place] = leader
        return places, missing, dark

    async def _begin(self, client: Client, places: Mapping[TopicPartition, int]) -> None:
        """Find out where to begin with partitions that were never followed: as far back as the index reaches."""
        since_ms = int((time() - self._window_seconds) * 1000)
        new = {place: node for place, node in places.items() if self._position(place).next is None}
        if not new:
            return
        firsts = await self._ask(client, new, EARLIEST)
        ends = await self._ask(client, new, LATEST)  # before the next, so that nothing comes in between unseen
        for place, young in (await self._ask(client, new, since_ms)).items():
            if place in firsts and place in ends:
                self._position(place).begin(max(firsts[place], young if young >= 0 else ends[place]))

    async def _look(self, client: Client, places: Mapping[TopicPartition, int]) -> set[TopicPartition]:
        """Look where the partitions end; return those whose leader told."""
        known = {place: self._position(place).next or 0 for place in places}
        ends = await self._ask(client, places, LATEST)
        self._note_stored()
        for place, end in ends.items():
            position = self._position(place)
            position.end = end
            if end >= known[place]:
                self._shrunk.pop(place, None)
                continue
            self._shrunk[place] += 1
            if self._shrunk[place] >= _SHRUNK_LOOKS:
                log.warning("%s-%d ends before what is known of it: it was made anew, and is followed anew", *place)
                self._shrunk.pop(place)
                self._positions[place] = Position()
        return set(ends)

    async def _ask(self, client: Client, places: Mapping[TopicPartition, int], when: int) -> dict[TopicPartition, int]:
        """Return an offset of each partition whose leader knows it."""
        by_node: defaultdict[int, dict[TopicPartition, int]] = defaultdict(dict)
        for place, node in places.items():
            by_node[node][place] = when
        answers = await asyncio.gather(*(offsets(client, node, wanted) for node, wanted in by_node.items()))
        return {place: offset for answer in answers for place, offset, error in answer if error is None}

    def _gaps(self, places: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Return the partitions to read now, with their nodes."""
        waited, self._waited = self._waited, {}
        at_once = not self._dedup.followed or bool(self._recent_others())
        gaps = {}
        for place, node in places.items():
            position = self._position(place)
            if not self._is_behind(place):
                continue
            if at_once or (position.next or 0) < waited.get(place, 0):
                gaps[place] = node
            else:
                self._waited[place] = position.end
        return gaps

    async def _read(self, client: Client, gaps: Mapping[TopicPartition, int]) -> None:
        """Read what is missing into the index, which takes one group while the next is fetched.

        Ends without having read all where the index is full, or a new leader has less than the old one had: what is
        left is seen at the next look.
        """
        reached = {place: self._position(place).next or 0 for place in gaps}
        taking: asyncio.Task[bool] | None = None
        try:
            while gaps:
                before = dict(reached)
                records = await self._fetch(client, gaps, reached)
                if reached == before or (taking is not None and not await taking):
                    break
                taking = asyncio.create_task(self._take(records, dict(reached)))
                gaps = {place: gaps[place] for place in gaps if self._is_behind(place, reached[place])}
        finally:
            if taking is not None:
                await taking

    async def _fetch(
        self, client: Client, gaps: Mapping[TopicPartition, int], reached: dict[TopicPartition, int]
    ) -> list[Followed]:
        """Return the next group of records, one answer of each broker after the other; move `reached` behind them."""
        records: list[Followed] = []
        while gaps and len(records) < _GROUP:
            by_node: defaultdict[int, dict[TopicPartition, int]] = defaultdict(dict)
            for place, node in gaps.items():
                by_node[node][place] = reached[place]
            answers = await asyncio.gather(*(fetch(client, node, at, _FETCH_BYTES) for node, at in by_node.items()))
            before = dict(reached)
            for fetched in (fetched for answer in answers for fetched in answer if self._is_readable(fetched)):
                told = (followed(head.key, head.headers) for head in fetched.heads)
                records += (record for record in told if record is not None)
                reached[fetched.place] = fetched.next
            if reached == before:
                break
            gaps = {place: gaps[place] for place in gaps if self._is_behind(place, reached[place])}
        return records

    async def _take(self, records: list[Followed], reached: Mapping[TopicPartition, int]) -> bool:
        """Let the index learn of records; return whether it did, and everything below `reached` is known."""
        self._notice_others(records)
        if records and not await self._dedup.follow(records, self._instance):
            return False
        for place, offset in reached.items():
            if self._position(place).next is not None:  # else it begins anew
                self._position(place).read(offset)
        return True

    def _is_readable(self, fetched: Fetched) -> bool:
        """Tell whether a partition was read; act on why not. Raises `KafkaError` for what new metadata can mend."""
        if fetched.error is None:
            return True
        if isinstance(fetched.error, OffsetOutOfRangeError):
            log.info("%s-%d: what was not read yet has left the topic by its age", *fetched.place)
            self._position(fetched.place).next = None  # it begins anew where the partition does
            return False
        if isinstance(fetched.error, TopicAuthorizationFailedError | UnreadableError):
            self._refused.add(fetched.place)
            if isinstance(fetched.error, UnreadableError) and fetched.place not in self._unreadable:
                self._unreadable.add(fetched.place)
                log.warning(
                    "%s-%d cannot be followed, so that no state can be known to be new: %s; set the topic's "
                    "compression.type to 'producer', or install the codec",
                    *fetched.place,
                    fetched.error,
                )
            return False
        raise fetched.error

    def _notice_others(self, records: Iterable[Followed]) -> None:
        for record in records:
            if record.instance == self._instance:
                continue
            if record.instance not in self._others:
                log.info("another instance publishes to these topics", extra=fields(instance=record.instance))
            self._others[record.instance] = max(self._others.get(record.instance, 0.0), record.time_us / 1e6)

    def _recent_others(self) -> list[str]:
        """Return the other instances that published within the span of Aurora's retries."""
        return [name for name, at in self._others.items() if at > time() - _DAY_SECONDS]

    def _is_behind(self, place: TopicPartition, reached: int = 0) -> bool:
        """Tell whether there is something to read: it has begun, may be read, and its end is not reached."""
        position = self._position(place)
        if position.next is None or place in self._refused:
            return False
        return max(position.next, reached) < position.end

    def _is_known(self, place: TopicPartition) -> bool:
        """Tell whether all up to the end is known, or a send of ours whose acknowledgement is on its way."""
        position = self._position(place)
        return position.next is not None and (position.behind == 0 or place in self._waited)

    def _position(self, place: TopicPartition) -> Position:
        position = self._positions.get(place)
        if position is None:
            position = self._positions[place] = Position()
        return position

    def _known(self) -> dict[tuple[str, int], int]:
        """Return up to which offsets everything is known, by topic and partition."""
        self._note_stored()
        return {
            (place.topic, place.partition): position.next
            for place, position in self._positions.items()
            if position.next is not None
        }
