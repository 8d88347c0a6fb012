"""Fixtures that every test can ask for, above all a real Apache Kafka.

`kafka` is a broker to talk to, `kafka1` the same one as a process that the test may kill or freeze, `kafka3` a cluster
of three that it may treat likewise, `kafka_secure` one with TLS, SASL and access control lists, `kafka_creating` one
that creates topics by itself. Each starts when the first test asks for it; the first serves the whole run, the others
one module, since an idle node takes 2 % of a core. Whatever a test did to a node is undone after it, and the topics
under its `prefix` are deleted. `support/broker.py` has the rest, `support/secure.py` that of security.

TEST_KAFKA_SERIES chooses its series, 4.3 or 3.9 (`make test-brokers` runs both). A broker named in
TEST_KAFKA_BOOTSTRAP takes the place of `kafka`. Where Kafka cannot run, the tests that need
it are skipped, and the summary says so loudly; with CI=true they fail instead (`support/missing.py`).
"""

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeVar

import hypothesis
import pytest

from tests.support import certificates, jars
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.missing import SKIPPED, unavailable
from tests.support.secure import SecureCluster
from tests.support.topics import delete_topics, topic_names, unique_prefix

NAMED: Final = os.environ.get("TEST_KAFKA_BOOTSTRAP")

NO_OPENSSL: Final = f"no certificates: {certificates.INSTALL}"
CANNOT_RUN: Final = f"no Apache Kafka: {jars.INSTALL}, or name a broker in TEST_KAFKA_BOOTSTRAP"
NOT_OURS: Final = "the test stops brokers, which are not ours to stop: unset TEST_KAFKA_BOOTSTRAP"

MARKERS: Final = {
    "kafka": ["kafka"],
    "kafka1": ["kafka"],
    "kafka3": ["kafka", "kafka3"],
    "kafka_creating": ["kafka"],
    "kafka_secure": ["kafka"],
    "kafka_secure3": ["kafka", "kafka3"],
}
"""By fixture, what its tests are marked with."""

UNTRACED: Final = {"bench", "e2e", "faults", "models", "ops"}
"""Folders without part in the figure of coverage. Of what they try, the daemon is a process of its own, or others call
it directly as well; and Python 3.11 takes 60 % more CPU for what is traced."""

Cluster = TypeVar("Cluster", bound=KafkaCluster)

# A run finds the same as the one before, on a machine of any speed. `make search` looks for what no run has found yet.
hypothesis.settings.register_profile("search", deadline=None, print_blob=True, max_examples=1000)
hypothesis.settings.load_profile("ci")  # one of Hypothesis's own

# A shell that starts the run in the background has it ignore Ctrl-C, and with it every program that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def brokers() -> list[KafkaCluster | NamedKafka]:
    """Every Kafka that runs now."""
    return []


@pytest.fixture(scope="session")
def kafka(brokers: list[KafkaCluster | NamedKafka]) -> Iterator[KafkaCluster | NamedKafka]:
    """A Kafka to talk to: the one named in the environment, or one node of our own."""
    if NAMED:
        brokers.append(NamedKafka(NAMED))
        yield brokers[-1]
    else:
        yield from _started(KafkaCluster, 1, brokers)


@pytest.fixture(scope="session")
def kafka1(kafka: KafkaCluster | NamedKafka) -> KafkaCluster:
    """The node behind `kafka`, for tests that stop it."""
    if isinstance(kafka, NamedKafka):
        unavailable(NOT_OURS)
    return kafka


@pytest.fixture(scope="module")
def kafka3(brokers: list[KafkaCluster | NamedKafka]) -> Iterator[KafkaCluster]:
    """Three nodes, three copies, two in sync wanted; for tests that stop one or more of them."""
    if NAMED:
        unavailable(NOT_OURS)
    yield from _started(KafkaCluster, 3, brokers)


@pytest.fixture(scope="module")
def kafka_creating(brokers: list[KafkaCluster | NamedKafka]) -> Iterator[KafkaCluster]:
    """One node that creates the topics that clients ask for."""
    creating = partial(KafkaCluster, properties={"auto.create.topics.enable": "true"})
    yield from _started(creating, 1, brokers)


@pytest.fixture(scope="module")
def kafka_secure(brokers: list[KafkaCluster | NamedKafka]) -> Iterator[SecureCluster]:
    """One node with TLS, SASL and access control lists, that tests may stop."""
    if not certificates.possible():
        unavailable(NO_OPENSSL)
    yield from _started(SecureCluster, 1, brokers)


@pytest.fixture(scope="module")
def kafka_secure3(brokers: list[KafkaCluster | NamedKafka]) -> Iterator[SecureCluster]:
    """Three such nodes."""
    if not certificates.possible():
        unavailable(NO_OPENSSL)
    yield from _started(SecureCluster, 3, brokers)


@pytest.fixture
def prefix() -> str:
    """A prefix for the names of this test's topics."""
    return unique_prefix()


@pytest.fixture(autouse=True)
def _left_as_found(
    request: pytest.FixtureRequest, prefix: str, brokers: list[KafkaCluster | NamedKafka]
) -> Iterator[None]:
    """Nodes run again after a test that stopped them, and its topics are gone."""
    yield
    if MARKERS.keys().isdisjoint(request.fixturenames):
        return
    for broker in brokers:
        if isinstance(broker, KafkaCluster):
            broker.restore()
        delete_topics(broker.plain, *topic_names(broker.plain, prefix))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the brokers it asks for, directly or through other fixtures."""
    for item in items:
        for fixture in MARKERS.keys() & set(getattr(item, "fixturenames", ())):
            for marker in MARKERS[fixture]:
                item.add_marker(marker)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Leave the tests of some folders out of the figure of coverage: pytest-cov's `no_cover` does not, with xdist."""
    folders = item.path.relative_to(item.config.rootpath).parts
    if not item.config.getoption("cov_source") or UNTRACED.isdisjoint(folders):
        return (yield)
    tracers = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracers[0])
        threading.settrace(tracers[1])


def pytest_report_header() -> str:
    """Say on which Kafka the run is."""
    return f"Kafka: {NAMED or 'Apache Kafka ' + jars.CHOSEN}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which tests could not run for want of a broker or a program, and what to do about it."""
    skipped = (str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", []))
    missing = Counter(reason.partition(SKIPPED)[2] for reason in skipped if SKIPPED in reason)
    for reason, count in missing.items():
        terminalreporter.write_line(f"{count} TESTS WERE SKIPPED, {reason}", red=True, bold=True)


def _started(kind: Callable[[int], Cluster], nodes: int, brokers: list[KafkaCluster | NamedKafka]) -> Iterator[Cluster]:
    if not jars.possible():
        unavailable(CANNOT_RUN)
    with kind(nodes) as cluster:
        brokers.append(cluster)
        yield cluster
        brokers.remove(cluster)
