"""What a daemon does to itself at an exact point of its way, so that a fault can strike there.

Like the mutants, the switches exist here only. Points of death are reached by count, what breaks inside breaks when the
daemon is sent `BREAK`; what matters of that is written down in `NOTES`, with the time.
"""

import asyncio
import json
import os
import random
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final
from weakref import WeakSet

from aurora_bridge.kafka.client import Client
from aurora_bridge.kafka.producer_client import ProducerClient
from aurora_bridge.kafka.sender import Sender
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.state.worker import Worker

BREAK: Final = signal.SIGUSR1
NOTES: Final = "hooks.jsonl"
"""In the daemon's folder, a line for each `Note`."""
BROKEN: Final = "broken"
REPLACED: Final = "replaced"
COMMITTED: Final = "committed"
_COMMIT_SECONDS: Final = 0.2
"""Much longer than an answer is on its way to its client."""
_COMMITS: Final = 100
"""Most commits of the spool that one life lasts, with Kafka away: about a second."""
_REMOVALS: Final = 1000
"""Most events that one life drains: less would not get through what an outage left behind."""


def kill_before_answer() -> None:
    """Die between the spool's commit and the answers that it is for."""
    stored, calls = Spool._stored, random.randint(1, _COMMITS)

    def dying(spool: Spool, appended: list[Any], seqs: list[int], error: Exception | None) -> None:
        nonlocal calls
        calls -= 1
        if not calls and error is None:
            _die()
        stored(spool, appended, seqs, error)

    Spool._stored = dying  # type: ignore[assignment, method-assign]


def kill_before_removal() -> None:
    """Die between Kafka's acknowledgement of what was spooled and its removal from the spool."""
    leave, calls = Publisher._leave_spool, random.randint(1, _REMOVALS)

    def dying(publisher: Publisher, record: OutboxRecord, seq: int) -> None:
        nonlocal calls
        calls -= 1
        if not calls:
            _die()
        leave(publisher, record, seq)

    Publisher._leave_spool = dying  # type: ignore[assignment, method-assign]


def metadata_task_dies() -> None:
    """Let the tasks that keep the clients' metadata die of an exception, those of sender and follower."""
    bootstrap = Client.bootstrap
    clients: WeakSet[Client] = WeakSet()

    async def listed(client: Client) -> None:
        _on_break(strike)
        await bootstrap(client)
        clients.add(client)
        _note(REPLACED)

    def strike() -> None:
        for client in tuple(clients):
            if client._sync_task is not None and not client._sync_task.done():
                client._metadata_update = _fail  # type: ignore[assignment, method-assign]
                client.force_metadata_update()
        clients.clear()

    Client.bootstrap = listed  # type: ignore[assignment, method-assign]


def sender_dies() -> None:
    """Let the sender's own task die of an exception."""
    run, watch = Sender.run, ProducerClient._watch
    struck = asyncio.Event()

    async def listening(sender: Sender) -> None:
        _on_break(struck.set)
        await run(sender)

    async def mortal(keeper: ProducerClient, client: Client) -> None:
        watching = asyncio.create_task(watch(keeper, client))
        striking = asyncio.create_task(struck.wait())
        try:
            await asyncio.wait([watching, striking], return_when=asyncio.FIRST_COMPLETED)
            if struck.is_set():
                await _fail()
            await watching
        finally:
            watching.cancel()
            striking.cancel()

    Sender.run = listening  # type: ignore[assignment, method-assign]
    ProducerClient._watch = mortal  # type: ignore[assignment, method-assign]


def slow_commits() -> None:
    """Have a disk that is slow, and note what each of the spool's commits made durable: an answer before it shows."""
    commit, stored = Worker._commit, Spool._stored

    def slow(worker: Worker, posted: list[Any]) -> list[Any]:
        if worker._thread.name == "spool":
            sleep(_COMMIT_SECONDS)
        return commit(worker, posted)

    def noted(spool: Spool, appended: list[Any], seqs: list[int], error: Exception | None) -> None:
        if error is None:
            _note(COMMITTED, ids=[record.key.decode() for records, _, _ in appended for record in records])
        stored(spool, appended, seqs, error)

    Worker._commit = slow  # type: ignore[assignment, method-assign]
    Spool._stored = noted  # type: ignore[assignment, method-assign]


HOOKS: Final[dict[str, Callable[[], None]]] = {
    "kill-before-answer": kill_before_answer,
    "kill-before-removal": kill_before_removal,
    "metadata-task-dies": metadata_task_dies,
    "sender-dies": sender_dies,
    "slow-commits": slow_commits,
}


def times(folder: Path, what: str) -> Sequence[float]:
    """Return when a daemon noted something, by the monotonic clock."""
    return [note["at"] for note in _notes(folder, what)]


def commits(folder: Path) -> dict[str, float]:
    """Return when a daemon's spool had committed each id for the first time, by the monotonic clock."""
    return {name: note["at"] for note in reversed(_notes(folder, COMMITTED)) for name in note["ids"]}


def _notes(folder: Path, what: str) -> list[dict[str, Any]]:
    notes = [json.loads(line) for line in (folder / NOTES).read_text().splitlines()]
    return [note for note in notes if note["what"] == what]


async def _fail(*_: object) -> bool:
    _note(BROKEN)
    message = "a bug, as the fault tests have it"
    raise RuntimeError(message)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _on_break(strike: Callable[[], object]) -> None:
    asyncio.get_running_loop().add_signal_handler(BREAK, strike)


def _note(what: str, **more: object) -> None:
    with Path(NOTES).open("a") as notes:
        notes.write(json.dumps({"at": monotonic(), "what": what} | more) + "\n")
