"""The two places an event can be kept in, read behind the daemon's back: the embedded log and the topics of a Kafka."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon
from tests.support.topics import read_all, topic_names


@dataclass(frozen=True, slots=True)
class Stored:
    """One event as it is kept. `topic` is without the prefix; only Kafka has partitions."""

    topic: str
    key: str
    value: bytes
    headers: Mapping[str, str]
    partition: int | None = None

    @property
    def event(self) -> dict[str, Any]:
        """The CloudEvent. Raises `ValueError`."""
        event: dict[str, Any] = json.loads(self.value)
        return event


def spooled(state: Path) -> list[Stored]:
    """Return what lies in the spool of a state directory, in the order of its rows."""
    with closing(sqlite3.connect(f"file:{state / 'spool.db'}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT event, key, value, headers FROM events ORDER BY seq").fetchall()
    return [Stored(topic, key, value.encode(), dict(json.loads(headers))) for topic, key, value, headers in rows]


def published(bootstrap: str, prefix: str) -> list[Stored]:
    """Return what lies in the topics that begin with the prefix, by topic, partition and offset."""
    return [
        Stored(
            record.topic.removeprefix(prefix),
            (record.key or b"").decode(),
            record.value or b"",
            {name: _text(value) for name, value in record.headers.items()},
            record.partition,
        )
        for record in read_all(bootstrap, topic_names(bootstrap, prefix))
    ]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a daemon keeps its events: in Kafka, or in its embedded log where no Kafka is named."""

    prefix: str = "aurora."
    bootstrap: str | None = None

    @property
    def outcome(self) -> str:
        """What becomes of a delivery that goes well."""
        return "published" if self.bootstrap else "spooled"

    def daemon(self, folder: Path, **settings: object) -> Daemon:
        """Return a daemon that keeps its events here."""
        kafka = {"kafka__bootstrap_servers": self.bootstrap, "kafka__topic_prefix": self.prefix}
        return Daemon(folder, **(kafka if self.bootstrap else {}), **settings)

    def settle(self, daemon: Daemon) -> None:
        """Return once what is delivered to a daemon that has just started gets here without a detour."""
        if self.bootstrap:
            daemon.wait_until_connected()

    def read(self, daemon: Daemon) -> list[Stored]:
        """Return every event; those of one subject are in their order."""
        return published(self.bootstrap, self.prefix) if self.bootstrap else spooled(daemon.state)


def _text(value: str | bytes | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""
