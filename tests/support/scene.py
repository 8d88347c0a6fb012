"""A day in the life of two replicas, in a minute: load, faults of every kind, and a Prometheus that saw it all.

Everything that a dashboard shows happens: deliveries of many kinds, duplicates, retries, repeats, unknown values and
events, dead letters, wrong tokens; Kafka freezes, dies until a spool is full, and comes back. The dashboards' queries
are then asked of that Prometheus, and `drawing` draws the panels.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from threading import Event
from time import monotonic, time
from typing import Any, Final, NamedTuple
from uuid import UUID

from aurora_bridge.simulator.in_thread import Simulator, running
from tests.support.daemon import Daemon
from tests.support.http import Connection, Headers, request
from tests.support.node import KafkaNode
from tests.support.prometheus import Prometheus
from tests.support.topics import create_topics, unique_prefix

TOKEN: Final = "a-token-of-the-tests"  # noqa: S105 - it opens nothing
HEADER: Final = [("X-Aurora-Webhook-Token", TOKEN)]
CLIENTS: Final = 2
"""For each daemon."""
RETRY_SECONDS: Final = 30
"""Aurora's first retry interval."""
SPOOL_BYTES: Final = 262_144
"""Of the second daemon: full within seconds."""
SMALL_TOPIC_BYTES: Final = 1000
"""Of one topic: an event with a long attribute is rejected."""
STATES: Final = ("in_design", "sold", "installed", "cancelled", "archived")
RETRIED: Final = "/lead_created?lead_id={new}"
RETRIED_SHARE: Final = 0.1
MIX: Final[tuple[tuple[float, str, Headers], ...]] = (
    (30, "/project_status_changed?project_id={project}&status={state}", HEADER),
    (20, "/lead_changed?lead_id={lead}", HEADER),
    (15, RETRIED, HEADER),
    (10, "/design_created?project_id={project}&design_id={new}", HEADER),
    (10, "/asset_created?asset_id={new}&asset_type=Design+DXF", HEADER),
    (10, "/agreement_status_changed?agreement_id={new}&status=signed", HEADER),
    (0.5, "/agreement_status_changed?agreement_id={new}&status=notarized", HEADER),  # a value that is not known
    (0.5, "/project_status_changed?project_id={project}&amp;status={state}", HEADER),  # a template that HTML garbled
    (0.5, "/roof_painted?project_id={project}", HEADER),  # an event that is not known
    (0.3, "/lead_created", HEADER),  # dead letters: no attributes, an unfilled placeholder, not UTF-8
    (0.3, "/lead_created?lead_id=%3CLEAD_ID%3E", HEADER),
    (0.3, "/lead_created?lead_id=%FF", HEADER),
    (1, "/lead_created?lead_id=always-the-same", HEADER),
    (0.2, "/asset_created?asset_id={new}&note={long}", HEADER),  # too large for its topic
    (1, "/lead_changed?lead_id={lead}", []),  # no token
    (0.5, "/wp-login.php", HEADER),
)
"""What is delivered: how often, the target, the headers."""


class Played(NamedTuple):
    """What was seen of the scene."""

    prometheus: Prometheus
    began: float
    """Seconds since the epoch, as is the next."""
    ended: float

    @property
    def seconds(self) -> int:
        """How long it took."""
        return int(self.ended - self.began) + 1

    def asked(self, expression: str, *, step: float = 0.5) -> list[dict[str, Any]]:
        """Return the series of a query over the scene, up to its end, by `step` seconds. Raises `PrometheusError`."""
        began = self.ended - (self.ended - self.began) // step * step
        times = {"start": str(began), "end": str(self.ended), "step": str(step)}
        series: list[dict[str, Any]] = self.prometheus.get("/api/v1/query_range", query=expression, **times)["result"]
        return series

    def asked_at_the_end(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of a query at the end, with a list of one value each. Raises `PrometheusError`."""
        found = self.prometheus.get("/api/v1/query", query=expression, time=str(self.ended))["result"]
        return [series | {"values": [series["value"]]} for series in found]


@contextmanager
def played(folder: Path, program: str, node: KafkaNode, *, calm: float = 0, pause: float = 0.01) -> Iterator[Played]:
    """Play the scene on a broker; yield what the Prometheus saw.

    Between its acts are `calm` seconds, between two deliveries of a client `pause`.
    """
    prefix, bootstrap = unique_prefix(), node.client
    create_topics(bootstrap, f"{prefix}asset_created", config={"max.message.bytes": str(SMALL_TOPIC_BYTES)})
    settings = {"kafka__bootstrap_servers": bootstrap, "kafka__topic_prefix": prefix, "auth__tokens_file": "tokens"}
    with ExitStack() as stack:
        aurora, key = stack.enter_context(running()), folder / "api-key"
        key.write_text("a-key-that-is-wrong\n")
        settings |= {
            "aurora__api_url": aurora.url,
            "aurora__api_token_file": str(key),
            "aurora__tenant_id": "simulated",
            "aurora__poll_seconds": "1",
        }
        daemons = []
        for name, more in (("a", {}), ("b", {"spool__max_bytes": SPOOL_BYTES})):
            (folder / name).mkdir()
            (folder / name / "tokens").write_text(f"{TOKEN}\n")
            daemons.append(stack.enter_context(Daemon(folder / name, **settings, **more)))
        for daemon in daemons:
            daemon.wait_until_connected()
        server = stack.enter_context(Prometheus(program, folder / "prometheus"))
        urls = [daemon.admin_url for daemon in daemons]
        server.scrape(*urls)
        server.wait_until_scraped(*urls)
        began = time()
        with traffic(*daemons, pause=pause):
            _look_at_subscriptions(server, aurora, key, first=daemons[0])
            _acts(server, daemons, node, calm)
        ended = time()
        server.wait_until("the end was scraped", lambda server: server.query(f"min(timestamp(up)) > {ended}"))
        yield Played(server, began, ended)


def _look_at_subscriptions(server: Prometheus, aurora: Simulator, key: Path, first: Daemon) -> None:
    """Let looks at Aurora's API fail, until the key is right; then one subscription is on, one off."""
    failures = "sum(increase(aurora_bridge_aurora_api_errors_total[5s])) > 0"
    server.wait_until("looks fail", lambda server: server.query(failures))
    aurora.subscribe("lead_changed", first.url)
    aurora.subscribe("lead_created", first.url, enabled=False)
    key.write_text(f"{aurora.token}\n")
    off = 'aurora_bridge_subscription_problems{problem="switched_off"} > 0'
    server.wait_until("one is seen to be off", lambda server: server.query(off))


def _acts(server: Prometheus, daemons: list[Daemon], node: KafkaNode, calm: float) -> None:
    """Let it all happen, each act until Prometheus has seen its effect."""

    def see(expression: str) -> None:
        server.wait_until(expression, lambda server: server.query(expression))

    first, second = daemons
    pause = Event()
    see('sum(aurora_bridge_deliveries_total{outcome="published"}) > 600')
    pause.wait(calm)
    see("sum(aurora_bridge_spool_events) == 0")  # behind what waits, a delivery goes to disk at once
    node.pause()
    see("max(aurora_bridge_oldest_unanswered_seconds) > 1")
    for _ in range(5):  # clients that do not wait for their answers
        with Connection(first.url) as connection:
            connection.send(request("/lead_created?lead_id=impatient", HEADER))
    see("sum(aurora_bridge_spool_events) > 100")
    node.resume()
    for daemon in daemons:
        daemon.wait_until_connected()
    see("sum(aurora_bridge_expected_retries_total) > 0")
    pause.wait(calm)
    node.kill()
    see("max(aurora_bridge_kafka_connected) == 0")
    see('sum(rate(aurora_bridge_refusals_total{reason="spool_full"}[5s])) > 0')
    pause.wait(calm / 4)
    node.restart()
    for daemon in daemons:
        daemon.wait_until_connected()
    (second.folder / "tokens").write_text("")
    see("sum(aurora_bridge_secret_file_failing) > 0")
    pause.wait(calm)
    see('sum(aurora_bridge_duplicates_total{interval="30s"}) > 0')
    see("sum(aurora_bridge_spool_quarantined_events) > 0")


@contextmanager
def traffic(*daemons: Daemon, pause: float) -> Iterator[None]:
    """Deliver to the daemons until the block ends."""
    stop = Event()
    with ThreadPoolExecutor(CLIENTS * len(daemons)) as pool:
        clients = [
            pool.submit(_deliver, daemon.url, Random(f"{at} {number}"), stop, pause)
            for at, daemon in enumerate(daemons)
            for number in range(CLIENTS)
        ]
        try:
            yield
        finally:
            stop.set()
    for client in clients:
        client.result()


def _deliver(url: str, choice: Random, stop: Event, pause: float) -> None:
    deliveries = _deliveries(choice)
    with Connection(url) as connection:
        while not stop.wait(pause):
            target, headers = next(deliveries)
            connection.get(target, headers)


def _deliveries(choice: Random) -> Iterator[tuple[str, Headers]]:
    """Yield what a client delivers, of `MIX`; some events again in Aurora's first retry interval."""
    projects, leads = _names(choice, 1000), _names(choice, 1000)
    due = deque[tuple[float, str]]()
    while True:
        if due and due[0][0] < monotonic():
            yield due.popleft()[1], HEADER
        else:
            ((_, template, headers),) = choice.choices(MIX, [weight for weight, *_ in MIX])
            target = template.format(
                project=choice.choice(projects),
                lead=choice.choice(leads),
                state=choice.choice(STATES),
                new=_name(choice),
                long="x" * 2 * SMALL_TOPIC_BYTES,
            )
            if template == RETRIED and choice.random() < RETRIED_SHARE:
                due.append((monotonic() + RETRY_SECONDS, target))
            yield target, headers


def _names(choice: Random, count: int) -> list[str]:
    return [_name(choice) for _ in range(count)]


def _name(choice: Random) -> str:
    return str(UUID(int=choice.getrandbits(128)))
