"""What happens at Aurora: a table of stories, and the endless stream of occurrences that they generate.

The same seed gives the same stream. Events of a story happen in a realistic order; stories overlap.
"""

from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import cycle
from random import Random
from typing import Final, NamedTuple

from aurora_bridge.simulator.values import plausible
from aurora_bridge.webhook.catalogue import CATALOGUE

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_DAY: Final = 86_400.0


class Occurrence(NamedTuple):
    """Something that happens at Aurora, and is delivered to whoever subscribed."""

    at: float
    """Seconds since the epoch, by the simulated clock."""
    event: str
    attributes: Mapping[str, str]


class Step(NamedTuple):
    """One event of a story."""

    event: str
    after: float
    """Average seconds since the step before; the actual time is 0.5 to 1.5 times that."""
    values: Mapping[str, str]
    """Values that the story fixes; all others are random."""


def _step(event: str, after: float, **values: str) -> Step:
    return Step(event, after, values)


_WRITTEN: Final[Mapping[str, tuple[Step, ...]]] = {
    "sale": (
        _step("lead_created", 0),
        _step("lead_solar_estimation_job_completed", 2 * _MINUTE, status="succeeded"),
        _step("lead_changed", 3 * _HOUR),
        _step("lead_converted", 2 * _HOUR),
        _step("project_created", 1, source="app"),
        _step("consumption_profile_changed", 10 * _MINUTE),
        _step("design_created", 5 * _MINUTE, source="app"),
        _step("panel_irradiance_analysis_job_completed", 5 * _MINUTE, status="succeeded"),
        _step("performance_simulation_job_completed", 3 * _MINUTE, status="succeeded"),
        _step("web_proposal_url_created", 10 * _MINUTE, source="app"),
        _step("proposal_pdf_generation_job_completed", 1 * _MINUTE, status="succeeded"),
        _step("agreement_status_changed", 4 * _HOUR, status="sent"),
        _step("agreement_status_changed", 5 * _HOUR, status="viewed"),
        _step("agreement_status_changed", 20 * _MINUTE, status="signed"),
        _step("agreement_download_url_job_completed", 2 * _MINUTE),
        _step("financier_contract_status_changed", 6 * _HOUR, external_provider_status="approved"),
        _step("milestone_created", 10 * _MINUTE, stage="sold"),
        _step("milestone_shared", 1 * _MINUTE),
        _step("project_status_changed", 5 * _MINUTE, status="Project Sold"),
        _step("order_created", 1 * _HOUR),
    ),
    "automatic design": (
        _step("project_created", 0, source="api"),
        _step("imagery_lidar_completed", 2 * _MINUTE, status="succeeded"),
        _step("ai_roof_job_completed", 3 * _MINUTE),
        _step("design_created", 1 * _MINUTE, source="api"),
        _step("auto_designer_job_completed", 4 * _MINUTE, status="failed"),
        _step("auto_designer_job_completed", 10 * _MINUTE, status="succeeded"),
        _step("fire_pathway_placement_job_completed", 1 * _MINUTE),
        _step("asset_created", 1 * _MINUTE, asset_type="CAD Auto Screenshot"),
        _step("performance_simulation_job_completed", 2 * _MINUTE, status="succeeded"),
        _step("project_changed", 6 * _HOUR),
        _step("web_proposal_url_created", 1 * _HOUR, source="api"),
        _step("agreement_status_changed", 8 * _HOUR, status="sent"),
        _step("agreement_status_changed", 3 * _HOUR, status="viewed"),
        _step("agreement_status_changed", 1 * _DAY, status="declined"),
        _step("design_deleted", 2 * _HOUR),
        _step("project_deleted", 1 * _MINUTE, source="api"),
    ),
    "expert design": (
        _step("project_created", 0, source="app"),
        _step("project_status_changed", 1 * _HOUR, status="In Progress"),
        _step("design_request_created", 10 * _MINUTE, source="app"),
        _step("design_request_rejected", 3 * _HOUR),
        _step("project_status_changed", 1 * _HOUR, status="Remote Assessment Completed"),
        _step("project_status_changed", 2 * _HOUR, status="In Progress"),
        _step("design_request_completed", 5 * _HOUR),
        _step("design_created", 1, source="expert_design_service"),
        _step("asset_created", 1 * _MINUTE, asset_type="Design DXF"),
        _step("web_proposal_url_created", 2 * _HOUR, source="app"),
        _step("web_proposal_url_created", 1 * _DAY, source="app"),
    ),
    "permit": (
        _step("project_created", 0),
        _step("ahj_lookup_completed", 5 * _MINUTE, status="failed"),
        _step("ahj_lookup_completed", 1 * _HOUR, status="succeeded"),
        _step("site_survey_requested", 2 * _HOUR),
        _step("site_survey_status_changed", 1 * _DAY),
        _step("plan_set_request_status_changed", 1 * _HOUR, status="draft"),
        _step("plan_set_request_status_changed", 2 * _HOUR, status="submitted"),
        _step("plan_set_request_status_changed", 8 * _HOUR, status="rejected"),
        _step("plan_set_request_status_changed", 2 * _HOUR, status="submitted"),
        _step("plan_set_request_status_changed", 8 * _HOUR, status="completed"),
        _step("milestone_created", 1 * _HOUR, stage="installed"),
        _step("project_status_changed", 1 * _HOUR, status="Completed"),
    ),
    "partner": (
        _step("app_status_changed", 0, status="enabled"),
        _step("eagleview_design_request_created", 1 * _HOUR),
        _step("eagleview_design_request_status_changed", 5 * _HOUR),
        _step("app_status_changed", 1 * _DAY, status="disabled"),
        _step("app_status_changed", 1 * _HOUR, status="enabled"),
    ),
    "cancellation": (
        _step("lead_created", 0),
        _step("lead_converted", 1 * _HOUR),
        _step("project_created", 1),
        _step("design_created", 1 * _HOUR, source="app"),
        _step("agreement_status_changed", 2 * _HOUR, status="sent"),
        _step("agreement_status_changed", 1 * _HOUR, status="error"),
        _step("agreement_status_changed", 1 * _HOUR, status="sent"),
        _step("agreement_status_changed", 4 * _HOUR, status="signed"),
        _step("agreement_status_changed", 1 * _DAY, status="cancel-pending"),
        _step("agreement_status_changed", 3 * _HOUR, status="canceled"),
        _step("project_deleted", 1 * _DAY, source="app"),
    ),
}
_IN_NO_STORY: Final = CATALOGUE.keys() - {step.event for steps in _WRITTEN.values() for step in steps}
STORIES: Final[Mapping[str, tuple[Step, ...]]] = {
    **_WRITTEN,
    **({"others": tuple(_step(event, _HOUR) for event in sorted(_IN_NO_STORY))} if _IN_NO_STORY else {}),
}
"""Stories by name. Together they have every event in the catalogue: `others` has those that no other story has."""


def occurrences(
    seed: int, begin: float, stories_per_day: float, stories: Mapping[str, Sequence[Step]] = STORIES
) -> Iterator[Occurrence]:
    """Yield what happens from `begin` on (seconds since the epoch), in order of time, for ever."""
    random = Random(seed)  # noqa: S311 - no cryptography
    telling: list[tuple[Occurrence, int, Iterator[Occurrence]]] = []
    begins = begin
    for number, steps in enumerate(cycle(stories.values())):
        while telling and telling[0][0].at <= begins:
            yield _next(telling)
        _push(telling, number, _told(steps, begins, Random(f"{seed}/{number}")))  # noqa: S311 - likewise
        begins += random.expovariate(stories_per_day / _DAY)


def _told(steps: Sequence[Step], begins: float, random: Random) -> Iterator[Occurrence]:
    cast: dict[str, str] = {}
    at = begins
    for step in steps:
        at += step.after * random.uniform(0.5, 1.5)
        yield Occurrence(at, step.event, plausible(step.event, random, step.values, cast))


def _next(telling: list[tuple[Occurrence, int, Iterator[Occurrence]]]) -> Occurrence:
    occurrence, number, story = heappop(telling)
    _push(telling, number, story)
    return occurrence


def _push(
    telling: list[tuple[Occurrence, int, Iterator[Occurrence]]], number: int, story: Iterator[Occurrence]
) -> None:
    if (occurrence := next(story, None)) is not None:
        heappush(telling, (occurrence, number, story))
