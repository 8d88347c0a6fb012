"""`aurora-bridge config`: says whether the daemon would start, and with which settings."""

import json
from pathlib import Path

from aurora_bridge.settings import Settings, redacted
from tests.cli.here import here


def test_right_settings_are_printed_as_json_with_exit_code_0() -> None:
    ended = here("config", tenant="acme")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout) == redacted(Settings(tenant="acme"))


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
    assert "allowed is a port from 0 to 65535" in wrong


def test_a_missing_file_is_told_with_exit_code_78(tmp_path: Path) -> None:
    ended = here("config", "--config", str(tmp_path / "none.toml"))
    assert (ended.returncode, ended.stdout) == (78, "")
    assert "No such file or directory" in ended.stderr


def test_the_templates_of_routes_are_shown_without_their_secrets_and_doubts_are_warnings(tmp_path: Path) -> None:
    file = tmp_path / "bridge.toml"
    file.write_text('[[routes]]\ntemplate = "/in?token=canary&a=<AGE>"\nevent = "lead_changed"\n')
    ended = here("config", "--config", str(file))
    assert (ended.returncode, json.loads(ended.stdout)["routes"][0]["template"]) == (0, "/in?token=***&a=<AGE>")
    assert ended.stderr.startswith("warning: [[routes]] number 1: lead_changed has no attribute age")


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
