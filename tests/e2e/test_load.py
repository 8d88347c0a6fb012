"""The two questions asked after a load would notice if the answer were bad."""

import json
from typing import Final

from tests.e2e.load import Told, lost, out_of_order
from tests.e2e.stores import Stored

TOLD: Final = [Told(number, 200, f"id-{number}", "published", None, 0.0) for number in range(3)]


def kept(number: int) -> Stored:
    """Return the record of a delivery."""
    event = {"subject": "lead/1", "data": {"number": str(number)}}
    return Stored("lead_changed", f"id-{number}", json.dumps(event).encode(), {})


def test_a_delivery_without_a_record_is_lost() -> None:
    assert lost(TOLD, [kept(0), kept(2)]) == [TOLD[1]]


def test_records_in_another_order_than_their_deliveries_are_out_of_order() -> None:
    assert out_of_order(TOLD, [kept(0), kept(2), kept(1)]) == {"lead/1": [0, 2, 1]}


def test_a_later_copy_of_a_record_changes_no_order() -> None:
    assert out_of_order(TOLD, [kept(0), kept(1), kept(0), kept(2)]) == {}
