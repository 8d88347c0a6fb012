"""Settings of Kafka's security: one that would be ignored, or a file that cannot be used, is refused at start."""

import importlib.util
import re
from pathlib import Path
from typing import Final

import pytest

from aurora_bridge.settings import Settings, SettingsError, load
from aurora_bridge.settings.files import read_secret
from tests.support import certificates
from tests.support.certificates import Authority

PREFIX: Final = "AURORA_BRIDGE_KAFKA__"
DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "kafka.md"
EXAMPLES: Final = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
MSK: Final = {"security_protocol": "SASL_SSL", "sasl_mechanism": "AWS_MSK_IAM", "aws_region": "us-gov-west-1"}
needs_openssl = pytest.mark.skipif(not certificates.possible(), reason=certificates.INSTALL)


def loaded(**settings: object) -> Settings:
    return load(None, {f"{PREFIX}{name.upper()}": str(value) for name, value in settings.items()})


def problem(**settings: object) -> str:
    with pytest.raises(SettingsError) as refused:
        loaded(**settings)
    (only,) = refused.value.problems
    return only


def test_a_byte_order_mark_is_no_part_of_a_password(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"\xef\xbb\xbfcanary\r\n")
    assert read_secret("kafka.sasl_password_file", file) == "canary"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text("canary")
    return file


def oidc(secret: Path, **settings: object) -> dict[str, object]:
    right = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "OAUTHBEARER",
        "oauth_token_url": "https://login.example.com/token",
        "oauth_client_id": "bridge",
        "oauth_client_secret_file": secret,
        "oauth_scope": "a:read https://b.example/.default",
        "oauth_extensions": "logicalCluster=lkc-1, identityPoolId=pool=1",
    }
    return right | settings


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@needs_openssl
@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_daemon_takes_each_complete_file_of_the_document(example: str, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    authority = Authority(tmp_path)
    certificate = authority.sign("ours", "bridge")
    for name, content in {
        "kafka-ca.pem": authority.file.read_text(),
        "login-ca.pem": authority.file.read_text(),
        "secrets/tls.crt": certificate.read_text(),
        "secrets/tls.key": certificate.with_suffix(".key").read_text(),
        "secrets/kafka-password": "canary",
        "secrets/connection-string": "canary",
        "secrets/oauth-client-secret": "canary",
    }.items():
        (tmp_path / name).write_text(content)
    config = tmp_path / "bridge.toml"
    config.write_text(example)
    assert load(config, {}).kafka.bootstrap_servers in example


def test_the_default_is_what_kafka_itself_has() -> None:
    assert Settings().kafka.security_protocol == "PLAINTEXT"


def test_each_mechanism_is_taken_with_what_it_needs(secret: Path) -> None:
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        loaded(
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism=mechanism,
            sasl_username="bridge",
            sasl_password_file=secret,
        )
    loaded(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_token_file=secret)
    loaded(
        security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_token_file=secret, oauth_extensions="pool=1"
    )
    loaded(**oidc(secret))
    loaded(**MSK)


@needs_openssl
def test_a_certificate_is_taken_with_its_key_in_the_same_file_or_in_another(authority: Authority) -> None:
    both = authority.sign("both", "bridge")
    loaded(security_protocol="SSL", tls_ca_file=authority.file, tls_certificate_file=both)
    loaded(security_protocol="SSL", tls_certificate_file=both, tls_key_file=both.with_suffix(".key"))


def test_relative_paths_start_at_the_file_that_has_them(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    config = tmp_path / "bridge.toml"
    config.write_text(
        '[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_mechanism = "OAUTHBEARER"\nsasl_token_file = "token"\n'
    )
    assert load(config, {}).kafka.sasl_token_file == tmp_path / "token"


@pytest.mark.proves("To Kafka: a security setting that would have no effect is refused")
@pytest.mark.parametrize(
    ("protocol", "setting", "allowed"),
    [
        ("PLAINTEXT", {"sasl_username": "bridge"}, "SASL_SSL or SASL_PLAINTEXT"),
        ("SSL", {"sasl_mechanism": "PLAIN"}, "SASL_SSL or SASL_PLAINTEXT"),
        ("PLAINTEXT", {"tls_check_hostname": "false"}, "SSL or SASL_SSL"),
    ],
)
def test_a_setting_that_the_protocol_would_ignore_is_refused(
    protocol: str, setting: dict[str, str], allowed: str
) -> None:
    (field,) = setting
    expected = (
        f"{PREFIX}SECURITY_PROTOCOL (kafka.security_protocol in the file): {protocol} does not use "
        f"{PREFIX}{field.upper()} (kafka.{field} in the file); expected {allowed}. "
        "Set it to one of these, or remove the settings that it does not use."
    )
    assert problem(security_protocol=protocol, **setting) == expected


def test_sasl_needs_a_mechanism() -> None:
    expected = (
        f"{PREFIX}SASL_MECHANISM (kafka.sasl_mechanism in the file): required with {PREFIX}SECURITY_PROTOCOL="
        "SASL_SSL; expected one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, AWS_MSK_IAM. Set "
        "the one that the brokers' listener accepts."
    )
    assert problem(security_protocol="SASL_SSL") == expected


def test_a_mechanism_without_its_credentials_is_refused() -> None:
    expected = (
        f"{PREFIX}SASL_MECHANISM (kafka.sasl_mechanism in the file): SCRAM-SHA-512 with {PREFIX}SASL_USERNAME; "
        f"expected {PREFIX}SASL_USERNAME (kafka.sasl_username in the file) and {PREFIX}SASL_PASSWORD_FILE "
        "(kafka.sasl_password_file in the file), and nothing that belongs to another mechanism. Set only these."
    )
    given = {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "bridge"}
    assert problem(**given) == expected


def test_a_mechanism_with_the_credentials_of_another_is_refused(secret: Path) -> None:
    given = {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER", "sasl_token_file": secret}
    assert "nothing that belongs to another mechanism" in problem(**given, sasl_username="bridge")


@pytest.mark.parametrize(
    "settings", [{"oauth_client_secret_file": ""}, {"oauth_token_url": ""}, {"sasl_username": "bridge"}]
)
def test_an_identity_provider_takes_all_that_it_needs_and_nothing_of_others(
    secret: Path, settings: dict[str, str]
) -> None:
    said = problem(**oidc(secret, **settings))
    assert said.startswith(f"{PREFIX}SASL_MECHANISM (kafka.sasl_mechanism in the file): OAUTHBEARER with {PREFIX}")
    assert said.endswith(
        f"; expected {PREFIX}SASL_TOKEN_FILE (kafka.sasl_token_file in the file) (and optionally "
        f"{PREFIX}OAUTH_EXTENSIONS), or {PREFIX}OAUTH_TOKEN_URL (kafka.oauth_token_url in the file) and "
        f"{PREFIX}OAUTH_CLIENT_ID (kafka.oauth_client_id in the file) and {PREFIX}OAUTH_CLIENT_SECRET_FILE "
        f"(kafka.oauth_client_secret_file in the file) (and optionally {PREFIX}OAUTH_CLIENT_AUTHENTICATION, "
        f"{PREFIX}OAUTH_SCOPE, {PREFIX}OAUTH_EXTENSIONS, {PREFIX}OAUTH_CA_FILE), and nothing that belongs to another "
        "mechanism. Set only these."
    )


def test_msk_needs_a_region_and_nothing_else() -> None:
    expected = (
        f"{PREFIX}SASL_MECHANISM (kafka.sasl_mechanism in the file): AWS_MSK_IAM with {PREFIX}SASL_USERNAME; "
        f"expected {PREFIX}AWS_REGION (kafka.aws_region in the file), and nothing that belongs to another "
        "mechanism. Set only these."
    )
    assert problem(**(MSK | {"aws_region": "", "sasl_username": "bridge"})) == expected


def test_msk_without_the_library_that_signs_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    expected = (
        f"{PREFIX}SASL_MECHANISM (kafka.sasl_mechanism in the file): the library that signs the tokens of AWS_MSK_IAM "
        "is not installed; without it, expected one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER. "
        "Install it, pip install 'aurora-bridge[msk]' (the image: --build-arg EXTRA=msk), or choose one of the others."
    )
    assert problem(**MSK) == expected


def test_a_region_that_is_none_is_one_readable_line() -> None:
    assert problem(**(MSK | {"aws_region": "Europe"})) == (
        f"{PREFIX}AWS_REGION (kafka.aws_region in the file): invalid 'Europe' (from the environment); expected a "
        "region of AWS, such as eu-west-1. Correct it or leave it out."
    )


def test_extensions_are_pairs_also_as_a_list_in_the_file(secret: Path, tmp_path: Path) -> None:
    assert loaded(**oidc(secret)).kafka.oauth_extensions == ("logicalCluster=lkc-1", "identityPoolId=pool=1")
    config = tmp_path / "bridge.toml"
    config.write_text(
        '[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_mechanism = "OAUTHBEARER"\nsasl_token_file = "secret"\n'
        'oauth_extensions = ["a=1,2", "b=3"]\n'
    )
    assert load(config, {}).kafka.oauth_extensions == ("a=1,2", "b=3")


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("oauth_token_url", "http://login.example.com/token", "an https URL without user, password and query"),
        ("oauth_token_url", "https://login.example.com:70000/token", "an https URL"),
        ("oauth_token_url", "https://login.example.com/token?tenant=x", "an https URL"),
        ("oauth_client_id", "bär", "up to 255 characters of ASCII"),
        ("oauth_client_authentication", "jwt", "one of basic, post"),
        ("oauth_scope", "two  spaces", "one scope, or several with a space between"),
        ("oauth_extensions", "logicalCluster", "NAME=VALUE, each name of letters, once and not auth"),
        ("oauth_extensions", "a=1,a=2", "NAME=VALUE"),
        ("oauth_extensions", "auth=1", "NAME=VALUE"),
        ("oauth_extensions", "a_b=1", "NAME=VALUE"),
        ("oauth_ca_file", "/dev/nowhere", "the path of a file that exists"),
    ],
)
def test_a_wrong_value_of_the_identity_provider_is_one_readable_line(
    secret: Path, field: str, value: str, allowed: str
) -> None:
    said = problem(**oidc(secret, **{field: value}))
    assert said.startswith(
        f"{PREFIX}{field.upper()} (kafka.{field} in the file): invalid '{value}' (from the environment); "
    )
    assert f"expected {allowed}" in said


def test_a_url_with_a_password_in_it_is_refused_and_not_quoted(secret: Path) -> None:
    said = problem(**oidc(secret, oauth_token_url="https://user:canary@login.example.com/token"))  # noqa: S106
    assert "***@login.example.com/token" in said
    assert "canary" not in said
    said = problem(**oidc(secret, oauth_token_url="https://login.example.com/token?client_secret=canary"))  # noqa: S106
    assert "invalid 'https://login.example.com/token?client_secret=***' (from " in said


def test_a_client_secret_without_a_line_is_refused_and_not_quoted(secret: Path) -> None:
    secret.write_text("canary\nsecond")
    expected = (
        f"{PREFIX}OAUTH_CLIENT_SECRET_FILE (kafka.oauth_client_secret_file in the file): cannot use '{secret}': it "
        "has more than one line; expected a file with the client's secret on one line, in UTF-8. Fix the file or the "
        "path."
    )
    assert problem(**oidc(secret)) == expected


def test_authorities_of_the_identity_provider_that_are_none_are_refused(secret: Path) -> None:
    said = problem(**oidc(secret, oauth_ca_file=secret))
    assert said.startswith(f"{PREFIX}OAUTH_CA_FILE (kafka.oauth_ca_file in the file): cannot use '{secret}': OpenSSL")


@needs_openssl
def test_a_key_without_a_certificate_is_refused(authority: Authority) -> None:
    key = authority.sign("ours", "bridge").with_suffix(".key")
    expected = (
        f"{PREFIX}TLS_KEY_FILE (kafka.tls_key_file in the file): '{key}' without a certificate; expected both. "
        f"Set {PREFIX}TLS_CERTIFICATE_FILE (kafka.tls_certificate_file in the file), or remove the key."
    )
    assert problem(security_protocol="SSL", tls_key_file=key) == expected


@pytest.mark.proves("No secret comes out: not in a message about a file")
@pytest.mark.parametrize(
    ("content", "why"), [(b"", "it is empty"), (b"a\nb", "it has more than one line"), (b"\xff", "it is not UTF-8")]
)
def test_a_password_file_without_a_password_is_refused_and_not_quoted(secret: Path, content: bytes, why: str) -> None:
    secret.write_bytes(content)
    expected = (
        f"{PREFIX}SASL_PASSWORD_FILE (kafka.sasl_password_file in the file): cannot use '{secret}': {why}; expected a "
        "file with the password on one line, in UTF-8. Fix the file or the path."
    )
    given = {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "bridge"}
    assert problem(**given, sasl_password_file=secret) == expected


@pytest.mark.parametrize(
    ("field", "allowed"),
    [
        ("tls_ca_file", "a file with certificates in PEM"),
        ("tls_certificate_file", "a file with a certificate in PEM, and its private key without a password"),
    ],
)
def test_what_is_no_certificate_is_refused(secret: Path, field: str, allowed: str) -> None:
    said = problem(security_protocol="SSL", **{field: secret})
    assert said.startswith(
        f"{PREFIX}{field.upper()} (kafka.{field} in the file): cannot use '{secret}': OpenSSL cannot"
    )
    assert allowed in said
    assert "canary" not in said


@needs_openssl
def test_a_key_that_is_not_the_certificates_is_refused(authority: Authority) -> None:
    certificate, other = authority.sign("ours", "bridge"), authority.sign("other", "bridge")
    said = problem(security_protocol="SSL", tls_certificate_file=certificate, tls_key_file=other)
    assert "OpenSSL cannot use it (key values mismatch)" in said
