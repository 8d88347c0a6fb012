"""Starts at which Kafka cannot be used: it is away, silent, another one, or does not let us in.

Each time the daemon must listen at once, take webhooks into the spool and say why in log, readiness and metric. Then
the cause is fixed, the daemon is started again, and what was acknowledged must arrive. Spans are those at scale 1.
"""

from statistics import median
from typing import cast

from confluent_kafka.admin import AclOperation

from tests.faults.process_stats import timed_start
from tests.faults.scenario import Scenario
from tests.faults.stage import SETTLE_SECONDS, Stage
from tests.support.broker import KafkaCluster
from tests.support.daemon import Daemon
from tests.support.secure import USER, SecureCluster
from tests.support.topics import topic_names

LISTENING_SECONDS = 1.0
STARTS = 5
"""The middle one counts, without what it waited for a processor: that is the machine's, not the daemon's."""


def kafka_down(stage: Stage) -> None:
    """The daemon starts while no broker is up, and takes webhooks for a minute."""
    for node in stage.cluster.nodes:
        node.kill()
    _play(stage, "unreachable", "no connection")


def kafka_frozen(stage: Stage) -> None:
    """The daemon starts while all brokers are frozen: they take connections and say nothing."""
    for node in stage.cluster.nodes:
        node.pause()
    _play(stage, "unreachable", "no connection")


def no_kafka(stage: Stage) -> None:
    """What listens at the bootstrap address is no Kafka but a web server."""
    folder = stage.folder / "web-server"
    folder.mkdir()
    with Daemon(folder) as server:
        stage.daemon.change(kafka__bootstrap_servers=server.url.removeprefix("http://"))
        _play(stage, "closed_by_broker", "closes the connection")


def another_cluster(stage: Stage) -> None:
    """The bootstrap address is that of another Kafka, which has none of the topics, and may not be given any."""
    with KafkaCluster() as other:
        stage.daemon.change(kafka__bootstrap_servers=other.bootstrap, kafka__create_topics=False)
        _play(stage, "topic_missing", "they do not exist")
        found = topic_names(other.plain, stage.prefix)
        stage.expect(not found, f"topics were made in the wrong cluster: {found}")


def wrong_password(stage: Stage) -> None:
    """The daemon has a wrong password for Kafka."""
    password = stage.folder / "wrong-password"
    password.write_text("wrong")
    stage.daemon.change(**_secure(stage) | {"kafka__sasl_password_file": password})
    _play(stage, "authentication_failed", "refuses our credentials")


def expired_certificate(stage: Stage) -> None:
    """The brokers' certificate is out of date."""
    cluster = cast("SecureCluster", stage.cluster)
    stage.daemon.change(**_secure(stage) | {"kafka__bootstrap_servers": cluster.at("EXPIRED")})
    _play(stage, "certificate_expired", "has expired")


def _measure_starts(stage: Stage) -> None:
    """Expect the daemon to listen within a second of its start, and note in how many."""
    seconds = []
    for _ in range(STARTS):
        seconds.append(timed_start(stage.daemon))
        stage.daemon.terminate()
    whole, own = (median(column) for column in zip(*seconds, strict=True))
    stage.measured["listening after, s"] = round(whole, 2)
    stage.measured["without the wait for a processor, s"] = round(own, 2)
    stage.expect(own < LISTENING_SECONDS, f"half of {STARTS} starts took more than {LISTENING_SECONDS:g} s to listen")


def _play(stage: Stage, reason: str, words: str) -> None:
    """Start the daemon as it is set, expect it to be barred from Kafka for this reason; then fix that."""
    _measure_starts(stage)
    right = _secure(stage) if isinstance(stage.cluster, SecureCluster) else {}
    with stage.load(connected=False):
        _expect_barred(stage, reason, words)
        stage.wait(60)
        refused = stage.daemon.metrics().value("aurora_bridge_refusals_total")
        stage.expect(not refused, f"{refused:g} webhooks were refused meanwhile")
        stage.daemon.terminate()
        stage.cluster.restore()
        stage.daemon.change(kafka__bootstrap_servers=stage.cluster.bootstrap, kafka__create_topics=None, **right)
        stage.daemon.start()
        stage.daemon.wait_until("nothing is complained of", _is_well, within=SETTLE_SECONDS)
        stage.wait(20)


def _is_well(daemon: Daemon) -> bool:
    return not daemon.ready()[1]["reasons"]


def _expect_barred(stage: Stage, reason: str, words: str) -> None:
    """Expect a spooled event, and the reason in metric, readiness and log."""
    daemon = stage.daemon
    answer = stage.probe()
    stage.expect(answer.outcome == "spooled", f"barred from Kafka, it answered {answer}")
    daemon.wait_until(
        f"the metric says {reason}",
        lambda daemon: daemon.metrics().value("aurora_bridge_kafka_problem", reason=reason),
    )
    status, document = daemon.ready()
    stage.expect(status == 200, f"readiness is {status} though the spool takes what comes")
    stage.expect(any(words in line for line in document["reasons"]), f"readiness does not say why: {document}")
    said = [line for line in daemon.log_lines() if line.get("reason") == reason and words in line["message"]]
    stage.expect(said, f"the log does not say {reason}")


def _secure(stage: Stage) -> dict[str, object]:
    """Return the right settings for a secure cluster, and let its user in."""
    cluster = cast("SecureCluster", stage.cluster)
    cluster.allow(stage.prefix, AclOperation.CREATE, AclOperation.READ, AclOperation.WRITE)
    password = stage.folder / "password"
    password.write_text(cluster.password)
    return {
        "kafka__security_protocol": "SASL_SSL",
        "kafka__sasl_mechanism": "SCRAM-SHA-512",
        "kafka__sasl_username": USER,
        "kafka__sasl_password_file": password,
        "kafka__tls_ca_file": cluster.authority.file,
    }


SCENARIOS = [
    Scenario("10-start-kafka-down", kafka_down, nodes=1),
    Scenario("10-start-kafka-frozen", kafka_frozen, nodes=1),
    Scenario("10-start-no-kafka", no_kafka, nodes=1),
    Scenario("10-start-another-cluster", another_cluster, nodes=1),
    Scenario("10-start-wrong-password", wrong_password, nodes=1, cluster=SecureCluster),
    Scenario("10-start-expired-certificate", expired_certificate, nodes=1, cluster=SecureCluster),
]
