"""What a connection takes comes from the files as they are then; a broken one leaves the last good content in force."""

import asyncio
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aurora_bridge.kafka.security import Security, UnusableFileError
from aurora_bridge.settings import KafkaSettings
from tests.support import certificates
from tests.support.certificates import Authority
from tests.support.ports import HOST

needs_openssl = pytest.mark.skipif(not certificates.possible(), reason=certificates.INSTALL)


def password_of(security: Security) -> object:
    return security.options()["sasl_plain_password"]


def scram(file: Path) -> KafkaSettings:
    return KafkaSettings(
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="bridge",
        sasl_password_file=file,
    )


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("first\n")
    return file


def test_without_settings_a_connection_is_plain() -> None:
    options = Security(KafkaSettings()).options()
    assert (options["security_protocol"], options["sasl_mechanism"]) == ("PLAINTEXT", None)


def test_a_connection_has_the_password_that_its_file_has_then(password: Path) -> None:
    security = Security(scram(password))
    assert password_of(security) == "first"
    password.write_text("second")
    assert password_of(security) == "second"
    assert security.options()["sasl_plain_username"] == "bridge"


def test_of_a_password_only_the_end_of_the_line_is_left_out(password: Path) -> None:
    password.write_text(" with spaces: and ü \r\n")
    assert password_of(Security(scram(password))) == " with spaces: and ü "


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"canary\nsecond line", "it has more than one line"),
        (b"\xff\xfe", "it is not UTF-8"),
        (None, "it cannot be read (No such file or directory)"),
    ],
)
def test_a_broken_file_leaves_the_last_good_content_in_force_until_it_is_fixed(
    password: Path, content: bytes | None, why: str
) -> None:
    told: list[list[str]] = []
    security = Security(scram(password), told.append)
    security.options()
    password.unlink()
    if content is not None:
        password.write_bytes(content)
    assert password_of(security) == "first"
    password.write_text("fixed")
    assert password_of(security) == "fixed"
    assert told == [[], [f"{password}: {why}"], []]


@pytest.mark.proves("No secret comes out: not in a message about a file")
def test_a_file_that_never_was_good_is_named_without_its_content(password: Path) -> None:
    password.write_text("canary\nsecond line")
    with pytest.raises(UnusableFileError) as refused:
        Security(scram(password)).options()
    assert str(password) in str(refused.value)
    assert "canary" not in repr(refused.value)


@pytest.mark.proves("No secret comes out: not in the repr of what keeps credentials")
async def test_a_connection_has_the_token_that_its_file_has_then(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a.b.c\n")
    security = Security(
        KafkaSettings(security_protocol="SASL_PLAINTEXT", sasl_mechanism="OAUTHBEARER", sasl_token_file=file)
    )
    first = security.options()["sasl_oauth_token_provider"]
    file.write_text("d.e.f\n")
    second = security.options()["sasl_oauth_token_provider"]
    assert (await first.token(), await second.token()) == ("a.b.c", "d.e.f")
    assert "a.b.c" not in repr(first)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def tls(authority: Authority, **settings: Any) -> Security:  # noqa: ANN401 - any setting
    return Security(tls_settings(authority, **settings))


def tls_settings(authority: Authority, **settings: Any) -> KafkaSettings:  # noqa: ANN401 - any setting
    return KafkaSettings(security_protocol="SSL", tls_ca_file=authority.file, **settings)


def trusted(context: ssl.SSLContext) -> list[object]:
    return [certificate["subject"] for certificate in context.get_ca_certs()]


def subject(name: str) -> object:
    return ((("commonName", name),),)


@needs_openssl
def test_the_context_is_recreated_only_when_one_of_its_files_has_changed(authority: Authority, tmp_path: Path) -> None:
    security = tls(authority)
    first = security.options()["ssl_context"]
    assert security.options()["ssl_context"] is first
    authority.file.write_bytes(Authority(tmp_path, "another").file.read_bytes())
    second = security.options()["ssl_context"]
    assert (trusted(first), trusted(second)) == ([subject("test-ca")], [subject("another")])


@pytest.mark.proves("Where each secret lives: the key of Kafka's client certificate")
@needs_openssl
@pytest.mark.parametrize("renewed", ["tls_certificate_file", "tls_key_file"])
def test_the_next_connection_has_a_renewed_certificate_and_a_renewed_key(authority: Authority, renewed: str) -> None:
    certificate = authority.sign("ours", "bridge")
    files = {"tls_certificate_file": certificate, "tls_key_file": certificate.with_suffix(".key")}
    security = tls(authority, **files)
    first = security.options()["ssl_context"]
    files[renewed].write_text(files[renewed].read_text() + "\n")
    second = security.options()["ssl_context"]
    assert (second is first, security.options()["ssl_context"] is second) == (False, True)


@needs_openssl
def test_a_certificate_that_is_swapped_for_a_broken_one_leaves_the_last_good_one_in_force(
    authority: Authority,
) -> None:
    certificate = authority.sign("ours", "bridge")
    told: list[list[str]] = []
    security = Security(tls_settings(authority, tls_certificate_file=certificate), told.append)
    first = security.options()["ssl_context"]
    certificate.write_text("no certificate")
    assert security.options()["ssl_context"] is first
    assert told == [[], [f"{certificate}: OpenSSL cannot use it (not PEM)"]]


async def refusal(security: Security, certificate: Path) -> str:
    """Return why a listener with this certificate, at a broker's address, is not talked to; nothing if it is."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(lambda _, writer: writer.close(), HOST, 0, ssl=context)
    async with server, asyncio.timeout(30):
        port = server.sockets[0].getsockname()[1]
        try:
            _, writer = await asyncio.open_connection(HOST, port, ssl=security.options()["ssl_context"])
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        writer.close()
        return ""


@pytest.mark.proves("To Kafka: a broker whose certificate is for another host gets nothing")
@needs_openssl
@pytest.mark.parametrize("check", [True, False])
async def test_a_broker_with_the_certificate_of_another_host_is_refused_unless_the_settings_say_otherwise(
    authority: Authority, *, check: bool
) -> None:
    security = tls(authority, tls_check_hostname=check)
    assert await refusal(security, authority.sign("broker", "broker")) == ""
    said = await refusal(security, authority.sign("stranger", "broker", ["DNS:other.example"]))
    assert said.startswith("IP address mismatch") if check else not said


@pytest.mark.proves("To Kafka: a TLS broker gets nothing unless a trusted CA signed its certificate")
@needs_openssl
@pytest.mark.parametrize("check", [True, False])
async def test_a_broker_whose_certificate_no_authority_of_ours_signed_is_refused_whatever_the_settings_say(
    authority: Authority, tmp_path: Path, *, check: bool
) -> None:
    another = Authority(tmp_path, "another").sign("broker", "broker")
    assert "unable to get local issuer" in await refusal(tls(authority, tls_check_hostname=check), another)


@needs_openssl
def test_a_key_with_a_password_is_an_error_and_asks_nobody(authority: Authority, tmp_path: Path) -> None:
    certificate = authority.sign("ours", "bridge")
    key = tmp_path / "encrypted.key"
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", certificate, "-out", key, "-passout", "pass:secret"], check=True
    )
    with pytest.raises(UnusableFileError, match="OpenSSL cannot use it"):
        tls(authority, tls_certificate_file=certificate, tls_key_file=key).options()


def test_without_a_file_of_authorities_those_of_the_system_count() -> None:
    context = Security(KafkaSettings(security_protocol="SSL")).options()["ssl_context"]
    assert trusted(context) == trusted(ssl.create_default_context())
