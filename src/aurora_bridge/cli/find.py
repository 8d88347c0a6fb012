"""`aurora-bridge find`: finds the copies of an event, with their time of receipt, route and attempt.

It reads the spool and the index, with or without a running daemon, and the topics from the time in the id on: a
record's timestamp is never earlier than its event's time.
"""

import argparse
import asyncio
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import orjson

from aurora_bridge.cli.arguments import event_name, moment
from aurora_bridge.cli.check_cluster import warning
from aurora_bridge.cli.command import EX_FAILED, Subparsers, add_command
from aurora_bridge.cli.output import put, tell
from aurora_bridge.dedup.index import Row
from aurora_bridge.dedup.inspect import known_of
from aurora_bridge.dedup.recurrence import event_id
from aurora_bridge.kafka.topic_consumer import ReadError, Stored, read_topics
from aurora_bridge.outbox.inspect import copies_of, inspect_spool
from aurora_bridge.outbox.record import OutboxRecord
from aurora_bridge.outbox.spool_file import FILE
from aurora_bridge.settings import Settings
from aurora_bridge.state.directory import StateError
from aurora_bridge.webhook.catalogue import EVENTS, Recurrence
from aurora_bridge.webhook.event import ID, Identity, identity_of, rfc3339

_HEADER = "aurora-bridge-"
_PLACES = {"kafka": "in Kafka", "spool": "in the spool", "quarantine": "in quarantine"}
"""Where a copy can be, and how the summary says it."""
_MARGIN_MS = 3_600_000
"""How far before the time in the id to read: after the clock steps back, ids continue from the earlier time."""

_EXAMPLES = """\
  aurora-bridge find 9b34c925c662569cd98229fce412fa1e.20261124
  aurora-bridge find 9b34c925c662569cd98229fce412fa1e   every event of this fingerprint
  aurora-bridge find 9b34c925c662569cd98229fce412fa1e --event project_created --since 2d
"""


class Wanted(NamedTuple):
    """An id, or a fingerprint that stands for all its ids."""

    id: str
    fingerprint: str
    since_ms: int
    """Where to begin in the topics: milliseconds since the epoch, 0 if the id has no time."""

    def is_in(self, identity: Identity) -> bool:
        """Whether a record with this identity is a copy."""
        return self.id in (identity.id, identity.fingerprint)


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = add_command(
        subparsers,
        "find",
        run,
        help="find the copies of an event, in Kafka and in the spool",
        description="Prints a JSON line for each copy of an event, in Kafka, in the spool or in quarantine. "
        "Records that are not events are skipped, and named on standard error. Exit 1 if there is no copy, or not "
        "everything could be read.",
        examples=_EXAMPLES,
    )
    parser.add_argument("id", type=_wanted, metavar="ID", help="id of an event, or a fingerprint for all its events")
    parser.add_argument(
        "--event",
        action="append",
        type=event_name,
        metavar="NAME",
        help="read only this event's topic; can be repeated",
    )
    parser.add_argument(
        "--since",
        type=moment,
        default=0,
        metavar="TIME",
        help="read topics only from then on, as with `tail`; default: from the time in the id, or all",
    )


def _wanted(text: str) -> Wanted:
    match = ID.fullmatch(text)
    try:
        if match is None:
            raise ValueError  # noqa: TRY301 - reported like an impossible date
        time = f"{match['time'] or '000000'}.{match['millis'] or '000'}+00:00"
        moment = datetime.fromisoformat(f"{match['day']}T{time}") if match["day"] else None
    except ValueError:
        msg = (
            f"{text!r} is not an event's id. An id is 32 hex digits, alone or with a day or a millisecond: "
            "9b34c925c662569cd98229fce412fa1e.20261124, 9b34c925c662569cd98229fce412fa1e.20261124T030511454."
        )
        raise argparse.ArgumentTypeError(msg) from None
    since_ms = int(moment.timestamp() * 1000) - _MARGIN_MS if moment else 0
    return Wanted(text, match["fingerprint"], since_ms)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the copies; return the exit code."""
    wanted, directory = arguments.id, settings.state_dir
    found, looked, failure = Counter[str](), [], ""
    known, unknown = None, ""
    events = set(arguments.event or ())
    if (directory / FILE).exists():
        looked.append(f"the spool in {directory}")
        events |= _search_spool(directory, wanted, found)
    if not settings.embedded_log:
        since_ms = max(wanted.since_ms, arguments.since)
        try:
            asyncio.run(_search_topics(settings, wanted, sorted(events) or EVENTS, since_ms, found))
            since = f", records since {rfc3339(since_ms * 1000)}" if since_ms else ""
            looked.append(f"{_topics(settings, events)} at {settings.kafka.bootstrap_servers}{since}")
        except ReadError as error:
            failure = str(error)
    try:
        known = known_of(directory, wanted.fingerprint)
    except StateError as error:
        unknown = str(error)
    for line in filter(None, (*_summary(wanted, found, known, looked), unknown, failure)):
        tell(line)
    return os.EX_OK if found and not failure else EX_FAILED


def _search_spool(directory: Path, wanted: Wanted, found: Counter[str]) -> set[str]:
    """Print the copies in the spool; return their event names: no other topic can have more copies."""
    events = set()
    with inspect_spool(directory) as db:
        for record in copies_of(db, wanted.fingerprint):
            identity = identity_of(record.value, record.headers)
            if identity is not None and wanted.is_in(identity):
                events.add(record.event)
                _print(found, _spooled(record, identity))
    return events


async def _search_topics(
    settings: Settings, wanted: Wanted, events: Iterable[str], since_ms: int, found: Counter[str]
) -> None:
    async def show(records: Iterable[Stored]) -> None:
        for record in records:
            if wanted.is_in(record.identity):
                _print(found, _published(record, record.topic.removeprefix(settings.kafka.topic_prefix)))

    check = warning(settings)
    await read_topics(settings.kafka, events, show, tell=tell, since_ms=since_ms, check_cluster=check)


def _topics(settings: Settings, events: Iterable[str]) -> str:
    prefix = settings.kafka.topic_prefix
    return ", ".join(f"topic {prefix}{event}" for event in sorted(events)) or f"all {len(EVENTS)} topics {prefix}*"


def _print(found: Counter[str], line: dict[str, object]) -> None:
    found[str(line["where"])] += 1
    put(orjson.dumps(line))


def _spooled(record: OutboxRecord, identity: Identity) -> dict[str, object]:
    reason = record.quarantined
    return {
        **({"where": "spool"} if reason is None else {"where": "quarantine", "reason": reason}),
        "row": record.seq,
        "stored": rfc3339(record.stored_us),
        **_told(identity, record.event, record.headers),
    }


def _published(record: Stored, event: str) -> dict[str, object]:
    place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    return {"where": "kafka", **place, **_told(record.identity, event, record.headers)}


def _told(identity: Identity, event: str, headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Return what a record says about its event, and what its headers say about the delivery."""
    told = {
        name.removeprefix(_HEADER): (value or b"").decode(errors="replace")
        for name, value in headers
        if name.startswith(_HEADER)
    }
    return {
        "id": identity.id,
        "event": event,
        "received": rfc3339(identity.time_us),
        "attempt": told.get("attempt", ""),
        "route": told.get("route", ""),
        "instance": told.get("instance", ""),
    }


def _summary(wanted: Wanted, found: Counter[str], known: Row | None, looked: list[str]) -> Iterator[str]:
    """Yield how many copies are where, and what the index knows: attempts only if a retry was expected."""
    if found:
        places = ", ".join(f"{found[where]} {words}" for where, words in _PLACES.items() if found[where])
        yield f"{found.total()} {'copy' if found.total() == 1 else 'copies'}: {places}."
    else:
        places = "; ".join(looked) or "a spool or in Kafka: neither could be read"
        yield f"{wanted.id} was not found in {places}."
    if known is not None:
        ids = {event_id(wanted.fingerprint, recurrence, known.time_ms, known.id_ms) for recurrence in Recurrence}
        if wanted.id in {*ids, wanted.fingerprint}:
            last = f", attempt {known.attempt} {rfc3339(known.attempt_ms * 1000)}" if known.attempt > 1 else ""
            yield f"The index has it as first received {rfc3339(known.time_ms * 1000)}{last}."
