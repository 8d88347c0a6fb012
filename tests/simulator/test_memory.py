"""However long a simulation runs, it keeps no more than its limits."""

from itertools import islice

import pytest

from aurora_bridge.simulator import objects
from aurora_bridge.simulator.aurora import Aurora
from aurora_bridge.simulator.deliveries import Answer
from aurora_bridge.simulator.stories import STORIES, occurrences
from aurora_bridge.simulator.subscriptions import created
from aurora_bridge.webhook.catalogue import CATALOGUE

BEGAN = 1_800_000_000.0
MOST = 20


def test_ledger_objects_and_what_is_pending_stay_within_their_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_MOST", MOST)
    aurora = Aurora(ledger_deliveries=MOST)
    for number, event in enumerate(CATALOGUE):
        aurora.change(created(str(number), "tenant", {"event": event, "url_template": f"http://localhost/{event}"}))
    for occurrence in islice(occurrences(1, BEGAN, 1000.0, STORIES), 5000):
        aurora.happen(occurrence)
        while (asked := aurora.due(occurrence.at)) is not None:
            aurora.answered(asked, Answer(200, ""), occurrence.at)
    assert aurora.totals["delivered"] > 100 * MOST
    assert len(aurora.ledger) == MOST
    assert (aurora.pending(), aurora.next_due()) == (0, None)
    assert max(map(len, aurora.objects._by_kind.values())) == MOST  # noqa: SLF001
