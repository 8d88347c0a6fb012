"""The bytes of an answer: a head that is made once a second for each of its few lengths, and a body of JSON."""

from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time

import orjson

from aurora_bridge.bridge import Answer
from aurora_bridge.refusal import Reason
from aurora_bridge.web.connection import Response


def respond(answer: Answer) -> Response:
    """Return the response that tells `answer`."""
    reason = answer.reason
    if reason is None:
        body = b'{"id":"%b","outcome":"%b"}' % ((answer.id or "").encode(), answer.outcome.encode())
        return _head(200, len(body), int(time())), body
    body = orjson.dumps({"id": answer.id, "outcome": answer.outcome, "reason": reason})
    return ready(answer.status, body, retry_after=reason.retry_after if isinstance(reason, Reason) else None)


def ready(status: int, body: bytes, *, retry_after: int | None = None) -> Response:
    """Return a response of JSON."""
    head = _head(status, len(body), int(time()))
    if retry_after is not None:
        head += b"Retry-After: %d\r\n" % retry_after
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        head += b"Allow: GET\r\n"
    elif status == HTTPStatus.UNAUTHORIZED:
        head += b"WWW-Authenticate: AuroraToken\r\n"
    return head, body


@lru_cache(maxsize=64)
def _head(status: int, length: int, second: int) -> bytes:
    """Return the head of a response, made once a second for each of its few lengths."""
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\nDate: {formatdate(second, usegmt=True)}\r\n"
    ).encode()
