"""Obtains tokens for Amazon MSK with IAM: addresses that Amazon's own library signs with the AWS credentials it finds.

It is there only with the extra `msk`, and imported when the first token is asked for. It blocks: to find credentials it
may ask STS or the machine's metadata service, with time-outs and retries of its own. So it runs in a thread of which
neither the event loop nor the end of the process waits for the end. Of its errors only type and code are told.
"""

import asyncio
import threading
from contextlib import suppress
from importlib import import_module
from time import time
from typing import Final

from aurora_bridge.kafka.tokens import Token, TokenError

FAILED: Final = "aws_credentials_failed"
"""A reason of `problems`."""

_SIGNER = "aws_msk_iam_sasl_signer.MSKAuthTokenProvider"
_SECONDS = 10.0


class MskSigner:
    """Signs for one AWS region."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._thread: threading.Thread | None = None

    async def obtain(self) -> Token:
        """Return a new token. Raises `TokenError`, within seconds."""
        outcome = await self._outcome()
        if isinstance(outcome, Token):
            return outcome
        raise TokenError(FAILED, f"AWS credentials for {self._region}", outcome)

    async def _outcome(self) -> Token | str:
        """Return a token, or why there is none."""
        if self._thread is not None and self._thread.is_alive():
            return "AWS still does not answer"
        loop = asyncio.get_running_loop()
        signed: asyncio.Future[Token | str] = loop.create_future()

        def tell(outcome: Token | str) -> None:
            if not signed.done():
                signed.set_result(outcome)

        def run() -> None:
            outcome = _sign(self._region)
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell, outcome)

        self._thread = threading.Thread(target=run, name="msk-signer", daemon=True)
        self._thread.start()
        try:
            async with asyncio.timeout(_SECONDS):
                return await signed
        except TimeoutError:
            return f"AWS does not answer within {_SECONDS:g} s"


def _sign(region: str) -> Token | str:
    try:
        value, expires_ms = import_module(_SIGNER).generate_auth_token(region)
    except Exception as error:  # noqa: BLE001 - of a library that documents none; its text may hold what it read
        return _words(error)
    return Token(value, expires_ms / 1000 - time())


def _words(error: Exception) -> str:
    if isinstance(error, AttributeError) and error.obj is None:
        return "none are found"  # the signer looks for the keys of the credentials that botocore did not find
    code = getattr(error, "response", {}).get("Error", {}).get("Code")  # of botocore's ClientError
    return f"{type(error).__name__} {code}" if isinstance(code, str) and code.isalnum() else type(error).__name__
