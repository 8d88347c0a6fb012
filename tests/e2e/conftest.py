"""Fixtures of the end-to-end tests: the places where a daemon keeps its events."""

from collections.abc import Iterator

import pytest

from tests.e2e.stores import Place
from tests.support.broker import KafkaCluster, NamedKafka
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
