"""The rules on a real Prometheus that scrapes real daemons: none fails, and in each state its alerts fire.

The runbooks are tried here as well: the commands of each page run as they stand, on the daemon in that state, and show
what the page says they do. States that need a Prometheus of their own are in `test_others`.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import pytest
import yaml

from tests.ops.rules.alone import ALIKE, GOOD, LATE, LOST
from tests.ops.rules.faulty import FAILS
from tests.ops.rules.host import SECONDS, run, try_page
from tests.ops.rules.pages import blocks, commands
from tests.ops.rules.scene import LAG, WAITING, Scene, State
from tests.ops.rules.test_rules import ALERTS, EVERY, GROUPS, rule_id
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.missing import unavailable
from tests.support.prometheus import Prometheus
from tests.support.secure import SecureCluster

pytestmark = pytest.mark.ops

FIRES: Final = {
    "AuroraBridgeBudgetBurn": "full",
    "AuroraBridgeUnauthorized": "refusing",
    "AuroraBridgeAutoDisable": "refusing",
    "AuroraBridgeStrayRequests": "refusing",
    "AuroraBridgeDeadLetters": "refusing",
    "AuroraBridgeKafkaProblem": "away",
    "AuroraBridgeSpoolFull": "full",
    "AuroraBridgeQuarantined": "quarantined",
    "AuroraBridgeIndexDegraded": "broken",
    "AuroraBridgeSecretFile": "broken",
    "AuroraBridgeStateDisk": "disk",
    "AuroraBridgeBrokenFile": "broken-spool",
    "AuroraBridgeAnswerSlow": "suspended",
    "AuroraBridgeAnswerStuck": "stuck",
    "AuroraBridgeAnswersLost": "lost",
    "AuroraBridgeStrayDuplicates": "alike",
    "AuroraBridgeSubscriptionDisabled": "unsubscribed",
    "AuroraBridgeSubscriptionWrong": "unsubscribed",
}
"""By alert, the daemon for which it fires, and on which its page is tried."""
HERE: Final = [rule for alert in FIRES for rule in ALERTS[alert] if rule not in GROUPS["aurora-bridge-silence"]]
"""Their rules, but those that compare with weeks, which are in `test_others`."""
DAYS_BACK: Final = re.compile(r"offset \d[dw]|\[1w:1d\]|:usual\d")
"""What has no value in a Prometheus that is some minutes old."""
INDEX: Final = [
    ("broken", "aurora_bridge_index_failed", 1),
    ("late", "aurora_bridge_index_bypassed_total", LATE),
    ("away", "aurora_bridge_index_forgotten_total", 1),
    ("blind", "aurora_bridge_follower_lag_records", LAG),
]
"""Daemons whose index is of no full use, with the figure that says so."""
OTHERS: Final = {
    "AuroraBridgeDown",
    "AuroraBridgeNotReady",
    "AuroraBridgeReplicaMissing",
    "AuroraBridgeRestarts",
    "AuroraBridgeSilent",
    "AuroraBridgeEventSilent",
    "AuroraBridgeUnreachable",
    "AuroraBridgeCertificateExpires",
}
"""Those of `test_others`."""


def figures(said: str) -> dict[str, float]:
    """Return the samples of what a command printed."""
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in said.splitlines())}


def more_than_bucket(said: str, bound: str) -> float:
    """Return how many observations, of those that a command printed, were above the bound of a bucket."""
    counts = figures(said)
    return sum(
        count if 'le="+Inf"' in name else -count
        for name, count in counts.items()
        if 'le="+Inf"' in name or f'le="{bound}"' in name
    )


def only(said: str) -> float:
    """Return the value of the one sample that a command printed."""
    (value,) = figures(said).values()
    return value


class Look(NamedTuple):
    """Prometheus, the daemons, and what fired while there was the healthy one alone."""

    server: Prometheus
    scene: Scene
    in_health: list[dict[str, str]]


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


def test_every_record_has_values_but_those_that_look_days_back(look: Look, sooner: Path) -> None:
    rules = [rule for group in yaml.safe_load(sooner.read_text())["groups"] for rule in group["rules"]]
    records = {rule["record"]: rule["expr"] for rule in rules if "record" in rule}
    empty = [name for name in records if not look.server.query(name)]
    assert empty == [name for name, expression in records.items() if DAYS_BACK.search(expression)]


@pytest.mark.parametrize("rule", HERE, ids=rule_id)
def test_an_alert_fires_in_its_state_and_its_words_have_their_values(look: Look, rule: dict[str, Any]) -> None:
    fire(look, rule)
    found = [one for one in look.server.get("/api/v1/alerts")["alerts"] if one["labels"]["alertname"] == rule["alert"]]
    for text in (text for one in found for text in one["annotations"].values()):
        assert not re.search(r"<no value>|<error|%!|\{\{|: $|^:", text), text


@pytest.mark.parametrize("alert", FIRES)
def test_the_commands_of_a_page_run_and_show_what_it_says(look: Look, alert: str, tmp_path: Path) -> None:
    fire(look, ALERTS[alert][0])
    try_page(alert, state_of(look, FIRES[alert]), tmp_path)


def test_every_alert_fires_here_or_in_a_test_of_its_own() -> None:
    assert set(ALERTS) == FIRES.keys() | OTHERS
    assert FIRES.keys().isdisjoint(OTHERS)


# The figures that a page speaks of, and what tells its causes apart.


def test_answer_slow_one_answer_of_all_was_and_the_log_says_what_held_it_up(look: Look, tmp_path: Path) -> None:
    answers, process, said = try_page("AuroraBridgeAnswerSlow", state_of(look, "suspended"), tmp_path)
    assert more_than_bucket(answers, "8.0") == 1
    assert figures(process)['aurora_bridge_refusals_total{reason="too_late"}'] == 1
    assert "the event loop was held up" in said
    assert "deliveries reached the answer deadline" in said


def test_answer_stuck_one_is_older_than_10_s(look: Look, tmp_path: Path) -> None:
    oldest, stuck, _ = try_page("AuroraBridgeAnswerStuck", state_of(look, "stuck"), tmp_path)
    assert only(oldest) > 10
    assert only(stuck) == 1


def test_kafka_problem_what_kafka_rejects_waits_and_the_page_says_which_topic_and_why(
    look: Look, tmp_path: Path
) -> None:
    state = state_of(look, "stalled")
    name = urlsplit(state.daemon.admin_url).netloc
    expression = ALERTS["AuroraBridgeKafkaProblem"][0]["expr"]
    arm = expression[expression.index("or (") + len("or (") : expression.rindex(")\n)")]
    look.server.wait_until(
        "the rule sees it", lambda server: [sample for sample in server.query(arm) if sample.labels["instance"] == name]
    )
    what_it_shows_while_kafka_is_away = commands(blocks("AuroraBridgeKafkaProblem")[0])[1]
    said = figures(run(what_it_shows_while_kafka_is_away._replace(comment=""), state, tmp_path))
    assert said['aurora_bridge_publish_errors_total{reason="topic_authorization_failed"}'] >= 1
    assert said['aurora_bridge_backlog_events{event="lead_changed"}'] == 1


def test_answers_lost_every_retry_has_its_slot_and_half_of_the_clients_were_gone(look: Look, tmp_path: Path) -> None:
    intervals, expected, answers = try_page("AuroraBridgeAnswersLost", state_of(look, "lost"), tmp_path)
    assert figures(intervals) == {'aurora_bridge_duplicates_total{event="lead_created",interval="30s"}': 2.0 * LOST}
    assert only(expected) == LOST
    assert more_than_bucket(answers, "1.0") < 0.1 * LOST


def test_stray_duplicates_each_is_named_in_the_log(look: Look, tmp_path: Path) -> None:
    none, said, _ = try_page("AuroraBridgeStrayDuplicates", state_of(look, "alike"), tmp_path)
    assert only(none) == ALIKE
    assert len(said.splitlines()) == ALIKE


def test_all_bypassed_the_index_and_the_count_stands_still_when_the_disk_answers(look: Look, tmp_path: Path) -> None:
    state = state_of(look, "late")

    def index_bypassed() -> float:
        return figures(try_page("AuroraBridgeIndexDegraded", state, tmp_path)[0])["aurora_bridge_index_bypassed_total"]

    assert index_bypassed() == LATE
    assert state.daemon.get("/lead_created?lead_id=later", GOOD).status == 200
    assert index_bypassed() == LATE


def test_loop_lag_is_far_above_a_healthy_ones_and_little_cpu_is_used(look: Look, tmp_path: Path) -> None:
    def figures_of(name: str) -> dict[str, float]:
        return figures(try_page("AuroraBridgeAnswerSlow", state_of(look, name), tmp_path)[1])

    def late(figures: dict[str, float]) -> float:
        within, all_of_them = (f'aurora_bridge_loop_lag_seconds_bucket{{le="{bound}"}}' for bound in ("0.25", "+Inf"))
        return 1 - figures[within] / figures[all_of_them]

    began, cpu = monotonic(), "process_cpu_seconds_total"
    before = figures_of("starving")
    assert late(before) > 0.1
    look.server.wait_until("a healthy one is hardly ever late", lambda _: late(figures_of("healthy")) < 0.1)
    assert figures_of("starving")[cpu] - before[cpu] < 0.5 * (monotonic() - began)


@pytest.mark.parametrize(("name", "figure", "least"), INDEX, ids=[name for name, _, _ in INDEX])
def test_the_index_is_degraded_in_each_of_its_ways_and_the_page_tells_which(
    look: Look, tmp_path: Path, name: str, figure: str, least: float
) -> None:
    known = figures(try_page("AuroraBridgeIndexDegraded", state_of(look, name), tmp_path)[0])
    assert known[figure] >= least


def test_broken_file_fewer_events_were_salvaged_than_had_waited_and_these_wait_again(
    look: Look, tmp_path: Path
) -> None:
    state = state_of(look, "broken-spool")
    _, said, broken = try_page("AuroraBridgeBrokenFile", state, tmp_path)
    (salvaged,) = re.findall(r"(\d+) readable rows were salvaged", said)
    assert 0 < int(salvaged) < WAITING
    assert state.daemon.metrics().value("aurora_bridge_spool_events") == int(salvaged)
    assert figures(broken) == {'aurora_bridge_broken_files{file="spool.db"}': 1}


def test_index_incomplete_one_record_is_not_known_and_the_page_says_why(look: Look, tmp_path: Path) -> None:
    said_known, _, said = try_page("AuroraBridgeIndexDegraded", state_of(look, "unreadable"), tmp_path)
    known = figures(said_known)
    assert (known["aurora_bridge_index_complete"], known["aurora_bridge_follower_lag_records"]) == (0, 1)
    assert "install the codec" in said


def test_index_failed_it_is_open_again_and_complete_by_itself_once_the_disk_is_sound(look: Look) -> None:
    daemon = state_of(look, "broken").daemon
    assert daemon.metrics().value("aurora_bridge_index_failed") == 1
    fails = daemon.folder / FAILS
    fails.unlink()
    try:
        daemon.wait_until("it is complete", lambda daemon: daemon.metrics().value("aurora_bridge_index_complete"))
        assert daemon.metrics().value("aurora_bridge_index_failed") == 0
    finally:
        fails.touch()


def fire(look: Look, rule: dict[str, Any]) -> None:
    """Wait until a rule fires for the daemon that is in its alert's state."""
    name = urlsplit(state_of(look, FIRES[rule["alert"]]).daemon.admin_url).netloc
    wanted = (rule["alert"], rule["labels"]["severity"], name)

    def fires(server: Prometheus) -> bool:
        return any(
            (labels["alertname"], labels["severity"], labels.get("instance", name)) == wanted
            for labels in server.firing()
        )

    look.server.wait_until(f"{rule_id(rule)} fires", fires, SECONDS)
