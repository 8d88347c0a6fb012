"""What each of Kafka's error codes does to a batch."""

import pytest
from confluent_kafka import KafkaError

from aurora_bridge.kafka.error_actions import ACTIONS, ANY_OTHER, ERROR_REASONS, NO_ANSWER, NO_CONNECTION, Action

RENAMED = {
    "unknown": "unknown_server_error",
    "invalid_msg": "corrupt_message",
    "unknown_topic_or_part": "unknown_topic_or_partition",
    "not_leader_for_partition": "not_leader_or_follower",
    "msg_size_too_large": "message_too_large",
    "topic_exception": "invalid_topic",
}
"""Kafka's names of errors by librdkafka's, where they differ."""
NOT_APPENDED = {Action.RETRY, Action.SPLIT, Action.REFUSE, Action.NEW_EPOCH}


@pytest.mark.parametrize(("code", "reason"), [(code, reason) for code, (_, reason) in ACTIONS.items() if code > 0])
def test_a_code_is_called_what_kafka_calls_it(code: int, reason: str) -> None:
    name = KafkaError(code).name().lower()
    if name.startswith("err_"):
        pytest.skip("librdkafka does not know it")
    assert reason == RENAMED.get(name, name)


@pytest.mark.parametrize(
    ("action", "codes"),
    [
        (Action.ACKNOWLEDGE, {0, 46}),
        (Action.RETRY, {19, 89}),
        (Action.RETRY_DOUBTFUL, {3, 5, 6, 9, 56, 74, 75, 100, 103}),
        (Action.STALL_DOUBTFUL, {7, 13, 20}),
        (Action.SUSPECT, {-1, 2}),
        (Action.NEW_EPOCH, {45, 47, 49, 59, 90}),
        (Action.SPLIT, {10, 18, 32, 87}),
        (Action.REFUSE, {17, 29, 31, 43, 44, 76}),
    ],
)
def test_a_code_does_what_its_meaning_asks_for(action: Action, codes: set[int]) -> None:
    assert codes == {code for code, (meaning, _) in ACTIONS.items() if meaning is action}


@pytest.mark.parametrize("answer", [ANY_OTHER, NO_ANSWER])
def test_whatever_may_come_after_the_append_leaves_the_batch_in_doubt(answer: tuple[Action, str]) -> None:
    assert answer[0] not in NOT_APPENDED


def test_a_broker_to_which_there_is_no_connection_was_sent_nothing() -> None:
    assert NO_CONNECTION[0] is Action.STALL


def test_every_error_has_a_reason_of_its_own_for_the_metric() -> None:
    reasons = [reason for action, reason in ACTIONS.values() if reason != "none"]
    assert set(ERROR_REASONS) == {*reasons, "other_kafka_error", "broker_away", "connection_lost", "encoding_failed"}
    assert len(reasons) == len(set(reasons))
