"""`aurora-bridge templates`: what it prints can be pasted into Aurora, and comes back as the event it is for."""

import re
from pathlib import Path
from typing import Final

import pytest

from aurora_bridge.metrics import Metrics
from aurora_bridge.routing import make_routing
from aurora_bridge.secret_files import SecretFiles
from aurora_bridge.settings import Settings
from aurora_bridge.webhook.catalogue import CATALOGUE, LEGACY_NAMES, Recurrence
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import Event, normalise
from tests.cli.in_process import here

CORE: Final = [name for name, event_type in CATALOGUE.items() if event_type.core]


def printed(*arguments: str, **settings: object) -> dict[str, str]:
    """Return the templates that the command prints, by event."""
    ended = here("templates", *arguments, **settings)
    assert ended.returncode == 0
    return dict(line.split("\t") for line in ended.stdout.splitlines())


def sent(template: str) -> str:
    """Return what Aurora sends for a template."""
    target = re.sub(r"https://[^/]+", "", template)
    return re.sub("<([A-Z_]+)>", lambda placeholder: f"its-{placeholder[1].lower()}", target)


def received(settings: Settings, target: str) -> Event:
    metrics = Metrics()
    routes = make_routing(settings, SecretFiles(metrics), metrics).routes
    return normalise(routes.match(Delivery("GET", target.encode(), (), 0, 0.0)))


def test_every_core_event_has_a_template() -> None:
    assert set(CORE) <= printed().keys()


@pytest.mark.parametrize("event", CORE)
def test_what_is_sent_for_a_printed_template_is_that_event(event: str) -> None:
    found = received(Settings(), sent(printed()[event]))
    assert (found.name, found.recurrence) == (event, CATALOGUE[event].recurrence)
    assert all(value == f"its-{name}" or name == "design_request_id" for name, value in found.data.items())


def test_every_printed_template_can_be_a_route_of_the_file_without_a_warning() -> None:
    routes = [{"event": event, "template": template} for event, template in printed().items()]
    metrics = Metrics()
    settings = Settings.model_validate(
        {
            "routes": routes,
            "default_route": False,
            "auth": {"allow_anonymous": True},
        }
    )
    assert make_routing(settings, SecretFiles(metrics), metrics).warnings == []
    for event, template in printed().items():
        assert received(settings, sent(template)).name == event


def test_the_list_in_the_page_of_routes_is_what_the_command_prints() -> None:
    page = (Path(__file__).parents[2] / "docs" / "routes.md").read_text()
    templates = printed()
    assert re.findall(r"^https://HOST/.*$", page, re.MULTILINE) == [templates[event] for event in CORE]


def test_no_printed_template_lets_two_events_look_alike() -> None:
    """Each has what its event is told by, so that retries are recognised."""
    for event, template in printed().items():
        expected = CATALOGUE[event].recurrence
        assert received(Settings(), sent(template)).recurrence is expected or expected is Recurrence.SIGNAL


def test_routes_of_the_file_come_first_with_their_secrets_hidden(tmp_path: Path) -> None:
    file = tmp_path / "bridge.toml"
    file.write_text(
        'default_route = false\n[[routes]]\ntemplate = "/in?token=canary&id=<LEAD_ID>"\nevent = "lead_created"\n'
    )
    found = printed("--config", str(file), ingress__public_url="https://h.example")
    assert found == {"lead_created": "https://h.example/in?token=***&id=<LEAD_ID>"}


def test_one_event_can_be_asked_for() -> None:
    assert printed("--event", "lead_changed") == {"lead_changed": "https://HOST/lead_changed?lead_id=<LEAD_ID>"}


def test_an_event_can_be_asked_for_by_its_legacy_name_and_in_any_case() -> None:
    for name in ("Lead_Changed", "LEAD-CHANGED", *(old for old, new in LEGACY_NAMES.items() if new == "lead_changed")):
        assert printed("--event", name).keys() == {"lead_changed"}
    for legacy, today in LEGACY_NAMES.items():
        ended = here("templates", "--event", legacy.upper())
        assert today in (ended.stdout.partition("\t")[0], ended.stderr.split()[3].strip(","))


def test_an_event_that_only_a_written_route_knows_can_be_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "bridge.toml"
    file.write_text('[[routes]]\ntemplate = "/in?id=<LEAD_ID>"\nevent = "lead_eaten"\n')
    assert printed("--config", str(file), "--event", "LEAD_EATEN").keys() == {"lead_eaten"}


@pytest.mark.parametrize(("name", "meant"), [("lead_craeted", "lead_created"), ("leadcreated", "lead_created")])
def test_of_an_event_that_nobody_knows_it_is_told_which_was_meant(name: str, meant: str) -> None:
    ended = here("templates", "--event", name)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"no event is called {name!r}. Did you mean {meant}")


def test_an_event_without_a_template_is_told_with_exit_code_1() -> None:
    event = "design_deleted"
    ended = here("templates", "--event", event)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"No route receives {event}, or only its name is known." in ended.stderr


def test_without_a_public_url_the_setting_is_named_and_standard_output_stays_clean() -> None:
    assert "AURORA_BRIDGE_INGRESS__PUBLIC_URL" in here("templates").stderr
    assert here("templates", ingress__public_url="https://h.example").stderr == ""
