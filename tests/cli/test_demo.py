"""The sums of the demo, and what it shows of them."""

import io
import sys
from pathlib import Path

import orjson
import pytest

from aurora_bridge.cli.demo_check import Sums
from aurora_bridge.cli.demo_programs import Programs
from aurora_bridge.cli.demo_screen import Screen, closing
from aurora_bridge.simulator.aurora import Aurora
from aurora_bridge.simulator.deliveries import Answer, Delivery
from aurora_bridge.simulator.stories import Occurrence
from tests.cli.in_process import here
from tests.simulator.acting import BEGIN

SIGNED = {"project_id": "p-1", "agreement_id": "a-1", "status": "signed", "design_id": "d-1", "financing_id": ""}


def event(identity: str, **values: str | None) -> bytes:
    data = {**SIGNED, "financing_id": None, **values}
    return orjson.dumps({"id": identity, "type": "com.aurorasolar.agreement_status_changed", "data": data})


def sums(*stored: bytes, happened: int = 1) -> Sums:
    found = Sums()
    for _ in range(happened):
        found.happen(Occurrence(BEGIN, "agreement_status_changed", SIGNED))
    for line in stored:
        found.store(line)
    return found


def test_an_event_that_happened_twice_has_to_be_there_twice() -> None:
    assert sums(event("1"), event("2"), happened=2).problems() == []
    (problem,) = sums(event("1"), happened=2).problems()
    assert problem.startswith("1 event not stored: ")
    assert '"agreement_id":"a-1"' in problem


def test_an_event_that_is_there_twice_is_wrong_and_a_copy_with_the_same_id_is_not() -> None:
    (problem,) = sums(event("1"), event("2")).problems()
    assert problem.startswith("1 event stored more than once: ")
    copied = sums(event("1"), event("1"))
    assert (copied.problems(), copied.copies) == ([], 1)


def test_what_others_write_to_the_same_topics_does_not_count() -> None:
    theirs = (event("2", agreement_id="theirs"), b'{"id":"3","type":"theirs","data":[]}', b'{"id":"4","type":"theirs"}')
    assert sums(event("1"), *theirs).problems() == []


def test_an_event_that_is_stored_with_another_value_is_missing() -> None:
    (problem,) = sums(event("1", status="sent")).problems()
    assert "not stored" in problem


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(None, "cannot connect"), "no answer"),
        (Answer(503, '{"reason":"spool_full"}'), "503"),
        (Answer(200, '{"id":"1","outcome":"duplicate"}'), "200 duplicate"),
    ],
)
def test_an_answer_is_told_in_the_words_of_the_daemon(answer: Answer, words: str) -> None:
    assert Sums().answer(answer) == words


def test_the_end_says_what_is_wrong() -> None:
    assert "Right: each of the 1 events is stored exactly once." in closing(Aurora(), sums(event("1")), 0, 5040)
    (wrong,) = [line for line in closing(Aurora(), sums(), 0, 5040) if line.startswith("WRONG")]
    assert wrong.startswith("WRONG: 1 event not stored: ")


def shown(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what a terminal gets: an event that a retry brought, and the last line."""
    written = io.BytesIO()
    out = io.TextIOWrapper(written, "utf-8", write_through=True)
    monkeypatch.setattr(out, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", out)
    refused, accepted = (BEGIN, "", Answer(None, "")), (BEGIN + 12_600, "", Answer(200, ""))
    delivery = Delivery(1, "s-1", "agreement_status_changed", SIGNED, attempts=[refused, accepted])
    screen = Screen()
    screen.say(*screen.attempt(delivery, "200 spooled"))
    screen.progress(BEGIN, Aurora(), Sums())
    screen.close()
    return written.getvalue().decode()


def test_a_terminal_gets_colours_and_a_last_line_that_goes_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = shown(monkeypatch)
    assert (
        "\033[32m200 spooled  \033[0m  agreement_status_changed  signed\033[33m  attempt 2, 3 h late\033[0m\n" in text
    )
    assert "attempts 0, failed 0, pending 0, stored 0, duplicates 0" in text
    assert text.endswith("\r\033[K")


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown(monkeypatch)
    assert "200 spooled    agreement_status_changed  signed  attempt 2, 3 h late\n" in text
    assert "\033[3" not in text


def test_no_setting_of_the_environment_reaches_the_daemon_of_a_demo(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AURORA_BRIDGE_KAFKA__BOOTSTRAP_SERVERS", "production:9092")
    monkeypatch.setenv("AURORA_BRIDGE_KAFKA__TOPIC_PREFIX", "demo.")
    monkeypatch.setenv("AURORA_BRIDGE_SPOOL__ENABLED", "false")
    monkeypatch.setenv("AURORA_BRIDGE_CONFIG", "production.toml")
    ours = {"AURORA_BRIDGE_STATE_DIR": str(tmp_path / "state")}
    assert settings_of(Programs(tmp_path, None)) == ours
    kafka = {"AURORA_BRIDGE_KAFKA__BOOTSTRAP_SERVERS": "other:9092", "AURORA_BRIDGE_KAFKA__TOPIC_PREFIX": "demo."}
    assert settings_of(Programs(tmp_path, "other:9092")) == ours | kafka


def settings_of(programs: Programs) -> dict[str, str]:
    return {name: value for name, value in programs.environment.items() if name.startswith("AURORA_BRIDGE_")}


def test_a_directory_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = here("demo", "--keep", str(tmp_path / "file"))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert str(tmp_path / "file") in ended.stderr
