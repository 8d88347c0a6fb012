"""`aurora-bridge cluster`: shows which Kafka cluster the state directory belongs to, and changes it to another.

A running daemon is asked to accept the cluster that it found (`control`). Without one, the command asks Kafka for its
id, takes the directory's lock, and changes the files itself.
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
  aurora-bridge cluster show    the cluster that is remembered, and the present one
  aurora-bridge cluster accept  publish to the present one from now on
"""
_SHOW_EXAMPLES = """\
  aurora-bridge cluster show
  aurora-bridge cluster show --config aurora-bridge.toml
"""
_ACCEPT_EXAMPLES = """\
  aurora-bridge cluster accept
  AURORA_BRIDGE_STATE_DIR=/mnt/old/state aurora-bridge cluster accept  before draining that directory
"""


def add(subparsers: Subparsers) -> None:
    """Register the command and its subcommands."""
    below = add_group(
        subparsers,
        "cluster",
        help="which Kafka cluster the state directory belongs to: show, accept",
        description="The state directory remembers the id of its Kafka cluster; the daemon publishes to no other.",
        examples=_EXAMPLES,
    )
    add_command(
        below,
        "show",
        _show,
        help="print the remembered id, the one in the settings, and Kafka's",
        description="Prints the remembered id, the one in the settings, and the id of the cluster that the brokers in "
        "the settings belong to. Exit 1 if the daemon does not publish to it.",
        examples=_SHOW_EXAMPLES,
    )
    add_command(
        below,
        "accept",
        _accept,
        help="publish to the present cluster from now on",
        description="Accepts the cluster that the brokers in the settings belong to. Events waiting in the spool go "
        "there. The index is recreated from its topics, and forgets what was published to the former cluster.",
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
        return _say(f"{directory} does not exist. There is nothing to accept: a new one takes any cluster.")
    try:
        with locked(directory):
            return _replace(settings)
    except InUseError:
        answer = ask(directory, ACCEPT_CLUSTER)
    tell(f"{answer['now']} is accepted in place of {answer['before']}.")
    return os.EX_OK


def _replace(settings: Settings) -> int:
    """Accept the cluster of the settings; the directory is locked. Return the exit code."""
    directory, setting = settings.state_dir, settings.kafka.cluster_id
    before, met = read_id(directory), asyncio.run(cluster_id(settings.kafka))
    if setting not in {"", met}:
        return _say(f"{SETTING} names the cluster. Set it to the new one's id: the next start accepts that.")
    if not before:
        return _say(f"{directory} remembers no cluster. There is nothing to accept: the next start takes any.")
    if met in {"", before}:
        return _say(f"Kafka at {settings.kafka.bootstrap_servers} is the cluster {before}: there is nothing to accept.")
    replace_id(directory, met)
    tell(f"{met} is accepted in place of {before}.")
    return os.EX_OK


def _say(problem: str) -> int:
    tell(problem)
    return EX_FAILED
