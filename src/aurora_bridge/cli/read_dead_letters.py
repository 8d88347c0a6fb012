"""Reads dead letters and the marks of replayed ones from Kafka and the spool, for `cli.dead_letters`."""

import argparse
import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import orjson

from aurora_bridge.cli.check_cluster import warning
from aurora_bridge.cli.output import tell
from aurora_bridge.kafka.topic_consumer import ReadError, Stored, read_topics
from aurora_bridge.outbox import rows
from aurora_bridge.outbox.inspect import inspect_spool
from aurora_bridge.outbox.spool_file import FILE
from aurora_bridge.settings import Settings
from aurora_bridge.webhook.catalogue import DEAD_LETTER
from aurora_bridge.webhook.dead_letter import StoredDeadLetter, read_dead_letter, replayed_letter
from aurora_bridge.webhook.event import structured

_GROUP = 500
"""Events read in one transaction: short enough not to hold up the daemon's checkpoints."""


@dataclass(slots=True)
class Letters:
    """The requested dead letters, in memory (about 1 kB each), and the ids of all that were replayed."""

    arguments: argparse.Namespace
    found: dict[str, tuple[StoredDeadLetter, bytes]] = field(default_factory=dict)
    """By id, which merges copies; each with its CloudEvent."""
    replayed: set[str] = field(default_factory=set)

    def take(self, events: Iterable[bytes]) -> None:
        """Take CloudEvents of the dead-letter topic."""
        for event in events:
            document = orjson.loads(event)
            letter = read_dead_letter(document)
            if letter is not None and self._is_wanted(letter):
                self.found[letter.id] = letter, event
            elif (replayed := replayed_letter(document)) is not None:
                self.replayed.add(replayed)

    def _is_wanted(self, letter: StoredDeadLetter) -> bool:
        wanted = self.arguments
        return (
            (not wanted.id or letter.id in wanted.id)
            and wanted.reason in (None, letter.reason)
            and wanted.route in (None, letter.route)
            and wanted.event in (None, letter.event)
            and letter.time_us >= wanted.since * 1000
        )

    def __iter__(self) -> Iterator[tuple[StoredDeadLetter, bytes]]:
        """Yield them in order of receipt."""
        return iter(sorted(self.found.values(), key=lambda found: (found[0].time_us, found[0].id)))


def read_letters(arguments: argparse.Namespace, settings: Settings) -> tuple[Letters, str]:
    """Return the requested dead letters, and why not all could be read (empty if all were)."""
    letters = Letters(arguments)
    if settings.embedded_log or (settings.state_dir / FILE).exists():
        _read_spool(letters, settings)
    if settings.embedded_log:
        return letters, ""

    async def show(records: Iterable[Stored]) -> None:
        letters.take(record.event for record in records)

    check, since_ms = warning(settings), arguments.since
    try:
        asyncio.run(read_topics(settings.kafka, [DEAD_LETTER], show, tell=tell, since_ms=since_ms, check_cluster=check))
    except ReadError as error:
        return letters, str(error)
    return letters, ""


def _read_spool(letters: Letters, settings: Settings) -> None:
    with inspect_spool(settings.state_dir) as db:
        seq = 0
        while records := rows.read(db, seq, [DEAD_LETTER], _GROUP):
            letters.take(structured(record.value, record.headers) for record in records)
            seq = records[-1].seq or seq
