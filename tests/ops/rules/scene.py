"""Daemons in trouble, all at the same time, each in a state of its own and with topics of its own.

Each state is built in two steps: the daemon before anything happens, so that Prometheus sees its counters at nothing,
and what then happens to it.
"""

import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

from confluent_kafka.admin import AclOperation

from aurora_bridge.auto_disable.attempts import DISABLED_AT
from tests.ops.rules.alone import ALONE, GOOD, Happening
from tests.ops.rules.faulty import FAILS, make_faulty
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import Daemon
from tests.support.damage import damage_events
from tests.support.ports import HOST, free_ports
from tests.support.secure import USER, SecureCluster
from tests.support.topics import Record, create_topics, delete_topics, produce, topic_names, unique_prefix

WRONG: Final = [("X-Aurora-Webhook-Token", "of-yesterday")]
VOLUME: Final = 40 * 2**20
"""Bytes of the volume that is nearly full."""
LAG: Final = 1000
"""Records that a replica may be behind before it is told."""
WAITING: Final = 30
"""Events in a spool when a page of it is damaged."""


class State(NamedTuple):
    """A daemon, with the settings that commands beside it take."""

    daemon: Daemon
    settings: dict[str, object]


class Scene:
    """The daemons, by the name of their state."""

    def __init__(self, folder: Path, kafka: KafkaCluster | NamedKafka, secure: SecureCluster, stack: ExitStack) -> None:
        """Start them in folders of their own, beside a Kafka and one with access lists; they end with `stack`."""
        self.states: dict[str, State] = {}
        self.missing: dict[str, str] = {}
        """States that this machine does not allow, and why."""
        self._folder, self._kafka, self._secure, self._stack = folder, kafka, secure, stack
        self._happenings: list[Happening] = []
        (port,) = free_ports(1)
        self._nobody = f"{HOST}:{port}"

    @property
    def urls(self) -> list[str]:
        """What Prometheus is to scrape."""
        return [state.daemon.admin_url for state in self.states.values()]

    def prepare(self) -> None:
        """Start a daemon for each state."""
        self._happenings.extend(state(self._alone, self._stack) for state in ALONE)
        for state in (
            self._refusing,
            self._away,
            self._full,
            self._stalled,
            self._blind,
            self._quarantined,
            self._broken,
            self._unreadable,
            self._broken_spool,
            self._nearly_full_volume,
        ):
            self._happenings.append(state())

    def happen(self) -> None:
        """Let happen to each what it is about."""
        for happening in self._happenings:
            happening()

    def healthy(self) -> Daemon:
        """Start a daemon that nothing will happen to."""
        daemon = self._daemon("healthy")
        daemon.wait_until_connected()
        return daemon

    def _daemon(self, name: str, *, fault: str | None = None, **more: object) -> Daemon:
        folder = self._folder / name
        folder.mkdir()
        tokens = folder / "tokens"
        tokens.write_text("valid\n")
        settings: dict[str, object] = {
            "auth__tokens_file": tokens,
            "kafka__bootstrap_servers": self._kafka.bootstrap,
            "kafka__topic_prefix": self._prefix(self._kafka),
            "kafka__partitions": 1,
            "state_dir": folder / "state",
            **more,
        }
        daemon = Daemon(folder, **settings)
        daemon.state = Path(str(settings["state_dir"]))
        if fault is not None:
            make_faulty(daemon, fault)
        self.states[name] = State(self._stack.enter_context(daemon), settings)
        return daemon

    def _alone(self, name: str, **more: Any) -> Daemon:  # noqa: ANN401 - as `_daemon` takes it
        """Start one without a Kafka."""
        return self._daemon(name, kafka__bootstrap_servers=None, kafka__topic_prefix=None, **more)

    def _prefix(self, kafka: KafkaCluster | NamedKafka) -> str:
        """Return one for topics that are deleted at the end."""
        prefix = unique_prefix()
        self._stack.callback(lambda: delete_topics(kafka.plain, *topic_names(kafka.plain, prefix)))
        return prefix

    def _refusing(self) -> Happening:
        """Wrong tokens, wrong paths, and a template with a placeholder that Aurora does not know."""
        daemon = self._daemon("refusing")

        def happen() -> None:
            daemon.get("/lead_changed?lead_id=1", GOOD)
            for _ in range(DISABLED_AT):
                daemon.get("/lead_changed?lead_id=1", WRONG)
            for _ in range(25):
                daemon.get("/no/route", GOOD)
            for _ in range(3):
                daemon.get("/lead_created?lead_id=%3CLEAD_ID%3E", GOOD)

        return happen

    def _away(self) -> Happening:
        """Kafka is away, and the index is small."""
        daemon = self._daemon("away", kafka__bootstrap_servers=self._nobody, index__max_bytes=65_536)

        def happen() -> None:
            for number in range(1500):
                daemon.get(f"/lead_created?lead_id={number}", GOOD)

        return happen

    def _full(self) -> Happening:
        """Kafka is away, and the spool is full: enough is refused to stand out of what all others take."""
        daemon = self._daemon("full", kafka__bootstrap_servers=self._nobody, spool__max_bytes=200_000)

        def happen() -> None:
            answers = [daemon.get(f"/lead_changed?lead_id={number}&note={'x' * 8000}", GOOD) for number in range(300)]
            assert sum(answer.status == 503 for answer in answers) > 200

        return happen

    def _stalled(self) -> Happening:
        """Kafka lets the daemon see a topic, and not write to it; the daemon was restarted since."""
        prefix = self._prefix(self._secure)
        self._secure.allow(prefix, AclOperation.CREATE, AclOperation.DESCRIBE, AclOperation.READ)
        self._secure.allow(f"{prefix}project_created", AclOperation.WRITE)
        daemon = self._restricted("stalled", prefix)

        def happen() -> None:
            daemon.wait_until_connected()
            daemon.get("/lead_changed?lead_id=1", GOOD)
            daemon.terminate()
            daemon.start()

        return happen

    def _blind(self) -> Happening:
        """Kafka lets the daemon write, and not read what others wrote."""
        prefix = self._prefix(self._secure)
        self._secure.allow(prefix, AclOperation.CREATE, AclOperation.DESCRIBE, AclOperation.WRITE)
        daemon = self._restricted("blind", prefix)

        def happen() -> None:
            daemon.wait_until_connected()
            anothers = Record(f"{prefix}lead_created", 0, 0, key=None, value=b"{}", headers={}, timestamp=0)
            produce(self._secure.plain, *[anothers] * (LAG + 1))

        return happen

    def _restricted(self, name: str, prefix: str) -> Daemon:
        """Start a daemon that may do with its topics what it was allowed."""
        password = self._folder / f"{name}-password"
        password.write_text(f"{self._secure.password}\n")
        return self._daemon(
            name,
            kafka__bootstrap_servers=self._secure.bootstrap,
            kafka__topic_prefix=prefix,
            kafka__security_protocol="SASL_SSL",
            kafka__sasl_mechanism="SCRAM-SHA-512",
            kafka__sasl_username=USER,
            kafka__sasl_password_file=password,
            kafka__tls_ca_file=self._secure.authority.file,
        )

    def _quarantined(self) -> Happening:
        """Events are larger than their topic takes."""
        prefix, small = self._prefix(self._kafka), {"max.message.bytes": "2000"}
        create_topics(self._kafka.plain, f"{prefix}lead_changed", partitions=1, config=small)
        daemon = self._daemon("quarantined", kafka__topic_prefix=prefix)

        def happen() -> None:
            daemon.wait_until_connected()
            for number in range(2):
                daemon.get(f"/lead_changed?lead_id={number}&note={'x' * 3000}", GOOD)

        return happen

    def _broken(self) -> Happening:
        """The disk of the index fails, and the file of tokens is empty."""
        daemon = self._daemon("broken", fault="failing-index")

        def happen() -> None:
            daemon.get("/lead_created?lead_id=1", GOOD)
            (daemon.folder / FAILS).touch()
            (daemon.folder / "tokens").write_text("")
            daemon.get("/lead_created?lead_id=2", GOOD)

        return happen

    def _unreadable(self) -> Happening:
        """A topic has a record of another in a codec that is not installed; the daemon was restarted since."""
        prefix = self._prefix(self._kafka)
        create_topics(self._kafka.plain, f"{prefix}lead_created", partitions=1, config={"compression.type": "zstd"})
        daemon = self._daemon("unreadable", kafka__topic_prefix=prefix)

        def happen() -> None:
            daemon.wait_until_connected()
            daemon.terminate()
            anothers = Record(f"{prefix}lead_created", 0, 0, key=None, value=b"{}", headers={}, timestamp=0)
            produce(self._kafka.plain, anothers)
            daemon.start()
            daemon.wait_until("it was tried", lambda daemon: "cannot be followed" in daemon.log.read_text())

        return happen

    def _broken_spool(self) -> Happening:
        """Kafka is away, and a page of the spool is damaged while the daemon is down."""
        daemon = self._daemon("broken-spool", kafka__bootstrap_servers=self._nobody)

        def happen() -> None:
            for number in range(WAITING):
                daemon.get(f"/lead_created?lead_id={number}&note={'x' * 700}", GOOD)
            daemon.terminate()
            damage_events(daemon.state / "spool.db")
            daemon.start()

        return happen

    def _nearly_full_volume(self) -> Happening:
        """The state directory is on a volume that somebody else fills."""
        volume = self._folder / "volume"
        volume.mkdir()
        mount = shutil.which("mount")
        if (
            mount is None
            or subprocess.run(
                [mount, "-t", "tmpfs", "-o", f"size={VOLUME}", "tmpfs", volume], check=False, capture_output=True
            ).returncode
        ):
            self.missing["disk"] = "no small volume: mount -t tmpfs is not allowed here (run as root)"
            return lambda: None
        self._stack.callback(lambda: subprocess.run(["umount", volume], check=True))
        self._daemon("disk", state_dir=volume / "state", spool__max_bytes=2**20, index__max_bytes=2**20)
        return lambda: (volume / "somebody-elses").write_bytes(bytes(VOLUME * 92 // 100))
