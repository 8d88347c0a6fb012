"""Follows the topics, so that a replica knows what the others published, and what its own index has lost.

Every second it asks where the partitions end. If our own acknowledgements account for every offset, nobody else
wrote, and nothing is read (`position`); any gap is fetched and passed to `dedup.log_reader`. Without other replicas, a
gap is usually a send of ours that is not acknowledged yet, so it is read only if the next poll still finds it; with
other replicas, at once.

It has its own client, because a broker answers the requests of one connection in order. The daemon can do without it:
it retries while Kafka is away, and the daemon restarts it after any other error.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from math import inf
from time import monotonic, time

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from aurora_bridge.dedup.log_reader import LogReader
from aurora_bridge.dedup.log_record import LogRecord
from aurora_bridge.dedup.reading_progress import Reading
from aurora_bridge.kafka.client import Client
from aurora_bridge.kafka.client_keeper import keep_client
from aurora_bridge.kafka.fetch import Fetched, Nodes, fetch, leaders
from aurora_bridge.kafka.partitions import Partitions
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.metrics import Metrics

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
_FETCH_BYTES = 2**20
"""Limit of one response: about a thousand records, decoded in some ten milliseconds."""
_GROUP = 20_000
"""Records passed to the index together, so that it writes each page once: some 100 ms of its time, and 4 MB."""
_RETRY_SECONDS = 1.0
_METADATA_SECONDS = 5.0
_AGAIN_SECONDS = 0.1
_GIVE_UP_SECONDS = 2.0
"""After this long without success, the client is replaced, and deliveries no longer wait for the log to be read."""
_STALE_SECONDS = 10.0
"""How long after a poll the index counts as complete, if there are other replicas."""
_DAY_MS = 86_400_000


class Follower:
    """Passes what is in the topics of `events` to `log_reader`."""

    def __init__(  # noqa: PLR0913 - its parts
        self,
        connect: Callable[[], Client],
        prefix: str,
        events: Iterable[str],
        log_reader: LogReader,
        *,
        stored: Callable[[], Iterable[tuple[TopicPartition, int, int]]],
        window_days: int,
        problems: Problems,
        metrics: Metrics,
    ) -> None:
        """Follow with clients that `connect` makes, going back `window_days` at most.

        `stored` returns where our own records were stored since its last call (`Sender.take_stored`). Topics that may
        not be read are noted in `problems`, which is shared with the sender.
        """
        self._connect = connect
        self._topics = [prefix + event for event in events]
        self._log = log_reader
        self._stored = stored
        self._window_ms = window_days * _DAY_MS
        self._problems = problems
        self._followed = metrics.followed_records
        self._cluster = ""
        self._reading = log_reader.current
        self._partitions = Partitions(self._reading, self._cluster, self._window_ms)
        self._metadata_at = 0.0
        self._all_seen = False
        """Whether the last poll saw the end of every partition of every topic."""
        metrics.follower_lag_records.source = lambda: self._partitions.behind
        metrics.other_instances.source = lambda: len(self._log.recent_others())

    async def run(self) -> None:
        """Follow until cancelled."""
        await keep_client(self._connect, self._use, self._problems, _RETRY_SECONDS)

    async def _use(self, client: Client) -> None:
        """Follow with one client until it fails. Raises `KafkaError`, `OSError`, `TimeoutError`."""
        reading = await self._log.reading()
        try:
            await client.bootstrap()
            client.set_topics(self._topics)
            await client.refresh()
            self._log.began(reading, client.cluster_id)
            await self._follow(client, reading)
        finally:
            self._log.failed(reading)

    async def _follow(self, client: Client, reading: Reading) -> None:
        """Poll until that has failed for a while, or the index file or the cluster was replaced.

        A single failure is normal: a broker may end a connection at any time (KIP-368), and leaders move. A client
        without its metadata task never recovers. Raises the last error.
        """
        if (reading, client.cluster_id) != (self._reading, self._cluster):
            self._reading, self._cluster = reading, client.cluster_id
            self._partitions = Partitions(reading, self._cluster, self._window_ms)
            for _ in self._stored():
                """Ignored: the index may not know these records, so they are read like those of other replicas."""
        failing_since: float | None = None
        self._metadata_at = monotonic()
        while reading is self._log.current and client.cluster_id == self._cluster:
            began = monotonic()
            try:
                await self._poll(client, began)
            except (KafkaError, OSError, TimeoutError):
                failing_since = failing_since or began
                if not client.alive or monotonic() - failing_since > _GIVE_UP_SECONDS:
                    raise
                client.force_metadata_update()
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                failing_since = None
                await asyncio.sleep(max(0.0, began + POLL_SECONDS - monotonic()))

    async def _poll(self, client: Client, now: float) -> None:
        """Poll once, at monotonic time `now`, and read what is missing."""
        if not (self._all_seen and client.alive) or now - self._metadata_at > _METADATA_SECONDS:
            self._metadata_at = now
            self._partitions.refused.clear()  # permissions may have changed
            await client.refresh()
        nodes, missing, incomplete = leaders(client, self._topics)
        partitions = self._partitions
        concealed = missing & client.cluster.unauthorized_topics
        incomplete |= concealed | partitions.note_missing(missing - concealed, now)
        await partitions.begin(client, nodes)
        seen = await partitions.see_ends(client, nodes, self._stored())
        at_once = bool(self._log.recent_others(self._window_ms)) or not self._reading.caught_up
        await self._read(client, partitions.gaps(nodes, at_once=at_once))
        partitions.tell(nodes)
        self._problems.set("read_denied", {place.topic for place in partitions.refused - partitions.unreadable})
        complete = not incomplete and seen == nodes.keys()
        self._all_seen = complete and not missing
        if complete and partitions.are_known(nodes):
            alone = not self._log.recent_others(self._window_ms)  # also after what was just read
            self._log.succeeded(self._reading, inf if alone else now + _STALE_SECONDS)
        elif partitions.refused:
            self._log.doubted(self._reading, now + _STALE_SECONDS)

    async def _read(self, client: Client, gaps: Nodes) -> None:
        """Read what is missing into the index, which stores one group while the next is fetched.

        Stops early if the index is full, or a new leader has less than the old one had: the next poll sees the rest.
        """
        reached = {place: self._partitions.next(place) for place in gaps}
        taking: asyncio.Task[bool] | None = None
        try:
            while gaps:
                before = dict(reached)
                records = await self._fetch(client, gaps, reached)
                if reached == before or (taking is not None and not await taking):
                    break
                taking = asyncio.create_task(self._take(records, dict(reached)))
                gaps = {place: gaps[place] for place in gaps if self._partitions.is_behind(place, reached[place])}
        finally:
            if taking is not None:
                await taking

    async def _fetch(self, client: Client, gaps: Nodes, reached: dict[TopicPartition, int]) -> list[LogRecord]:
        """Return the next group of records, and move `reached` to where they end."""
        records: list[LogRecord] = []
        while gaps and len(records) < _GROUP:
            before = dict(reached)
            for fetched in await fetch(client, gaps, reached, _FETCH_BYTES):
                if self._partitions.is_readable(fetched):
                    self._notice_missing(fetched)
                    records += fetched.records
                    reached[fetched.place] = fetched.next
            # A broker that has nothing more delays its response: it is not asked again.
            moved = {gaps[place] for place in gaps if reached[place] > before[place]}
            gaps = {
                place: node
                for place, node in gaps.items()
                if node in moved and self._partitions.is_behind(place, reached[place])
            }
        return records

    async def _take(self, records: list[LogRecord], reached: Mapping[TopicPartition, int]) -> bool:
        """Pass records to the index; return whether it took them, so that everything below `reached` is known."""
        if records and not await self._log.learn(self._reading, self._cluster, records):
            return False
        self._followed[()] += len(records)
        self._partitions.read(reached)
        self._reading.progress.note(len(records), self._partitions.behind)
        return True

    def _notice_missing(self, fetched: Fetched) -> None:
        now_ms = int(time() * 1000)
        if self._partitions.lacks_today(fetched, now_ms):
            log.warning(
                "%s-%d lacks records of today; states get ids of their own until midnight, UTC.", *fetched.place
            )
            self._log.missing_until(now_ms)
