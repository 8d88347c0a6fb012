"""`aurora-bridge cluster`: which Kafka cluster the state directory belongs to, and to let it be another.

A living daemon is asked to accept the cluster that it met (`control`). Where none lives, Kafka is asked for its id, and
the command takes the directory's lock and changes the files itself.
"""

import argparse
import asyncio
import os

from aurora_bridge.cli.command import EX_FAILED, Subparsers, add_command, add_group, need_kafka
from aurora_bridge.cli.output import put, tell
from aurora_bridge.control.client import ask
from aurora_bridge.control.commands import ACCEPT_CLUSTER
from aurora_bridge.kafka.cluster_guard import SETTING, read_id, replace_id
from aurora_bridge.kafka.describe_topics import cluster_id
from aurora_bridge.settings import Settings
from aurora_bridge.state.directory import InUseError, locked

_EXAMPLES = """\
  aurora-bridge cluster show    the cluster that is remembered, and the one that is there
  aurora-bridge cluster accept  publish to the one that is there from now on
"""
_SHOW_EXAMPLES = """\
  aurora-bridge cluster show
  aurora-bridge cluster show --config aurora-bridge.toml
"""
_ACCEPT_EXAMPLES = """\
  aurora-bridge cluster accept
  AURORA_BRIDGE_STATE_DIR=/mnt/old/state aurora-bridge cluster accept  before a drain of that directory
"""


def add(subparsers: Subparsers) -> None:
    """Register the command and those below it."""
    below = add_group(
        subparsers,
        "cluster",
        help="which Kafka cluster the state directory belongs to: show, accept",
        description="The state directory remembers the id of its Kafka cluster; the daemon sends to no other.",
        examples=_EXAMPLES,
    )
    add_command(
        below,
        "show",
        _show,
        help="print the id that is remembered, the one that is set, and Kafka's",
        description="Prints the id of the cluster that is remembered, of the one that is set, and of the one that the "
        "settings lead to. Exit 1 if the daemon does not send there.",
        examples=_SHOW_EXAMPLES,
    )
    add_command(
        below,
        "accept",
        _accept,
        help="publish to the cluster that is there from now on",
        description="Takes the cluster that the settings lead to for the right one. What waits in the spool goes "
        "there. The index is recreated from its topics: what was published to the former cluster is not known any "
        "more.",
        examples=_ACCEPT_EXAMPLES,
    )


def _show(_arguments: argparse.Namespace, settings: Settings) -> int:
    need_kafka(settings, "cluster show")
    remembered, setting = read_id(settings.state_dir), settings.kafka.cluster_id
    put(f"remembered  {remembered or '-'}", f"setting     {setting or '-'}")
    met = asyncio.run(cluster_id(settings.kafka))
    put(f"kafka       {met or '-'}")
    expected = setting or remembered
    return os.EX_OK if not expected or met in {"", expected} else EX_FAILED


def _accept(_arguments: argparse.Namespace, settings: Settings) -> int:
    need_kafka(settings, "cluster accept")
    directory = settings.state_dir
    if not directory.exists():
        return _say(f"{directory} does not exist, so that there is nothing to accept: a new one takes any cluster.")
    try:
        with locked(directory):
            return _replace(settings)
    except InUseError:
        answer = ask(directory, ACCEPT_CLUSTER)
    tell(f"{answer['now']} is accepted in place of {answer['before']}.")
    return os.EX_OK


def _replace(settings: Settings) -> int:
    """Accept the cluster of the settings in a directory that is locked."""
    directory, setting = settings.state_dir, settings.kafka.cluster_id
    if setting:
        return _say(f"{SETTING} names the cluster; set it to the other one's id, and the next start accepts that.")
    before, met = read_id(directory), asyncio.run(cluster_id(settings.kafka))
    if not before:
        return _say(f"{directory} remembers no cluster, so that there is nothing to accept: the next start takes any.")
    if met in {"", before}:
        return _say(f"Kafka at {settings.kafka.bootstrap_servers} is the cluster {before}: there is nothing to accept.")
    replace_id(directory, met)
    tell(f"{met} is accepted in place of {before}.")
    return os.EX_OK


def _say(problem: str) -> int:
    tell(problem)
    return EX_FAILED
