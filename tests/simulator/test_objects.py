"""What a consumer reads back of the things whose ids it was sent."""

from aurora_bridge.simulator.objects import Objects
from tests.simulator.acting import BEGIN, occurrence


def test_an_agreement_has_its_latest_state_in_the_words_of_the_api() -> None:
    objects = Objects()
    objects.see(occurrence(agreement_id="a-1", project_id="p-1", status="signed"))
    objects.see(occurrence(agreement_id="a-1", project_id="p-1", status="cancel-pending", at=BEGIN + 60))
    agreement = objects.get("agreement", "a-1")
    assert agreement is not None
    assert agreement.items() >= {("id", "a-1"), ("project_id", "p-1"), ("status", "cancel_pending")}
    assert agreement["created_at"] == "2023-11-14 22:13:20 UTC"
    assert objects.get("project", "p-1") is not None


def test_what_was_deleted_or_never_sent_is_not_there() -> None:
    objects = Objects()
    objects.see(occurrence("project_created", project_id="p-1"))
    objects.see(occurrence("project_deleted", project_id="p-1"))
    assert objects.get("project", "p-1") is None
    assert objects.get("lead", "l-1") is None
