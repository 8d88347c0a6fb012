"""What `subscriptions apply` subscribes to arrives: template and credentials are the daemon's own."""

import json
from pathlib import Path

import pytest

from aurora_bridge.simulator.in_thread import Simulator
from aurora_bridge.webhook.catalogue import CATALOGUE
from tests.e2e.stores import spooled
from tests.support.daemon import Daemon, command

pytest_plugins = ["aurora_bridge.simulator.pytest_plugin"]

CORE = [name for name, event_type in CATALOGUE.items() if event_type.core]


@pytest.mark.parametrize(("secrets", "setting"), [("old\nnew\n", "tokens_file"), ("a:b c!\na@b.c:d:e\n", "basic_file")])
def test_each_event_that_was_subscribed_to_is_published(
    aurora_simulator: Simulator, tmp_path: Path, secrets: str, setting: str
) -> None:
    (tmp_path / "secrets").write_text(secrets)
    (tmp_path / "api-token").write_text(aurora_simulator.token)
    (tmp_path / "subscriptions.toml").write_text(f"[[subscriptions]]\nevents = {json.dumps(CORE)}\n")
    auth = {f"auth__{setting}": tmp_path / "secrets"}
    with Daemon(tmp_path, **auth) as daemon:
        applied = command(
            *("subscriptions", "apply", "--yes", "--file", "subscriptions.toml"),
            cwd=tmp_path,
            ingress__public_url=daemon.url,
            aurora__api_url=aurora_simulator.url,
            aurora__api_token_file=tmp_path / "api-token",
            aurora__tenant_id="simulated",
            **auth,
        )
        assert applied.returncode == 0, applied
        for event in CORE:
            aurora_simulator.trigger(event)
        assert {stored.topic for stored in spooled(daemon.state)} == set(CORE)
    assert [[one["status"] for one in delivery["attempts"]] for delivery in aurora_simulator.ledger()] == [[200]] * 19
