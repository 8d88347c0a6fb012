"""The simulated Aurora delivers, retries, gives up and switches off as Aurora documents it."""

from dataclasses import replace
from itertools import pairwise

import pytest

from aurora_bridge.simulator.aurora import Aurora
from aurora_bridge.simulator.deliveries import RETRY_SECONDS, Answer, State
from aurora_bridge.simulator.scenarios import Disturbances, Scenario
from aurora_bridge.simulator.subscriptions import Subscription
from tests.simulator.acting import BEGIN, DAY, GOOD, REFUSED, occurrence, sent, subscription


def aurora_with(*subscriptions: Subscription, disturbances: Disturbances | None = None) -> Aurora:
    aurora = Aurora(disturbances=disturbances)
    for one in subscriptions or (subscription(),):
        aurora.change(one)
    return aurora


def test_what_is_answered_with_2xx_is_sent_once() -> None:
    aurora = aurora_with()
    (delivery,) = aurora.happen(occurrence())
    assert len(sent(aurora, BEGIN + 2 * DAY, GOOD)) == 1
    assert (delivery.state, aurora.pending()) == (State.DELIVERED, 0)


@pytest.mark.parametrize("status", [None, 301, 404, 503])
def test_anything_else_is_retried_five_times_at_the_documented_intervals(status: int | None) -> None:
    aurora = aurora_with()
    (delivery,) = aurora.happen(occurrence())
    times = [asked.at for asked in sent(aurora, BEGIN + 2 * DAY, Answer(status, ""))]
    intervals = [after - before for before, after in pairwise(times)]
    assert times[0] == BEGIN
    assert intervals == pytest.approx(RETRY_SECONDS, rel=0.015)
    assert intervals != list(RETRY_SECONDS)
    assert delivery.state is State.FAILED


def test_a_retry_that_succeeds_is_the_last() -> None:
    aurora = aurora_with()
    aurora.happen(occurrence())
    sent(aurora, BEGIN + 10, REFUSED)
    assert len(sent(aurora, BEGIN + 2 * DAY, GOOD)) == 1


def test_a_retry_has_the_latest_definition() -> None:
    aurora = aurora_with()
    aurora.happen(occurrence())
    (first,) = sent(aurora, BEGIN, REFUSED)
    fixed = subscription(to="http://other.test", header_auth_key="X-Token", header_auth_value="new")
    aurora.change(fixed)
    (retry,) = sent(aurora, BEGIN + 40, GOOD)
    assert (first.url.split("/")[2], first.headers) == ("x.test", {})
    assert (retry.url.split("/")[2], retry.headers) == ("other.test", {"X-Token": "new"})


def test_what_is_disabled_or_deleted_gets_nothing_more() -> None:
    aurora = aurora_with(subscription(), subscription(identity="s-2"))
    deliveries = aurora.happen(occurrence())
    sent(aurora, BEGIN, REFUSED)
    aurora.change(subscription(enabled=False))
    aurora.remove("s-2")
    assert [one.state for one in deliveries] == [State.ENDED, State.ENDED]
    assert sent(aurora, BEGIN + 2 * DAY, GOOD) == []
    assert aurora.happen(occurrence()) == []


def test_what_is_disabled_while_an_attempt_is_in_flight_is_not_retried() -> None:
    aurora = aurora_with()
    (delivery,) = aurora.happen(occurrence())
    asked = aurora.due(BEGIN)
    aurora.change(subscription(enabled=False))
    assert asked is not None
    aurora.answered(asked, REFUSED, BEGIN + 1)
    assert (aurora.next_due(), delivery.state, len(delivery.attempts)) == (None, State.ENDED, 1)


def test_a_filter_lets_only_its_values_through() -> None:
    aurora = aurora_with(subscription(filters={"<STATUS>": ["signed", "declined"]}))
    assert aurora.happen(occurrence(status="viewed")) == []
    assert len(aurora.happen(occurrence(status="signed"))) == 1


def test_each_subscription_of_an_event_is_told() -> None:
    aurora = aurora_with(subscription(), subscription(identity="s-2"), subscription("lead_created", "s-3"))
    assert [one.subscription for one in aurora.happen(occurrence())] == ["s-1", "s-2"]


def fail(aurora: Aurora, events: int) -> None:
    for _ in range(events):
        aurora.happen(occurrence())
    sent(aurora, BEGIN + 2 * DAY, REFUSED)


def is_on(aurora: Aurora) -> bool:
    return aurora.subscriptions["s-1"].enabled


def test_a_subscription_whose_retries_all_fail_is_switched_off_from_100_attempts_on() -> None:
    aurora = aurora_with()
    fail(aurora, events=16)  # 96 attempts
    assert is_on(aurora)
    fail(aurora, events=1)
    assert not is_on(aurora)
    assert aurora.totals["switched_off"] == 1


def test_a_subscription_that_is_switched_on_again_is_told() -> None:
    aurora = aurora_with()
    fail(aurora, events=17)
    assert aurora.happen(occurrence()) == []
    aurora.change(replace(aurora.subscriptions["s-1"], enabled=True))
    assert len(aurora.happen(occurrence())) == 1


def test_a_delivery_that_always_fails_does_not_cost_a_subscription_whose_others_succeed() -> None:
    aurora = aurora_with()
    for _ in range(100):
        aurora.happen(occurrence())
    sent(aurora, BEGIN, GOOD)
    aurora.happen(occurrence())
    sent(aurora, BEGIN + 2 * DAY, REFUSED)
    assert aurora.totals["failed"] == 1
    assert is_on(aurora)


def test_no_more_is_pending_than_fits_and_what_is_left_out_is_counted() -> None:
    aurora = Aurora(most_pending=2)
    aurora.change(subscription())
    assert [len(aurora.happen(occurrence())) for _ in range(3)] == [1, 1, 0]
    assert (aurora.pending(), aurora.totals["left_out"]) == (2, 1)
    sent(aurora, BEGIN, GOOD)
    assert len(aurora.happen(occurrence())) == 1


def test_a_resend_sends_what_was_first_sent_since_then_again() -> None:
    aurora = aurora_with()
    aurora.happen(occurrence(status="viewed"))
    sent(aurora, BEGIN, GOOD)
    aurora.happen(occurrence(at=BEGIN + DAY, status="signed"))
    before = sent(aurora, BEGIN + DAY, GOOD)
    assert aurora.resend(BEGIN + 60, BEGIN + 2 * DAY) == 1
    assert [asked.url for asked in sent(aurora, BEGIN + 2 * DAY, GOOD)] == [asked.url for asked in before]


def second_day(scenario: Scenario) -> Disturbances:
    return Disturbances(frozenset({scenario}), BEGIN + DAY, BEGIN + 2 * DAY)


def test_an_outage_keeps_what_is_sent_in_its_span_from_arriving() -> None:
    aurora = aurora_with(disturbances=second_day(Scenario.OUTAGE))
    for at in (BEGIN, BEGIN + DAY, BEGIN + 2 * DAY):
        aurora.happen(occurrence(at=at))
    assert [bool(asked.url) for asked in sent(aurora, BEGIN + 3 * DAY, GOOD)] == [True, False, True]


def test_a_bad_token_is_another_one_and_a_wrong_template_has_an_unknown_placeholder() -> None:
    known = subscription(header_auth_key="X-Token", header_auth_value="right")
    bad = aurora_with(known, disturbances=second_day(Scenario.BAD_TOKEN))
    bad.happen(occurrence(at=BEGIN + DAY))
    assert [asked.headers for asked in sent(bad, BEGIN + DAY, GOOD)] == [{"X-Token": "wrong"}]
    wrong = aurora_with(disturbances=second_day(Scenario.WRONG_TEMPLATE))
    wrong.happen(occurrence(at=BEGIN + DAY))
    assert sent(wrong, BEGIN + DAY, GOOD)[0].url.endswith("&financing_id=<FINANCING_ID_UNKNOWN>")


def test_duplicates_send_some_twice_and_disorder_lets_one_overtake_another() -> None:
    twice = aurora_with(disturbances=second_day(Scenario.DUPLICATES))
    assert 100 < sum(len(twice.happen(occurrence())) for _ in range(100)) < 150
    late = aurora_with(disturbances=second_day(Scenario.DISORDER))
    numbers = [late.happen(occurrence())[0].number for _ in range(20)]
    assert [asked.delivery.number for asked in sent(late, BEGIN + DAY, GOOD)] != numbers
