"""`aurora-bridge subscriptions` against the simulator's API: exit codes, failures on the way, and no secret printed."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from unittest.mock import AsyncMock
from urllib.request import Request, urlopen

import pytest

from aurora_bridge.aurora.apply import Applied, carry_out
from aurora_bridge.aurora.client import AuroraClient
from aurora_bridge.aurora.subscription import Subscription
from aurora_bridge.cli import confirm, subscriptions
from aurora_bridge.cli.output import ReaderGoneError
from aurora_bridge.simulator.in_thread import Simulator
from aurora_bridge.webhook.catalogue import CATALOGUE
from tests.cli.in_process import here

pytest_plugins = ["aurora_bridge.simulator.pytest_plugin"]

CORE = [name for name, event_type in CATALOGUE.items() if event_type.core]
EVERYTHING = f"[[subscriptions]]\nevents = {json.dumps(CORE)}\n"
SECRETS = ("canary-token", "canary-new", "canary-old", "canary-basic")
PATH = "/tenants/simulated/webhooks"


class Bridge:
    """A settings file and its secrets, and the API that they name."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.folder = folder
        self.simulator = simulator
        (folder / "api-token").write_text(f"{simulator.token}\n")
        (folder / "tokens").write_text("canary-old\ncanary-new\n")
        self.config = folder / "bridge.toml"
        self.file = folder / "subscriptions.toml"
        self.config.write_text(
            "[ingress]\npublic_url = 'https://hooks.example.com'\n[auth]\ntokens_file = 'tokens'\n"
            f"[aurora]\napi_url = '{simulator.url}'\napi_token_file = 'api-token'\ntenant_id = 'simulated'\n"
        )

    def run(self, command: str, *arguments: str, file: str | None = None) -> CompletedProcess[str]:
        """Run a command, with a file of these tables; nothing that it prints is a secret."""
        if file is not None:
            self.file.write_text(file)
            arguments = (*arguments, "--file", str(self.file))
        ended = here("subscriptions", command, "--config", str(self.config), *arguments)
        assert not [secret for secret in SECRETS if secret in ended.stdout + ended.stderr]
        return ended

    def fail(self, status: int, times: int = 1) -> None:
        """Let the next calls fail."""
        body = json.dumps({"status": status, "times": times}).encode()
        urlopen(Request(f"{self.simulator.url}/_fail", body, method="POST")).close()  # noqa: S310 - of the simulator

    def has(self) -> list[dict[str, object]]:
        """Return what the API shows."""
        request = Request(f"{self.simulator.url}{PATH}", headers={"Authorization": f"Bearer {self.simulator.token}"})  # noqa: S310
        with urlopen(request) as response:  # noqa: S310 - likewise
            found: list[dict[str, object]] = json.load(response)["webhooks"]
        return found


@pytest.fixture
def bridge(aurora_simulator: Simulator, tmp_path: Path) -> Bridge:
    return Bridge(tmp_path, aurora_simulator)


def test_nineteen_events_are_subscribed_to_and_a_second_run_has_nothing_to_do(bridge: Bridge) -> None:
    planned = bridge.run("plan", file=EVERYTHING)
    assert (planned.returncode, planned.stdout.splitlines()[-1]) == (2, "19 to create, 0 to update, 0 to delete.")
    assert bridge.has() == []
    applied = bridge.run("apply", "--yes", file=EVERYTHING)
    assert applied.returncode == 0
    assert "[19/19] created web_proposal_url_created\n19 changes made.\n" in applied.stderr
    assert [one["event"] for one in bridge.has()] == CORE
    for command in (["plan"], ["apply", "--yes"], ["apply"]):
        again = bridge.run(*command, file=EVERYTHING)
        assert (again.returncode, again.stderr) == (0, "")
        assert again.stdout.endswith("Nothing to change: Aurora has the 19 subscriptions in the file.\n")


def test_a_partner_application_has_subscriptions_of_its_own(bridge: Bridge) -> None:
    bridge.config.write_text(bridge.config.read_text().replace("tenant_id", "partner_application_id"))
    url = "https://hooks.example.com/lead_created?lead_id=<LEAD_ID>&tenant=<TENANT_ID>"
    left_out = f"[[subscriptions]]\nleft_out = true\nevents = {json.dumps(CORE)}\n"
    toml = f'[[subscriptions]]\nevents = ["lead_created"]\nurl_template = "{url}"\n{left_out}'
    applied = bridge.run("apply", "--yes", file=toml)
    assert applied.returncode == 0
    assert "unknown_placeholder" not in applied.stderr
    assert bridge.has() == []
    assert bridge.run("plan", file=toml).returncode == 0


def test_an_export_of_what_was_made_by_hand_has_an_empty_plan(bridge: Bridge) -> None:
    simulator = bridge.simulator
    header = {"header_auth_key": "X-Aurora-Webhook-Token", "header_auth_value": "canary-new"}
    simulator.subscribe("lead_created", "https://hooks.example.com", description='with "quotes" and é', **header)
    simulator.subscribe("lead_changed", "https://elsewhere.example.com/?token=canary-token&l=<LEAD_ID>")
    basic = {"basic_auth_username": "u", "basic_auth_password": "canary-basic"}
    off = {"enabled": False, "filters": {"<STATUS>": ["signed"]}, **basic}
    simulator.subscribe("agreement_status_changed", "https://hooks.example.com", **off)
    exported = bridge.run("export")
    assert exported.returncode == 0
    planned = bridge.run("plan", file=exported.stdout)
    assert planned.returncode == 0, planned
    assert planned.stdout == (
        "Not compared: the secret of 2 subscriptions, which Aurora does not show. If you changed it, use "
        "--resend-credentials.\nNothing to change: Aurora has the 3 subscriptions in the file.\n"
    )
    bridge.config.write_text(bridge.config.read_text() + exported.stdout)  # beside the routes
    assert bridge.run("plan").returncode == 0


@pytest.fixture
def failing_at_first(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets the first change of the next `apply` fail, behind the list that it asked for."""

    def fail_next(status: int) -> None:
        async def carry_out_badly(*given: Any) -> Applied:  # noqa: ANN401 - those of `carry_out`
            monkeypatch.setattr(subscriptions, "carry_out", carry_out)
            await asyncio.to_thread(bridge.fail, status)
            return await carry_out(*given)

        monkeypatch.setattr(subscriptions, "carry_out", carry_out_badly)

    return fail_next


def test_after_half_a_failure_it_goes_on_where_it_was(bridge: Bridge, failing_at_first: Callable[[int], None]) -> None:
    failing_at_first(503)
    broken = bridge.run("apply", "--yes", file=EVERYTHING)
    assert broken.returncode == 1
    assert f"[1/{len(CORE)}] could not create {CORE[0]}: POST {PATH}: Aurora failed (503): failed, as" in broken.stderr
    assert broken.stderr.endswith("18 of 19 changes made. Run it again for the others.\n")
    assert bridge.run("apply", "--yes", file=EVERYTHING).returncode == 0
    assert len(bridge.has()) == 19


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "Aurora does not accept the API key (401)"),
        (403, "the API key is not provisioned for this call (403)"),
        (404, "Aurora does not know it (404)"),
        (422, "Aurora refuses it (422): failed, as requested by /_fail"),
        (500, "Aurora failed (500)"),
    ],
)
def test_a_list_that_fails_is_told_and_changes_nothing(bridge: Bridge, status: int, words: str) -> None:
    for command in (["export"], ["plan"], ["apply", "--yes"], ["reenable", "lead_created"]):
        bridge.fail(status)
        file = EVERYTHING if command[0] in {"plan", "apply"} else None
        ended = bridge.run(*command, file=file)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert f"GET {PATH}: {words}" in ended.stderr
    assert bridge.has() == []


def test_events_of_leads_that_aurora_refuses_are_told(bridge: Bridge, failing_at_first: Callable[[int], None]) -> None:
    left_out = json.dumps([name for name in CORE if name != "lead_created"])
    toml = f'[[subscriptions]]\nevents = ["lead_created"]\n[[subscriptions]]\nleft_out = true\nevents = {left_out}\n'
    failing_at_first(403)
    ended = bridge.run("apply", "--yes", file=toml)
    assert ended.returncode == 1
    assert "If yours does not, move lead_created to a table with left_out = true." in ended.stderr
    assert "Ask Aurora's representative" in ended.stderr


def test_nothing_is_sent_while_an_error_stands(bridge: Bridge) -> None:
    url = "https://hooks.example.com/v2/x?id=<LEAD_ID>"
    wrong = f'{EVERYTHING}[[subscriptions]]\nevents = ["lead_created"]\nurl_template = "{url}"\n'
    for command in (["plan"], ["apply", "--yes"]):
        ended = bridge.run(*command, file=wrong)
        assert ended.returncode == 1
        assert "error: [[subscriptions]] number 2, lead_created (no_route): no route matches" in ended.stderr
    assert bridge.has() == []


def test_without_a_terminal_and_without_yes_nothing_is_changed(bridge: Bridge) -> None:
    ended = bridge.run("apply", file=EVERYTHING)
    assert ended.returncode == 1
    assert "Nothing was changed: there is no terminal to ask. Add --yes" in ended.stderr
    assert bridge.has() == []


@pytest.mark.parametrize(("answer", "made"), [("yes\n", 19), ("y\n", 0), ("", 0)])
def test_a_terminal_is_asked(bridge: Bridge, monkeypatch: pytest.MonkeyPatch, answer: str, made: int) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return answer

    monkeypatch.setattr("sys.stdin", Terminal())
    ended = bridge.run("apply", file=EVERYTHING)
    assert "Make 19 changes? Only yes is taken:" in ended.stderr
    assert (len(bridge.has()), ended.returncode) == (made, 0 if made else 1)


def test_closed_standard_input_is_no_terminal(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    ended = bridge.run("apply", file=EVERYTHING)
    assert ended.returncode == 1
    assert "there is no terminal to ask" in ended.stderr
    assert bridge.has() == []


def test_one_ctrl_c_ends_the_question(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        waits_on = False

        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            signal.raise_signal(signal.SIGINT)
            Terminal.waits_on = True
            return ""

    monkeypatch.setattr("sys.stdin", Terminal())
    ended = bridge.run("apply", file=EVERYTHING)
    assert (ended.returncode, Terminal.waits_on, bridge.has()) == (1, False, [])
    assert ended.stderr.endswith("Nothing was changed.\n")


def test_ctrl_c_between_changes_says_how_to_go_on(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def carry_out_slowly(*_: Any) -> None:  # noqa: ANN401 - those of `carry_out`
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()

    monkeypatch.setattr(subscriptions, "carry_out", carry_out_slowly)
    ended = bridge.run("apply", "--yes", file=EVERYTHING)
    assert ended.returncode == 1
    assert ended.stderr.endswith("The change under way may have been made. Run it again for the others.\n")


def test_a_reader_that_has_enough_of_the_plan_is_no_success(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    def put(*_: str) -> None:
        raise ReaderGoneError

    bridge.simulator.subscribe("project_changed", "https://hooks.example.com", enabled=False)
    monkeypatch.setattr(confirm, "put", put)
    for command in (["apply", "--yes"], ["reenable", "project_changed", "--yes"]):
        ended = bridge.run(*command, file=EVERYTHING if command[0] == "apply" else None)
        assert ended.returncode == 1
        assert "Nothing was changed: nobody reads standard output." in ended.stderr
    assert [one["enabled"] for one in bridge.has()] == [False]


def test_a_terminal_gets_no_control_characters_from_aurora(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def list_theirs(_: AuroraClient) -> list[Subscription]:
        url = "https://hooks.example.com/\x9b2J?lead_id=<LEAD_ID>"
        return [Subscription("\x1b[2J", event="lead_created", url_template=url, enabled=False, filters={})]

    monkeypatch.setattr(AuroraClient, "list", list_theirs)
    update = AsyncMock()
    monkeypatch.setattr(AuroraClient, "update", update)
    monkeypatch.setattr(AuroraClient, "create", AsyncMock())
    for command in (["plan"], ["apply", "--yes"], ["reenable", "lead_created", "--yes"]):
        ended = bridge.run(*command, file=None if command[0] == "reenable" else EVERYTHING)
        assert "[2J" in ended.stdout
        assert not [one for one in ended.stdout + ended.stderr if not one.isprintable() and one != "\n"]
    assert {call.args[0] for call in update.await_args_list} == {"\x1b[2J"}


def test_only_what_is_named_is_deleted(bridge: Bridge) -> None:
    ids = [
        bridge.simulator.subscribe("project_changed", f"https://hooks.example.com/?n={number}") for number in range(2)
    ]
    bridge.run("apply", "--yes", file=EVERYTHING)
    assert len(bridge.has()) == 21
    ended = bridge.run("apply", "--yes", "--delete", ids[0], "--delete", "another", file=EVERYTHING)
    assert ended.returncode == 0
    assert f"- delete project_changed ({ids[0]})\n" in ended.stdout
    assert "--delete another: Aurora has no such subscription." in ended.stderr
    assert ids[0] not in {one["id"] for one in bridge.has()}
    assert len(bridge.has()) == 20


def test_secrets_are_sent_again_when_asked(bridge: Bridge) -> None:
    bridge.run("apply", "--yes", file=EVERYTHING)
    planned = bridge.run("plan", "--resend-credentials", file=EVERYTHING)
    assert (planned.returncode, planned.stdout.splitlines()[-1]) == (2, "0 to create, 19 to update, 0 to delete.")
    assert bridge.run("apply", "--yes", "--resend-credentials", file=EVERYTHING).returncode == 0


def test_what_is_off_is_switched_on_by_its_own_command_alone(bridge: Bridge) -> None:
    bridge.run("apply", "--yes", file=EVERYTHING)
    fields = {"header_auth_key": "X-Aurora-Webhook-Token", "header_auth_value": "canary-new", "enabled": False}
    off = bridge.simulator.subscribe("project_changed", "https://hooks.example.com", **fields)
    also = bridge.simulator.subscribe(
        "project_changed", "https://hooks.example.com/v2/nowhere?p=<PROJECT_ID>", **fields
    )
    bridge.run("apply", "--yes", file=EVERYTHING)
    assert [one["id"] for one in bridge.has() if not one["enabled"]] == [off, also]
    assert bridge.run("reenable", "project_changed").returncode == 1  # nobody was asked
    assert bridge.run("reenable", "nothing", off, "--yes").returncode == 1
    ended = bridge.run("reenable", off, "--yes")
    assert (ended.returncode, ended.stderr) == (0, f"[1/1] {off} is on\n")
    ended = bridge.run("reenable", "Project-Changed", "--yes")
    assert ended.returncode == 0
    assert f"warning: {also}, project_changed (no_route)" in ended.stderr
    assert f"{off}  project_changed  on already  https://hooks.example.com/project_changed?" in ended.stdout
    assert all(one["enabled"] for one in bridge.has())
    assert bridge.run("reenable", off).returncode == 0


def test_it_says_what_it_needs(bridge: Bridge, tmp_path: Path) -> None:
    ended = here("subscriptions", "plan")
    assert ended.returncode == 78
    assert "AURORA__API_TOKEN_FILE (aurora.api_token_file in the file): not set, and" in ended.stderr
    ended = bridge.run("plan")
    assert ended.returncode == 78
    assert "aurora-bridge subscriptions export > subscriptions.toml" in ended.stderr
    ended = bridge.run("plan", "--file", str(bridge.config))
    assert ended.returncode == 78
    assert "has aurora, auth, ingress; expected [[subscriptions]] only" in ended.stderr
    assert bridge.run("plan", "--file", str(tmp_path / "none")).returncode == 78


def test_wrong_usage_of_plan_is_not_taken_for_changes(bridge: Bridge) -> None:
    for arguments in (["--flie", "x"], ["--file"], ["more"]):
        assert bridge.run("plan", *arguments).returncode == 64
    assert bridge.run("apply", "--flie", "x").returncode == 2
