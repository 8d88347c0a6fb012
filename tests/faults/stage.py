"""The stage of a scenario: brokers, daemons, and Aurora, with what a fault may do to them; and the verdict at the end.

`Stage.load` offers webhooks while faults come and go. When it ends, Aurora tries to the end of its schedule,
the spools must get empty, everything is read back by librdkafka, and the ledger decides.
"""

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from math import inf
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any, Final, NamedTuple

from tests.faults.aurora import COPIED, REFUSED, TOKEN
from tests.faults.faulty import FaultyDaemon
from tests.faults.histories import Span
from tests.faults.journal import Told, answers_between, read_journal
from tests.faults.ledger import Verdict, judge
from tests.faults.manual_sender import Answer, ManualSender
from tests.faults.observer import Observer, is_complete
from tests.support.broker import KafkaCluster
from tests.support.daemon import Daemon
from tests.support.ports import free_ports
from tests.support.topics import Record, read_all, topic_names

SETTLE_SECONDS: Final = 180.0
READ_SECONDS: Final = 120.0
USUAL_SECONDS: Final = 3.0
"""Longer than any request to a broker takes that is answered."""
CLOCK: Final = 1200.0
"""How much faster than Aurora's the clock of retries is: they come after 25 ms, 0.25, 1.5, 9 and 60 s."""
SCHEDULE: Final = (30, 5 * 60, 30 * 60, 3 * 3600, 20 * 3600)
"""Seconds after which Aurora tries again, each from the attempt before. "Subscribing to Webhooks", Delivery."""

EVENTS: Final = {"state": "agreement_status_changed", "once": "lead_created", "signal": "lead_changed"}
"""What `aurora` sends, by kind."""
AUTHENTICATED: Final = [("X-Aurora-Webhook-Token", TOKEN)]


class Turns(NamedTuple):
    """Subjects whose states come back (`aurora`)."""

    subjects: int = 40
    seconds: float = 0.3
    """Between two states of a subject."""
    lost: float = 0.1
    """Share of the answers that are lost."""
    stale: float = 0.0
    """Share of the states that are refused after which a copy of the state before comes."""


NO_TURNS: Final = Turns(0)


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
        """Keep everything in `folder`; `broken` names mutants (`mutants`) or strike themselves (`hooks`).

        `scale` shortens the spans of a scenario, `clock` is how much faster than Aurora's its schedule of retries is.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.cluster, self.scale = folder, cluster, scale
        self.random = random.Random(1)
        self.prefix = prefix
        """What the names of the topics begin with."""
        self._rate, self._clock = rate, clock
        self._journal = folder / "journal"
        self.tokens = folder / "tokens"
        self.tokens.write_text(TOKEN + "\n")
        self.daemons: list[FaultyDaemon] = []
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
                    kafka__partitions=None,
                    ingress__shutdown_pause_seconds=0,
                    **(settings or {}),
                )
            )
        self.manual = ManualSender(self._journal)
        """Sends single webhooks beside the load."""
        self.undo = ExitStack()
        """What a scenario leaves behind on this machine is undone with it, after the daemons have ended."""
        self.beside: Callable[[Record], bool] = lambda _: False
        """Tells the records of events that the scenario itself sent: the ledger does not know them."""
        self.recovered: float | None = None
        """Seconds from the end of a fault until nothing waited for Kafka any more: the most of all `fixed`."""
        self.offered = 0.0
        """Webhooks a second that Aurora really sent, without retries."""
        self._recoveries: list[Thread] = []
        self.complaints: list[str] = []
        """What the scenario itself found wrong, beside the ledger."""
        self.remarks: list[str] = []
        """What is not as it is meant to be, though no promise is broken."""
        self.measured: dict[str, float] = {}
        """What the scenario measured, for the report; by words that name the unit."""
        self.observer = Observer(self.daemons)
        self._witnessed: list[Record] = []
        self._unread: list[tuple[str, float, float]] = []

    @property
    def daemon(self) -> FaultyDaemon:
        """The first daemon."""
        return self.daemons[0]

    def replace(self) -> FaultyDaemon:
        """Put a daemon with a new state directory in the place of the first, which has ended; return that one.

        It listens at the same address once it is started.
        """
        old = self.daemon
        self.daemons[0] = old.anew(self.folder / "daemon-anew")
        return old

    def span(self, seconds: float) -> float:
        """Return a span of the scenario, as long as it is at this scale."""
        return seconds * self.scale

    def wait(self, seconds: float) -> None:
        """Let the load go on for so long at full scale."""
        Event().wait(self.span(seconds))

    def answers(self, since: float = 0.0, until: float = inf) -> list[dict[str, Any]]:
        """Return what Aurora noted of the answers of a span of monotonic time."""
        return answers_between(self._journal, since, until)

    def told(self) -> Collection[Told]:
        """Return what Aurora noted of the events themselves."""
        return read_journal(self._journal).events.values()

    def expect_no_refusal(self, but: Collection[Span] = ()) -> None:
        """Expect no answer with a 5xx but in these spans, and every daemon to be alive."""
        refused = [answer for answer in self.answers() if answer["status"] >= REFUSED]
        others = [answer for answer in refused if not any(start <= answer["at"] <= end for start, end in but)]
        words = Counter(answer.get("body", answer["status"]) for answer in others)
        self.expect(not others, f"{len(others)} answers with a 5xx that nothing explains: {words.most_common(2)}")
        codes = [one.process.poll() for one in self.daemons]
        self.expect(set(codes) == {None}, f"daemons ended, with exit codes {codes}")

    def answers_by_event(self, since: float, until: float = inf) -> dict[str, list[dict[str, Any]]]:
        """Return the same by the event that was told."""
        found: dict[str, list[dict[str, Any]]] = {event: [] for event in EVENTS.values()}
        answers = self.answers(since, until)  # before the events, of which more are sent meanwhile
        events = read_journal(self._journal).events
        for answer in answers:
            found.setdefault(events[answer["answered"]].event, []).append(answer)
        return found

    def wait_until_usual(self) -> float:
        """Return once everything was published directly for a while, with the time from which on it was."""
        deadline = monotonic() + SETTLE_SECONDS
        while (since := monotonic()) < deadline:
            Event().wait(max(USUAL_SECONDS, self.span(20)))
            answers = self.answers(since)
            if answers and all('"spooled"' not in answer["body"] for answer in answers):
                break
        return since

    def expect(self, true: object, words: str) -> None:
        """Note what is wrong if it is: the scenario goes on, and fails."""
        if not true:
            self.complaints.append(words)

    def wish(self, true: object, words: str) -> None:
        """Remark in the report what is not as it is meant to be: the scenario may pass all the same."""
        if not true:
            self.remarks.append(words)

    def fixed(self) -> None:
        """Note that a fault is over; it is seen from here until nothing waits for Kafka, while the scenario goes on."""
        self._recoveries.append(Thread(target=self._recover, args=(self.daemon, monotonic()), name="recovery"))
        self._recoveries[-1].start()

    def _recover(self, daemon: Daemon, since: float) -> None:
        with suppress(AssertionError, OSError):  # the next fault may come before
            daemon.wait_until("nothing waits for Kafka", _drained, within=SETTLE_SECONDS)
            self.recovered = max(self.recovered or 0.0, monotonic() - since)

    def wait_until_complete(self, daemon: FaultyDaemon | None = None) -> None:
        """Return once a daemon's index knows all there is, the first's unless told otherwise."""
        (daemon or self.daemon).wait_until("the index is complete", is_complete, within=SETTLE_SECONDS)

    def keep_alive(self, seconds: float) -> int:
        """Start the first daemon again whenever it kills itself, for so long at full scale; return how often it did."""
        deadline, deaths = monotonic() + self.span(seconds), 0
        while (left := deadline - monotonic()) > 0:
            with suppress(subprocess.TimeoutExpired, AssertionError):  # it may die before it listens
                self.daemon.process.wait(left)
                deaths += 1
                self.daemon.kill_and_start()
        return deaths

    @contextmanager
    def losing(self, event: str) -> Iterator[None]:
        """Have Kafka itself lose acknowledged records of an event's topic while the block runs.

        What the topic holds is read before, and judged with what is there at the end. What is answered "published" from
        then to the end of the block, and a second more, may be missing: it was in Kafka, but nobody had read it.
        """
        began = monotonic()
        self._witnessed += read_all(self.cluster.plain, [self.prefix + event], READ_SECONDS)
        yield
        self._unread.append((event, began, monotonic() + 1))

    @contextmanager
    def load(
        self,
        *,
        connected: bool = True,
        copied: Sequence[str] = COPIED,
        turns: Turns = NO_TURNS,
        leaving: float = 0.0,
        most: float = inf,
    ) -> Iterator[None]:
        """Start the daemons, have Aurora send while the block runs, and return when its retries are through.

        Unless `connected`, it begins at once, whether or not Kafka can be used. One request in ten tells again what was
        just accepted, of the kinds that are `copied`. On the subjects of `turns`, the same two states take turns.
        `leaving` is the share of first attempts whose client is gone before the answer, `most` a bound of the rate, in
        webhooks a second.
        """
        for one in self.daemons:
            one.start()
        for one in self.daemons if connected else ():
            one.wait_until_connected()
        self.observer.start()
        program = Path(__file__).with_name("aurora.py")
        urls = [one.url for one in self.daemons]
        retries = ",".join(str(seconds / self._clock) for seconds in SCHEDULE)
        options = ["--copied", ",".join(copied), "--leaving", str(leaving), "--turns", str(turns.subjects)]
        options += ["--turn-seconds", str(turns.seconds), "--lost", str(turns.lost), "--stale", str(turns.stale)]
        rate = str(min(self._rate, most))
        aurora = subprocess.Popen([sys.executable, program, *options, self._journal, rate, retries, *urls])
        began = monotonic()
        try:
            yield
        except BaseException:
            aurora.kill()
            aurora.wait()
            raise
        aurora.send_signal(signal.SIGTERM)
        self.offered = len(read_journal(self._journal).events) / (monotonic() - began)
        code = aurora.wait(SETTLE_SECONDS)
        self.expect(code == 0, f"the client failed: exit code {code}")
        self._settle()

    def _settle(self) -> None:
        for recovery in self._recoveries:
            recovery.join()
        for one in self.daemons:
            if one.process.poll() is None:
                one.wait_until("the spool is empty", _drained, within=SETTLE_SECONDS)

    def probe(self, daemon: FaultyDaemon | None = None) -> Answer:
        """Send a fresh event beside the load, to the first daemon unless told otherwise; return the answer."""
        return self.manual.send(self.manual.new("once"), (daemon or self.daemon).url)

    def verdict(self) -> Verdict:
        """Read everything back and judge; the daemons have ended then."""
        for one in self.daemons:
            probe = self.probe(one)
            self.expect(probe.status == 200, f"a fresh event is answered {probe.status} at the end")
            one.wait_until("the spool is empty", _drained, within=SETTLE_SECONDS)
            one.terminate()
            self.complaints += one.unforeseen
        self.observer.stop()
        topics = topic_names(self.cluster.plain, self.prefix)
        records = [*self._witnessed, *read_all(self.cluster.plain, topics, READ_SECONDS)]
        seen = {(record.topic, record.partition, record.offset, record.key): record for record in records}
        records = [record for record in seen.values() if not self.beside(record)]
        self._keep(records)
        verdict = judge(read_journal(self._journal), records, self.observer.limits())
        self.measured |= verdict.excused
        unread = self._lost_unread()
        excused = [key for key in verdict.lost if key in unread]
        if excused:
            self.measured["acknowledged, and lost by Kafka before it could be read"] = len(excused)
        verdict.lost = [key for key in verdict.lost if key not in unread]
        verdict.renamed = [key for key in verdict.renamed if key not in unread]
        return verdict

    def _keep(self, records: Sequence[Record]) -> None:
        """Keep what was read beside the journal, for people who look for the cause of what the ledger finds."""
        with (self.folder / "records").open("w") as file:
            for record in records:
                line = {
                    "at": f"{record.topic}-{record.partition}@{record.offset}",
                    "event": json.loads(record.value or b"{}"),
                }
                file.write(json.dumps(line) + "\n")

    def _lost_unread(self) -> set[int]:
        return {
            answer["answered"]
            for event, since, until in self._unread
            for answer in self.answers_by_event(since, until)[event]
            if '"published"' in answer["body"]
        }

    def close(self) -> None:
        """End whatever still runs."""
        self.observer.stop()
        self.manual.close()
        for one in self.daemons:
            if one.started and one.process.poll() is None:
                one.kill()
        self.undo.close()


def _drained(one: Daemon) -> bool:
    metrics = one.metrics()
    return not metrics.value("aurora_bridge_spool_events") and bool(metrics.value("aurora_bridge_kafka_connected"))
