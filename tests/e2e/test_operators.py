"""What operators see on the admin port: probes, and metrics that agree with what was answered."""

from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from aurora_bridge.webhook.catalogue import EVENTS
from tests.support import http
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import Daemon, Metrics, command
from tests.support.topics import read_all


def counted(before: Metrics, after: Metrics, family: str) -> Mapping[frozenset[tuple[str, str]], float]:
    """Return by how much the series of a counter grew, those that did."""
    return {
        labels: after[name, labels] - value
        for (name, labels), value in before.items()
        if name == family and after[name, labels] != value
    }


def test_the_probes_tell_a_living_daemon_from_one_that_can_accept(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        alive = http.get(daemon.admin_url, "/livez")
        status, document = daemon.ready()
    assert alive.status == 200
    assert (status, document["ready"]) == (200, True)


def test_metrics_come_in_the_form_that_is_asked_for(tmp_path: Path) -> None:
    accept = [("Accept", "application/openmetrics-text; version=1.0.0")]
    with Daemon(tmp_path) as daemon:
        plain, openmetrics = (http.get(daemon.admin_url, "/metrics", headers) for headers in ([], accept))
    assert plain.headers["content-type"].startswith("text/plain")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    parsed = text_string_to_metric_families(openmetrics.body.decode())  # type: ignore[no-untyped-call]
    families = {family.name: family for family in parsed}
    assert families["aurora_bridge_deliveries"].type == "counter"
    assert openmetrics.body.endswith(b"# EOF\n")


def test_every_answer_is_counted_once_by_what_became_of_it(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("valid\n")
    good = [("X-Aurora-Webhook-Token", "valid")]
    with Daemon(tmp_path, auth__tokens_file=tokens) as daemon:
        before = daemon.metrics()
        daemon.get(f"/project_created?project_id={uuid4()}&source=app", good)
        daemon.get(f"/project_created?project_id={uuid4()}&source=telepathy", good)
        daemon.get("/roof_painted", good)
        daemon.get("/lead_created?lead_id=%ff", good)
        daemon.get("/lead_created?lead_id=1")
        daemon.get("/no/route", good)
        daemon.get("/lead_created?lead_id=1", good, method="PUT")
        with http.Connection(daemon.url) as connection:
            connection.send(b"no http\r\n\r\n")
            connection.receive()
        after = daemon.metrics()
    assert counted(before, after, "aurora_bridge_deliveries_total") == {
        frozenset({("event", event), ("outcome", outcome)}): count
        for event, outcome, count in (
            ("project_created", "spooled", 2),
            ("unrecognized", "spooled", 1),
            ("dead_letter", "dead_lettered", 1),
            ("lead_created", "refused", 1),  # with no credential, on the path of an event
            ("none", "refused", 2),  # what is not HTTP is no delivery
        )
    }
    assert counted(before, after, "aurora_bridge_refusals_total") == {
        frozenset({("reason", reason)}): 1
        for reason in ("unauthorized", "no_route", "method_not_allowed", "malformed_http")
    }
    assert counted(before, after, "aurora_bridge_dead_letters_total") == {frozenset({("reason", "not_utf8")}): 1}
    assert counted(before, after, "aurora_bridge_unknown_values_total") == {
        frozenset({("event", "project_created"), ("attribute", "source")}): 1
    }
    assert after.value("aurora_bridge_in_flight_deliveries") == 0
    assert after.value("aurora_bridge_response_seconds_count") == 7
    assert after.value("aurora_bridge_budget_seconds") == 10


def test_before_its_end_the_daemon_is_not_ready_but_still_accepts_so_that_load_balancers_can_turn_away(
    tmp_path: Path,
) -> None:
    with Daemon(tmp_path, ingress__shutdown_pause_seconds=600) as daemon:
        daemon.process.terminate()
        daemon.wait_until("it is not ready", lambda daemon: daemon.ready()[0] == 503)
        assert daemon.get(f"/project_created?project_id={uuid4()}&source=app").status == 200
        assert http.get(daemon.admin_url, "/livez").status == 200


def test_topics_that_are_not_there_are_told_until_somebody_makes_them(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    settings = {
        "kafka__bootstrap_servers": kafka.bootstrap,
        "kafka__topic_prefix": prefix,
        "kafka__create_topics": False,
    }
    with Daemon(tmp_path, **settings) as daemon:
        missing = {"reason": "topic_missing"}
        daemon.wait_until("it is told", lambda d: d.metrics().value("aurora_bridge_kafka_problem", **missing))
        status, document = daemon.ready()
        assert status == 200
        assert any("they do not exist; create them" in reason for reason in document["reasons"])
        page = http.get(daemon.admin_url, "/").body.decode()
        assert "are not there" in page
        assert "aurora-bridge topics --apply" in page
        assert daemon.get(f"/project_created?project_id={uuid4()}&source=app").json["outcome"] == "spooled"
        assert command("topics", "--apply", cwd=tmp_path, **settings).returncode == 0
        daemon.wait_until_connected()
        daemon.wait_until("it is over", lambda d: not d.metrics().value("aurora_bridge_kafka_problem", **missing))
        assert len(read_all(kafka.bootstrap, [f"{prefix}project_created"])) == 1


def test_topics_that_kafka_cannot_create_are_told_with_the_remedy_until_somebody_creates_them(
    kafka1: KafkaCluster, prefix: str, tmp_path: Path
) -> None:
    settings = {"kafka__bootstrap_servers": kafka1.bootstrap, "kafka__topic_prefix": prefix}
    with Daemon(tmp_path, kafka__replication_factor=3, **settings) as daemon:
        why = {"reason": "too_few_brokers"}
        daemon.wait_until("it is told", lambda d: d.metrics().value("aurora_bridge_kafka_problem", **why))
        assert any("lower AURORA_BRIDGE_KAFKA__REPLICATION_FACTOR" in reason for reason in daemon.ready()[1]["reasons"])
        assert f"{len(EVENTS)} topics of {len(EVENTS)} are not there" in http.get(daemon.admin_url, "/").body.decode()
        assert daemon.get(f"/project_created?project_id={uuid4()}&source=app").json["outcome"] == "spooled"
        assert command("topics", "--apply", cwd=tmp_path, **settings).returncode == 0
        daemon.wait_until_connected()
        daemon.wait_until("it is over", lambda d: not d.metrics().value("aurora_bridge_kafka_problem", **why))
        told = [line["level"] for line in daemon.log_lines() if line.get("reason") == "too_few_brokers"]
    assert told == ["ERROR", "INFO"]
    assert "topic_missing" not in {line.get("reason") for line in daemon.log_lines()}


def test_topics_that_are_being_made_are_no_problem(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    with Daemon(tmp_path, kafka__bootstrap_servers=kafka.bootstrap, kafka__topic_prefix=prefix) as daemon:
        daemon.wait_until_connected()
        assert "topic_missing" not in {line.get("reason") for line in daemon.log_lines()}
