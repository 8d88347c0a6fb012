"""Settings of Aurora's API: what belongs together is set together, and the key goes over TLS alone."""

from pathlib import Path

import pytest

from aurora_bridge.settings import SettingsError, load

PREFIX = "AURORA_BRIDGE_AURORA__"


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "api-token"
    file.write_text("canary\n")
    return file


def problem(**settings: object) -> str:
    with pytest.raises(SettingsError) as refused:
        load(None, {f"{PREFIX}{name.upper()}": str(value) for name, value in settings.items()})
    (only,) = refused.value.problems
    return only


@pytest.mark.parametrize("owner", ["tenant_id", "partner_application_id"])
def test_a_key_and_one_owner_are_enough(token: Path, owner: str, tmp_path: Path) -> None:
    config = tmp_path / "bridge.toml"
    config.write_text(f'[aurora]\napi_token_file = "{token.name}"\n{owner} = "0f5c-1"\n')
    aurora = load(config, {}).aurora
    assert (aurora.api_url, aurora.api_token_file) == ("https://api.aurorasolar.com", token)


def test_both_owners_are_refused(token: Path) -> None:
    words = problem(api_token_file=token, tenant_id="t", partner_application_id="p")
    assert words == (
        f"{PREFIX}TENANT_ID (aurora.tenant_id in the file) and {PREFIX}PARTNER_APPLICATION_ID "
        "(aurora.partner_application_id in the file): both are set; expected one of the two. Remove the other."
    )


def test_an_owner_without_a_key_and_a_key_without_an_owner_are_refused(token: Path) -> None:
    assert "TENANT_ID (aurora.tenant_id in the file): requires" in problem(tenant_id="t")
    assert "in the file): requires" in problem(partner_application_id="p")
    assert "API_TOKEN_FILE (aurora.api_token_file in the file): requires" in problem(api_token_file=token)


@pytest.mark.proves("Where each secret lives: the key of Aurora's API")
def test_the_key_goes_in_plain_text_over_loopback_alone(token: Path) -> None:
    words = problem(api_token_file=token, tenant_id="t", api_url="http://aurora.example.com")
    assert "plain http is allowed on loopback only" in words
    for url in ("http://127.0.0.1:8000/", "http://[::1]:8000", "http://localhost"):
        aurora = {"API_URL": url, "API_TOKEN_FILE": str(token), "TENANT_ID": "t"}
        assert load(None, {PREFIX + name: value for name, value in aurora.items()}).aurora.api_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url", ["", "api.aurorasolar.com", "ftp://h", "https://u:canary@h", "https://h/?a=b", "https://h:x"]
)
def test_what_is_no_url_of_an_api_is_refused(url: str) -> None:
    assert "expected an https URL without user, password and query" in problem(api_url=url)


@pytest.mark.parametrize("owner", ["../x", "a/b", ".", "a b"])
def test_an_owner_cannot_change_the_path(token: Path, owner: str) -> None:
    assert "expected an id of Aurora's" in problem(api_token_file=token, tenant_id=owner)


@pytest.mark.parametrize(("content", "why"), [("", "it is empty"), ("a\nb", "it has more than one line")])
def test_a_file_that_holds_no_key_is_refused(token: Path, content: str, why: str) -> None:
    token.write_text(content)
    assert f"cannot use {str(token)!r}: {why}" in problem(api_token_file=token, tenant_id="t")


def test_a_key_in_the_environment_is_refused_and_not_printed() -> None:
    words = problem(api_token="canary")  # noqa: S106 - it is what must not be set
    assert f"did you mean {PREFIX}API_TOKEN_FILE?" in words
    assert "canary" not in words
