"""Fixtures of the end-to-end tests: the places where a daemon keeps its events, and topics of a secured Kafka."""

from collections.abc import Iterator

import pytest

from tests.e2e.stores import Place
from tests.support.barred import MINIMAL
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.secure import SecureCluster
from tests.support.topics import delete_topics, topic_names, unique_prefix


@pytest.fixture(scope="module", params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """The embedded log, then real Kafka: what asks for this runs over both, and shares the topics with its module."""
    if request.param == "embedded":
        yield Place()
        return
    kafka: KafkaCluster | NamedKafka = request.getfixturevalue("kafka")  # only here, so that the other runs without one
    place = Place(unique_prefix(), kafka.bootstrap)
    yield place
    delete_topics(kafka.bootstrap, *topic_names(kafka.bootstrap, place.prefix))


@pytest.fixture(scope="module")
def common(kafka_secure: SecureCluster) -> Iterator[str]:
    """A prefix whose topics the tests share, and `USER` may use."""
    prefix = unique_prefix()
    kafka_secure.allow(prefix, *MINIMAL)
    yield prefix
    delete_topics(kafka_secure.plain, *topic_names(kafka_secure.plain, prefix))
