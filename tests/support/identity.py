"""An identity provider for the tests: OAuth 2.0 client credentials over TLS, signed tokens, and the keys to check them.

It runs in a thread, so that tests that block can use it as well as coroutines. Kafka's brokers fetch the keys without
TLS, which saves them a trust store.
"""

import asyncio
import json
import ssl
import threading
from base64 import b64decode
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from time import time
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import unquote_plus

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.ports import HOST

CLIENT: Final = "bridge:client"
SECRET: Final = "s3cret/canary+of=the client"  # noqa: S105 - with characters that HTTP Basic has to encode
ISSUER: Final = "https://identity.example"
AUDIENCE: Final = "kafka"
SCOPE: Final = "events:write"
_KEY_ID: Final = "first"
_SECONDS: Final = 30.0

Answer = Callable[[], Coroutine[None, None, web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a token: its form, and the client and secret of its header, decoded."""

    form: dict[str, str]
    basic: tuple[str, str] | None


class IdentityProvider:
    """Gives tokens for `user` to those who know `CLIENT` and `SECRET`; its certificate is `certificate`."""

    def __init__(self, certificate: Path, user: str) -> None:
        self.seconds = 3600
        """Lifetime of the tokens to come."""
        self.audience = AUDIENCE
        self.asked: list[Asked] = []
        self.given: list[str] = []
        self.answer: Answer | None = None
        """Answers in place of the endpoint."""
        self.token_url = self.keys_url = ""
        self._user = user
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificate)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        """Listen, on ports of its own choice."""
        self._thread.start()
        self._runner = self._call(self._serve())

    def stop(self) -> None:
        """End at once."""
        self._call(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SECONDS)
        self._loop.close()

    def sign(self, **claims: object) -> str:
        """Return a token with these claims on top of the usual ones."""
        now = int(time())
        usual = {"iss": ISSUER, "aud": self.audience, "sub": self._user, "iat": now, "exp": now + self.seconds}
        return jwt.encode(usual | claims, self._key, algorithm="RS256", headers={"kid": _KEY_ID})

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _call(self, work: Coroutine[None, None, Any]) -> Any:  # noqa: ANN401 - what the work returns
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)

    async def _serve(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/oauth2/token", self._token)
        app.router.add_get("/keys", self._keys)
        runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
        await runner.setup()
        for tls in (self._tls, None):
            await web.TCPSite(runner, HOST, 0, ssl_context=tls).start()
        secure, plain = (address[1] for address in runner.addresses)
        self.token_url = f"https://{HOST}:{secure}/oauth2/token"
        self.keys_url = f"http://{HOST}:{plain}/keys"
        return runner

    async def _token(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(Asked(form, _basic(request.headers.get("Authorization", ""))))
        if self.answer is not None:
            return await self.answer()
        if _client(self.asked[-1]) != (CLIENT, SECRET) or form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "invalid_client", "error_description": f"not {SECRET}"}, status=401)
        if form.get("scope", SCOPE) != SCOPE:
            return web.json_response({"error": "invalid_scope"}, status=400)
        self.given.append(self.sign(scope=SCOPE))
        return web.json_response(
            {"access_token": self.given[-1], "token_type": "Bearer", "expires_in": self.seconds, "scope": SCOPE}
        )

    async def _keys(self, _: web.Request) -> web.Response:
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key()))
        return web.json_response({"keys": [key | {"kid": _KEY_ID, "use": "sig", "alg": "RS256"}]})


def _basic(header: str) -> tuple[str, str] | None:
    if not header.startswith("Basic "):
        return None
    client, _, secret = b64decode(header.removeprefix("Basic ")).decode().partition(":")
    return unquote_plus(client), unquote_plus(secret)


def _client(asked: Asked) -> tuple[str | None, str | None]:
    return asked.basic or (asked.form.get("client_id"), asked.form.get("client_secret"))
