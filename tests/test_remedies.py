"""What to do about each reason."""

from aurora_bridge.outcomes import Credential, DeadLetterReason, Reason
from aurora_bridge.remedies import CREDENTIALS, DEAD_LETTERS, REMEDIES


def test_every_reason_of_a_refusal_and_of_a_dead_letter_has_a_remedy() -> None:
    assert (set(REMEDIES), set(DEAD_LETTERS), set(CREDENTIALS)) == (set(Reason), set(DeadLetterReason), set(Credential))
