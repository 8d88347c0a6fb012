"""The idempotent sender: brings records to their partitions, in order, in bursts.

One request is under way per broker. What arrives meanwhile, or within a short gap after the burst before, forms the
next burst: one `ProduceRequest` with one batch for each of its partitions. What decides about order and doubt stands in
`lane`, the calls into aiokafka in `wire`, what is wrong in `problems`; deadlines are the `publisher`'s.

Nothing here waits for ever: a request ends with the client's time-out, and when no broker acknowledges anything for a
while, `run` makes the client anew from the bootstrap list. Lanes outlive their client: a batch in doubt is still the
first to go.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from time import monotonic, time_ns

from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import ClusterAuthorizationFailedError, KafkaError, NodeNotReadyError
from aiokafka.structs import TopicPartition

from aurora_bridge.kafka.partition_queue import ANSWERS, BROKER_AWAY, CONNECTION_LOST, UNKNOWN_ANSWER, Answer, Lane
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.kafka.record import Record
from aurora_bridge.kafka.report import SenderListener
from aurora_bridge.kafka.topics import CODECS
from aurora_bridge.kafka.wire import (
    Client,
    OnConnection,
    Part,
    Produce,
    ProducerId,
    addresses,
    murmur2,
    new_producer_id,
)
from aurora_bridge.metrics import Metrics
from aurora_bridge.settings import KafkaSettings

log = logging.getLogger(__name__)

GAP_SECONDS = 0.002
"""Between two bursts under load: long enough to share a request, invisible in a budget of 10 s."""
REQUEST_TIMEOUT_MS = 2500
"""Below the publish deadline: a frozen broker holds up the others for no longer than this."""
_REPLICAS_TIMEOUT_MS = 2000
"""Within which a broker answers though replicas lag: in time, or what is stored would be in doubt with what is not."""
_STORED = Answer.STORED  # in Python 3.11 each look-up of a member of an enumeration is a call
_RETRY_SECONDS = 0.1
_NO_LEADER = -1
_RENEW_SECONDS = 5.0
_WATCH_SECONDS = 0.5

Connect = Callable[[OnConnection], Client]
"""Makes a client that tells how its attempts to connect ended."""


class Sender:
    """Sends records over one client, and keeps that client alive."""

    def __init__(  # noqa: PLR0913 - what it stands on, and what it sends
        self,
        settings: KafkaSettings,
        connect: Connect,
        events: Iterable[str],
        listener: SenderListener,
        *,
        problems: Problems,
        metrics: Metrics,
    ) -> None:
        """Send to the topics of `events`, over clients that `connect` makes.

        `listener` hears what becomes of the records, `problems` what is wrong between us and Kafka.
        """
        self._connect = connect
        self._prefix = settings.topic_prefix
        self._compression = CODECS[settings.compression]
        self._events = tuple(events)
        self._listener = listener
        self._metrics = metrics
        metrics.kafka_configured[()] = 1
        self._client: Client | None = None
        self._producer: ProducerId | None = None
        self._lanes: dict[TopicPartition, Lane] = {}
        self._known: dict[str, list[Lane]] = {}
        self._ready: dict[Lane, None] = {}
        self._busy: set[int] = set()
        self._requests: set[asyncio.Task[None]] = set()
        self._flush_handle: asyncio.Handle | None = None
        self._burst_at = 0.0
        self._loop = asyncio.get_running_loop()  # looking it up costs a system call each time
        self._heard_at = 0.0
        self._unusable: set[int] = set()
        self.problems = problems

    # What the publisher and the drainer call.

    def writable(self, event: str) -> bool:
        """Whether every partition of an event's topic has a leader, as far as we know."""
        lanes = self._known.get(event)
        return lanes is not None and all(lane.leader is not None for lane in lanes)

    def missing(self) -> list[str]:
        """Return the topics that cannot be written now."""
        return [self._prefix + event for event in self._events if not self.writable(event)]

    def submit(self, record: Record) -> bool:
        """Queue a record behind those of its partition. False if its topic is not known to Kafka now."""
        lanes = self._known.get(record.event)
        if lanes is None:
            return False
        record.timestamp_ms = time_ns() // 1_000_000
        lane = lanes[murmur2(record.partition_key) % len(lanes)]
        lane.waiting.append(record)
        self._ready[lane] = None
        if self._flush_handle is None:
            self._schedule()
        return True

    def withdraw(self, records: Iterable[Record]) -> set[Record]:
        """Take back the records that are certainly not sent; return them. The others stay in doubt."""
        wanted = set(records)
        taken: set[Record] = set()
        topics = {self._prefix + record.event for record in wanted}
        for lane in self._lanes.values():
            if lane.topic in topics:
                taken |= lane.withdraw(wanted)
        return taken

    def take_stored(self) -> Iterator[tuple[TopicPartition, int, int]]:
        """Yield where our records were stored since the last call: partition, first offset, offset behind the last."""
        for place, lane in self._lanes.items():
            for first, end in lane.take_stored():
                yield place, first, end

    async def flush(self, seconds: float) -> None:
        """Wait until nothing is queued or under way, at most `seconds`, and not without a client that could send it."""
        end = monotonic() + seconds
        while self._client is not None and not self.idle and monotonic() < end:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(GAP_SECONDS)

    @property
    def idle(self) -> bool:
        """Whether nothing is queued or under way."""
        return not any(self._lanes.values())

    # Bursts.

    def _schedule(self) -> None:
        wait = self._burst_at + GAP_SECONDS - monotonic()
        loop = self._loop
        self._flush_handle = loop.call_later(wait, self._flush) if wait > 0 else loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_handle = None
        client, producer = self._client, self._producer
        if client is None or producer is None:
            return
        now = monotonic()
        bursts: defaultdict[int, list[Lane]] = defaultdict(list)
        wake = 0.0
        for lane in list(self._ready):
            node = lane.leader
            if node is None or node in self._busy or lane.under_way:
                continue
            if lane.retry_at > now:
                wake = min(wake or lane.retry_at, lane.retry_at)
                continue
            del self._ready[lane]
            if lane:
                bursts[node].append(lane)
        for node, lanes in bursts.items():
            self._burst_at = now
            self._busy.add(node)
            task = asyncio.create_task(self._send(client, producer, node, lanes))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
        if wake and self._flush_handle is None:
            self._flush_handle = self._loop.call_later(wake - now, self._flush)

    async def _send(self, client: Client, producer: ProducerId, node: int, lanes: list[Lane]) -> None:
        batches: defaultdict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for lane in lanes:
            batches[lane.topic].append((lane.partition, lane.load(producer, self._compression)))
            lane.under_way = True
        parts: list[Part] | None = None
        loss = CONNECTION_LOST
        try:
            answer = await client.send(node, Produce(batches, _REPLICAS_TIMEOUT_MS))
            parts = answer.parts
        except NodeNotReadyError:
            loss = BROKER_AWAY
        except (KafkaError, OSError, TimeoutError) as error:
            log.info("broker %s: %r", node, error)
        except Exception:
            log.exception("aiokafka failed in an unexpected way; the records are sent again")
        finally:
            self._busy.discard(node)
            if parts is None:
                self._fail(client, node, lanes, loss)
        if parts is not None:
            try:
                await self._settle(client, node, {(lane.topic, lane.partition): lane for lane in lanes}, parts)
            finally:
                self._free(lanes)

    def _free(self, lanes: list[Lane]) -> None:
        """Let lanes be sent again."""
        for lane in lanes:
            lane.under_way = False
        self._ready.update(dict.fromkeys(lane for lane in lanes if lane))
        if self._ready and self._flush_handle is None:
            self._schedule()

    def _fail(self, client: Client, node: int, lanes: list[Lane], reason: str) -> None:
        """No answer came: the heads are in doubt, unless their broker was away and they were never sent.

        Until new metadata says otherwise, what that broker led has no leader.
        """
        self._metrics.publish_errors[reason] += len(lanes)
        for lane in self._lanes.values():
            if lane.leader == node:
                lane.leader = None
        self._tell()
        retry_at = monotonic() + _RETRY_SECONDS
        for lane in lanes:
            lane.retry_at = retry_at
            lane.under_way = False
            lane.in_doubt(sent=reason is CONNECTION_LOST)
        for lane in lanes:
            lane.stall(reason)
        self._free(lanes)
        client.force_metadata_update()

    async def _settle(self, client: Client, node: int, lanes: dict[tuple[str, int], Lane], parts: list[Part]) -> None:
        unnumbered = []
        refused = self.problems.refused_topics
        try:
            for topic, partition, error, offset in parts:
                lane = lanes.pop((topic, partition), None)
                answer, reason = ANSWERS.get(error, UNKNOWN_ANSWER)
                if lane is None:
                    log.warning("%s-%d: an answer to what was not sent", topic, partition)
                elif answer is _STORED:
                    lane.under_way = False
                    lane.acknowledge(offset)
                    if topic in refused:
                        self.problems.accepted(topic)
                else:
                    self._not_stored(client, lane, answer, reason)
                    if answer is Answer.RENUMBER:
                        unnumbered.append(lane)
        finally:
            if lanes:  # of these nothing is known, though they were sent
                self._fail(client, node, list(lanes.values()), CONNECTION_LOST)
        for lane in unnumbered:
            await self._renumber(client, lane)

    def _not_stored(self, client: Client, lane: Lane, answer: Answer, reason: str) -> None:
        """Act on an error that Kafka gives for a partition's batch."""
        lane.under_way = answer is Answer.RENUMBER
        self._metrics.publish_errors[reason] += 1
        match answer:
            case Answer.SPLIT:
                lane.split(reason)
            case Answer.REFUSED:
                self.problems.refused(lane.topic, reason)
                lane.refuse(reason)
            case Answer.RENUMBER:
                log.warning("%s-%d: %s; taking a new producer id", lane.topic, lane.partition, reason)
            case _:
                lane.retry_at = monotonic() + _RETRY_SECONDS
                lane.in_doubt(sent=answer is not Answer.RETRY)
                if answer is Answer.RETRY_IN_DOUBT:
                    lane.stall(reason)
                client.force_metadata_update()

    async def _renumber(self, client: Client, lane: Lane) -> None:
        """Give a partition whose sequence the broker does not know a producer id it has not used."""
        lane.retry_at = monotonic() + _RETRY_SECONDS
        if self._producer is None or lane.producer == self._producer:
            try:
                await self._take_producer_id(client)
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("no new producer id: %r; asking again", error)
                return
        if self._producer is not None:
            lane.renumber(self._producer, self._compression)

    async def _take_producer_id(self, client: Client) -> None:
        try:
            self._producer = await new_producer_id(client)
        except ClusterAuthorizationFailedError:
            self.problems.set("producer_id_denied", [f"{self._prefix}*"])
            raise
        self.problems.set("producer_id_denied", ())
        self._metrics.producer_ids[()] += 1

    # The client's life.

    async def run(self) -> None:
        """Keep a client connected until cancelled."""
        while True:
            client = self._connect(self._connected)
            try:
                await self._start(client)
                await self._watch(client)
            except (KafkaError, OSError, TimeoutError) as error:
                told = any(self.problems)  # once; this comes again and again
                log.log(logging.DEBUG if told else logging.INFO, "no client yet: %s; trying again", error)
                await asyncio.sleep(self.problems.pause(_WATCH_SECONDS))
            finally:
                lost, self._client = self._client, None
                if not self._stopping():
                    self._learn(None)
                    if lost:
                        self._give_up_waiting()
                await self._close(client)

    def _give_up_waiting(self) -> None:
        """Let nothing wait for the client that was lost.

        It would wait for its deadline, and if `run` itself has failed, the daemon's end with it.
        """
        for event in self._events:
            self._listener.on_unreachable(event)

    def _stopping(self) -> bool:
        """Whether `run` was cancelled: then the end of the client is no outage, and is not told as one."""
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    async def _start(self, client: Client) -> None:
        client.cluster.add_listener(self._learn)
        await client.bootstrap()
        client.set_topics([self._prefix + event for event in self._events])
        if self._producer is None:
            await self._take_producer_id(client)
        self._client = client
        client.force_metadata_update()

    async def _watch(self, client: Client) -> None:
        """Return when the client should be made anew: it was asked for metadata, and heard nothing for a while.

        That covers brokers that all moved, and connections that hang. A client whose metadata task died is made anew
        at once, before a leader moves and nobody is told.
        """
        self._heard_at = monotonic()
        while True:
            await asyncio.sleep(self.problems.pause(_WATCH_SECONDS))
            if not client.alive:
                log.warning("the metadata task of aiokafka has ended; connecting anew")
                return
            if self.idle and not self.missing():
                self._heard_at = monotonic()
                continue
            if monotonic() - self._heard_at > _RENEW_SECONDS:
                log.info("no broker answered for %g s; connecting anew", _RENEW_SECONDS)
                return
            client.force_metadata_update()
            for node in tuple(self._unusable):
                await client.ready(node)

    def _connected(self, address: str, error: Exception | None) -> None:
        """Take note of an attempt to connect to a broker: while it fails, what that leads has no leader for us."""
        changed = self.problems.unusable(address) is (error is None)
        self.problems.connection(address, error)
        if changed and self._client is not None:
            self._look(self._client.cluster)

    async def _close(self, client: Client) -> None:
        client.cluster.remove_listener(self._learn)
        await asyncio.sleep(0)  # a send that is cancelled before its first step never frees its broker
        for task in tuple(self._requests):
            task.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)
        try:
            async with asyncio.timeout(_WATCH_SECONDS):
                await client.close()
        except Exception as error:  # noqa: BLE001 - whatever ended the client's own tasks comes out here
            log.warning("the client did not close cleanly: %r", error)

    def _learn(self, cluster: ClusterMetadata | None) -> None:
        """Take over new metadata; None: nothing is known any more."""
        self._heard_at = monotonic()
        if cluster is not None:
            self.problems.only(addresses(cluster).values())
            self.problems.set("describe_denied", cluster.unauthorized_topics)
            self.problems.set("topic_missing", self._missing_topics(cluster))
        self._look(cluster)

    def _missing_topics(self, cluster: ClusterMetadata) -> set[str]:
        """Return our topics that are not there; none before they were asked for, or while they are being created."""
        if self._client is None or self.problems.creating:
            return set()
        topics = {self._prefix + event for event in self._events}
        return {topic for topic in topics - cluster.unauthorized_topics if not cluster.partitions_for_topic(topic)}

    def _look(self, cluster: ClusterMetadata | None) -> None:
        """Take over partitions and their leaders, but those that we cannot connect to."""
        brokers = addresses(cluster) if cluster else {}
        self._unusable = {node for node, address in brokers.items() if self.problems.unusable(address)}
        self._known.clear()
        for event in self._events:
            partitions = cluster.partitions_for_topic(self._prefix + event) if cluster else None
            if partitions:
                places = [TopicPartition(self._prefix + event, number) for number in range(max(partitions) + 1)]
                self._known[event] = [self._lane(place) for place in places]
        unreachable = set()
        for place, lane in self._lanes.items():
            leader = cluster.leader_for_partition(place) if cluster else None
            if leader in self._unusable:
                unreachable.add(place.topic.removeprefix(self._prefix))
            lane.leader = None if leader == _NO_LEADER or leader in self._unusable else leader
        for event in unreachable:
            self._listener.on_unreachable(event)
        self._move_lost()
        self._tell()
        self._listener.on_metadata()
        if self._ready and self._client and self._flush_handle is None:
            self._schedule()

    def _tell(self) -> None:
        """Say whether Kafka is there, when that changes."""
        missing = len(self.missing())
        connected = not missing
        if connected != bool(self._metrics.kafka_connected[()]):
            self._metrics.kafka_connected[()] = int(connected)
            where = f"away for {missing} of {len(self._events)} topics" if missing < len(self._events) else "away"
            log.log(logging.INFO if connected else logging.WARNING, "Kafka is %s", "there" if connected else where)

    def _lane(self, place: TopicPartition) -> Lane:
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = Lane(*place, self._listener.on_delivery)
        return lane

    def _move_lost(self) -> None:
        """Move what waits for partitions that are no more: their topic was made anew, with fewer of them."""
        known = {self._prefix + event: lanes for event, lanes in self._known.items()}
        for lane in tuple(self._lanes.values()):
            lanes = known.get(lane.topic)
            if lanes is not None and lane.partition >= len(lanes) and not lane.under_way:
                for record in lane.abandon():
                    self.submit(record)
