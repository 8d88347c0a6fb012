"""Calls Aurora's API for the subscriptions of a tenant or of a partner application.

The paths, the fields to send, the limit of 90 requests a minute and the form of errors are documented, or known from
integrators; everything else is parsed leniently (`responses`, `subscription`).

No redirect is followed, since the token would be sent along. No exception contains a secret: aiohttp's, which carry the
request's headers, are not passed on.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from time import monotonic
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

import aiohttp
import orjson

from aurora_bridge.aurora.errors import ApiReason, AuroraError
from aurora_bridge.aurora.responses import MALFORMED_LINK, read_messages, read_page
from aurora_bridge.aurora.subscription import Subscription
from aurora_bridge.redaction import HIDDEN
from aurora_bridge.routing import secret_names
from aurora_bridge.settings import Settings
from aurora_bridge.settings.files import FileError, read_secret
from aurora_bridge.settings.names import variable

REQUEST_SECONDS: Final = 30.0
"""Timeout of a whole response; Aurora documents none."""
REQUESTS_A_MINUTE: Final = 80
"""Below the documented 90 per key, so that others with the same key are not locked out."""
PATIENCE_SECONDS: Final = 300.0
"""How long one call waits for the rate limit in total."""
_USUAL_WAIT_SECONDS: Final = 10.0
"""Wait after a 429 without `Retry-After`."""
_LONGEST_WAIT_SECONDS: Final = 120.0
"""Longest `Retry-After` that is honoured: the limit is per minute."""
_MOST_BYTES: Final = 8 * 2**20
"""Limit of one response, and of all pages of a list: 5 subscriptions for every event take some 200 kB."""
_MOST_PAGES: Final = 50
_INVALID: Final = (ApiReason.INVALID, "Aurora refuses it")
_MEANINGS: Final[Mapping[int, tuple[ApiReason, str]]] = MappingProxyType(
    {
        400: _INVALID,
        401: (ApiReason.UNAUTHORIZED, "Aurora does not accept the API key"),
        403: (ApiReason.NOT_PROVISIONED, "the API key is not provisioned for this call"),
        404: (ApiReason.NOT_FOUND, "Aurora does not know it"),
        409: _INVALID,
        422: _INVALID,
        429: (ApiReason.RATE_LIMITED, "too many requests for this API key"),
    }
)
_SECRETS: Final = ("header_auth_value", "basic_auth_password")

Wait = Callable[[float], None]
Sleep = Callable[[float], Awaitable[object]]


class _Response(NamedTuple):
    status: int
    body: bytes
    retry_after: str
    link: str | None
    """URL of the list's next page, from the header `Link` (RFC 8288)."""


def _ignore(_: float) -> None:
    pass


@asynccontextmanager
async def connected(
    settings: Settings, *, patience_seconds: float = PATIENCE_SECONDS, on_wait: Wait = _ignore
) -> AsyncIterator["AuroraClient"]:
    """Yield a client with its own connections, which are closed on exit; see `AuroraClient`."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield AuroraClient(settings, session, patience_seconds=patience_seconds, on_wait=on_wait)


class AuroraClient:
    """The API for the tenant, or the partner application, of `settings.aurora`. Every call raises `AuroraError`."""

    def __init__(  # noqa: PLR0913 - time is a parameter
        self,
        settings: Settings,
        session: aiohttp.ClientSession,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        on_wait: Wait = _ignore,
        request_seconds: float = REQUEST_SECONDS,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Let a call wait up to `patience_seconds` for the rate limit; `on_wait` gets the seconds before each wait."""
        aurora = settings.aurora
        self._token_file = aurora.api_token_file
        of_partner = bool(aurora.partner_application_id)
        owner = quote(aurora.partner_application_id or aurora.tenant_id, safe="")
        self._path = f"/{'partner_applications' if of_partner else 'tenants'}/{owner}/webhooks"
        self._wrapper = "partner_application_webhook" if of_partner else "webhook"
        self._api_url = aurora.api_url
        self._secret_names = secret_names(settings)
        self._session = session
        self._patience_seconds = patience_seconds
        self._on_wait = on_wait
        self._timeout = aiohttp.ClientTimeout(total=request_seconds)
        self._sleep = sleep
        self._clock = clock
        self._sent: deque[float] = deque(maxlen=REQUESTS_A_MINUTE)
        """When the last requests were sent, by `clock`."""

    async def list(self) -> Sequence[Subscription]:
        """Return every subscription, in Aurora's order."""
        call = f"GET {self._path}"
        found: dict[str, Subscription] = {}
        url: str | None = self._api_url + self._path
        seen, size = set[str](), 0
        while url is not None:
            if url in seen or len(seen) >= _MOST_PAGES or size > _MOST_BYTES:
                raise AuroraError(ApiReason.INCOMPLETE, call, f"the list does not end after {len(seen)} pages")
            response = await self._call(call, url)
            page = read_page(response.body, call, url, response.link)
            found |= {one.id: one for one in page.subscriptions}
            seen.add(url)
            size += len(response.body)
            url = page.next_url
        if page.total > len(found):
            raise AuroraError(ApiReason.INCOMPLETE, call, f"{len(found)} of {page.total} subscriptions came")
        return tuple(found.values())

    async def create(self, fields: Mapping[str, object]) -> None:
        """Create a subscription from these fields of the API."""
        await self._change(f"POST {self._path}", fields)

    async def update(self, subscription_id: str, fields: Mapping[str, object]) -> None:
        """Change these fields of a subscription.

        With PUT and a partial body, which is documented for partner applications and inferred for tenants; with PATCH
        if Aurora answers 405.
        """
        path = f"{self._path}/{quote(subscription_id, safe='')}"
        try:
            await self._change(f"PUT {path}", fields)
        except AuroraError as error:
            if error.status != 405:  # noqa: PLR2004 - method not allowed
                raise
            await self._change(f"PATCH {path}", fields)

    async def delete(self, subscription_id: str) -> None:
        """Delete a subscription; one that no longer exists is not an error."""
        call = f"DELETE {self._path}/{quote(subscription_id, safe='')}"
        try:
            await self._call(call)
        except AuroraError as error:
            if error.reason is not ApiReason.NOT_FOUND:
                raise

    async def _change(self, call: str, fields: Mapping[str, object]) -> None:
        secrets = [value for name in _SECRETS if isinstance(value := fields.get(name), str)]
        await self._call(call, body=orjson.dumps({self._wrapper: dict(fields)}), secrets=secrets)

    async def _call(
        self, call: str, url: str | None = None, body: bytes | None = None, secrets: Sequence[str] = ()
    ) -> _Response:
        """Make a call, to its path or to `url`, waiting for the rate limit; return the 2xx response."""
        method, _, path = call.partition(" ")
        patience = self._patience_seconds
        while True:
            token = await asyncio.to_thread(self._token, call)  # a mounted volume can be slow
            await self._pace()
            response = await self._send(call, method, url or self._api_url + path, body, token)
            if 200 <= response.status < 300:  # noqa: PLR2004 - successful
                return response
            error = self._error(response, call, changes=method != "GET", secrets=(*secrets, token))
            if error.retry_after is None or error.retry_after > patience:
                raise error
            patience -= error.retry_after
            self._on_wait(error.retry_after)
            await self._sleep(error.retry_after)

    async def _pace(self) -> None:
        """Wait until fewer than `REQUESTS_A_MINUTE` were sent in the last minute."""
        if len(self._sent) == REQUESTS_A_MINUTE and (wait := self._sent[0] + 60 - self._clock()) > 0:
            self._on_wait(wait)
            await self._sleep(wait)
        self._sent.append(self._clock())

    def _token(self, call: str) -> str:
        if self._token_file is None:
            raise AuroraError(ApiReason.TOKEN_UNUSABLE, call, f"{variable('aurora.api_token_file')} is not set")
        try:
            token = read_secret("aurora.api_token_file", self._token_file).strip()
        except FileError as error:
            raise AuroraError(ApiReason.TOKEN_UNUSABLE, call, str(error)) from None
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise AuroraError(ApiReason.TOKEN_UNUSABLE, call, f"{self._token_file}: it holds no API key")
        return token

    async def _send(self, call: str, method: str, url: str, body: bytes | None, token: str) -> _Response:
        headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False
            ) as response:
                return _Response(
                    response.status,
                    await _read(response, call),
                    response.headers.get("Retry-After", ""),
                    _following(response, call) if method == "GET" else None,
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason, why = self._words(error, urlsplit(url).hostname)
        in_doubt = method != "GET" and reason in {ApiReason.TIMED_OUT, ApiReason.UNEXPECTED_RESPONSE}
        raise AuroraError(reason, call, why, in_doubt=in_doubt)

    def _words(self, error: Exception, host: str | None) -> tuple[ApiReason, str]:
        match error:
            case TimeoutError():
                return ApiReason.TIMED_OUT, f"no response within {self._timeout.total:g} s"
            case aiohttp.ClientConnectorCertificateError():
                verdict = getattr(error.certificate_error, "verify_message", "TLS")
                return ApiReason.TLS_FAILED, f"the certificate of {host} is not trusted ({verdict})"
            case aiohttp.ClientSSLError():
                return ApiReason.TLS_FAILED, f"no TLS connection to {host}"
            case aiohttp.ClientConnectorDNSError():
                return ApiReason.UNREACHABLE, f"the host name {host} cannot be resolved"
            case aiohttp.ClientConnectorError():
                words = error.os_error.strerror or type(error.os_error).__name__
                return ApiReason.UNREACHABLE, f"no connection to {host} ({words})"
            case _:
                return ApiReason.UNEXPECTED_RESPONSE, f"the connection broke ({type(error).__name__})"

    def _error(self, response: _Response, call: str, *, changes: bool, secrets: Sequence[str]) -> AuroraError:
        """Return the error that a response other than 2xx means."""
        reason, why = _meaning(response.status)

        def redact(text: str) -> str:
            for secret in filter(None, secrets):
                text = text.replace(secret, HIDDEN)
            return self._secret_names.redact(text)

        return AuroraError(
            reason,
            call,
            f"{why} ({response.status})",
            status=response.status,
            messages=read_messages(response.body, redact),
            in_doubt=changes and reason is ApiReason.SERVER_ERROR,
            retry_after=_seconds(response.retry_after) if reason is ApiReason.RATE_LIMITED else None,
        )


def _meaning(status: int) -> tuple[ApiReason, str]:
    if status >= 500:  # noqa: PLR2004 - server errors
        return ApiReason.SERVER_ERROR, "Aurora failed"
    if 300 <= status < 400:  # noqa: PLR2004 - redirection
        return ApiReason.UNEXPECTED_RESPONSE, "a redirect, which is not followed: the API key would be sent along"
    return _MEANINGS.get(status, (ApiReason.UNEXPECTED_RESPONSE, "an unexpected status"))


async def _read(response: aiohttp.ClientResponse, call: str) -> bytes:
    """Return a response's body. Raises `AuroraError` if it is too long."""
    try:
        await response.content.readexactly(_MOST_BYTES + 1)
    except asyncio.IncompleteReadError as end:
        return end.partial
    raise AuroraError(ApiReason.UNEXPECTED_RESPONSE, call, f"the response is longer than {_MOST_BYTES} bytes")


def _following(response: aiohttp.ClientResponse, call: str) -> str | None:
    """Return the next page's URL from the header `Link`, None without one. Raises `AuroraError` if it is malformed."""
    try:
        following = response.links.get("next")
    except ValueError:
        raise AuroraError(ApiReason.INCOMPLETE, call, MALFORMED_LINK) from None
    return None if following is None else str(following["url"])


def _seconds(retry_after: str) -> float:
    """Return the seconds of a `Retry-After` (RFC 9110, section 10.2.3), within bounds."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):  # not a date, or one without an offset
            seconds = _USUAL_WAIT_SECONDS
    return min(max(seconds, 1.0), _LONGEST_WAIT_SECONDS) if isfinite(seconds) else _USUAL_WAIT_SECONDS
