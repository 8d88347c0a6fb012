"""The Prometheus that tests start: it scrapes the real daemon and evaluates rules."""

import json
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.prometheus import Prometheus, PrometheusError

RULES = {
    "groups": [
        {"name": "test", "rules": [{"alert": "Known", "expr": "aurora_bridge_build_info == 1", "labels": {"a": "b"}}]}
    ]
}


@pytest.mark.ops
def test_it_scrapes_the_daemon_evaluates_rules_and_notices_when_the_daemon_moves(
    prometheus: str, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(json.dumps(RULES))
    with Daemon(tmp_path) as daemon, Prometheus(prometheus, tmp_path / "prometheus", rules=[rules]) as server:
        server.scrape(daemon.admin_url)
        server.wait_until_scraped(daemon.admin_url)
        (sample,) = server.query("aurora_bridge_budget_seconds")
        assert (sample.value, sample.labels["job"]) == (10, "aurora-bridge")
        (alert,) = server.wait_until("the alert fires", lambda prometheus: prometheus.firing())
        assert {"alertname": "Known", "a": "b"}.items() <= alert.items()
        with pytest.raises(PrometheusError, match="parse error"):
            server.query("aurora_bridge_budget_seconds +")
        daemon.terminate()
        daemon.start()
        server.scrape(daemon.admin_url)
        server.wait_until_scraped(daemon.admin_url)
