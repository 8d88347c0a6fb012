"""Mutants of the sender: they forget what went on the wire, or do not hear what Kafka asks for.

Like those of `mutants`, each replaces one step by what a careless daemon would do, and exists here only.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import CreateTopicsRequest

from aurora_bridge.kafka import broker, metadata, partition_queue
from aurora_bridge.kafka.broker import Broker
from aurora_bridge.kafka.client import Client, new_producer_id
from aurora_bridge.kafka.error_actions import ACTIONS, Action
from aurora_bridge.kafka.partition_queue import PartitionQueue
from aurora_bridge.kafka.produce_protocol import NOT_IDEMPOTENT, Produce, ProduceAnswer
from aurora_bridge.kafka.producer_client import ProducerClient
from aurora_bridge.outbox import drainer, rows

_UNBOUNDED: Final = 2**30
_LARGE_BATCH_BYTES: Final = 512 * 1024
_NOT_LEADER_OR_FOLLOWER: Final = 6
_TOPIC_ALREADY_EXISTS: Final = 36
_PAUSE_SECONDS: Final = 0.5


def frees_sequence() -> None:
    """Take a leader that lost its leadership for one that has appended nothing: its sequence goes to other records."""
    ACTIONS[_NOT_LEADER_OR_FOLLOWER] = (Action.RETRY, "not_leader_or_follower")


def unbounded() -> None:
    """Send a broker all that there is in one request, whatever the line carries; and let all of a backlog be there."""
    answered = Broker.answered

    def blind(one: Broker, size: int, seconds: float, now: float, throttled_seconds: float) -> None:
        answered(one, size, seconds, now, throttled_seconds)
        one.limit_bytes = _UNBOUNDED

    Broker.answered = blind  # type: ignore[assignment, method-assign]
    broker.FIRST_REQUEST_BYTES = _UNBOUNDED
    partition_queue.MAX_BATCH_BYTES = _LARGE_BATCH_BYTES
    drainer.WINDOW = _UNBOUNDED
    rows._WINDOW_BYTES = _UNBOUNDED


def impatient() -> None:
    """Send a request again, without numbers, that is not answered at once, though the first is still on its way."""
    unbounded()
    produce = Client.produce

    async def hasty(client: Client, node: int, request: Produce) -> ProduceAnswer:
        answer = asyncio.ensure_future(produce(client, node, request))
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.wait_for(asyncio.shield(answer), _PAUSE_SECONDS)

    async def unnumbered(one: ProducerClient, _client: Client) -> None:
        one.producer = NOT_IDEMPOTENT

    Client.produce = hasty  # type: ignore[assignment, method-assign]
    ProducerClient._take_producer_id = unnumbered  # type: ignore[assignment, method-assign]


def round_trip_forgotten() -> None:
    """Take a long line for a slow one."""
    answered = Broker.answered

    def hasty(one: Broker, size: int, seconds: float, now: float, throttled_seconds: float) -> None:
        one._round_trip = 0.0
        answered(one, size, seconds, now, throttled_seconds)

    Broker.answered = hasty  # type: ignore[assignment, method-assign]
    broker._SMALL_BYTES = 0


def quota_unheard() -> None:
    """Go on sending, however long a broker says that it will be mute."""
    unbounded()
    answered = Broker.answered

    def deaf(one: Broker, size: int, seconds: float, now: float, _throttled_seconds: float) -> None:
        answered(one, size, seconds, now, 0.0)

    Broker.answered = deaf  # type: ignore[assignment, method-assign]


def believes_any_metadata() -> None:
    """Give up a partition as soon as a broker does not know of it, and its sequence with it."""
    metadata.GONE_SECONDS = 0.0

    def keep(_queue: PartitionQueue) -> None:
        """Go on with the epoch and the sequence of before."""

    PartitionQueue._begin_epoch = keep  # type: ignore[assignment, method-assign]


def never_suspects() -> None:
    """Send a batch again for ever that a broker fails over."""
    partition_queue.SUSPECT_ATTEMPTS = _UNBOUNDED


def asks_once() -> None:
    """Ask for a producer id once, and wait for ever if there is none."""

    async def once(one: ProducerClient, client: Client) -> None:
        try:
            one.producer = one.producer or await new_producer_id(client)
        except KafkaError:
            await asyncio.Event().wait()

    ProducerClient._take_producer_id = once  # type: ignore[assignment, method-assign]


def needs_controller() -> None:
    """Send nothing before the controller has said something."""
    refresh = Client.refresh

    async def careful(client: Client) -> None:
        codes: list[int] = []
        while codes not in ([0], [_TOPIC_ALREADY_EXISTS]):
            await asyncio.sleep(_PAUSE_SECONDS)
            node = client.get_random_node()
            if node is None:
                raise for_code(-1)
            topic: Any = ("asked-for-by-a-mutant", 1, 1, [], [])
            answer = await client.send(node, CreateTopicsRequest([topic], 1000, validate_only=True))
            codes = [code for _, code, *_ in answer.topic_errors]
        await refresh(client)

    Client.refresh = careful  # type: ignore[assignment, method-assign]


SENDER_MUTANTS: Final[dict[str, Callable[[], None]]] = {
    "frees-sequence": frees_sequence,
    "unbounded": unbounded,
    "impatient": impatient,
    "round-trip-forgotten": round_trip_forgotten,
    "quota-unheard": quota_unheard,
    "believes-any-metadata": believes_any_metadata,
    "never-suspects": never_suspects,
    "asks-once": asks_once,
    "needs-controller": needs_controller,
}
