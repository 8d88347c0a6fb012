"""TLS of the ingress: a real handshake, and a certificate that is renewed while the daemon runs."""

import asyncio
import shutil
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from aurora_bridge.access_log import AccessLog
from aurora_bridge.auto_disable.attempts import Attempts
from aurora_bridge.metrics import Metrics
from aurora_bridge.secret_files import SecretFiles
from aurora_bridge.settings import IngressSettings, SettingsError
from aurora_bridge.web.server import ingress
from aurora_bridge.web.tls import server_context
from tests.support import certificates
from tests.support.certificates import Authority
from tests.support.ports import HOST
from tests.web.serving import PATIENCE, BridgeDouble, ready

pytestmark = pytest.mark.skipif(not certificates.possible(), reason=certificates.INSTALL)

EVERYTHING: Final = "DEFAULT@SECLEVEL=0"
"""Ciphers and digests of all versions of TLS; those of the old ones are switched off by default."""


class Pair:
    """The files that a daemon reads its certificate and key from, and those who sign."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.first, self.second = (self.authority.sign(name, name) for name in ("first", "second"))
        self.metrics = Metrics(events=["lead_changed"])
        self.files = SecretFiles(self.metrics)

    def put(self, certificate: Path, key: Path) -> None:
        """Put other content into the two files."""
        shutil.copy(certificate, self.certificate)
        shutil.copy(key, self.key)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        settings = IngressSettings(port=0, tls_certificate_file=self.certificate, tls_key_file=self.key)
        access_log = AccessLog(self.metrics, Attempts(), log_deliveries=False)
        async with ingress(
            BridgeDouble(), ready, access_log, settings, answer_seconds=1, files=self.files, metrics=self.metrics
        ) as url:
            yield url

    def client(self) -> ssl.SSLContext:
        """Return what a client needs that trusts nobody but the authority."""
        return ssl.create_default_context(cafile=str(self.authority.file))


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def pair(signed: Pair) -> Pair:
    signed.put(signed.first, signed.first)
    signed.metrics = Metrics(events=["lead_changed"])
    signed.files = SecretFiles(signed.metrics)
    return signed


@contextmanager
def connected(url: str, pair: Pair) -> Iterator[HTTPSConnection]:
    """Make a connection that trusts nobody but the authority."""
    client = HTTPSConnection(HOST, urlsplit(url).port, timeout=PATIENCE, context=pair.client())
    try:
        yield client
    finally:
        client.close()


async def whose(client: HTTPSConnection) -> str:
    """Deliver over a connection; return the name in the certificate at its other end."""

    def blocking() -> str:
        if client.sock is None:
            client.connect()
        certificate: Any = client.sock.getpeercert()
        client.request("GET", "/lead_changed?lead_id=1")
        response = client.getresponse()
        assert (response.status, bool(response.read())) == (200, True)
        return str(certificate["subject"][0][0][1])

    async with asyncio.timeout(PATIENCE):
        return await asyncio.to_thread(blocking)


async def whose_now(url: str, pair: Pair) -> str:
    """Return the name in the certificate that a new connection is shown."""
    with connected(url, pair) as client:
        return await whose(client)


async def test_a_client_that_trusts_the_authority_delivers(pair: Pair) -> None:
    async with pair.serving() as url:
        assert url.startswith(f"https://{HOST}:")
        assert await whose_now(url, pair) == "first"


@pytest.mark.proves("Where each secret lives: the key of the ingress's certificate")
async def test_a_renewed_certificate_holds_for_the_next_connection_and_ends_no_other(pair: Pair) -> None:
    async with pair.serving() as url:
        with connected(url, pair) as before:
            assert await whose(before) == "first"
            pair.put(pair.second, pair.second)
            await pair.files.check()
            assert await whose_now(url, pair) == "second"
            assert await whose(before) == "first"
    assert pair.metrics.secret_file_reloads[str(pair.certificate)] == 1


async def test_a_key_that_does_not_fit_leaves_the_pair_before_in_force(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    async with pair.serving() as url:
        pair.put(pair.second, pair.first)
        strip_key(pair.certificate)
        await pair.files.check()
        assert await whose_now(url, pair) == "first"
        assert pair.metrics.secret_file_failing[str(pair.key)] == 1
        assert "matching, unencrypted key" in caplog.text
        pair.put(pair.second, pair.second)
        await pair.files.check()
        assert await whose_now(url, pair) == "second"
    assert pair.metrics.secret_file_failing[str(pair.key)] == 0


def strip_key(file: Path) -> None:
    """Leave nothing but the certificate in a file."""
    file.write_text("-----BEGIN CERTIFICATE" + file.read_text().partition("-----BEGIN CERTIFICATE")[2])


@pytest.mark.parametrize("spoilt", ["certificate", "key"])
async def test_what_is_no_certificate_and_key_stops_the_start_with_both_settings_named(pair: Pair, spoilt: str) -> None:
    getattr(pair, spoilt).write_text("canary\n")
    with pytest.raises(SettingsError) as refused:
        async with pair.serving():
            pass
    (problem,) = refused.value.problems
    for words in (
        str(pair.key),
        "matching, unencrypted key",
        "TLS_CERTIFICATE_FILE",
        "AURORA_BRIDGE_INGRESS__TLS_KEY_FILE",
    ):
        assert words in problem
    assert "canary" not in problem


def of_version(pair: Pair, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Return what a client needs that speaks this version and no other."""
    context = pair.client()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers(EVERYTHING)
    return context


async def speaks(port: int, client: ssl.SSLContext) -> bool:
    """Whether the handshake succeeds."""

    def blocking() -> bool:
        with socket.create_connection((HOST, port), PATIENCE) as connection:
            try:
                secured = client.wrap_socket(connection, server_hostname=HOST)
            except (ConnectionResetError, ssl.SSLError):
                return False
        with secured, suppress(OSError):
            secured.unwrap()
        return True

    return await asyncio.to_thread(blocking)


@pytest.mark.proves("An attacker cannot: speak an old version of TLS")
@pytest.mark.parametrize(
    ("version", "spoken"),
    [
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
async def test_old_versions_of_tls_are_not_spoken(pair: Pair, version: ssl.TLSVersion, *, spoken: bool) -> None:
    async with pair.serving() as url:
        assert await speaks(urlsplit(url).port or 0, of_version(pair, version)) is spoken


@pytest.mark.proves("An attacker cannot: speak an old version of TLS")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_it_is_the_daemons_bound_that_keeps_an_old_version_out(pair: Pair, version: ssl.TLSVersion) -> None:
    """Not the client, nor the ciphers: with the bound lowered, and nothing else changed, the same client comes in."""
    context = server_context(pair.certificate, pair.key, pair.files)
    context.set_ciphers(EVERYTHING)
    server = await asyncio.start_server(lambda _, writer: writer.close(), HOST, 0, ssl=context)
    async with server:
        port, client = server.sockets[0].getsockname()[1], of_version(pair, version)
        assert not await speaks(port, client)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = version
        assert await speaks(port, client)


@pytest.mark.proves("An attacker cannot: speak an old version of TLS")
async def test_plain_http_is_not_spoken_where_tls_is(pair: Pair) -> None:
    async with pair.serving() as url:
        reader, writer = await asyncio.open_connection(HOST, urlsplit(url).port)
        writer.write(b"GET /lead_changed?lead_id=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            assert b"HTTP" not in await reader.read()
        writer.close()
