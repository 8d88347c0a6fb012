"""The stage of a scenario: brokers, daemons, and Aurora, with what a fault may do to them; and the verdict at the end.

`Stage.load` offers webhooks while faults come and go. When it ends, Aurora tries to the end of its schedule,
the spools must get empty, everything is read back by librdkafka, and the ledger decides.
"""

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, Final

from tests.faults import ledger
from tests.faults.aurora import TOKEN
from tests.faults.ledger import Verdict
from tests.support.broker import KafkaCluster
from tests.support.daemon import Daemon
from tests.support.ports import free_ports
from tests.support.topics import Record, read_all, topic_names

SETTLE_SECONDS: Final = 180.0
READ_SECONDS: Final = 120.0
CLOCK: Final = 1200.0
"""How much faster than Aurora's the clock of retries is: they come after 25 ms, 0.25, 1.5, 9 and 60 s."""
SCHEDULE: Final = (30, 5 * 60, 30 * 60, 3 * 3600, 20 * 3600)
"""Seconds after which Aurora tries again, each from the attempt before. "Subscribing to Webhooks", Delivery."""

AUTHENTICATED: Final = [("X-Aurora-Webhook-Token", TOKEN)]


class Stage:
    """Everything one scenario plays with."""

    def __init__(  # noqa: PLR0913 - what a scenario chooses
        self,
        folder: Path,
        cluster: KafkaCluster,
        prefix: str,
        *,
        daemons: int = 1,
        scale: float = 1.0,
        rate: float = 500.0,
        clock: float = CLOCK,
        broken: str | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """Keep everything in `folder`; `broken` names a daemon that lies (`lies`).

        `scale` shortens the spans of a scenario, `clock` is how much faster than Aurora's its schedule of retries is.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.cluster, self.scale = folder, cluster, scale
        self.random = random.Random(1)
        self._prefix, self._rate, self._clock = prefix, rate, clock
        self._journal = folder / "journal"
        self.tokens = folder / "tokens"
        self.tokens.write_text(TOKEN + "\n")
        self.daemons = []
        for number, port in enumerate(free_ports(daemons)):
            own = folder / f"daemon-{number}"
            own.mkdir(exist_ok=True)
            self.daemons.append(
                FaultyDaemon(
                    own,
                    clock,
                    broken,
                    ingress__port=port,
                    auth__tokens_file=self.tokens,
                    kafka__bootstrap_servers=cluster.bootstrap,
                    kafka__topic_prefix=prefix,
                    ingress__shutdown_pause_seconds=0,
                    **(settings or {}),
                )
            )
        self.beside: Callable[[Record], bool] = lambda _: False
        """Tells the records of events that the scenario itself sent: the ledger does not know them."""
        self.recovered = 0.0
        """Seconds from the end of the load until everything was in Kafka."""
        self.complaints: list[str] = []
        """What the scenario itself found wrong, beside the ledger."""
        self.measured: dict[str, float] = {}
        """What the scenario measured, for the report; by words that name the unit."""

    @property
    def daemon(self) -> Daemon:
        """The first daemon."""
        return self.daemons[0]

    def span(self, seconds: float) -> float:
        """Return a span of the scenario, as long as it is at this scale."""
        return seconds * self.scale

    def wait(self, seconds: float) -> None:
        """Let the load go on for so long at full scale."""
        Event().wait(self.span(seconds))

    def answers(self, since: float = 0.0, until: float = inf) -> list[dict[str, Any]]:
        """Return what Aurora noted of the answers of a span of monotonic time."""
        return ledger.answers_between(self._journal, since, until)

    def expect(self, true: object, words: str) -> None:
        """Note what is wrong if it is: the scenario goes on, and fails."""
        if not true:
            self.complaints.append(words)

    @contextmanager
    def load(self, *, leaving: float = 0.0) -> Iterator[None]:
        """Start the daemons, have Aurora send while the block runs, and return when its retries are through.

        `leaving` is the share of first attempts whose client is gone before the answer.
        """
        for one in self.daemons:
            one.start()
        for one in self.daemons:
            one.wait_until_connected()
        program = Path(__file__).with_name("aurora.py")
        urls = [one.url for one in self.daemons]
        retries = ",".join(str(seconds / self._clock) for seconds in SCHEDULE)
        aurora = subprocess.Popen(
            [sys.executable, program, self._journal, str(self._rate), retries, str(leaving), *urls]
        )
        try:
            yield
        finally:
            aurora.send_signal(signal.SIGTERM)
            ended = monotonic()
            aurora.wait(SETTLE_SECONDS)
            self._settle()
            self.recovered = monotonic() - ended

    def _settle(self) -> None:
        for one in self.daemons:
            if one.process.poll() is None:
                one.wait_until("the spool is empty", _drained, within=SETTLE_SECONDS)

    def verdict(self) -> Verdict:
        """Read everything back and judge; the daemons have ended then."""
        probe = self.daemon.get("/lead_created?lead_id=after&key=0", AUTHENTICATED)
        self.expect(probe.status == 200, f"a fresh event is answered {probe.status} at the end")
        for one in self.daemons:
            one.wait_until("the spool is empty", _drained, within=SETTLE_SECONDS)
            one.terminate()
        topics = topic_names(self.cluster.plain, self._prefix)
        records = read_all(self.cluster.plain, topics, READ_SECONDS)
        told = ledger.read_journal(self._journal)
        ours = (b'"lead_id":"after"' in (record.value or b"") or self.beside(record) for record in records)
        return ledger.judge(told, [record for record, is_ours in zip(records, ours, strict=True) if not is_ours])

    def close(self) -> None:
        """End whatever still runs."""
        for one in self.daemons:
            if one.started and one.process.poll() is None:
                one.kill()


class FaultyDaemon(Daemon):
    """A daemon on the clock of these tests, that may be one of those that lie: the ledger must catch them."""

    def __init__(self, folder: Path, clock: float, broken: str | None, **settings: object) -> None:
        super().__init__(folder, **settings)
        self.program = [sys.executable, "-m", "tests.faults.launch", str(clock), broken or "none"]
        self.surroundings = {"PYTHONPATH": str(Path(__file__).parents[2])}

    @property
    def started(self) -> bool:
        """Whether it ever was."""
        return self._process is not None

    def kill_and_start(self) -> None:
        """Crash, and come back."""
        self.kill()
        self.start()


def _drained(one: Daemon) -> bool:
    metrics = one.metrics()
    return not metrics.value("aurora_bridge_spool_events") and bool(metrics.value("aurora_bridge_kafka_connected"))
