"""Obtains tokens from an identity provider, by OAuth 2.0 client credentials (RFC 6749, section 4.4).

Requests are usually minutes apart, so each uses a new connection. Redirects are not followed, since the secret would go
along. Of what the endpoint sends, only the status and the RFC's error codes are ever reported. No aiohttp error is
passed on: some contain the request's headers, with the secret.
"""

import asyncio
import base64
from collections.abc import Callable
from ssl import SSLContext
from typing import Any, Final
from urllib.parse import quote_plus

import aiohttp
import orjson
from aiokafka.errors import KafkaError

from aurora_bridge.kafka.tokens import Token, TokenError
from aurora_bridge.settings import KafkaSettings

FAILED: Final = "token_endpoint_failed"
REFUSED: Final = "token_client_refused"
"""Keys of `reasons.REASONS`."""

_SECONDS = 5.0
_MOST_BYTES = 65_536
"""Limit of a response; a token has a few thousand."""
_OK = 200
_REFUSALS = frozenset({400, 401, 403})
# RFC 6749, section 5.2
_CODES = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    }
)
_DEFAULT_SECONDS = 300.0
"""Assumed lifetime of a token if the response has no `expires_in`, which the RFC only recommends."""
_TOKEN_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=")  # RFC 6750, 2.1

Credentials = Callable[[], tuple[str, SSLContext]]
"""Returns the current client secret and TLS context for the endpoint. Raises `KafkaError`."""


class ClientCredentials:
    """A client of the token endpoint."""

    def __init__(self, settings: KafkaSettings, credentials: Credentials) -> None:
        self._settings = settings
        self._credentials = credentials
        self._about = settings.oauth_token_url

    async def obtain(self) -> Token:
        """Return a new token within 5 s. Raises `KafkaError`, mostly `TokenError`."""
        try:
            return self._token(*await self._post(*self._credentials()))
        except KafkaError:
            raise
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            why = _words(error)
        except Exception as error:  # noqa: BLE001 - it would end aiokafka's metadata task
            why = f"unexpected {type(error).__name__}"
        raise TokenError(FAILED, self._about, why)

    async def _post(self, secret: str, tls: SSLContext) -> tuple[int, bytes]:
        settings = self._settings
        form = {"grant_type": "client_credentials"}
        headers = {"Accept": "application/json"}
        if settings.oauth_scope:
            form["scope"] = settings.oauth_scope
        if settings.oauth_client_authentication == "post":
            form |= {"client_id": settings.oauth_client_id, "client_secret": secret}
        else:  # RFC 6749, section 2.3.1: both parts are encoded as in a form
            pair = f"{quote_plus(settings.oauth_client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(
                settings.oauth_token_url, data=form, headers=headers, ssl=tls, allow_redirects=False
            ) as response,
        ):
            try:
                return response.status, await response.content.readexactly(_MOST_BYTES)
            except asyncio.IncompleteReadError as end:
                return response.status, end.partial

    def _token(self, status: int, body: bytes) -> Token:
        answer = _document(body)
        if status in _REFUSALS:
            code = str(answer.get("error"))
            raise TokenError(REFUSED, self._about, f"it answered {status}{f' {code}' if code in _CODES else ''}")
        if status != _OK:
            raise TokenError(FAILED, self._about, f"it answered {status}")
        value = answer.get("access_token")
        if not isinstance(value, str) or not value or not _TOKEN_CHARACTERS.issuperset(value):
            raise TokenError(FAILED, self._about, "its response has no access_token")
        return Token(value, _seconds(answer.get("expires_in")))


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _seconds(expires_in: object) -> float:
    try:
        seconds = float(expires_in)  # type: ignore[arg-type]  # some send it as a string
    except (TypeError, ValueError):
        return _DEFAULT_SECONDS
    return seconds if 0 < seconds < float("inf") else _DEFAULT_SECONDS


def _words(error: Exception) -> str:
    match error:
        case TimeoutError():
            return f"no answer within {_SECONDS:g} s"
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not accepted ({getattr(error.certificate_error, 'verify_message', 'TLS')})"
        case aiohttp.ClientConnectorDNSError():
            return "its host name cannot be resolved"
        case aiohttp.ClientConnectorError():
            return f"no connection ({error.os_error.strerror or type(error.os_error).__name__})"
        case _:
            return f"no connection ({type(error).__name__})"
