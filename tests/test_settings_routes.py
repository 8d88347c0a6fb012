"""The tables of which there can be any number: `[[routes]]` and `[events.NAME]`."""

from pathlib import Path
from typing import Final

import pytest

from aurora_bridge.os_errors import user
from aurora_bridge.settings import AuthSettings, EventSettings, RouteSettings, Settings, SettingsError, load

ROUTE: Final = '[[routes]]\ntemplate = "/a?b=<B>"\nevent = "lead_created"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for name in ("tokens", "basic", "other"):
        (tmp_path / name).write_text("user:word\n")
    return tmp_path / "bridge.toml"


def loaded(file: Path, text: str, **environ: str) -> Settings:
    file.write_text(text)
    return load(file, {f"AURORA_BRIDGE_{name}": value for name, value in environ.items()})


def problems(file: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        loaded(file, text, **environ)
    return list(refused.value.problems)


def auth(file: Path, route: str, default: str = "") -> AuthSettings:
    """Return what a route with these keys takes."""
    settings = loaded(file, f"{default}\n{ROUTE}{route}")
    return settings.routes[0].auth(settings.auth)


# Routes


def test_a_route_has_these_keys_and_relative_paths_start_at_its_file(file: Path) -> None:
    settings = loaded(
        file,
        """
        [[routes]]
        template = "https://hooks.example.com/hooks/v2/<PROJECT_ID>?a=<AGREEMENT_ID>&st=<STATUS>&kind=signed-only"
        event = "agreement_status_changed"
        tenant = "acme"
        filtered = true
        tokens_file = "tokens"
        header = "X-Acme"
        query_parameter = "key"
        basic_file = "basic"
        allow_anonymous = true
        """,
    )
    (route,) = settings.routes
    assert (route.tenant, route.filtered, settings.default_route) == ("acme", True, True)
    assert route.auth(settings.auth) == AuthSettings(
        tokens_file=file.parent / "tokens",
        header="X-Acme",
        query_parameter="key",
        basic_file=file.parent / "basic",
        allow_anonymous=True,
    )


def test_a_route_that_names_no_credentials_takes_those_of_auth(file: Path) -> None:
    default = '[auth]\ntokens_file = "tokens"\nbasic_file = "basic"\nheader = "X-Ours"\nquery_parameter = "key"'
    assert auth(file, "", default) == loaded(file, default).auth


def test_a_route_that_names_some_takes_no_others(file: Path) -> None:
    default = '[auth]\ntokens_file = "tokens"\nallow_anonymous = true\nquery_parameter = "key"\nheader = "X-Ours"'
    found = auth(file, 'basic_file = "basic"', default)
    assert found == AuthSettings(basic_file=file.parent / "basic", header="X-Ours")
    found = auth(file, 'tokens_file = "other"', default)
    assert (found.tokens_file, found.query_parameter, found.allow_anonymous) == (file.parent / "other", "key", False)


def test_a_route_can_be_open_beside_one_that_is_not(file: Path) -> None:
    assert auth(file, "allow_anonymous = true", '[auth]\ntokens_file = "tokens"') == AuthSettings(allow_anonymous=True)


@pytest.mark.parametrize("open_to_all", ["true", "false"])
def test_a_route_that_is_not_to_be_open_keeps_the_credentials_of_auth(file: Path, open_to_all: str) -> None:
    default = f'[auth]\ntokens_file = "tokens"\nallow_anonymous = {open_to_all}'
    found = auth(file, "allow_anonymous = false", default)
    assert (found.tokens_file, found.allow_anonymous) == (file.parent / "tokens", False)


def test_a_parameter_of_auth_asks_for_no_tokens_where_a_route_names_basic_only(file: Path) -> None:
    """An inherited parameter is no mistake of the route's."""
    default = 'default_route = false\n[auth]\nquery_parameter = "key"\ntokens_file = "tokens"'
    assert auth(file, 'basic_file = "basic"', default).query_parameter is None


def test_the_default_route_can_be_switched_off(file: Path) -> None:
    assert not loaded(file, f"default_route = false\n{ROUTE}").default_route


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[[routes]]\nevent = "lead_created"',
            (
                "[[routes]] number 1 in {file}: template is missing; expected a URL template as it stands in Aurora, "
                "such as https://hooks.example.com/x?a=<AGREEMENT_ID>. Add it."
            ),
        ),
        (
            f'{ROUTE}{ROUTE}token_file = "tokens"',
            (
                "[[routes]] number 2 in {file}: token_file is not one of its keys; did you mean tokens_file? Expected "
                "one of template, event, tenant, filtered, tokens_file, header, query_parameter, basic_file, "
                "allow_anonymous."
            ),
        ),
        (
            f'{ROUTE}tokens_file = "none"',
            (
                "[[routes]] number 1 in {file}: invalid tokens_file = *** (hidden, since it may be a secret); "
                "expected the path of a file that exists and that this user may read. "
                f"This user is {user()}. Correct it or leave it out."
            ),
        ),
        (
            f'{ROUTE}tokens_file = "/run/credentials/x.service/tokens"',
            (
                "[[routes]] number 1 in {file}: invalid tokens_file = '/run/credentials/x.service/tokens'; expected "
                f"the path of a file that exists and that this user may read. This user is {user()}. It exists only "
                "while the service runs, for its user: otherwise name the file that systemd copies it from. Correct it "
                "or leave it out."
            ),
        ),
        (
            '[[routes]]\ntemplate = "/x"\nevent = "lead created"',
            (
                "[[routes]] number 1 in {file}: invalid event = 'lead created'; expected the name of an event as "
                "Aurora calls it, such as agreement_status_changed. Correct it or leave it out."
            ),
        ),
        (
            f'{ROUTE}filtered = "often"',
            (
                "[[routes]] number 1 in {file}: invalid filtered = 'often'; expected true or false. Correct it or "
                "leave it out."
            ),
        ),
        (
            f'{ROUTE}query_parameter = "key"',
            (
                "query_parameter of [[routes]] number 1: 'key' requires a tokens_file, which has the valid "
                "tokens. Add tokens_file, or remove query_parameter."
            ),
        ),
        (
            '[routes]\ntemplate = "/x?token=canary"',
            (
                "routes in {file}: invalid table; expected a list of tables, each below a line [[routes]]. Correct it "
                "or remove it."
            ),
        ),
        (
            'routes = ["/x"]',
            (
                "routes in {file}: invalid '/x'; expected a list of tables, each below a line [[routes]]. Correct it "
                "or remove it."
            ),
        ),
    ],
)
def test_what_is_wrong_with_a_route_is_told_with_its_number_and_key(file: Path, text: str, expected: str) -> None:
    assert problems(file, text) == [expected.replace("{file}", str(file)).replace("{folder}", str(file.parent))]


def test_elsewhere_than_on_loopback_each_route_needs_credentials(file: Path) -> None:
    text = f'embedded = true\n[auth]\ntokens_file = "tokens"\n{ROUTE}{ROUTE}allow_anonymous = true\n'
    assert len(loaded(file, text, INGRESS__HOST="0.0.0.0").routes) == 2  # noqa: S104
    text = f'embedded = true\ndefault_route = false\n{ROUTE}tokens_file = "tokens"\n{ROUTE}'
    (problem,) = problems(file, text, INGRESS__HOST="0.0.0.0")  # noqa: S104
    assert problem.startswith("[[routes]] number 2 has no credentials, and AURORA_BRIDGE_INGRESS__HOST")
    assert problem.endswith("Add tokens_file or basic_file to it, or allow_anonymous = true.")


@pytest.mark.parametrize("name", ["ROUTES", "ROUTES__0__TEMPLATE", "EVENTS", "EVENTS__LEAD_CREATED__RECURRENCE"])
def test_the_environment_has_no_names_for_them(file: Path, name: str) -> None:
    (problem,) = problems(file, "", **{name: "canary"})
    assert problem.startswith(f"AURORA_BRIDGE_{name}: only the file can set this.")
    assert "canary" not in problem


# Events


def test_an_event_has_these_keys(file: Path) -> None:
    settings = loaded(
        file,
        """
        [events.roof_painted]
        recurrence = "state"
        identifier = "roof_id"
        state_attribute = "colour"
        volatile_attributes = ["painted_at"]
        repeat_window_seconds = 60
        """,
    )
    assert settings.events == {
        "roof_painted": EventSettings(
            recurrence="state",
            identifier="roof_id",
            state_attribute="colour",
            volatile_attributes=("painted_at",),
            repeat_window_seconds=60,
        )
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[events.lead_created]\nrecurrence = "twice"',
            (
                "[events.lead_created] in {file}: invalid recurrence = 'twice'; expected one of once, state, signal. "
                "Correct it or leave it out."
            ),
        ),
        (
            "[events.lead_created]\nrepeat_window = 1",
            (
                "[events.lead_created] in {file}: repeat_window is not one of its keys; did you mean "
                "repeat_window_seconds? Expected one of recurrence, identifier, state_attribute, volatile_attributes, "
                "repeat_window_seconds."
            ),
        ),
        (
            "[events]\nlead_created = 5",
            "events in {file}: invalid 5; expected tables, each below a line [events.NAME]. Correct it or remove it.",
        ),
        (
            '[events."lead created"]\nrecurrence = "once"',
            (
                "events in {file}: invalid 'lead created'; expected tables, each below a line [events.NAME]. Correct "
                "it or remove it."
            ),
        ),
    ],
)
def test_what_is_wrong_with_an_event_is_told_with_its_name_and_key(file: Path, text: str, expected: str) -> None:
    assert problems(file, text) == [expected.replace("{file}", str(file))]


def test_every_key_has_a_docstring() -> None:
    fields = [*RouteSettings.model_fields.items(), *EventSettings.model_fields.items()]
    assert [name for name, field in fields if not field.description] == []
