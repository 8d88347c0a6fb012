"""Tokens come from a token endpoint over TLS; what it gets and gives is told to nobody but the broker."""

import asyncio
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from ssl import create_default_context
from typing import Any

import pytest
from aiohttp import web

from aurora_bridge.kafka import oidc
from aurora_bridge.kafka.oidc import ClientCredentials
from aurora_bridge.kafka.security import Security
from aurora_bridge.kafka.tokens import Token, TokenError, TokenSource
from aurora_bridge.settings import KafkaSettings
from tests.support import certificates
from tests.support.certificates import Authority
from tests.support.identity import CLIENT, SCOPE, SECRET, Answer, IdentityProvider
from tests.support.missing import unavailable
from tests.support.ports import HOST, free_ports

Made = Callable[..., Security]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if not certificates.possible():
        unavailable(certificates.INSTALL)
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def identity(authority: Authority) -> Iterator[IdentityProvider]:
    with IdentityProvider(authority.sign("identity", "identity"), "bridge") as provider:
        yield provider


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    write(file, SECRET)
    return file


@pytest.fixture
def told() -> list[str]:
    """What was told of each attempt."""
    return []


@pytest.fixture
def made(identity: IdentityProvider, authority: Authority, secret: Path, told: list[str]) -> Made:
    def make(**settings: Any) -> Security:  # noqa: ANN401 - any setting
        usual = {
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "OAUTHBEARER",
            "oauth_token_url": identity.token_url,
            "oauth_client_id": CLIENT,
            "oauth_client_secret_file": secret,
            "oauth_ca_file": authority.file,
        }
        return Security(
            KafkaSettings.model_validate(usual | settings), on_token=lambda error: told.append(str(error or ""))
        )

    return make


def write(file: Path, text: str) -> None:
    file.write_text(text)


def source_of(security: Security) -> TokenSource:
    source: TokenSource = security.options()["sasl_oauth_token_provider"]
    return source


async def refusal(security: Security) -> TokenError:
    with pytest.raises(TokenError) as refused:
        await source_of(security).token()
    return refused.value


async def test_the_client_is_authenticated_by_http_basic_whose_parts_are_encoded(
    identity: IdentityProvider, made: Made
) -> None:
    token = await source_of(made()).token()
    assert [token] == identity.given
    (asked,) = identity.asked
    assert (asked.basic, asked.form) == ((CLIENT, SECRET), {"grant_type": "client_credentials"})


async def test_the_secret_is_posted_where_the_endpoint_wants_that(identity: IdentityProvider, made: Made) -> None:
    await source_of(made(oauth_client_authentication="post")).token()
    (asked,) = identity.asked
    assert asked.basic is None
    assert asked.form == {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}


async def test_the_scope_is_asked_for(identity: IdentityProvider, made: Made) -> None:
    await source_of(made(oauth_scope=SCOPE)).token()
    assert identity.asked[0].form["scope"] == SCOPE


async def test_all_connections_share_one_token_and_have_the_extensions_beside_it(
    identity: IdentityProvider, made: Made
) -> None:
    security = made(oauth_extensions=("logicalCluster=lkc-1", "identityPoolId=pool=1"))
    sources = [source_of(security) for _ in range(3)]
    tokens = await asyncio.gather(*(source.token() for source in sources))
    assert set(tokens) == set(identity.given)
    assert [len(identity.asked), sources[0].extensions()] == [
        1,
        {"logicalCluster": "lkc-1", "identityPoolId": "pool=1"},
    ]


@pytest.mark.proves("Where each secret lives: the client secret for Kafka's identity provider")
async def test_the_client_secret_is_read_again_and_a_fixed_one_is_tried_at_once(
    identity: IdentityProvider, made: Made, secret: Path, told: list[str]
) -> None:
    write(secret, "wrong-canary")
    security = made()
    error = await refusal(security)
    assert (error.reason, error.about) == ("token_client_refused", identity.token_url)
    assert error.why == "it answered 401 invalid_client"
    write(secret, SECRET)
    assert await source_of(security).token() == identity.given[0]
    assert told == [str(error), ""]


async def test_a_broken_secret_file_leaves_the_last_good_secret_in_force(
    identity: IdentityProvider, made: Made, secret: Path
) -> None:
    security = made()
    source = source_of(security)
    write(secret, "")
    assert await source.token() == identity.given[0]


async def test_a_scope_that_is_not_given_is_told(made: Made) -> None:
    error = await refusal(made(oauth_scope="all"))
    assert (error.reason, error.why) == ("token_client_refused", "it answered 400 invalid_scope")


async def moved() -> web.Response:
    return web.Response(status=307, headers={"Location": "https://elsewhere.example/"})


async def away() -> web.Response:
    return web.json_response({"error": "invalid_client"}, status=503)


async def echo() -> web.Response:
    return web.json_response({"error": SECRET}, status=403)


async def nested() -> web.Response:
    return web.json_response({"error": {"code": 400, "message": SECRET}}, status=400)


async def page() -> web.Response:
    return web.Response(text=f"<html>{SECRET}", content_type="text/html")


async def listed() -> web.Response:
    return web.json_response([SECRET])


async def injected() -> web.Response:
    return web.json_response({"access_token": "a\x01host=elsewhere"})


async def numbered() -> web.Response:
    return web.json_response({"access_token": 7})


async def endless() -> web.Response:
    return web.Response(text=f'{{"access_token": "{"a" * 70_000}"}}', content_type="application/json")


@pytest.mark.proves("Where each secret lives: the client secret for Kafka's identity provider")
@pytest.mark.parametrize(
    ("answer", "reason", "why"),
    [
        (moved, "token_endpoint_failed", "it answered 307"),
        (away, "token_endpoint_failed", "it answered 503"),
        (echo, "token_client_refused", "it answered 403"),
        (nested, "token_client_refused", "it answered 400"),
        (page, "token_endpoint_failed", "its response has no access_token"),
        (listed, "token_endpoint_failed", "its response has no access_token"),
        (injected, "token_endpoint_failed", "its response has no access_token"),
        (numbered, "token_endpoint_failed", "its response has no access_token"),
        (endless, "token_endpoint_failed", "its response has no access_token"),
    ],
)
async def test_what_is_no_token_is_told_and_not_repeated(
    identity: IdentityProvider,
    made: Made,
    answer: Answer,
    reason: str,
    why: str,
) -> None:
    identity.answer = answer
    error = await refusal(made())
    assert (error.reason, error.why) == (reason, why)
    assert len(identity.asked) == 1


@pytest.mark.parametrize(
    ("expires_in", "seconds"), [(60, 60), ("3599", 3599), (None, 300), (-1, 300), ("soon", 300), ([1], 300)]
)
async def test_a_token_lasts_as_long_as_its_answer_says(
    identity: IdentityProvider, authority: Authority, expires_in: object, seconds: float
) -> None:
    async def answer() -> web.Response:
        return web.json_response({"access_token": "a.b.c", "expires_in": expires_in})

    identity.answer = answer
    settings = KafkaSettings(oauth_token_url=identity.token_url, oauth_client_id=CLIENT)
    client = ClientCredentials(settings, lambda: (SECRET, create_default_context(cafile=authority.file)))
    assert await client.obtain() == Token("a.b.c", seconds)


async def test_an_endpoint_that_is_away_is_told(made: Made) -> None:
    (port,) = free_ports(1)
    error = await refusal(made(oauth_token_url=f"https://{HOST}:{port}/token"))
    assert error.reason == "token_endpoint_failed"
    assert error.why.startswith("no connection (")


async def test_an_endpoint_that_does_not_answer_is_told_and_its_connection_closed(
    identity: IdentityProvider, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = threading.Event()

    async def never() -> web.Response:
        try:
            return await asyncio.Future()
        finally:
            gone.set()

    identity.answer = never
    monkeypatch.setattr(oidc, "_SECONDS", 0.2)
    assert (await refusal(made())).why == "no answer within 0.2 s"
    assert await asyncio.to_thread(gone.wait, 30)


@pytest.mark.proves("Where each secret lives: the client secret for Kafka's identity provider")
async def test_an_endpoint_with_a_certificate_of_a_stranger_never_sees_the_secret_until_it_is_trusted(
    identity: IdentityProvider, authority: Authority, made: Made, tmp_path: Path
) -> None:
    trusted = Authority(tmp_path, "another").file
    security = made(oauth_ca_file=trusted)
    error = await refusal(security)
    assert error.reason == "token_endpoint_failed"
    assert error.why.startswith("its certificate is not accepted (")
    assert identity.asked == []
    trusted.write_bytes(authority.file.read_bytes())
    assert await source_of(security).token() == identity.given[0]


async def test_whatever_goes_wrong_is_an_error_that_says_nothing_of_the_secret(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(oidc.ClientCredentials, "_post", broken)
    error = await refusal(made())
    assert error.why == "unexpected RuntimeError"
    assert SECRET not in "".join(traceback.format_exception(error))
