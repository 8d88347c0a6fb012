"""Obtains tokens for Amazon MSK with IAM: URLs that Amazon's library signs with the AWS credentials it finds.

The library comes with the extra `msk`, and is imported when the first token is needed. It blocks: to find credentials
it may call STS or the instance metadata service, with its own timeouts and retries. So it runs in a daemon thread,
which can hold up neither the event loop nor the end of the process. Only type and code of its errors are reported.
"""

import asyncio
import threading
from contextlib import suppress
from importlib import import_module
from time import time
from typing import Final

from aurora_bridge.kafka.tokens import Token, TokenError

FAILED: Final = "aws_credentials_failed"
"""A key of `reasons.REASONS`."""

_SIGNER = "aws_msk_iam_sasl_signer.MSKAuthTokenProvider"
_SECONDS = 10.0


class MskSigner:
    """Signs tokens for one AWS region."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._thread: threading.Thread | None = None

    async def obtain(self) -> Token:
        """Return a new token within 10 s. Raises `TokenError`."""
        outcome = await self._outcome()
        if isinstance(outcome, Token):
            return outcome
        raise TokenError(FAILED, f"AWS credentials for {self._region}", outcome)

    async def _outcome(self) -> Token | str:
        """Return a token, or the reason why there is none."""
        if self._thread is not None and self._thread.is_alive():
            return "AWS has still not answered"
        loop = asyncio.get_running_loop()
        signed: asyncio.Future[Token | str] = loop.create_future()

        def tell(outcome: Token | str) -> None:
            if not signed.done():
                signed.set_result(outcome)

        def run() -> None:
            outcome = _sign(self._region)
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(tell, outcome)

        self._thread = threading.Thread(target=run, name="msk-signer", daemon=True)
        self._thread.start()
        try:
            async with asyncio.timeout(_SECONDS):
                return await signed
        except TimeoutError:
            return f"AWS did not answer within {_SECONDS:g} s"


def _sign(region: str) -> Token | str:
    try:
        value, expires_ms = import_module(_SIGNER).generate_auth_token(region)
    except Exception as error:  # noqa: BLE001 - the library documents none; the text may contain credentials
        return _words(error)
    return Token(value, expires_ms / 1000 - time())


def _words(error: Exception) -> str:
    if isinstance(error, AttributeError) and error.obj is None:
        return "none found"  # botocore returned None, and the signer reads the keys from it
    code = getattr(error, "response", {}).get("Error", {}).get("Code")  # of botocore's ClientError
    return f"{type(error).__name__} {code}" if isinstance(code, str) and code.isalnum() else type(error).__name__
