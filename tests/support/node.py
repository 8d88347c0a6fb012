"""One Kafka node of the tests: a JVM that can be killed, frozen and restarted, and that keeps its ports and data.

A cluster of one or three of them is `broker.py`.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.support import jars
from tests.support.ports import HOST

CLUSTER_ID: Final = "YXVyb3JhLWJyaWRnZS10ZQ"
OTHER_CLUSTER_ID: Final = "YXVyb3JhLWJyaWRnZS1vdA"
"""Any 16 bytes in unpadded base64."""

JVM: Final = ("java", "-XX:+UseSerialGC", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=INFO")
"""One compiler tier only: a broker that lives for minutes is up sooner without the optimising one."""

CLASSES: Final = jars.LIBS / "classes.jsa"
"""What a broker loads, as the JVM maps it at once (class data sharing): a start takes two thirds of the time."""

END_SECONDS: Final = 60.0
"""Bound for the end of a process. A killed one ends at once, one that was asked within a second."""

GUARD: Final = 'read -r _; kill -KILL "$1"; rm -rf "$2"'
"""A shell that ends a node when its input closes, so also when the test run is itself killed and cleans up nothing."""


class KafkaNode:
    """A broker and controller in one process; `up` while it should run, `paused` while it is frozen."""

    def __init__(
        self, number: int, ports: Sequence[int], directory: Path, wait_until_ready: Callable[[], None]
    ) -> None:
        self.number = number
        self.client, self.internal, self.controller = (f"{HOST}:{port}" for port in ports)
        self.directory = directory
        self.log = directory / "server.log"
        self.up = False
        self.paused = False
        self.group: int | None = None
        """Group of the process, by which a test can tell its packets from others'; None: that of the test."""
        self.jvm: Sequence[str] = ()
        """Further options of the JVM."""
        self.cluster_id = CLUSTER_ID
        """Of the cluster that it belongs to, once it is formatted."""
        self._wait_until_ready = wait_until_ready
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The JVM. Raises `LookupError` on a node that was never started."""
        if self._process is None:
            message = f"node {self.number} was never started"
            raise LookupError(message)
        return self._process

    def kill(self) -> None:
        """End the process at once, as a crash does (SIGKILL)."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask the process to end (SIGTERM), as a rolling update does: it hands its leaderships over first."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): connections stay open, nothing answers."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)  # else it may answer once more
        self.paused = True

    def resume(self) -> None:
        """Let a frozen process go on (SIGCONT)."""
        self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def restart(self) -> None:
        """Start a killed or terminated node on its old ports and data; return when the whole cluster is ready."""
        self.spawn()
        self._wait_until_ready()

    def configure(self, properties: Mapping[str, str]) -> None:
        """Write the settings that the next start takes."""
        self._settings.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))

    def begin_format(self, properties: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Write the settings, and start the program that formats the data folder."""
        self.directory.mkdir()
        self.configure(properties)
        return self._java("kafka.tools.StorageTool", "format", "-t", self.cluster_id, "-c", str(self._settings))

    def spawn(self) -> None:
        """Start the process without waiting for anything."""
        self._process = self._java("kafka.Kafka", str(self._settings))
        guard = ["sh", "-c", GUARD, "sh", str(self._process.pid), str(self.directory)]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE)
        self.up, self.paused = True, False

    def log_tail(self) -> str:
        """Return the last lines of the node's log, under a headline."""
        lines = self.log.read_text(errors="replace").splitlines()[-25:]
        return "\n".join([f"--- node {self.number}, end of its log:", *lines])

    @property
    def _settings(self) -> Path:
        return self.directory / "server.properties"

    def _java(self, *command: str) -> subprocess.Popen[bytes]:
        classpath = os.pathsep.join(map(str, jars.obtain()))
        shared = [f"-XX:SharedArchiveFile={CLASSES}"] if CLASSES.exists() else []
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*JVM, *shared, *self.jvm, "-cp", classpath, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                group=self.group,
            )

    def _end(self, number: signal.Signals) -> None:
        self.up = False
        self.process.send_signal(number)
        try:
            self.process.wait(END_SECONDS)
        finally:
            if self._guard is not None:
                self._guard.kill()
                self._guard.communicate()
