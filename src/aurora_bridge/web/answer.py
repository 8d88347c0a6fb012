"""Serializes answers: a head, which is cached for a second, and a body."""

from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time

import orjson

from aurora_bridge.bridge import Answer
from aurora_bridge.outcomes import Reason
from aurora_bridge.web.connection import Response

JSON = "application/json"


def respond(answer: Answer) -> Response:
    """Return `answer` as a response."""
    reason = answer.reason
    if reason is None:
        body = b'{"id":"%b","outcome":"%b"}' % ((answer.id or "").encode(), answer.outcome.encode())
        return _head(200, JSON, len(body), int(time())), body
    body = orjson.dumps({"id": answer.id, "outcome": answer.outcome, "reason": reason})
    headers = [("WWW-Authenticate", challenge) for challenge in answer.challenges]
    if isinstance(reason, Reason) and reason.retry_after is not None:
        headers.append(("Retry-After", str(reason.retry_after)))
    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("Allow", "GET"))
    return ready(answer.status, body, headers)


def ready(status: int, body: bytes, headers: Iterable[tuple[str, str]] = (), *, content_type: str = JSON) -> Response:
    """Return a response with this body. No cache may keep it: a proxy would answer the next webhook itself."""
    head = _head(status, content_type, len(body), int(time()))
    return head + b"".join(b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in headers), body


@lru_cache(maxsize=64)
def _head(status: int, content_type: str, length: int, second: int) -> bytes:
    """Return a response's head. It is worth caching: bodies have few lengths, and `Date` changes once a second."""
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {length}\r\nCache-Control: no-store\r\nDate: {formatdate(second, usegmt=True)}\r\n"
    ).encode()
