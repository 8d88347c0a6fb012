"""Which Kafka cluster is the right one: the one whose id the state directory remembers, and no other.

What waits in the spool is meant for that cluster, and what the index knows is in that cluster's topics. An address can
lead elsewhere from one day to the next: a changed setting, a name in DNS, a cluster that was set up again. So `client`
asks each connection for the cluster's id before anything else is sent over it. The first cluster is remembered; another
one is refused until an operator accepts it (`aurora-bridge cluster accept`), or names it (`KAFKA__CLUSTER_ID`). Then
the index is recreated: what it knows was published elsewhere.
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
        return str(self.args[0])  # aiokafka's puts the name of the class before it


class Accepted(NamedTuple):
    """What became of a cluster that was accepted."""

    before: str
    now: str


class ClusterGuard:
    """Lets one cluster pass. All methods belong to the event loop."""

    def __init__(self, directory: Path, setting: str) -> None:
        """Read what a state directory remembers, which the caller has locked. Raises `StateError`.

        A `setting` that names another cluster is an operator's word for it; empty, it says nothing.
        """
        remembered = read_id(directory)
        if setting and remembered and setting != remembered:
            log.warning("%s is another cluster than %s; the index is recreated", SETTING, remembered)
            replace_id(directory, setting)
            remembered = setting
        self._file = LineFile(directory / FILE)
        self._setting = setting
        self._expected = setting or remembered
        self._written = remembered
        self._refused = ""
        """The cluster that was met last, if that is not the right one."""
        self._accepting = False
        self.accepted = asyncio.Event()
        """Set once another cluster was accepted; for the next one there is another event."""
        self._writing: asyncio.Future[None] | None = None

    def check(self, cluster_id: str) -> None:
        """Let a cluster pass, or raise `WrongClusterError`. A broker that gives no id, an empty one, passes."""
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
        """Let the cluster pass that was refused, once `forget` has recreated the index.

        That comes first: a crash in between must not leave the old index to the new cluster; and until it is done no
        cluster passes, so that the former one is not read into the new index. Raises `ValueError` if there is nothing
        to accept, and what `forget` raises.
        """
        before, now = self._expected, self._refused
        if self._setting:
            msg = f"{SETTING} names the cluster; set it to the other one's id and restart the daemon"
            raise ValueError(msg)
        if not now:
            msg = f"it has met no other cluster than {before or 'none'}, so that there is nothing to accept"
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
            log.error("%s cannot be written (%r): after a restart, any cluster passes.", self._file.path, error)


def require(expected: str, cluster_id: str) -> None:
    """Raise `WrongClusterError` for another cluster than is expected. Empty, either says nothing."""
    if expected and cluster_id not in {"", expected}:
        msg = f"its id is {cluster_id}, expected is {expected}"
        raise WrongClusterError(msg)


def read_id(directory: Path) -> str:
    """Return the cluster that a state directory remembers, empty if none. Raises `StateError`."""
    path = directory / FILE
    try:
        return path.read_text(errors="replace").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        msg = f"{path} cannot be read: {reason(error)}. Give the daemon's user access to it."
        raise StateError(msg) from error


def replace_id(directory: Path, cluster_id: str) -> None:
    """Let a state directory, which the caller has locked, remember another cluster. Raises `StateError`."""
    try:
        index.remove(directory / index.FILE)
        write_durably(directory / FILE, cluster_id)
    except OSError as error:
        msg = f"The cluster's id cannot be kept in {directory}: {reason(error)}. Check the volume and its permissions."
        raise StateError(msg) from error
