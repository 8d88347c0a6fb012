"""Requests of Kafka's admin API that neither librdkafka nor aiokafka sends, or not to a certain broker.

https://kafka.apache.org/protocol#protocol_messages. A broker hands them on to the controller.
"""

import socket
import struct
from collections.abc import Sequence
from typing import Final

PRODUCER_BYTE_RATE: Final = "producer_byte_rate"
"""Bytes a second and broker."""
REQUEST_PERCENTAGE: Final = "request_percentage"
"""Of one thread of a broker, what the requests may take of its time."""
_ELECT_LEADERS: Final = 43, 1
_ALTER_CLIENT_QUOTAS: Final = 49, 0
_PREFERRED: Final = 0
_SECONDS: Final = 30.0


def set_quota(bootstrap: str, client_id: str, name: str, value: float | None) -> None:
    """Limit the clients of this id from now on; None: do not (KIP-546). Raises `ValueError` if Kafka refuses."""
    entity = _array(_string("client-id") + _string(client_id))
    change = _array(_string(name) + struct.pack(">d?", value or 0.0, value is None))
    only_validate = False
    answer = _ask(bootstrap, _ALTER_CLIENT_QUOTAS, _array(entity + change) + struct.pack(">?", only_validate))
    _throttle, _entries, code = struct.unpack_from(">iih", answer)
    if code:
        message = f"Kafka refuses the quota {name}={value} of {client_id}: error {code}, {answer!r}"
        raise ValueError(message)


def elect_preferred(bootstrap: str, topics: Sequence[str], partitions: int) -> None:
    """Have the first of each partition's replicas lead it, where it is in sync (KIP-460).

    It is the first of the brokers that is asked: any that metadata names for the controller may be frozen.
    Raises `ValueError` if Kafka refuses.
    """
    numbers = _array(*(struct.pack(">i", number) for number in range(partitions)))
    wanted = _array(*(_string(topic) + numbers for topic in topics))
    body = struct.pack(">b", _PREFERRED) + wanted + struct.pack(">i", int(_SECONDS * 1000))
    answer = _ask(bootstrap, _ELECT_LEADERS, body)
    _throttle, code = struct.unpack_from(">ih", answer)
    if code:
        message = f"Kafka elects no leaders: error {code}"
        raise ValueError(message)


def _ask(bootstrap: str, api: tuple[int, int], body: bytes) -> bytes:
    """Return the body of the first broker's response."""
    request = struct.pack(">hhi", *api, 0) + _string("tests") + body
    host, _, port = bootstrap.partition(",")[0].rpartition(":")
    with socket.create_connection((host, int(port)), _SECONDS) as connection, connection.makefile("rb") as answers:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (length,) = struct.unpack(">i", answers.read(4))
        return answers.read(length)[4:]


def _array(*items: bytes) -> bytes:
    return struct.pack(">i", len(items)) + b"".join(items)


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">h", len(raw)) + raw
