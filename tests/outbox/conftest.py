"""The same topic of one partition as the tests of the Kafka room have."""

from tests.kafka.conftest import topic

__all__ = ["topic"]
