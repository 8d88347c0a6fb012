"""Stories are plausible, tell of every event, and are the same for the same seed."""

from collections import defaultdict
from itertools import islice
from random import Random

from aurora_bridge.simulator.stories import STORIES, Occurrence, occurrences
from aurora_bridge.simulator.values import plausible
from aurora_bridge.webhook.catalogue import CATALOGUE, unknown_values
from tests.simulator.acting import BEGIN


def told(count: int, seed: int = 1) -> list[Occurrence]:
    return list(islice(occurrences(seed, BEGIN, stories_per_day=20), count))


def test_the_stories_fire_every_event_of_the_catalogue() -> None:
    assert {step.event for steps in STORIES.values() for step in steps} == CATALOGUE.keys()
    assert {one.event for one in told(1500)} == CATALOGUE.keys()


def test_a_seed_repeats_its_stories() -> None:
    assert told(300) == told(300)
    assert told(300) != told(300, seed=2)


def test_what_happens_comes_in_order_of_time() -> None:
    times = [one.at for one in told(1500)]
    assert times == sorted(times)
    assert times[0] == BEGIN


def test_every_attribute_is_there_with_a_known_value() -> None:
    for one in told(1500):
        event_type = CATALOGUE[one.event]
        assert one.attributes.keys() == set(event_type.attributes)
        assert unknown_values(event_type, one.attributes) == ()


def test_an_agreement_lives_in_the_order_of_life() -> None:
    states = defaultdict(list)
    for one in told(1500):
        if one.event == "agreement_status_changed":
            states[one.attributes["agreement_id"]].append(one.attributes["status"])
    assert ["sent", "viewed", "signed"] in states.values()
    assert ["sent", "error", "sent", "signed", "cancel-pending", "canceled"] in states.values()


def test_a_story_speaks_of_the_same_things_and_of_a_new_job_each_time() -> None:
    cast: dict[str, str] = {}
    random = Random(1)
    one, other = (plausible("auto_designer_job_completed", random, {}, cast) for _ in range(2))
    assert one["design_id"] == other["design_id"]
    assert one["job_id"] != other["job_id"]


def test_what_is_given_stands_also_for_events_that_nobody_knows() -> None:
    assert plausible("no_such_event", Random(1), {"a_id": "1"}) == {"a_id": "1"}
    assert plausible("lead_created", Random(1), {"source": "fax", "extra": "x"}).items() >= {
        ("source", "fax"),
        ("extra", "x"),
    }
