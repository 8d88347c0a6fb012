"""The second opinion is itself right: by vectors of Kafka's own tests and of the recorded samples."""

from typing import Any

import pytest

from tests.e2e.recompute import canonical_json, fingerprint, murmur2
from tests.samples.load import load_fingerprints


@pytest.mark.parametrize(
    ("key", "hashed"),
    # org.apache.kafka.common.utils.UtilsTest.testMurmur2
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_kafkas(key: bytes, hashed: int) -> None:
    assert hashed % 2**32 == murmur2(key)


@pytest.mark.parametrize("vector", load_fingerprints(), ids=lambda vector: vector["name"])
def test_the_fingerprint_is_that_of_the_vectors(vector: dict[str, Any]) -> None:
    attributes = {name: value for name, value in vector["attributes"].items() if value is not None}
    assert vector["canonical"].encode() == canonical_json([vector["tenant"], vector["event"], attributes])
    assert vector["fingerprint"] == fingerprint(vector["tenant"], vector["event"], vector["attributes"])
