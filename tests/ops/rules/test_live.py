"""The rules on a real Prometheus that scrapes real daemons: none fails, and in each state its alerts fire.

The rules are the product's, but that nothing waits for its `for`, and that two of them do not wait for half an hour and
an hour. The runbooks are tried here as well: the commands of each page run as they stand, on the daemon in that state,
and show what the page says they do. Two programs that belong to a host stand in for it: `journalctl` prints the
daemon's log, and `systemctl` says nothing.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.ops.rules.pages import ADMIN, STATE, Command, blocks, commands
from tests.ops.rules.scene import GOOD, Scene, State
from tests.ops.rules.test_rules import ALERTS, EVERY, RULES
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import PROGRAM, Daemon, environment
from tests.support.daemon import command as run_command
from tests.support.missing import unavailable
from tests.support.ports import HOST, free_ports
from tests.support.prometheus import Prometheus
from tests.support.secure import SecureCluster

pytestmark = pytest.mark.ops

SECONDS: Final = 60
SOONER: Final = {
    "aurora_bridge_spool_oldest_seconds > 1800": "aurora_bridge_spool_oldest_seconds > 1",
    "offset 1h": "offset 1s",
}

FIRES: Final = {
    "AuroraBridgeBudgetBurnFast": "full",
    "AuroraBridgeBudgetBurnSlow": "full",
    "AuroraBridgeRefusing": "full",
    "AuroraBridgeUnauthorized": "refusing",
    "AuroraBridgeStrayRequests": "refusing",
    "AuroraBridgeDeadLetters": "refusing",
    "AuroraBridgeKafkaDisconnected": "away",
    "AuroraBridgeKafkaProblem": "away",
    "AuroraBridgeSpoolOld": "away",
    "AuroraBridgeSpoolFilling": "full",
    "AuroraBridgeSpoolFullSoon": "full",
    "AuroraBridgeSpoolFull": "full",
    "AuroraBridgeDrainStalled": "stalled",
    "AuroraBridgeSetAside": "aside",
    "AuroraBridgeIndexFailed": "broken",
    "AuroraBridgeIndexForgets": "away",
    "AuroraBridgeFollowerLag": "blind",
    "AuroraBridgeSecretFile": "broken",
    "AuroraBridgeStateDisk": "disk",
}
"""By alert, the daemon for which it fires. Those of crashes have a test of their own. Those that need weeks, a fault of
the daemon or another version are left to promtool, and the commands of their pages are tried on a healthy daemon."""


class Look(NamedTuple):
    """Prometheus, the daemons, and what fired while there was the healthy one alone."""

    server: Prometheus
    scene: Scene
    in_health: list[dict[str, str]]


@pytest.fixture(scope="module")
def sooner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules without their patience."""
    text = RULES.read_text()
    for patient, hasty in SOONER.items():
        assert patient in text
        text = text.replace(patient, hasty)
    path = tmp_path_factory.mktemp("rules") / "sooner.yaml"
    path.write_text(re.sub(r"\n +(for|interval): .*", "", text))
    return path


@pytest.fixture(scope="module")
def look(
    kafka: KafkaCluster | NamedKafka,
    kafka_secure: SecureCluster,
    prometheus: str,
    sooner: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Look]:
    """Every state at once, after a while with one healthy daemon."""
    folder = tmp_path_factory.mktemp("live")
    with ExitStack() as stack:
        server = stack.enter_context(Prometheus(prometheus, folder / "prometheus", rules=[sooner]))
        scene = Scene(folder, kafka, kafka_secure, stack)
        healthy = scene.healthy()
        server.scrape(healthy.admin_url)
        server.wait_until_scraped(healthy.admin_url)
        for number in range(300):
            healthy.get(f"/lead_created?lead_id={number}", GOOD)
        server.wait_until("the load is in the records", answers_are_recorded)
        in_health = server.firing()
        scene.prepare()
        server.scrape(*scene.urls)
        server.wait_until_scraped(*scene.urls)
        scene.happen()
        server.scrape(*scene.urls)
        server.wait_until_scraped(*scene.urls)
        yield Look(server, scene, in_health)


def answers_are_recorded(server: Prometheus) -> bool:
    return any(sample.value > 200 for sample in server.query("aurora_bridge:answers:increase5m"))


def state_of(look: Look, name: str) -> State:
    if name in look.scene.missing:
        unavailable(look.scene.missing[name])
    return look.scene.states[name]


def test_nothing_fires_for_a_healthy_daemon_under_load(look: Look) -> None:
    assert look.in_health == []


def test_no_rule_fails_in_any_state(look: Look) -> None:
    groups = look.server.get("/api/v1/rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == len(EVERY)
    assert [rule for rule in rules if rule["health"] != "ok"] == []


def test_every_record_has_values_but_those_that_look_weeks_back(look: Look) -> None:
    records = [rule["record"] for rule in EVERY if "record" in rule]
    assert [name for name in records if not look.server.query(name)] == [name for name in records if "usual" in name]


@pytest.mark.parametrize("alert", FIRES)
def test_an_alert_fires_in_its_state_and_its_words_have_their_values(look: Look, alert: str) -> None:
    fire(look, alert)
    found = [one for one in look.server.get("/api/v1/alerts")["alerts"] if one["labels"]["alertname"] == alert]
    for text in (text for one in found for text in one["annotations"].values()):
        assert not re.search(r"<no value>|<error|%!|\{\{|: $|^:", text), text


@pytest.mark.parametrize("alert", ALERTS)
def test_the_commands_of_a_page_run_and_show_what_it_says(look: Look, alert: str, tmp_path: Path) -> None:
    if alert in FIRES:
        fire(look, alert)
    state = state_of(look, FIRES.get(alert, "healthy"))
    for command in commands(blocks(alert)[0]):
        run(command, state, tmp_path, shows=alert in FIRES)


def fire(look: Look, alert: str) -> None:
    """Wait until an alert fires for the daemon that is in its state."""
    name = urlsplit(state_of(look, FIRES[alert]).daemon.admin_url).netloc

    def fires(server: Prometheus) -> bool:
        return any(labels["alertname"] == alert and labels.get("instance", name) == name for labels in server.firing())

    look.server.wait_until(f"{alert} fires", fires, SECONDS)


def run(command: Command, state: State, folder: Path, *, shows: bool) -> None:
    """Run a command of a page as its host would, and compare with what the page says.

    Unless the daemon is in the page's state (`shows`), there may be nothing to be found.
    """
    daemon = state.daemon
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name, script in {"journalctl": f"cat {daemon.log}", "systemctl": "true"}.items():
        (programs / name).write_text(f"#!/bin/sh\nexec {script}\n")
        (programs / name).chmod(0o755)
    line = command.line.replace(ADMIN, daemon.admin_url.rstrip("/")).replace(STATE, str(daemon.state))
    path = os.pathsep.join([str(programs), str(PROGRAM.parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", line],
        check=False,
        cwd=folder,
        env=environment(**state.settings) | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    said = done.stdout + done.stderr
    nothing_found = not shows and "grep" in line and done.returncode == 1
    assert nothing_found or done.returncode in command.exit_codes, (line, said)
    assert not shows or [word for word in command.shows if word not in said] == [], (line, said)


def test_replicas_that_crash_are_missing_and_gone_are_told_and_their_pages_help(
    prometheus: str, sooner: Path, tmp_path: Path
) -> None:
    ports = free_ports(2)
    with ExitStack() as stack:
        server = stack.enter_context(Prometheus(prometheus, tmp_path / "prometheus", rules=[sooner]))
        daemons = []
        for port in ports:
            (tmp_path / str(port)).mkdir()
            daemons.append(stack.enter_context(Daemon(tmp_path / str(port), admin__port=port)))
        urls = [daemon.admin_url for daemon in daemons]
        server.scrape(*urls)
        server.wait_until_scraped(*urls)
        crashing, other = daemons
        for _ in range(3):
            crashing.kill()
            server.wait_until("it is away", lambda server: len(server.query("up == 1")) == 1)
            crashing.start()
            server.wait_until_scraped(*urls)
        server.wait_until("the crashes are told", lambda server: "AuroraBridgeRestarts" in names(server))
        assert "AuroraBridgeDown" not in names(server)
        try_page("AuroraBridgeRestarts", crashing, tmp_path)
        crashing.kill()
        server.wait_until("a missing one is told", lambda server: "AuroraBridgeReplicaMissing" in names(server))
        assert "AuroraBridgeDown" not in names(server)
        try_page("AuroraBridgeReplicaMissing", crashing, tmp_path)
        other.kill()
        server.wait_until("it is told that none is left", lambda server: "AuroraBridgeDown" in names(server))
        try_page("AuroraBridgeDown", crashing, tmp_path)


def try_page(alert: str, daemon: Daemon, folder: Path) -> None:
    """Run the commands of a page on a daemon in its state."""
    for command in commands(blocks(alert)[0]):
        run(command, State(daemon, {"state_dir": daemon.state}), folder, shows=True)


def names(server: Prometheus) -> set[str]:
    return {labels["alertname"] for labels in server.firing()}


def test_the_commands_of_scaling_down_empty_a_volume(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    settings: dict[str, object] = {"kafka__topic_prefix": prefix, "state_dir": tmp_path / "state"}
    before, after, *_ = blocks("scale-down")
    with Daemon(tmp_path, **settings, kafka__bootstrap_servers=f"{HOST}:{port}") as daemon:
        for number in range(3):
            assert daemon.get(f"/lead_created?lead_id={number}").json["outcome"] == "spooled"
        state = State(daemon, settings | {"kafka__bootstrap_servers": kafka.bootstrap})
        for command in commands(before):
            run(command, state, tmp_path, shows=True)
        daemon.terminate()
    assert run_command("topics", "--apply", cwd=tmp_path, **state.settings).returncode == 0
    for command in commands(after):
        run(command, state, tmp_path, shows=True)
