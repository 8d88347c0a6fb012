"""Alerts that need a Prometheus of their own, and their pages: replicas gone or not ready, silence, the public URL.

And scaling down.
"""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import time

import pytest

from tests.ops.rules.alone import GOOD
from tests.ops.rules.host import run, try_page
from tests.ops.rules.pages import RUNBOOKS, blocks, commands
from tests.ops.rules.scene import State
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.certificates import Authority
from tests.support.daemon import Daemon
from tests.support.daemon import command as run_command
from tests.support.ports import HOST, free_ports
from tests.support.prometheus import JOB, Prometheus

pytestmark = pytest.mark.ops

WEEK_SECONDS = 7 * 86_400
USUAL = {
    "aurora_bridge:received:increase2h": "",
    "aurora_bridge:event_accepted:increase6h": 'event="lead_created",',
    "aurora_bridge:event_accepted:increase1d": 'event="lead_created",',
}
"""The records that silence is told by, with the label of the event that is usual."""


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
        try_page("AuroraBridgeRestarts", state(crashing), tmp_path)
        crashing.kill()
        server.wait_until("a missing one is told", lambda server: "AuroraBridgeReplicaMissing" in names(server))
        assert "AuroraBridgeDown" not in names(server)
        try_page("AuroraBridgeReplicaMissing", state(crashing), tmp_path)
        other.kill()
        server.wait_until("it is told that none is left", lambda server: "AuroraBridgeDown" in names(server))
        try_page("AuroraBridgeDown", state(crashing), tmp_path)


def test_that_no_replica_is_ready_is_told_although_none_counts_a_refusal_and_its_page_helps(
    prometheus: str, sooner: Path, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    settings: dict[str, object] = {"kafka__bootstrap_servers": f"{HOST}:{port}", "spool__enabled": False}
    with ExitStack() as stack:
        server = stack.enter_context(Prometheus(prometheus, tmp_path / "prometheus", rules=[sooner]))
        (tmp_path / "ready").mkdir()
        ready = stack.enter_context(Daemon(tmp_path / "ready"))
        server.scrape(ready.admin_url)
        server.wait_until("one is ready", lambda server: server.query("aurora_bridge_ready == 1"))
        server.wait_until("its start is over", lambda server: "AuroraBridgeNotReady" not in names(server))
        unready = stack.enter_context(Daemon(tmp_path, **settings))
        server.scrape(ready.admin_url, unready.admin_url)
        server.wait_until("one is not ready", lambda server: len(server.query("aurora_bridge_ready == 0")) == 1)
        server.wait_until_evaluated()
        assert "AuroraBridgeNotReady" not in names(server)
        ready.terminate()
        server.wait_until("it is told that none is", lambda server: "AuroraBridgeNotReady" in names(server))
        assert names(server).isdisjoint({"AuroraBridgeDown", "AuroraBridgeBudgetBurn"})
        try_page("AuroraBridgeNotReady", State(unready, settings | {"state_dir": unready.state}), tmp_path)


def test_that_the_public_url_fails_or_its_certificate_ends_is_told_and_their_pages_help(
    prometheus: str, program: Callable[[str], str], sooner: Path, tmp_path: Path
) -> None:
    pair = Authority(tmp_path).sign("ingress", "hooks", days=9)
    settings: dict[str, object] = {"ingress__tls_certificate_file": pair, "ingress__tls_key_file": pair}
    with ExitStack() as stack:
        daemon = stack.enter_context(Daemon(tmp_path, **settings))
        exporter = stack.enter_context(blackbox(program("prometheus-blackbox-exporter"), tmp_path))
        more = probe(exporter, f"{daemon.url}/-/healthy")
        server = stack.enter_context(Prometheus(prometheus, tmp_path / "prometheus", rules=[sooner], more=[more]))
        server.scrape(daemon.admin_url)
        server.wait_until("it is told", lambda server: "AuroraBridgeCertificateExpires" in names(server))
        server.wait_until_evaluated()
        assert "AuroraBridgeUnreachable" not in names(server)
        taken = State(daemon, settings | {"state_dir": daemon.state})
        try_page("AuroraBridgeCertificateExpires", taken, tmp_path)
        try_page("AuroraBridgeUnreachable", taken, tmp_path)
        daemon.kill()
        server.wait_until("nothing answers", lambda server: "AuroraBridgeUnreachable" in names(server))
        server.wait_until("nor does a replica", lambda server: "AuroraBridgeDown" in names(server))


@contextmanager
def blackbox(program: str, folder: Path) -> Iterator[str]:
    """Run a blackbox exporter that believes every certificate; its address."""
    (port,) = free_ports(1)
    module = {"prober": "http", "http": {"preferred_ip_protocol": "ip4", "tls_config": {"insecure_skip_verify": True}}}
    (folder / "blackbox.yml").write_text(json.dumps({"modules": {"http_2xx": module}}))
    address = f"{HOST}:{port}"
    process = subprocess.Popen(
        [program, f"--config.file={folder / 'blackbox.yml'}", f"--web.listen-address={address}"],
        stderr=subprocess.DEVNULL,
    )
    try:
        yield address
    finally:
        process.kill()
        process.wait()


def probe(exporter: str, url: str) -> dict[str, object]:
    """Return what the operator makes of the chart's Probe: the URL is the instance, and the exporter is scraped."""
    return {
        "job_name": "probe",
        "metrics_path": "/probe",
        "params": {"module": ["http_2xx"], "target": [url]},
        "static_configs": [{"targets": [exporter], "labels": {"probe": "aurora-bridge"}}],
        "relabel_configs": [
            {"target_label": "instance", "replacement": url},
            {"target_label": "job", "replacement": JOB},
        ],
    }


def state(daemon: Daemon) -> State:
    return State(daemon, {"state_dir": daemon.state})


def names(server: Prometheus) -> set[str]:
    return {labels["alertname"] for labels in server.firing()}


def test_silence_is_told_and_ends_and_its_pages_show_what_came_last(
    prometheus: str, promtool: str, sooner: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "prometheus"
    remember_three_weeks(promtool, folder)
    with Daemon(tmp_path) as daemon, Prometheus(prometheus, folder, rules=[sooner]) as server:
        daemon.get("/lead_created?lead_id=1")
        came = time()
        server.scrape(daemon.admin_url)
        server.wait_until("silence is told", lambda server: "AuroraBridgeSilent" in names(server))
        ready, last, _ = try_page("AuroraBridgeSilent", state(daemon), tmp_path)
        assert json.loads(ready)["ready"] is True
        assert dates("AuroraBridgeSilent", last) == {"lead_created": pytest.approx(came, abs=2)}
        assert daemon.get("/-/healthy").status == 200
        daemon.get("/lead_changed?lead_id=1")
        server.wait_until("it is over", lambda server: "AuroraBridgeSilent" not in names(server))
        (told,) = [labels for labels in server.firing() if labels["alertname"] == "AuroraBridgeEventSilent"]
        assert told["event"] == "lead_created"
        last, templates, _ = try_page("AuroraBridgeEventSilent", state(daemon), tmp_path)
        assert dates("AuroraBridgeEventSilent", last).keys() == {"lead_created", "lead_changed"}
        assert "/lead_created?lead_id=<LEAD_ID>" in templates
        daemon.get("/lead_created?lead_id=2")
        server.wait_until("the event comes", lambda server: "AuroraBridgeEventSilent" not in names(server))


def test_a_header_that_is_removed_on_the_way_is_told_and_the_page_says_that_it_is_missing(
    prometheus: str, promtool: str, sooner: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "prometheus"
    remember_three_weeks(promtool, folder)
    tokens = tmp_path / "tokens"
    tokens.write_text("valid\n")
    settings: dict[str, object] = {"auth__tokens_file": tokens}
    with Daemon(tmp_path, **settings) as daemon, Prometheus(prometheus, folder, rules=[sooner]) as server:
        daemon.get("/lead_created?lead_id=1", GOOD)
        server.scrape(daemon.admin_url)
        server.wait_until("the event is missed", lambda server: "AuroraBridgeEventSilent" in names(server))
        assert "AuroraBridgeUnauthorized" not in names(server)
        for _ in range(5):
            assert daemon.get("/lead_created?lead_id=1").status == 401
        server.wait_until("it is told", lambda server: "AuroraBridgeUnauthorized" in names(server))
        (told,) = [labels for labels in server.firing() if labels["alertname"] == "AuroraBridgeUnauthorized"]
        assert (told["event"], told["credential"]) == ("lead_created", "missing")
        said, _, _ = try_page("AuroraBridgeUnauthorized", State(daemon, settings), tmp_path)
        assert {json.loads(line)["credential"] for line in said.splitlines()} == {"missing"}
        daemon.get("/lead_created?lead_id=2", GOOD)
        server.wait_until("it is over", lambda server: "AuroraBridgeUnauthorized" not in names(server))


def remember_three_weeks(promtool: str, folder: Path) -> None:
    """Write into the data of a Prometheus that 40 webhooks were usual at this time of each of the last three weeks.

    It keeps them: how old a block may be is counted from the youngest one, and that is of a week ago.
    """
    folder.mkdir()
    now = int(time())
    lines = [
        f'{name}{{{label}job="{JOB}"}} 40 {now - weeks * WEEK_SECONDS + minutes * 60}'
        for name, label in USUAL.items()
        for weeks in (3, 2, 1)
        for minutes in range(-10, 10)
    ]
    history = folder / "history.txt"
    history.write_text("\n".join([*lines, "# EOF", ""]))
    subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", history, folder / "data"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def dates(page: str, said: str) -> dict[str, float]:
    """Return when each event last came, by the command that a page names for it."""
    (formula,) = re.findall(r"`(date -d .*)`", (RUNBOOKS / f"{page}.md").read_text())
    return {
        event: float(subprocess.check_output(["bash", "-c", f"{formula.replace('SECONDS', seconds)} +%s"]))
        for event, seconds in re.findall(r'event="(\w+)"} (\S+)', said)
    }


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
            run(command, state, tmp_path)
        daemon.terminate()
    assert run_command("topics", "--apply", cwd=tmp_path, **state.settings).returncode == 0
    for command in commands(after):
        run(command, state, tmp_path)
