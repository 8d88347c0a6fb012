"""What the tests have in place of Amazon MSK with IAM: a front before a plain listener of Kafka that takes its tokens.

It speaks TLS, does the SASL part of the protocol by itself, and then passes all bytes on. A token is taken if its
signature is right: computed here after AWS's documentation, without the signer's code.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import asyncio
import base64
import hashlib
import hmac
import ssl
import struct
import threading
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self
from urllib.parse import parse_qsl, quote, urlsplit

from tests.support.ports import HOST

REGION: Final = "eu-west-1"
_HANDSHAKE, _AUTHENTICATE, _REFUSED = 17, 36, 58
_SECONDS: Final = 30.0


class Keys(NamedTuple):
    """AWS credentials of a role, as AWS's own example has them."""

    access: str = "AKIAIOSFODNN7EXAMPLE"
    secret: str = "wJalrXUtnFEMI/canary/bPxRfiCYEXAMPLEKEY"  # noqa: S105 - AWS's own example
    session: str = "session+canary/token=="

    @property
    def environment(self) -> dict[str, str]:
        """The variables in which AWS's libraries look for them."""
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        return dict(zip(names, self, strict=True))


def fields_of(token: str) -> dict[str, str]:
    """Return what is in the address that is the token: its parameters, and `host`."""
    url = urlsplit(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    assert (url.scheme, url.path) == ("https", "/")
    return {"host": url.netloc, **dict(parse_qsl(url.query, strict_parsing=True))}


def is_signed(token: str, keys: Keys, region: str = REGION) -> bool:
    """Tell whether a token is an address of MSK's that was signed with these keys."""
    parameters = fields_of(token)
    host, signature = parameters.pop("host"), parameters.pop("X-Amz-Signature", "")
    parameters.pop("User-Agent", None)  # is added behind the signature
    time = parameters.get("X-Amz-Date", "")
    scope = f"{time[:8]}/{region}/kafka-cluster/aws4_request"
    expected = {
        "Action": "kafka-cluster:Connect",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{keys.access}/{scope}",
        "X-Amz-Date": time,
        "X-Amz-Expires": "900",
        "X-Amz-Security-Token": keys.session,
        "X-Amz-SignedHeaders": "host",
    }
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(expected.items()))
    request = "\n".join(["GET", "/", query, f"host:{host}", "", "host", hashlib.sha256(b"").hexdigest()])
    text = "\n".join(["AWS4-HMAC-SHA256", time, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{keys.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    right = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return (host, parameters, signature) == (f"kafka.{region}.amazonaws.com", expected, right)


class MskFront:
    """Listens at `port` in a thread, and passes those whose tokens are signed with `keys` on to `upstream`."""

    def __init__(self, port: int, upstream: str, certificate: Path, keys: Keys) -> None:
        self.keys = keys
        self.tokens: list[str] = []
        """Every token that came."""
        self._port = port
        self._upstream = int(upstream.rpartition(":")[2])
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificate)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()], daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listens.wait(_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_SECONDS)
        self._loop.close()

    async def _serve(self) -> None:
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: StreamReader, writer: StreamWriter) -> None:
            task = asyncio.create_task(self._connection(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(accept, HOST, self._port, ssl=self._tls)
        self._listens.set()
        await self._stop.wait()
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: StreamReader, writer: StreamWriter) -> None:
        kafka_reader, kafka_writer = await asyncio.open_connection(HOST, self._upstream)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while not await self._request(reader, writer, kafka_reader, kafka_writer):
                    pass
                await asyncio.gather(_pass_on(reader, kafka_writer), _pass_on(kafka_reader, writer))
        finally:
            for each in (writer, kafka_writer):
                each.transport.abort()

    async def _request(
        self, reader: StreamReader, writer: StreamWriter, kafka_reader: StreamReader, kafka_writer: StreamWriter
    ) -> bool:
        """Answer a request, or have Kafka do it; tell whether the client is in."""
        request = await _frame(reader)
        api, version, correlation, length = struct.unpack_from(">hhih", request)
        body = request[10 + max(0, length) :]
        if api == _HANDSHAKE:
            _answer(writer, correlation, struct.pack(">hih", 0, 1, 11) + b"OAUTHBEARER")
        elif api == _AUTHENTICATE:
            token = body[4:].decode().removeprefix("n,,\x01auth=Bearer ").removesuffix("\x01\x01")
            self.tokens.append(token)
            good = is_signed(token, self.keys)
            _answer(writer, correlation, struct.pack(">hhi", 0 if good else _REFUSED, -1, 0) + bytes(8 * version))
            return good
        else:
            kafka_writer.write(struct.pack(">i", len(request)) + request)
            answer = await _frame(kafka_reader)
            writer.write(struct.pack(">i", len(answer)) + answer)
        return False


async def _frame(reader: StreamReader) -> bytes:
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(length)


def _answer(writer: StreamWriter, correlation: int, body: bytes) -> None:
    writer.write(struct.pack(">ii", 4 + len(body), correlation) + body)


async def _pass_on(reader: StreamReader, writer: StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError
