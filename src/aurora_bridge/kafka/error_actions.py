"""Maps each error code of a produce response to what happens to its batch.

The question is always whether the leader may have appended the batch before it answered. If so, the batch is
*doubtful*: it keeps its sequence, and is sent again byte for byte. Kafka returns some codes before it appends anything
(`UnifiedLog.analyzeAndValidateRecords`, `ReplicaManager.appendRecords`); a code that is not in this table may come
afterwards. For the Java producer's rules see `Errors` (which are retriable,
https://kafka.apache.org/protocol#protocol_error_codes), `Sender.completeBatch` and `TransactionManager.canRetry`.
"""

from enum import Enum, auto


class Action(Enum):
    """What a response does to its batch. If a batch stalls, the listener is told, so that nobody waits for it."""

    ACKNOWLEDGE = auto()
    """Stored by all in-sync replicas."""
    RETRY = auto()
    """Not appended: send it again."""
    STALL = auto()
    """Not sent, because its broker is away: send it again."""
    RETRY_DOUBTFUL = auto()
    """Possibly appended, but the broker is not the leader, or no longer: find the leader, and send it again."""
    STALL_DOUBTFUL = auto()
    """Possibly appended: send it again."""
    SUSPECT = auto()
    """Possibly appended, possibly at fault: send it again, and halve it if the response stays the same."""
    NEW_EPOCH = auto()
    """The broker does not know the sequence: begin a new producer epoch."""
    SPLIT = auto()
    """Not appended: a record in it is at fault, but the response does not say which."""
    REFUSE = auto()
    """Not appended: Kafka refuses our records for this topic."""


WRITE_DENIED = "topic_authorization_failed"
ACTIONS = {
    0: (Action.ACKNOWLEDGE, "none"),
    46: (Action.ACKNOWLEDGE, "duplicate_sequence_number"),  # KIP-98: one of the last five batches, again
    # Retriable in Java, and given before anything is appended.
    19: (Action.RETRY, "not_enough_replicas"),
    89: (Action.RETRY, "throttling_quota_exceeded"),
    # Java's InvalidMetadataException. Also returned by a leader that lost leadership after it appended the batch.
    3: (Action.RETRY_DOUBTFUL, "unknown_topic_or_partition"),
    5: (Action.RETRY_DOUBTFUL, "leader_not_available"),
    6: (Action.RETRY_DOUBTFUL, "not_leader_or_follower"),
    9: (Action.RETRY_DOUBTFUL, "replica_not_available"),
    56: (Action.RETRY_DOUBTFUL, "kafka_storage_error"),
    74: (Action.RETRY_DOUBTFUL, "fenced_leader_epoch"),
    75: (Action.RETRY_DOUBTFUL, "unknown_leader_epoch"),
    100: (Action.RETRY_DOUBTFUL, "unknown_topic_id"),
    103: (Action.RETRY_DOUBTFUL, "inconsistent_topic_id"),
    # Retriable in Java: appended, or unknown.
    7: (Action.STALL_DOUBTFUL, "request_timed_out"),
    13: (Action.STALL_DOUBTFUL, "network_exception"),
    20: (Action.STALL_DOUBTFUL, "not_enough_replicas_after_append"),
    # Fatal for the batch in Java, but a broker's bug or transient failure looks the same.
    -1: (Action.SUSPECT, "unknown_server_error"),
    2: (Action.SUSPECT, "corrupt_message"),  # retriable in Java: damaged in transit, or encoded wrongly
    # Java begins a new epoch for the partition (KIP-360).
    45: (Action.NEW_EPOCH, "out_of_order_sequence_number"),
    47: (Action.NEW_EPOCH, "invalid_producer_epoch"),
    49: (Action.NEW_EPOCH, "invalid_producer_id_mapping"),
    59: (Action.NEW_EPOCH, "unknown_producer_id"),
    90: (Action.NEW_EPOCH, "producer_fenced"),
    # Java splits a batch that is too large, and fails one that is invalid as a whole.
    10: (Action.SPLIT, "message_too_large"),
    18: (Action.SPLIT, "record_list_too_large"),
    32: (Action.SPLIT, "invalid_timestamp"),
    87: (Action.SPLIT, "invalid_record"),
    # Fatal in Java.
    17: (Action.REFUSE, "invalid_topic"),
    29: (Action.REFUSE, WRITE_DENIED),
    31: (Action.REFUSE, "cluster_authorization_failed"),
    43: (Action.REFUSE, "unsupported_for_message_format"),
    44: (Action.REFUSE, "policy_violation"),
    76: (Action.REFUSE, "unsupported_compression_type"),
}
ANY_OTHER = (Action.SUSPECT, "other_kafka_error")
NO_CONNECTION = (Action.STALL, "broker_away")
NO_ANSWER = (Action.STALL_DOUBTFUL, "connection_lost")
NOT_ENCODED = (Action.SUSPECT, "encoding_failed")
"""Failures without a response, which act on a batch in the same way."""

_WITHOUT_CODE = (ANY_OTHER, NO_CONNECTION, NO_ANSWER, NOT_ENCODED)
ERROR_REASONS = tuple(sorted({reason for _, reason in (*ACTIONS.values(), *_WITHOUT_CODE)} - {"none"}))
