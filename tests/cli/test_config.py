"""`aurora-bridge config`: says whether the daemon would start, and with which settings."""

import io
import json
import sys
from pathlib import Path

import pytest

from aurora_bridge.settings import Settings, redacted
from tests.cli.in_process import here


def test_right_settings_are_printed_as_json_with_exit_code_0() -> None:
    ended = here("config", tenant="acme")
    assert (ended.returncode, ended.stderr) == (0, "")
    shown = json.loads(ended.stdout)
    del shown["sources"]
    assert shown == redacted(Settings(tenant="acme"))


def test_where_each_value_came_from_is_shown_in_the_same_form(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("a-token\n")
    (tmp_path / "tokens").chmod(0o600)
    file = tmp_path / "bridge.toml"
    file.write_text('tenant = "acme"\n[auth]\ntokens_file = "tokens"\n[admin]\nport = 1\n')
    ended = here("config", "--config", str(file), log__level="INFO", auth__basic_file="")
    shown = json.loads(ended.stdout)
    sources = shown.pop("sources")
    groups = {name: value for name, value in shown.items() if isinstance(value, dict) and name != "events"}
    assert sources.keys() == shown.keys()
    assert {name: sources[name].keys() for name in groups} == {name: group.keys() for name, group in groups.items()}
    assert (sources["tenant"], sources["state_dir"], sources["admin"]["port"]) == ("file", "default", "file")
    assert (sources["log"]["level"], sources["routes"], sources["events"]) == ("environment", "default", "default")
    assert sources["auth"]["tokens_file"] == "secret file (file)"
    assert "a-token" not in ended.stdout


def test_a_variable_that_overrides_the_file_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "bridge.toml"
    file.write_text('tenant = "acme"\n[admin]\nport = 1\nhost = "::1"\n')
    ended = here("config", "--config", str(file), admin__port=2, tenant="other")
    assert ended.returncode == 0
    assert sorted(ended.stderr.splitlines()) == [
        f"warning: AURORA_BRIDGE_{name} in the environment overrides {key} in {file}: a change there has no effect. "
        "Unset the variable, or remove the key."
        for name, key in (("ADMIN__PORT", "admin.port"), ("TENANT", "tenant"))
    ]


def test_equal_ports_are_told_with_exit_code_78() -> None:
    ended = here("config", ingress__port=9090)
    assert (ended.returncode, ended.stdout) == (78, "")
    assert "both are 9090" in ended.stderr


def test_the_file_may_be_named_before_the_command(tmp_path: Path) -> None:
    file, other = tmp_path / "bridge.toml", tmp_path / "other.toml"
    file.write_text('tenant = "before"\n')
    other.write_text('tenant = "behind"\n')
    for words, expected in (
        (["--config", str(file), "config"], "before"),
        (["config", "--config", str(other)], "behind"),
        (["--config", str(file), "config", "--config", str(other)], "behind"),
    ):
        assert json.loads(here(*words).stdout)["tenant"] == expected
    none = ["--config", str(tmp_path / "none.toml")]
    for words in ([*none, "quarantine", "list"], ["quarantine", *none, "list"], ["quarantine", "list", *none]):
        named = here(*words)
        assert (named.returncode, "none.toml" in named.stderr) == (78, True)


def test_the_file_is_taken_into_account(tmp_path: Path) -> None:
    file = tmp_path / "bridge.toml"
    file.write_text("[admin]\nport = 1\n")
    ended = here("config", "--config", str(file))
    assert (ended.returncode, json.loads(ended.stdout)["admin"]["port"]) == (0, 1)


def test_wrong_settings_are_told_line_by_line_on_standard_error_with_exit_code_78() -> None:
    ended = here("config", ingress__port="http", admin__prot="1")
    assert (ended.returncode, ended.stdout) == (78, "")
    unknown, wrong = ended.stderr.splitlines()
    assert "did you mean AURORA_BRIDGE_ADMIN__PORT?" in unknown
    assert "expected a port from 0 to 65535" in wrong


def test_a_missing_file_is_told_with_exit_code_78(tmp_path: Path) -> None:
    ended = here("config", "--config", str(tmp_path / "none.toml"))
    assert (ended.returncode, ended.stdout) == (78, "")
    assert "No such file or directory" in ended.stderr


def test_the_templates_of_routes_are_shown_without_their_secrets_and_doubts_are_warnings(tmp_path: Path) -> None:
    file = tmp_path / "bridge.toml"
    file.write_text('[[routes]]\ntemplate = "/in?token=canary&a=<AGE>"\nevent = "lead_changed"\n')
    ended = here("config", "--config", str(file))
    assert (ended.returncode, json.loads(ended.stdout)["routes"][0]["template"]) == (0, "/in?token=***&a=<AGE>")
    file.write_text('[[subscriptions]]\nevents = ["x"]\nurl_template = "https://h/in?token=canary"\n')
    shown = json.loads(here("config", "--config", str(file)).stdout)
    assert shown["subscriptions"][0]["url_template"] == "https://h/in?token=***"
    assert ended.stderr.startswith("warning: [[routes]] number 1: lead_changed has no attribute age")


def test_a_proxy_before_a_daemon_that_takes_from_anyone_is_a_warning() -> None:
    ended = here("config", ingress__public_url="https://hooks.example.com")
    assert ended.returncode == 0
    assert ended.stderr.startswith("warning: Anyone who reaches the proxy in front can forge events")


def test_routes_that_cannot_be_served_are_told_with_exit_code_78(tmp_path: Path) -> None:
    file = tmp_path / "bridge.toml"
    file.write_text('[[routes]]\ntemplate = "/in?a=<A"\nevent = "lead_changed"\n')
    ended = here("config", "--config", str(file))
    assert (ended.returncode, ended.stdout) == (78, "")
    assert ended.stderr.startswith("[[routes]] number 1: the template '/in?a=<A' cannot be used")


def test_a_certificate_that_cannot_be_used_is_told_with_exit_code_78(tmp_path: Path) -> None:
    file = tmp_path / "tls.pem"
    file.write_text("no certificate\n")
    ended = here("config", ingress__tls_certificate_file=file, ingress__tls_key_file=file)
    assert (ended.returncode, ended.stdout) == (78, "")
    assert "AURORA_BRIDGE_INGRESS__TLS_CERTIFICATE_FILE" in ended.stderr


MANIFEST = """\
---
# Source: aurora-bridge/templates/configmap.yaml
apiVersion: v1
kind: ConfigMap
data:
  aurora-bridge.toml: |
    tenant = "acme"

    [auth]
    tokens_file = "secret/aurora-bridge/tokens"

    [kafka]
    bootstrap_servers = "kafka:9093"
    security_protocol = "SASL_SSL"
    sasl_mechanism = "PLAIN"
    sasl_username = "u"
    sasl_password_file = "secret/kafka/password"
    tls_ca_file = "secret/kafka/ca.crt"

    [ingress]
    tls_certificate_file = "secret/tls/tls.crt"
    tls_key_file = "secret/tls/tls.key"

    [aurora]
    api_token_file = "secret/aurora/api"
    tenant_id = "t"

    [[routes]]
    template = "/leads?id=<LEAD_ID>"
    event = "lead_created"
    tokens_file = "secret/route/tokens"
---
kind: Service
"""


def given(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_what_helm_renders_is_checked_from_standard_input_without_the_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    given(MANIFEST, monkeypatch)
    ended = here("config", "-")
    assert (ended.returncode, ended.stderr) == (0, "")
    shown = json.loads(ended.stdout)
    assert (shown["tenant"], shown["sources"]["tenant"]) == ("acme", "file")
    assert shown["kafka"]["sasl_password_file"] == "secret/kafka/password"  # noqa: S105 - a path


def test_what_is_wrong_in_standard_input_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    given(MANIFEST.replace('sasl_username = "u"', ""), monkeypatch)
    ended = here("config", "-")
    assert (ended.returncode, ended.stdout) == (78, "")
    assert "AURORA_BRIDGE_KAFKA__SASL_USERNAME" in ended.stderr
    given("tenant = 'a b'", monkeypatch)
    ended = here("config", "-")
    assert ended.returncode == 78
    assert "invalid 'a b' (from standard input)" in ended.stderr


@pytest.mark.parametrize("text", ["", "\n"])
def test_standard_input_without_settings_is_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    given(text, monkeypatch)
    ended = here("config", "-")
    assert (ended.returncode, ended.stdout) == (78, "")
    assert ended.stderr == "standard input: empty. Did the command in front of the pipe fail?\n"


def test_the_environment_here_is_not_that_of_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    given('[ingress]\nhost = "0.0.0.0"\n[auth]\ntokens_file = "tokens"\n', monkeypatch)
    ended = here("config", "-", kafka__bootstrap_servers="kafka:9092", admin__prot="1")
    assert (ended.returncode, ended.stdout) == (78, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("AURORA_BRIDGE_KAFKA__BOOTSTRAP_SERVERS")


def test_files_are_looked_at_again_after_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given(MANIFEST, monkeypatch)
    here("config", "-")
    file = tmp_path / "bridge.toml"
    file.write_text('[auth]\ntokens_file = "none"\n')
    ended = here("config", str(file))
    assert (ended.returncode, "tokens_file" in ended.stderr) == (78, True)
