"""`aurora-bridge drain`: publishes what a departed replica left in its state directory.

It empties the backlogs as a daemon does, through the same sender, publisher and drainer, but receives no webhooks. The
directory's lock keeps it out while a daemon is running.
"""

import argparse
import asyncio
import os
import signal
import sqlite3
from functools import partial
from pathlib import Path
from time import monotonic
from typing import cast

import uvloop

from aurora_bridge.cli.arguments import patience
from aurora_bridge.cli.command import EX_FAILED, Subparsers, add_command, need_kafka
from aurora_bridge.cli.output import tell
from aurora_bridge.kafka.client import make_client
from aurora_bridge.kafka.cluster_guard import SETTING, ClusterGuard, read_id
from aurora_bridge.kafka.create_topics import create_at_start
from aurora_bridge.kafka.error_actions import ERROR_REASONS
from aurora_bridge.kafka.problem_reasons import REASONS
from aurora_bridge.kafka.problems import Problems
from aurora_bridge.kafka.security import Security
from aurora_bridge.kafka.sender import Sender
from aurora_bridge.metrics import Metrics
from aurora_bridge.outbox import rows
from aurora_bridge.outbox.drainer import Drainer
from aurora_bridge.outbox.inspect import inspect_spool
from aurora_bridge.outbox.publisher import Publisher
from aurora_bridge.outbox.spool import Spool
from aurora_bridge.outbox.spool_file import FILE
from aurora_bridge.settings import KafkaSettings, Settings
from aurora_bridge.state.database import broken_files, is_there
from aurora_bridge.state.directory import InUseError, StateError, locked
from aurora_bridge.webhook.catalogue import EVENTS

_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.1
_TELL_SECONDS = 1.0
_FLUSH_SECONDS = 2.0
_ELSEWHERE = "they are meant for another Kafka cluster."
_FAILED = "the disk failed, or damaged the spool. The next run salvages what can be read."
_NO_ROOM = (
    "the spool has no room to quarantine them, or its disk failed. Set AURORA_BRIDGE_SPOOL__MAX_BYTES larger than "
    f"{FILE} is."
)

_EXAMPLES = """\
  aurora-bridge drain /mnt/old/aurora-bridge-state                to the Kafka in this environment
  aurora-bridge drain /mnt/old/state --config aurora-bridge.toml  to the one in a settings file
  aurora-bridge drain /mnt/old/state --patience 600               wait longer for a Kafka that is away
"""


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = add_command(
        subparsers,
        "drain",
        run,
        help="publish what a departed replica left in its state directory",
        description="Publishes, in order, what waits in the spool of a state directory that no daemon uses. Exit 0 "
        "once nothing waits, 1 if something is left, or was lost with a damaged spool. Quarantined events stay.",
        examples=_EXAMPLES,
    )
    parser.add_argument("state_dir", type=Path, metavar="STATE_DIR", help="state directory of a daemon that is gone")
    parser.add_argument(
        "--patience",
        type=patience,
        default=_PATIENCE_SECONDS,
        metavar="SECONDS",
        help="give up if Kafka accepts nothing for this long (default: 60)",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Drain; return the exit code."""
    need_kafka(settings, "drain")
    directory = arguments.state_dir
    if not is_there(directory / FILE):
        msg = f"{directory} holds no {FILE}: it is not the state directory of a daemon. Correct the path."
        raise StateError(msg)
    os.umask(0o077)  # the state directory holds customer data
    try:
        with locked(directory), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            problem = runner.run(_drain(directory, settings, arguments.patience))
    except InUseError as error:
        msg = (
            f"{directory} is in use by a running aurora-bridge (process {error.holder}), which drains it by itself. "
            "To use this command instead, stop that process first."
        )
        raise StateError(msg) from error
    with inspect_spool(directory) as db:
        left, quarantined = rows.waiting(db), rows.stats(db).quarantined
    if left and problem is None:  # taken off the queue, and still in the file
        problem = _NO_ROOM
    if problem is None:
        tell("nothing waits any more")
    if quarantined:
        tell(
            f"{quarantined} are quarantined and stay. AURORA_BRIDGE_STATE_DIR={directory} aurora-bridge quarantine "
            "list shows them, and why."
        )
    if problem is not None:
        tell(f"{left} are left: {problem} What is left stays in {directory}; run this again once that is fixed.")
    broken = broken_files(directory, FILE)
    if broken:
        tell(
            f"Events may be lost: {FILE} was damaged, and is kept in {directory} as {', '.join(broken)}. The runbook "
            "AuroraBridgeBrokenFile says how to have them sent again. Then move it away, and run this again."
        )
    return EX_FAILED if problem is not None or broken else os.EX_OK


async def _drain(directory: Path, settings: Settings, patience: float) -> str | None:
    """Publish until nothing waits; return why something is left, None if nothing is."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    _require_cluster(directory, settings.kafka.cluster_id)
    kafka, metrics = settings.kafka, Metrics(publish_errors=ERROR_REASONS, kafka_problems=tuple(REASONS))
    problems = Problems(metrics)
    problems.creating = True  # missing topics matter only if events wait for them
    security = Security(kafka)
    guard = ClusterGuard(directory, kafka.cluster_id)
    spool = Spool(directory, settings.spool.max_bytes)
    spool.start()
    try:
        connect = partial(make_client, kafka, security, check_cluster=guard.check)
        make_sender = partial(Sender, kafka, connect, EVENTS, problems=problems, metrics=metrics)
        publisher = Publisher(settings.deadlines, EVENTS, make_sender, spool, metrics)
        sender = cast("Sender", publisher.sender)
        async with asyncio.TaskGroup() as group:
            work = [sender.run(), Drainer(publisher, sender, spool).run()]
            if kafka.create_topics:
                work.append(create_at_start(kafka, EVENTS, security, problems, guard.check))
            tasks = [group.create_task(each) for each in work]
            reason = await _emptied(spool, problems, patience, stop)
            failure = _failure(kafka, sender, publisher, metrics)
            if reason == _ELSEWHERE:
                failure += f" For this directory: AURORA_BRIDGE_STATE_DIR={directory} aurora-bridge cluster accept."
            await sender.flush(_FLUSH_SECONDS)  # what is in flight may still be acknowledged
            for task in tasks:
                task.cancel()
    except* sqlite3.Error:  # the log says which
        reason, failure = _FAILED, ""
    finally:
        if not await spool.stop(_FLUSH_SECONDS):
            tell("The disk does not respond: the next drain may send again what Kafka has already accepted.")
    return None if reason is None else f"{reason} {failure}".rstrip()


def _require_cluster(directory: Path, setting: str) -> None:
    """Raise `StateError` if the setting names another cluster than the directory's: it is meant for another replica."""
    remembered = read_id(directory)
    if setting and remembered not in {"", setting}:
        msg = (
            f"{directory} belongs to the Kafka cluster {remembered}, and {SETTING} names {setting}. To publish its "
            f"events there all the same: AURORA_BRIDGE_STATE_DIR={directory} aurora-bridge cluster accept."
        )
        raise StateError(msg)


async def _emptied(spool: Spool, problems: Problems, patience: float, stop: asyncio.Event) -> str | None:
    """Report progress until nothing waits, and return None; else return why something is left."""
    total = left = told = spool.waiting
    moved_at = told_at = monotonic()
    tell(f"{total} wait")
    while spool.waiting:
        if stop.is_set():
            return "it was stopped."
        if spool.failed.is_set():
            return _FAILED
        if any(problem.reason == "wrong_cluster" for problem in problems):
            return _ELSEWHERE
        now = monotonic()
        if spool.waiting != left:
            left, moved_at = spool.waiting, now
        elif now - moved_at > patience:
            return f"Kafka accepted nothing for {patience:g} s."
        if left != told and now - told_at > _TELL_SECONDS:
            tell(f"{left} of {total} wait")
            told, told_at = left, now
        await asyncio.sleep(_POLL_SECONDS)
    return None


def _failure(settings: KafkaSettings, sender: Sender, publisher: Publisher, metrics: Metrics) -> str:
    """Return what is known of why Kafka accepts nothing."""
    problems = " ".join(f"{problem}." for problem in sender.problems)
    if problems:
        return problems
    if len(sender.missing()) == len(EVENTS):
        return f"Kafka at {settings.bootstrap_servers} is away, or has none of the topics."
    words = []
    stuck = [event for event, backlog in publisher.backlogs.items() if backlog.waiting and not sender.writable(event)]
    if stuck:
        topics = ", ".join(settings.topic_prefix + event for event in stuck)
        words.append(f"Missing or without a leader: {topics}.")
    errors = ", ".join(f"{reason} ({count})" for reason, count in metrics.publish_errors.items() if count)
    if errors:
        words.append(f"Kafka's errors: {errors}.")
    return " ".join(words)
