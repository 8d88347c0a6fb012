"""Reading topics for people: to the end whatever lies there, past what strangers wrote, and only what was committed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import time
from types import SimpleNamespace
from typing import Any, Final

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from aurora_bridge.kafka import partition_consumer, topic_consumer
from aurora_bridge.kafka.client import REQUEST_TIMEOUT_MS, Client, make_client
from aurora_bridge.kafka.fetch import leaders
from aurora_bridge.kafka.partition_consumer import PartitionConsumer
from aurora_bridge.kafka.topic_consumer import ReadError, Stored, read_topics
from aurora_bridge.settings import KafkaSettings
from tests.cli.spools import value_of
from tests.kafka.sending import EVENT, PATIENCE, client_of, end_metadata_task
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.ports import HOST
from tests.support.proxy import Proxy
from tests.support.topics import (
    Record,
    begin_transaction,
    configure_topic,
    create_topics,
    delete_records,
    delete_topics,
    produce,
    transact,
)

NOW: Final = int(time() * 1000)


@dataclass
class Read:
    """What reading gave."""

    events: list[Stored] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    failure: str = ""

    @property
    def numbers(self) -> list[int]:
        """The numbers of the events."""
        return [int(stored.identity.fingerprint) for stored in self.events]


@dataclass
class Topics:
    """Topics below a prefix; the one of `EVENT` has one partition."""

    bootstrap: str
    prefix: str

    @property
    def topic(self) -> str:
        return self.prefix + EVENT

    def write(self, *values: int | bytes | None, event: str = EVENT, **more: Any) -> None:  # noqa: ANN401 - a record's
        """Write events, by their numbers, and whatever else."""
        headers = more.pop("headers", {})
        for value in values:
            made = made_of(value) if isinstance(value, int) else value
            produce(self.bootstrap, Record(self.prefix + event, 0, -1, b"key", made, headers, NOW))

    def transact(self, *numbers: int, commit: bool) -> None:
        """Write events in a transaction."""
        transact(self.bootstrap, self.topic, *map(made_of, numbers), commit=commit)

    async def read(self, *events: str, each: Callable[[], None] = lambda: None, since_ms: int = 0) -> Read:
        """Read topics to their ends; `each` is called with every group."""
        read = Read()

        async def show(group: list[Stored]) -> None:
            read.events += group
            each()

        settings = KafkaSettings(bootstrap_servers=self.bootstrap, topic_prefix=self.prefix)
        try:
            async with asyncio.timeout(2 * PATIENCE):
                await read_topics(settings, events or [EVENT], show, tell=read.told.append, since_ms=since_ms)
        except ReadError as error:
            read.failure = str(error)
        return read


def made_of(number: int) -> bytes:
    """Return the value of an event."""
    return value_of(f"{number:032}", NOW)


@pytest.fixture
def topics(kafka: KafkaCluster | NamedKafka, prefix: str, topic: str) -> Topics:
    del topic
    return Topics(kafka.bootstrap, prefix)


# Where partitions end.


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "aborted"])
async def test_a_partition_that_ends_with_the_marker_of_a_transaction_is_read_to_its_end(
    topics: Topics, *, commit: bool
) -> None:
    await asyncio.to_thread(topics.write, 1)
    await asyncio.to_thread(topics.transact, 2, commit=commit)
    read = await topics.read()
    assert (read.numbers, read.told, read.failure) == ([1, 2] if commit else [1], [], "")


async def test_a_partition_in_which_nothing_but_a_marker_is_left_is_read_to_its_end(topics: Topics) -> None:
    await asyncio.to_thread(topics.transact, 1, commit=True)
    await asyncio.to_thread(delete_records, topics.bootstrap, topics.topic, 1)
    read = await topics.read()
    assert (read.events, read.told, read.failure) == ([], [], "")


async def test_events_of_an_aborted_transaction_are_not_shown_and_those_around_it_are(topics: Topics) -> None:
    await asyncio.to_thread(topics.write, 1)
    await asyncio.to_thread(topics.transact, 2, 3, commit=False)
    await asyncio.to_thread(topics.transact, 4, commit=True)
    await asyncio.to_thread(topics.write, 5)
    read = await topics.read()
    assert (read.numbers, read.told, read.failure) == ([1, 4, 5], [], "")


async def test_what_waits_for_the_end_of_a_transaction_is_told(topics: Topics) -> None:
    await asyncio.to_thread(topics.write, 1)
    open_transaction = await asyncio.to_thread(begin_transaction, topics.bootstrap, topics.topic, made_of(2))
    await asyncio.to_thread(topics.write, 3)
    read = await topics.read()
    assert (read.numbers, read.failure) == ([1], "")
    (told,) = read.told
    assert told.startswith(f"{topics.topic}-0@1 and later records wait for the end of a transaction")
    await asyncio.to_thread(open_transaction.abort_transaction, PATIENCE)


async def test_an_empty_partition_and_one_whose_records_were_all_deleted_are_read_to_their_ends(
    topics: Topics,
) -> None:
    read = await topics.read()
    assert (read.events, read.told, read.failure) == ([], [], "")
    await asyncio.to_thread(topics.write, 1, 2)
    await asyncio.to_thread(delete_records, topics.bootstrap, topics.topic, 1)
    assert (await topics.read()).numbers == [2]
    await asyncio.to_thread(delete_records, topics.bootstrap, topics.topic, 2)
    read = await topics.read()
    assert (read.events, read.told, read.failure) == ([], [], "")


async def test_what_comes_while_a_partition_is_read_is_not_read(topics: Topics) -> None:
    await asyncio.to_thread(topics.write, 1, 2)
    read = await topics.read(each=lambda: topics.write(3))
    assert (read.numbers, read.told, read.failure) == ([1, 2], [], "")


async def test_an_end_that_was_compacted_away_is_reached_and_told(topics: Topics) -> None:
    """The last batch is cut off on its way here, since Kafka compacts when it likes."""
    await asyncio.to_thread(topics.write, 1, 2)
    read = await consume(topics, lambda data: data[: length_of(data)] if data[:8] == bytes(8) else b"")
    assert (read.numbers, read.failure) == ([1], "")
    assert read.told == [f"{topics.topic}-0@1 holds no records any more: the topic is compacted."]


# What goes away while it is read.


def large(number: int) -> bytes:
    """Return the value of an event so large that two fit into an answer."""
    return json.dumps(json.loads(made_of(number)) | {"data": "x" * 400_000}).encode()


async def test_a_topic_that_is_deleted_while_it_is_read_is_told_at_the_end_and_the_others_are_read(
    topics: Topics,
) -> None:
    await asyncio.to_thread(create_topics, topics.bootstrap, f"{topics.prefix}z")
    await asyncio.to_thread(topics.write, *map(large, range(4)))
    await asyncio.to_thread(topics.write, 7, event="z")
    read = await topics.read(EVENT, "z", each=once(lambda: delete_topics(topics.bootstrap, topics.topic)))
    assert read.numbers[-1] == 7
    assert read.failure == f"{topics.topic} was deleted while it was read."


async def test_a_topic_that_is_recreated_while_it_is_read_is_read_from_its_beginning(topics: Topics) -> None:
    def recreate() -> None:
        delete_topics(topics.bootstrap, topics.topic)
        create_topics(topics.bootstrap, topics.topic, partitions=1)
        topics.write(7)

    await asyncio.to_thread(topics.write, *map(large, range(4)))
    read = await topics.read(each=once(recreate))
    assert (read.numbers, read.failure) == ([0, 1, 7], "")
    assert read.told == [f"{topics.topic}-0@2 no longer exists; continuing with the first record that does."]


async def test_records_that_are_deleted_before_they_are_read_are_told(topics: Topics) -> None:
    await asyncio.to_thread(topics.write, *map(large, range(4)))
    read = await topics.read(each=once(lambda: delete_records(topics.bootstrap, topics.topic, 3)))
    assert (read.numbers, read.failure) == ([0, 1, 3], "")
    assert read.told == [f"{topics.topic}-0@2 no longer exists; continuing with the first record that does."]


async def test_following_goes_on_with_a_topic_that_is_created_again(topics: Topics) -> None:
    async with following(topics) as follow:
        await asyncio.to_thread(topics.write, 1)
        assert await follow.event() == 1
        await asyncio.to_thread(delete_topics, topics.bootstrap, topics.topic)
        assert await follow.told.get() == f"{topics.topic} was deleted while it was read."
        await asyncio.to_thread(create_topics, topics.bootstrap, topics.topic, partitions=1)
        await asyncio.to_thread(topics.write, 2)
        assert await follow.event() == 2


async def test_following_outlasts_an_outage_and_tells_it_once(
    kafka1: KafkaCluster, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_consumer, "_PATIENCE_SECONDS", 5.0)
    async with following(topics) as follow:
        await asyncio.to_thread(topics.write, 1)
        assert await follow.event() == 1
        await asyncio.to_thread(kafka1.nodes[0].kill)
        assert (await follow.told.get()).startswith(f"{topics.topic}-0 cannot be read: no connection")
        await asyncio.to_thread(kafka1.restore)
        await asyncio.to_thread(topics.write, 2)
        assert await follow.event() == 2
        assert follow.told.empty()


async def test_following_ends_with_a_client_that_can_learn_nothing_more(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients: list[Client] = []

    def keep(*args: Any, **options: Any) -> Client:  # noqa: ANN401 - those of `make_client`
        clients.append(make_client(*args, **options))
        return clients[-1]

    monkeypatch.setattr(topic_consumer, "make_client", keep)
    with pytest.RaisesGroup(pytest.RaisesExc(ReadError, match="cannot be read")):
        async with following(topics) as follow:
            await asyncio.to_thread(topics.write, 1)
            assert await follow.event() == 1
            end_metadata_task(clients[0])
            await asyncio.to_thread(delete_topics, topics.bootstrap, topics.topic)
            await follow.event()


async def test_following_reads_partitions_that_are_added(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_consumer, "make_client", looking_often)

    def add() -> None:
        admin = AdminClient({"bootstrap.servers": topics.bootstrap})
        admin.create_partitions([NewPartitions(topics.topic, 2)])[topics.topic].result(PATIENCE)
        produce(topics.bootstrap, Record(topics.topic, 1, -1, b"key", made_of(2), {}, NOW))

    async with following(topics) as follow:
        await asyncio.to_thread(topics.write, 1)
        assert await follow.event() == 1
        await asyncio.to_thread(add)
        assert await follow.event() == 2


async def test_a_partition_without_a_leader_makes_its_topic_leaderless(kafka3: KafkaCluster, prefix: str) -> None:
    topic = prefix + "leaderless"
    await asyncio.to_thread(create_topics, kafka3.bootstrap, topic, replicas=[[1], [2]])
    made = client_of(kafka3.bootstrap)()
    try:
        await made.bootstrap()
        made.set_topics([topic])
        await asyncio.to_thread(kafka3.nodes[1].kill)
        async with asyncio.timeout(PATIENCE):
            while leaders(made, [topic])[2] != {topic}:
                await made.force_metadata_update()
    finally:
        await made.close()


async def test_a_partition_without_a_leader_is_told_at_the_end_and_the_others_are_read(
    kafka3: KafkaCluster, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_consumer, "_PATIENCE_SECONDS", 20.0)  # the other may wait for a new controller
    topics = Topics(kafka3.bootstrap, prefix)
    await asyncio.to_thread(create_topics, topics.bootstrap, topics.topic, replicas=[[1], [2]])
    await asyncio.to_thread(topics.write, 1)
    await asyncio.to_thread(kafka3.nodes[1].kill)
    read = await topics.read()
    assert read.numbers == [1], read.failure
    assert read.failure.startswith(f"{topics.topic}-1 cannot be read: no connection; is it up")


@pytest.mark.slow
async def test_a_first_broker_that_takes_seconds_to_answer_is_waited_for(topics: Topics) -> None:
    """As a busy one does. The daemon, which has deadlines, would try another one."""
    await asyncio.to_thread(topics.write, 1)
    async with Proxy(int(topics.bootstrap.rpartition(":")[2])) as slow:
        slow.delay_seconds = 0.6 * REQUEST_TIMEOUT_MS / 1000
        read = await Topics(f"{HOST}:{slow.port}", topics.prefix).read()
    assert (read.numbers, read.failure) == ([1], "")


# What strangers wrote.

STRANGE: Final = {
    None: "has no value",
    b"": "has no value",
    b"hello": "is not JSON",
    b"\xff": "is not JSON",
    b"1": "is not an event of aurora-bridge",
    b"[]": "is not an event of aurora-bridge",
    b'{"id":1,"fingerprint":[],"time":null}': "is not an event of aurora-bridge",
    b'{"id":"x"}': "is not an event of aurora-bridge",
}


async def test_records_that_are_not_events_are_skipped_and_each_is_told_with_its_place(topics: Topics) -> None:
    await asyncio.to_thread(topics.write, 1, *STRANGE, 2)
    read = await topics.read()
    assert (read.numbers, read.failure) == ([1, 2], "")
    assert read.told == [f"{topics.topic}-0@{at} {what}; skipped." for at, what in enumerate(STRANGE.values(), 1)]


async def test_of_many_records_that_are_not_events_the_first_are_named_and_all_are_counted(topics: Topics) -> None:
    await asyncio.to_thread(topics.write, *[b"hello"] * 12, 1)
    read = await topics.read()
    assert (read.numbers, read.failure, len(read.told)) == ([1], "", 11)
    assert read.told[-1] == "12 were skipped in all; the first 10 are listed above."


@pytest.mark.parametrize("headers", [{"ce_id": b"\xff"}, {"ce_id": None}, {"ce_id": b"1"}], ids=str)
async def test_headers_that_are_not_those_of_an_event_make_a_record_none(
    topics: Topics, headers: dict[str, bytes | None]
) -> None:
    await asyncio.to_thread(topics.write, 1, headers=headers)
    read = await topics.read()
    assert (read.numbers, read.failure) == ([], "")
    assert read.told == [f"{topics.topic}-0@0 is not an event of aurora-bridge; skipped."]


async def test_the_data_of_an_event_in_binary_mode_has_to_be_json(topics: Topics) -> None:
    headers = {"ce_id": "1" * 32, "ce_fingerprint": "1" * 32, "ce_time": "2026-11-24T03:05:11.454Z"}
    await asyncio.to_thread(topics.write, b"hello", None, b"{}", headers=headers)
    read = await topics.read()
    events = [(stored.offset, json.loads(stored.event)["data"]) for stored in read.events]
    assert (events, read.failure) == ([(2, {})], "")
    assert read.told == [f"{topics.topic}-0@0 is not JSON; skipped.", f"{topics.topic}-0@1 has no value; skipped."]


@pytest.mark.parametrize("name", ["ce_time", "aurora-bridge-route", "x"])
@pytest.mark.parametrize("value", [b"\xff", None], ids=str)
async def test_a_header_that_a_stranger_added_hides_no_event(topics: Topics, name: str, value: bytes | None) -> None:
    await asyncio.to_thread(topics.write, 1, headers={name: value})
    read = await topics.read()
    assert ([stored.event for stored in read.events], read.told) == ([made_of(1)], [])


async def test_an_event_on_several_lines_comes_on_one(topics: Topics) -> None:
    event = json.loads(made_of(1))
    await asyncio.to_thread(topics.write, json.dumps(event, indent=2).encode())
    (stored,) = (await topics.read()).events
    assert (json.loads(stored.event), stored.event.count(b"\n")) == (event, 0)


async def test_a_batch_that_cannot_be_decoded_is_told_with_its_place_and_what_lies_around_it_is_read(
    topics: Topics,
) -> None:
    await asyncio.to_thread(topics.write, 1)
    await asyncio.to_thread(configure_topic, topics.bootstrap, topics.topic, {"compression.type": "zstd"})
    await asyncio.to_thread(topics.write, 2)
    await asyncio.to_thread(configure_topic, topics.bootstrap, topics.topic, {"compression.type": "producer"})
    await asyncio.to_thread(topics.write, 3)
    read = await topics.read()
    assert read.numbers == [1, 3]
    (told,) = read.told
    assert told.startswith(f"{topics.topic}-0@1 cannot be decoded (")
    assert read.failure == "Batches that cannot be decoded may hold events."


async def test_a_header_whose_name_is_not_text_is_told_with_its_place_and_what_follows_is_read(
    topics: Topics,
) -> None:
    """Who writes is librdkafka, which writes text only: the name is changed on its way here."""
    await asyncio.to_thread(topics.write, 1, headers={"a": b"1"})
    await asyncio.to_thread(topics.write, 2)
    read = await consume(topics, lambda data: data.replace(b"\x02a\x02", b"\x02\xff\x02"))
    assert read.numbers == [2]
    (told,) = read.told
    assert told.startswith(f"{topics.topic}-0@0 cannot be decoded (")


# Helpers.


def once(action: Callable[[], None]) -> Callable[[], None]:
    """Return what acts at its first call only."""
    actions = [action]
    return lambda: actions.pop()() if actions else None


def length_of(data: bytes) -> int:
    """Return the length of the first batch (KIP-98: base offset, length of what follows)."""
    return 12 + int.from_bytes(data[8:12])


async def consume(topics: Topics, change: Callable[[bytes], bytes]) -> Read:
    """Read a topic through a client in whose answers the record batches are changed."""
    client = client_of(topics.bootstrap)()
    read = Read()

    async def show(group: list[Stored]) -> None:
        read.events += group

    try:
        await client.bootstrap()
        client.set_topics([topics.topic])
        await client.refresh()
        changed = PartitionConsumer(
            changing(client, change), [topics.topic], read.told.append, follow=False, since_ms=0
        )
        async with asyncio.timeout(PATIENCE):
            await changed.run(show, lambda: None)
    except ReadError as error:
        read.failure = str(error)
    finally:
        await client.close()
    return read


def changing(client: Client, change: Callable[[bytes], bytes]) -> Client:
    """Return a client in whose answers the record batches are changed."""

    async def send(node: int, request: Any) -> Any:  # noqa: ANN401 - as aiokafka has it
        answer = await client.send(node, request)
        if type(request).__name__ == "FetchRequest":
            answer.topics = [
                (topic, [(*rest, change(data or b"")) for *rest, data in partitions])
                for topic, partitions in answer.topics
            ]
        return answer

    return SimpleNamespace(  # type: ignore[return-value]  # as much of one as is asked for
        send=send, cluster=client.cluster, refresh=client.refresh
    )


def looking_often(settings: KafkaSettings, **options: Any) -> Client:  # noqa: ANN401 - those of `make_client`
    """Return a client that asks for new metadata all the time, and not once a minute."""
    client = make_client(settings, **options)
    client._metadata_max_age_ms = 100  # noqa: SLF001 - there is no other way in
    return client


class Follow:
    """What following shows and tells, as it comes."""

    def __init__(self) -> None:
        self.shown: asyncio.Queue[Stored] = asyncio.Queue()
        self.told: asyncio.Queue[str] = asyncio.Queue()

    async def show(self, group: list[Stored]) -> None:
        for stored in group:
            self.shown.put_nowait(stored)

    async def event(self) -> int:
        """Return the number of the next event."""
        return int((await self.shown.get()).identity.fingerprint)


@asynccontextmanager
async def following(topics: Topics) -> AsyncIterator[Follow]:
    """Follow a topic."""
    follow = Follow()
    settings = KafkaSettings(bootstrap_servers=topics.bootstrap, topic_prefix=topics.prefix)
    async with asyncio.timeout(2 * PATIENCE), asyncio.TaskGroup() as group:
        task = group.create_task(read_topics(settings, [EVENT], follow.show, tell=follow.told.put_nowait, follow=True))
        yield follow
        task.cancel()
