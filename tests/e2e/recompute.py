"""What a consumer in another language would compute, written down a second time from the specification alone.

Nothing here is shared with the daemon, so that a fault in it cannot agree with itself.
"""

import json
from collections.abc import Mapping
from hashlib import sha256

WORD = 0xFFFFFFFF


def canonical_json(value: object) -> bytes:
    """Return JSON with sorted keys, without white space, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def fingerprint(tenant: str, event: str, data: Mapping[str, str | None]) -> str:
    """Return the first 32 hex digits of SHA-256 over `[tenant, event, attributes]`, nulls left out."""
    present = {name: value for name, value in data.items() if value is not None}
    return sha256(canonical_json([tenant, event, present])).hexdigest()[:32]


def murmur2(data: bytes) -> int:
    """Return Kafka's hash of a key, byte by byte as in `org.apache.kafka.common.utils.Utils.murmur2`."""
    mixer, length = 0x5BD1E995, len(data)
    hashed = (0x9747B28C ^ length) & WORD
    whole = length - length % 4
    for at in range(0, whole, 4):
        word = data[at] | data[at + 1] << 8 | data[at + 2] << 16 | data[at + 3] << 24
        word = word * mixer & WORD
        word = (word ^ word >> 24) * mixer & WORD
        hashed = (hashed * mixer & WORD) ^ word
    rest = data[whole:]
    for place, byte in enumerate(rest):
        hashed ^= byte << 8 * place
    if rest:
        hashed = hashed * mixer & WORD
    hashed = (hashed ^ hashed >> 13) * mixer & WORD
    return hashed ^ hashed >> 15


def partition_of(key: str, partitions: int) -> int:
    """Return the partition that Kafka's default partitioner chooses for a key."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions
