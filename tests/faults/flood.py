"""A flood of strangers: what a scanner or an attacker sends who has no credentials, no two requests alike."""

from base64 import b64encode
from collections import Counter
from random import Random
from typing import Final

from tests.support.http import Connection, request

_PIPELINED: Final = 50
_METHODS: Final = ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")


def pour(url: str, count: int, random: Random) -> Counter[int]:
    """Send so many requests, some at a time on a connection; return how often each status came."""
    statuses: Counter[int] = Counter()
    while (left := count - statuses.total()) > 0:
        requests = [_stranger(random) for _ in range(min(left, _PIPELINED))]
        if random.randrange(10) == 0:  # what is no HTTP is the last that a connection says
            requests = [random.randbytes(20) + b"\r\n\r\n"]
        with Connection(url) as connection:
            connection.send(b"".join(requests))
            statuses.update(connection.receive().status for _ in requests)
    return statuses


def _stranger(random: Random) -> bytes:
    word, other = (random.randbytes(8).hex() for _ in range(2))
    match random.randrange(6):
        case 0:
            return request(f"/lead_created?lead_id={word}", [("X-Aurora-Webhook-Token", other)])
        case 1:
            pair = b64encode(f"{word}:{other}".encode()).decode()
            return request(f"/lead_created?{word}={other}", [("Authorization", f"Basic {pair}")])
        case 2:
            return request(f"/{word}?{other}=1", [(f"X-{word}", other)])
        case 3:
            return request(f"/?aurora_event={word}&token={other}")
        case 4:
            return request(f"/{word}/{other}?{word}={other}")
        case _:
            return request(f"/lead_created?{word}=1", method=random.choice(_METHODS))
