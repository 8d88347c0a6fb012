"""OAUTHBEARER tokens: read from a file, or obtained by the daemon and renewed.

One obtained token serves all connections. It is renewed well before it expires, by one request at a time; if that
fails, the old token serves as long as it is valid, with a pause before each retry. `oidc` and `msk` obtain tokens,
`connection` hands them to the broker, `problems` explains the errors.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

_RENEW_AT = 0.8
"""Part of its lifetime after which a token is renewed: the rest allows for an endpoint that is down."""
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
"""Pause between two attempts: an endpoint may count them, and lock the client out."""
_REFUSED_SECONDS = 10.0
"""Shortest time from requesting a token that a broker refuses to the next request."""


class TokenError(KafkaError):
    """No token can be obtained: `reason` is a key of `reasons.REASONS`, `about` the source that failed."""

    def __init__(self, reason: str, about: str, why: str) -> None:
        super().__init__(f"{about}: {why}")
        self.reason = reason
        self.about = about
        self.why = why


class TokenRefusedError(KafkaError):
    """The broker refused the token."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and its lifetime in seconds from when it was requested."""

    value: str = field(repr=False)
    seconds: float


Obtain = Callable[[], Awaitable[Token]]
"""Obtains a token. Raises `KafkaError`."""
OnToken = Callable[[KafkaError | None], None]
"""Called after each attempt to obtain a token: with the error, None on success."""


class TokenSource(AbstractTokenProvider):
    """Gives connections their token, and learns when a broker refuses it."""

    def __init__(self, extensions: Mapping[str, str]) -> None:
        self._extensions = dict(extensions)

    @abstractmethod
    async def token(self) -> str:
        """Return a token. Raises `KafkaError`."""

    def extensions(self) -> dict[str, str]:
        """Return the SASL extensions that go to the broker with the token (RFC 7628, 3.1)."""
        return self._extensions

    def refused(self) -> None:
        """Note that a broker refused the token."""


class FileToken(TokenSource):
    """A token from a file that somebody else keeps fresh."""

    def __init__(self, value: str, extensions: Mapping[str, str]) -> None:
        super().__init__(extensions)
        self._value = value

    async def token(self) -> str:
        """Return the token from the file."""
        return self._value


class CachedToken(TokenSource):
    """A token that is obtained when it is first needed, and then kept fresh for as long as the event loop runs."""

    def __init__(
        self,
        obtain: Obtain,
        on_token: OnToken,
        extensions: Mapping[str, str],
        clock: Callable[[], float] = monotonic,
        call_later: Callable[[float, Callable[[], object]], asyncio.TimerHandle] | None = None,
    ) -> None:
        """Obtain tokens with `obtain`, in the time of `clock` and `call_later` (None: the running loop's)."""
        super().__init__(extensions)
        self._obtain = obtain
        self._on_token = on_token
        self._clock = clock
        self._call_later = call_later
        self._token: Token | None = None
        self._asked_at = 0.0
        self._due_at = 0.0
        self._pause = 0.0
        self._error: KafkaError | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def token(self) -> str:
        """Return a valid token. Raises `KafkaError` if there is none, and none can be obtained now."""
        if not self._valid and (self._renewing or self._clock() >= self._due_at):
            await asyncio.shield(self._renew())  # others may wait for it too
        if self._token is None or not self._valid:
            error = self._error or KafkaError("the token expired as soon as it was obtained")
            raise error.with_traceback(None)  # else its traceback grows each time that it is raised
        return self._token.value

    def refused(self) -> None:
        """Renew the token soon: brokers may accept the next one, once somebody has fixed the cause."""
        if self._error is None:  # else it is retried anyway, after the pause
            self._due_at = min(self._due_at, max(self._clock(), self._asked_at + _REFUSED_SECONDS))
            self._schedule()

    def retry(self) -> None:
        """End the pause after a failure: the credentials have changed."""
        if self._error is not None:
            self._due_at = self._clock()
            self._schedule()

    @property
    def _valid(self) -> bool:
        return self._token is not None and self._clock() < self._asked_at + self._token.seconds

    @property
    def _renewing(self) -> bool:
        return self._task is not None and not self._task.done()

    def _renew(self) -> asyncio.Task[None]:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._renewal())
        return self._task

    async def _renewal(self) -> None:
        asked_at = self._clock()
        try:
            token = await self._obtain()
        except KafkaError as error:
            self._pause = min(max(_FIRST_PAUSE_SECONDS, 2 * self._pause), _LONGEST_PAUSE_SECONDS)
            self._error = error
            self._due_at = self._clock() + self._pause
        else:
            self._token, self._asked_at = token, asked_at
            self._error, self._pause = None, 0.0
            self._due_at = max(asked_at + _RENEW_AT * token.seconds, self._clock() + _FIRST_PAUSE_SECONDS)
        self._schedule()
        self._on_token(self._error)

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        call_later = self._call_later or asyncio.get_running_loop().call_later
        self._timer = call_later(max(0.0, self._due_at - self._clock()), self._renew)
