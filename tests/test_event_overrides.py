"""What is known better of an event, as a consumer sees it: the whole way from the settings to the embedded log.

The clock is a parameter, so that a minute passes at once.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Final

import orjson
import pytest

from aurora_bridge.daemon import make_metrics
from aurora_bridge.routing import make_routing
from aurora_bridge.secret_files import SecretFiles
from aurora_bridge.settings import Settings
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import structured
from tests.e2e.stores import spooled
from tests.support.embedded import PATIENCE, EmbeddedBridge

NOON_US: Final = 1_795_521_600_000_000
MILLION: Final = 1_000_000
STATE: Final = "/project_status_changed?project_id=p&status=sold"

Consumed = list[dict[str, Any]]


async def consumed(folder: Path, deliveries: Sequence[tuple[str, float]], **settings: Any) -> Consumed:  # noqa: ANN401 - settings
    """Return the events that a consumer gets of deliveries, each a target and the seconds since noon."""
    given, metrics = Settings.model_validate({"state_dir": folder} | settings), make_metrics()
    core = EmbeddedBridge(given, make_routing(given, SecretFiles(metrics), metrics).routes, metrics)
    async with asyncio.timeout(PATIENCE):
        await core.start()
        for target, seconds in deliveries:
            received_us = NOON_US + int(seconds * MILLION)
            delivery = Delivery("GET", target.encode(), (), received_us, monotonic())
            answer = await core.bridge.accept(delivery)
            assert answer.status == 200
            core.bridge.answered(delivery, answer, in_time=True)
        await core.stop()
    return [
        orjson.loads(structured(one.value, [(name, text.encode()) for name, text in one.headers.items()]))
        for one in core.stored()
    ]


def repeats(events: Consumed) -> list[bool]:
    """Return, for each event, whether it is marked as a repeat."""
    assert len({event["id"] for event in events}) == len(events)
    return [event["repeat"] for event in events]


@pytest.mark.parametrize(
    ("recurrence", "expected"), [(None, [False]), ("once", [False]), ("state", [False]), ("signal", [False, True])]
)
async def test_the_recurrence_of_an_event_can_be_another(
    tmp_path: Path, recurrence: str | None, expected: list[bool]
) -> None:
    events = {"project_status_changed": {"recurrence": recurrence}}
    assert expected == repeats(await consumed(tmp_path, [(STATE, 0), (STATE, 60)], events=events))


async def test_an_unknown_event_can_be_made_one_that_happens_once(tmp_path: Path) -> None:
    painted = [("/roof_painted?roof_id=r&colour=red", 0), ("/roof_painted?roof_id=r&colour=red", 90_000)]
    assert repeats(await consumed(tmp_path, painted)) == [False, True]
    (tmp_path / "known").mkdir()
    known = {"roof_painted": {"recurrence": "once", "identifier": "roof_id"}}
    (event,) = await consumed(tmp_path / "known", painted, events=known)
    assert (event["type"], event["subject"], event["id"]) == (
        "com.aurorasolar.roof_painted",
        "roof/r",
        event["fingerprint"],
    )


async def test_an_event_that_differs_in_a_volatile_attribute_only_is_the_same_and_keeps_what_came_first(
    tmp_path: Path,
) -> None:
    deliveries = [(f"{STATE}&seen_at={second}", second) for second in (1, 2)]
    assert len(await consumed(tmp_path, deliveries)) == 2
    (tmp_path / "volatile").mkdir()
    (event,) = await consumed(tmp_path / "volatile", deliveries, index={"volatile_attributes": ["seen_at"]})
    assert event["data"] == {"project_id": "p", "seen_at": "1", "status": "sold"}


async def test_the_same_state_after_the_repeat_window_is_an_event_again(tmp_path: Path) -> None:
    deliveries = [(STATE, 0), (STATE, 99), (STATE, 101), (STATE, 150)]
    window = {"project_status_changed": {"repeat_window_seconds": 100}}
    assert repeats(await consumed(tmp_path, deliveries, events=window)) == [False, True]
    (tmp_path / "day").mkdir()
    assert repeats(await consumed(tmp_path / "day", deliveries)) == [False]


async def test_on_a_filtered_route_the_same_state_after_a_minute_is_an_event_again(tmp_path: Path) -> None:
    """The filter may have hidden the state in between."""
    routes = [
        {
            "event": "project_status_changed",
            "template": f"/{name}?p=<PROJECT_ID>&st=<STATUS>",
            "filtered": name == "some",
        }
        for name in ("all", "some")
    ]
    for name, expected in (("all", [False]), ("some", [False, True])):
        (tmp_path / name).mkdir()
        target = f"/{name}?p=p&st=sold"
        events = await consumed(tmp_path / name, [(target, 0), (target, 59), (target, 61)], routes=routes)
        assert expected == repeats(events)
    (tmp_path / "shorter").mkdir()
    shorter = {"routes": routes, "index": {"repeat_window_seconds": 10}}
    assert repeats(await consumed(tmp_path / "shorter", [(target, 0), (target, 20)], **shorter)) == [False, True]


PARTLY_ANNOUNCED: Final = {
    "ahj_lookup_completed": "/ahj_lookup_completed?project_id=p&ahj_id=a&status=succeeded",
    "design_request_completed": "/design_request_completed?design_request_id=r&status=designer_completed",
    "design_request_rejected": "/design_request_rejected?design_request_id=r",
}
"""Deliveries of the states that come for some of their values only."""


@pytest.mark.parametrize("event", PARTLY_ANNOUNCED)
async def test_a_state_of_which_aurora_announces_some_values_only_is_an_event_again_after_a_minute(
    tmp_path: Path, event: str
) -> None:
    """A design request that was completed, went back to work and was completed again is completed twice."""
    deliveries = [(PARTLY_ANNOUNCED[event], seconds) for seconds in (0, 60, 61)]
    assert repeats(await consumed(tmp_path, deliveries)) == [False, True]


async def test_an_operators_own_window_for_such_a_state_wins_and_a_shorter_one_for_all_states_too(
    tmp_path: Path,
) -> None:
    deliveries = [(PARTLY_ANNOUNCED["ahj_lookup_completed"], seconds) for seconds in (0, 20, 3000)]
    for name, settings, expected in (
        ("longer", {"events": {"ahj_lookup_completed": {"repeat_window_seconds": 3600}}}, [False]),
        ("shorter", {"events": {"ahj_lookup_completed": {"repeat_window_seconds": 10}}}, [False, True, True]),
        ("longer-for-all", {"index": {"repeat_window_seconds": 3600}}, [False, True]),
        ("shorter-for-all", {"index": {"repeat_window_seconds": 10}}, [False, True, True]),
    ):
        (tmp_path / name).mkdir()
        assert (name, expected) == (name, repeats(await consumed(tmp_path / name, deliveries, **settings)))


async def test_a_record_in_binary_mode_is_the_same_event(tmp_path: Path) -> None:
    """Kafka Protocol Binding for CloudEvents: the value is the data, the attributes are headers."""
    target = "/project_status_changed?project_id=p&status=caf%C3%A9"
    for mode in ("structured", "binary"):
        (tmp_path / mode).mkdir()
    (expected,) = await consumed(tmp_path / "structured", [(target, 0)])
    assert [expected] == await consumed(tmp_path / "binary", [(target, 0)], kafka={"content_mode": "binary"})
    (record,) = spooled(tmp_path / "binary")
    assert orjson.loads(record.value) == expected["data"]
    assert record.headers["content-type"] == "application/json"
    for name in ("specversion", "id", "source", "type", "subject", "time", "dataschema", "fingerprint"):
        assert record.headers[f"ce_{name}"] == expected[name]
