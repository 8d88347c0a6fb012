"""Reads the recorded deliveries; README.md beside this file says what their fields mean."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SAMPLES: Final = Path(__file__).parent
MALFORMED_TOKEN: Final = "good-token"  # noqa: S105 - nobody's secret


@dataclass(frozen=True, slots=True)
class Sample:
    """One recorded delivery and what is expected of it."""

    file: str
    """Path below `tests/samples`, such as `quirks/spaces.json`."""
    name: str
    target: bytes
    expect: Mapping[str, Any]

    def __str__(self) -> str:
        """Name the sample the way a failing test should."""
        return f"{self.file}: {self.name}"


@dataclass(frozen=True, slots=True)
class Malformed:
    """What is sent on a connection, and what the connection is told."""

    file: str
    """Name below `tests/samples/malformed`, without its ending."""
    name: str
    send: str
    """One character is one byte. Its credential is `MALFORMED_TOKEN`."""
    statuses: list[int]
    """Of its answers."""
    ended: bool
    """Whether the daemon ends the connection behind them."""

    def __str__(self) -> str:
        """Name the case the way a failing test should."""
        return f"{self.file}: {self.name}"

    @property
    def method(self) -> str:
        """The method of its first request: an answer to HEAD has no body."""
        return self.send.partition(" ")[0]

    @property
    def data(self) -> bytes:
        """The bytes to send."""
        return self.send.encode("latin-1")


def load_malformed() -> list[Malformed]:
    """Return every malformed request, in the order of the files."""
    return [
        Malformed(path.stem, **json.loads(line))
        for path in sorted((SAMPLES / "malformed").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def load_samples() -> list[Sample]:
    """Return every recorded delivery, in the order of the files."""
    return [
        Sample(path.relative_to(SAMPLES).as_posix(), entry["name"], entry["target"].encode("latin-1"), entry["expect"])
        for path in sorted(SAMPLES.glob("*/*.json"))
        for entry in json.loads(path.read_bytes())
    ]


@dataclass(frozen=True, slots=True)
class OldRecord:
    """One record of a topic, as it was written before `time` had milliseconds."""

    topic: str
    """Without the prefix."""
    partition: int
    offset: int
    timestamp: int
    key: str
    headers: Mapping[str, str]
    value: str


def load_old_records(content_mode: str) -> list[OldRecord]:
    """Return every record written in that mode, by topic, partition and offset."""
    lines = (SAMPLES / "records" / f"{content_mode}.jsonl").read_text().splitlines()
    return [OldRecord(**json.loads(line)) for line in lines]


def make_old_spool(content_mode: str, path: Path) -> None:
    """Make the spool at `path` in which the same deliveries wait."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript((SAMPLES / "records" / f"{content_mode}.sql").read_text())


def load_fingerprints() -> list[dict[str, Any]]:
    """Return the fingerprint's test vectors: name, tenant, event, attributes, canonical, fingerprint."""
    vectors: list[dict[str, Any]] = json.loads((SAMPLES / "fingerprints.json").read_bytes())
    return vectors
