"""`aurora-bridge simulate`: its options, and what it says where there is no receiver."""

import json
from pathlib import Path

import pytest

from tests.cli.in_process import here
from tests.support.ports import free_ports


def nowhere() -> str:
    return f"http://127.0.0.1:{free_ports(1)[0]}"


def test_a_webhook_that_nobody_takes_is_printed_with_the_reason_and_exit_1() -> None:
    ended = here("simulate", "trigger", "Lead-Created", "--to", nowhere(), "--set", "leadId=l-1")
    (line,) = map(json.loads, ended.stdout.splitlines())
    assert (ended.returncode, ended.stderr, line["status"]) == (1, "", None)
    assert "/lead_created?lead_id=l-1&source=" in line["url"]
    assert "cannot connect" in line["answer"]


def test_without_a_receiver_it_is_the_daemon_of_the_settings() -> None:
    (port,) = free_ports(1)
    ended = here("simulate", "trigger", "lead_changed", ingress__port=port, ingress__base_path="/hooks")
    assert f"http://127.0.0.1:{port}/hooks/lead_changed?lead_id=" in ended.stdout


def test_an_event_that_nobody_knows_is_sent_with_a_warning() -> None:
    ended = here("simulate", "trigger", "lead_creatd", "--to", nowhere(), "--set", "a_id=1")
    assert "Did you mean lead_created" in ended.stderr
    assert "/lead_creatd?a_id=1" in ended.stdout


def test_a_whole_template_is_filled_and_its_secrets_are_not_printed() -> None:
    template = f"{nowhere()}/hooks?token=canary&lead=<LEAD_ID>"
    ended = here("simulate", "trigger", "lead_changed", "--to", template, "--set", "lead_id=l-1")
    assert "token=***&lead=l-1" in ended.stdout
    assert "canary" not in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("trigger", "lead_created", "--set", "status"), "NAME=VALUE"),
        (("trigger", "lead_created", "--header", "secret"), "NAME: VALUE"),
        (("trigger", "lead_created", "--basic", "secret"), "USER:PASSWORD"),
        (("trigger", "lead_created", "--times", "0"), "above 0"),
        (("run", "--events", "lead_creatd"), "Did you mean lead_created"),
        (("run", "--rate", "-1"), "is not a number of 0 or more"),
        (("run", "--speed", "0"), "is not a number above 0"),
        (("run", "--port", "65536"), "is not a port"),
        (("run", "--scenario", "flood"), "outage"),
    ],
)
def test_an_option_that_is_wrong_is_told_with_what_would_be_right(arguments: tuple[str, ...], words: str) -> None:
    ended = here("simulate", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert words in ended.stderr
    assert "'secret'" not in ended.stderr


def test_a_receiver_that_is_no_url_is_wrong_usage() -> None:
    ended = here("simulate", "trigger", "lead_created", "--to", "hooks.example.com")
    assert ended.returncode == 64
    assert "url_template cannot be used" in ended.stderr


def test_a_webhook_can_be_that_of_a_subscription_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "aurora.toml"
    file.write_text(f"""[[subscriptions]]
name = "leads"
event = "lead_created"
url_template = "{nowhere()}/mine?lead=<LEAD_ID>"
""")
    options = ("--init", str(file), "--set", "lead_id=l-1")
    ended = here("simulate", "trigger", "lead_created", "--subscription", "leads", *options)
    assert "/mine?lead=l-1" in ended.stdout
    other = here("simulate", "trigger", "lead_created", "--subscription", "lead", *options)
    assert (other.returncode, other.stderr) == (64, "no subscription is called 'lead'. Known: leads.\n")


def test_a_file_that_is_wrong_or_not_there_is_told(tmp_path: Path) -> None:
    file = tmp_path / "aurora.toml"
    assert here("simulate", "run", "--init", str(file)).returncode == 1
    file.write_text("[story]")
    ended = here("simulate", "run", "--init", str(file))
    assert (ended.returncode, ended.stdout) == (64, "")
    assert f"{file}: [story] is not one of" in ended.stderr
