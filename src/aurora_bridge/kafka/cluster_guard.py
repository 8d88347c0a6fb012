"""Lets the daemon talk to one Kafka cluster only: the state directory holds its id.

Events in the spool are meant for that cluster, and the index describes that cluster's topics. An address can come to
lead elsewhere: by a changed setting, a DNS change, a cluster that was set up anew. So `client` asks each connection for
the cluster's id before it sends anything else. The first cluster is remembered; another one is refused until an
operator accepts it (`aurora-bridge cluster accept`), or names it (`KAFKA__CLUSTER_ID`). Then the index is recreated,
since it describes the former cluster.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from aiokafka.errors import KafkaError

from aurora_bridge.dedup import index
from aurora_bridge.os_errors import reason
from aurora_bridge.state.directory import StateError, write_durably
from aurora_bridge.state.line_file import LineFile

log = logging.getLogger(__name__)

FILE = "cluster"
SETTING = "AURORA_BRIDGE_KAFKA__CLUSTER_ID"


class WrongClusterError(KafkaError):
    """A broker belongs to another cluster. The message names both."""

    def __str__(self) -> str:
        return str(self.args[0])  # aiokafka would prefix the name of the class


class Accepted(NamedTuple):
    """Ids of the former cluster and of the accepted one."""

    before: str
    now: str


class ClusterGuard:
    """Lets one cluster pass. Not thread-safe: call it from the event loop only."""

    def __init__(self, directory: Path, setting: str) -> None:
        """Read the cluster's id from a state directory that the caller has locked. Raises `StateError`.

        A `setting` that names another cluster accepts it; an empty one is ignored.
        """
        remembered = read_id(directory)
        if setting and remembered and setting != remembered:
            log.warning("%s names another cluster than the former %s; recreating the index", SETTING, remembered)
            replace_id(directory, setting)
            remembered = setting
        self._file = LineFile(directory / FILE)
        self._setting = setting
        self._expected = setting or remembered
        self._written = remembered
        self._refused = ""
        """Id of the last cluster, if it was refused."""
        self._accepting = False
        self.accepted = asyncio.Event()
        """Set when another cluster is accepted, and then replaced by a new event."""
        self._writing: asyncio.Future[None] | None = None

    def check(self, cluster_id: str) -> None:
        """Let a cluster pass, or raise `WrongClusterError`. An empty id passes: some brokers report none."""
        if not cluster_id:
            return
        if self._accepting:
            msg = f"{self._refused} is being accepted in place of {self._expected}"
            raise WrongClusterError(msg)
        self._expected = self._expected or cluster_id
        if cluster_id != self._expected:
            self._refused = cluster_id
        require(self._expected, cluster_id)
        self._refused = ""
        if self._written != cluster_id and self._writing is None:
            log.info("Kafka's cluster is %s", cluster_id)
            self._writing = self._file.write(cluster_id)
            self._writing.add_done_callback(partial(self._ended, cluster_id))

    async def accept(self, forget: Callable[[], Awaitable[None]]) -> Accepted:
        """Accept the cluster that was refused last, once `forget` has recreated the index.

        The index goes first: a crash in between must not leave the old index with the new cluster. Until it is done, no
        cluster passes, so that the former one is not read into the new index. Raises `ValueError` if no cluster can be
        accepted, and whatever `forget` raises.
        """
        before, now = self._expected, self._refused
        if self._setting:
            msg = f"{SETTING} names the cluster; set it to the new cluster's id, and restart the daemon"
            raise ValueError(msg)
        if not now:
            msg = f"nothing to accept: the daemon has met no cluster other than {before or 'none'}"
            raise ValueError(msg)
        self._accepting = True
        try:
            await forget()
            await self._replace(now)
        finally:
            self._accepting = False
        self._expected, self._written, self._refused = now, now, ""
        log.warning("accepted the cluster %s in place of %s; the index was recreated", now, before)
        accepted, self.accepted = self.accepted, asyncio.Event()
        accepted.set()
        return Accepted(before, now)

    async def _replace(self, cluster_id: str) -> None:
        try:
            await self._file.write(cluster_id)
        except OSError as error:
            msg = f"{self._file.path} cannot be written: {reason(error)}"
            raise ValueError(msg) from error

    def _ended(self, cluster_id: str, written: "asyncio.Future[None]") -> None:
        self._writing = None
        if written.cancelled():
            return
        if (error := written.exception()) is None:
            self._written = cluster_id
        else:
            log.error("%s cannot be written (%r): any cluster will pass after a restart.", self._file.path, error)


def require(expected: str, cluster_id: str) -> None:
    """Raise `WrongClusterError` if the ids differ. An empty id matches any."""
    if expected and cluster_id not in {"", expected}:
        msg = f"its id is {cluster_id}, expected {expected}"
        raise WrongClusterError(msg)


def read_id(directory: Path) -> str:
    """Return the cluster's id from a state directory, empty if it has none. Raises `StateError`."""
    path = directory / FILE
    try:
        return path.read_text(errors="replace").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        msg = f"{path} cannot be read: {reason(error)}. Give the daemon's user access to it."
        raise StateError(msg) from error


def replace_id(directory: Path, cluster_id: str) -> None:
    """Remove the index and write another cluster's id, in a directory the caller has locked. Raises `StateError`."""
    try:
        index.remove(directory / index.FILE)
        write_durably(directory / FILE, cluster_id)
    except OSError as error:
        msg = f"The cluster's id cannot be saved in {directory}: {reason(error)}. Check the volume and its permissions."
        raise StateError(msg) from error
