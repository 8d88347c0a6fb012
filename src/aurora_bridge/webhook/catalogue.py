"""Every event that Aurora is known to send, as one table, and the three questions asked of it.

A row holds facts about Aurora, never about a delivery. The rest follows from the row and the attributes that a delivery
carries: `recurrence_of` and `subject_of` go into the canonical event (see `event`) and decide whether it can be a
duplicate (see `recurrence`); `unknown_values` is only counted. An event without a row is treated as a bare
`EventType(name)`: a signal without a subject.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from aurora_bridge.webhook.decoding import canonical_name

UNRECOGNIZED: Final = "unrecognized"
"""Topic name for events without a row here: text from a URL never names a topic."""

DEAD_LETTER: Final = "dead_letter"
"""Topic name for authenticated deliveries that carry no readable event."""


class Recurrence(StrEnum):
    """What it means when an event with the same attributes comes again."""

    ONCE = "once"
    """It happens once in the life of its identifier: the same event again is a duplicate."""
    STATE = "state"
    """A state can come back: only the same one twice in a row is a duplicate."""
    SIGNAL = "signal"
    """The payload does not tell one occurrence from the next: never a duplicate."""


class Evidence(StrEnum):
    """How well a fact about Aurora is supported: a weak one is likelier to need an override."""

    DOCUMENTED = "doc"
    """Stated on Aurora's own pages."""
    INTEGRATOR = "integrator"
    """Seen in other people's integrations only."""
    INFERRED = "inferred"
    """Follows from wording or from a sibling event."""
    NAME_ONLY = "name_only"
    """The event exists; nothing is known about what it carries."""


@dataclass(frozen=True, slots=True)
class EventType:
    """One row of the catalogue; the defaults fit an event of which only the name is known."""

    name: str
    """Today's name, and the topic's name without its prefix."""
    recurrence: Recurrence = Recurrence.SIGNAL
    """Recurrence of a delivery that carries `identifier` and state; any other is a signal."""
    attributes: tuple[str, ...] = ()
    """What the event's placeholders carry, in lower snake_case, without secrets; empty if unknown."""
    subject: tuple[tuple[str, str], ...] = ()
    """What the event is about: kind and attribute, in order of preference. Events about one subject stay in order."""
    identifier: str | None = None
    """The attribute that identifies the object; without it, two different events can look alike."""
    state_attribute: str | None = None
    """The attribute that holds the state; None for a state means that the event's name itself is the state."""
    unannounced_states: bool = False
    """Whether Aurora has no event for some states, so one can come back unseen, as on a filtered route."""
    family: str = ""
    """Events of one family share their subject's latest state; empty stands for the event's own name."""
    values: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)
    """The known values by attribute; an attribute that is missing here can hold anything."""
    evidence: Evidence = Evidence.DOCUMENTED
    """How well the row as a whole is supported."""
    attribute_evidence: Mapping[str, Evidence] = field(default_factory=dict, hash=False)
    """The attributes that are supported less well than the row."""
    core: bool = False
    """Whether a subscription to it is expected: the events that the bridge was made for."""
    legacy_names: tuple[str, ...] = ()
    """Names on older pages of Aurora, which old subscriptions may still use."""
    volatile: frozenset[str] = frozenset()
    """Attributes that an operator leaves out of the fingerprint; none by default."""
    repeat_window_seconds: int | None = None
    """An operator's repeat window for this event; None for the route's."""

    def __post_init__(self) -> None:
        """Make an event without a family its own family."""
        if not self.family:
            object.__setattr__(self, "family", self.name)


def recurrence_of(event_type: EventType, attributes: Mapping[str, str | None]) -> Recurrence:
    """Return the type's recurrence if the delivery carries identifier and state, else `SIGNAL`."""
    identifier = event_type.identifier
    if identifier is None or not attributes.get(identifier):
        return Recurrence.SIGNAL
    recurrence = event_type.recurrence
    state = event_type.state_attribute
    if recurrence is Recurrence.STATE and state is not None and not attributes.get(state):
        return Recurrence.SIGNAL
    return recurrence


def subject_of(event_type: EventType, attributes: Mapping[str, str | None]) -> str | None:
    """Return the CloudEvents subject, such as `agreement/03b0…`: the row's first attribute with a value, or None."""
    for kind, attribute in event_type.subject:
        if value := attributes.get(attribute):
            return f"{kind}/{value}"
    return None


def unknown_values(event_type: EventType, attributes: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return the attributes whose value is not among the known ones.

    To Aurora, new values are backward-compatible changes: they are counted, never refused.
    """
    if not event_type.values:
        return ()
    return tuple(
        [
            attribute
            for attribute, known in event_type.values.items()
            if (value := attributes.get(attribute)) and value not in known
        ]
    )


def _subject(*attributes: str) -> tuple[tuple[str, str], ...]:
    """Name each kind of thing after the attribute that identifies it."""
    return tuple((attribute.removesuffix("_id"), attribute) for attribute in attributes)


def _known(**values: tuple[str, ...]) -> Mapping[str, frozenset[str]]:
    return MappingProxyType({attribute: frozenset(known) for attribute, known in values.items()})


def _evidence(evidence: Evidence, *attributes: str) -> Mapping[str, Evidence]:
    return MappingProxyType(dict.fromkeys(attributes, evidence))


_JOB_ATTRIBUTES = ("design_id", "job_id", "status")
_JOB_SUBJECT = _subject("design_id", "job_id")
_FINISHED = _known(status=("succeeded", "failed"))
_MADE_BY = _known(source=("app", "api"))

# fmt: off
_EVENTS = (
    # The core events.
    EventType("agreement_status_changed", Recurrence.STATE,
              ("project_id", "agreement_id", "status", "design_id", "financing_id"), core=True,
              subject=_subject("agreement_id", "project_id"), identifier="agreement_id", state_attribute="status",
              values=_known(status=("sent", "viewed", "signed", "cancel-pending", "canceled", "declined", "error")),
              attribute_evidence=_evidence(Evidence.INTEGRATOR, "design_id", "financing_id")),
    EventType("ahj_lookup_completed", Recurrence.STATE, ("project_id", "ahj_id", "status"), core=True,
              subject=_subject("project_id"), identifier="project_id", state_attribute="status", values=_FINISHED,
              unannounced_states=True),  # no event says that a lookup began again
    EventType("asset_created", Recurrence.ONCE, ("design_id", "asset_id", "asset_type"), core=True,
              subject=_subject("design_id", "asset_id"), identifier="asset_id",
              values=_known(asset_type=(
                  "Design DXF", "Design Layout", "CAD Screenshot", "CAD Auto Screenshot",
                  "Site Survey Request Screenshot", "Racking Spec Sheet", "Racking Install Manual",
                  "Racking Certification", "Racking CAD File", "Racking Engineering Report",
                  "Racking Bill of Materials"))),
    EventType("auto_designer_job_completed", Recurrence.ONCE, _JOB_ATTRIBUTES, core=True,
              subject=_JOB_SUBJECT, identifier="job_id",
              values=_FINISHED,  # failed is inferred
              legacy_names=("auto_designer_job_completion",)),
    EventType("consumption_profile_changed", Recurrence.SIGNAL, ("project_id",), core=True,
              subject=_subject("project_id")),
    EventType("design_created", Recurrence.ONCE, ("project_id", "design_id", "source"), core=True,
              subject=_subject("design_id", "project_id"), identifier="design_id",
              values=_known(source=("app", "api", "expert_design_service")),
              attribute_evidence=_evidence(Evidence.INTEGRATOR, "design_id")),
    EventType("design_request_completed", Recurrence.STATE, ("design_request_id", "status"), core=True,
              subject=_subject("design_request_id"), identifier="design_request_id", family="design_request",
              unannounced_states=True,  # no event says that work on it began again
              values=_known(status=("designer_completed",)), legacy_names=("design_request_completion",)),
    EventType("design_request_rejected", Recurrence.STATE, ("design_request_id", "status"), core=True,
              subject=_subject("design_request_id"), identifier="design_request_id", family="design_request",
              unannounced_states=True,  # no event says that work on it began again
              values=_known(status=("designer_rejected",)), legacy_names=("design_request_rejection",)),
    EventType("lead_changed", Recurrence.SIGNAL, ("lead_id",), core=True, subject=_subject("lead_id")),
    EventType("lead_converted", Recurrence.ONCE, ("lead_id", "project_id"), core=True,
              subject=_subject("lead_id"), identifier="lead_id"),
    EventType("lead_created", Recurrence.ONCE, ("lead_id", "source"), core=True,
              subject=_subject("lead_id"), identifier="lead_id", values=_known(source=("lcai", "api")),
              attribute_evidence=_evidence(Evidence.INFERRED, "source")),
    EventType("lead_solar_estimation_job_completed", Recurrence.ONCE, ("lead_id", "job_id", "status"), core=True,
              subject=_subject("lead_id", "job_id"), identifier="job_id", values=_FINISHED,
              attribute_evidence=_evidence(Evidence.INFERRED, "job_id", "status")),
    EventType("panel_irradiance_analysis_job_completed", Recurrence.ONCE, _JOB_ATTRIBUTES, core=True,
              subject=_JOB_SUBJECT, identifier="job_id", values=_FINISHED,
              attribute_evidence=_evidence(Evidence.INFERRED, "job_id", "status"),
              legacy_names=("irradiance_analysis_job_completion",)),
    EventType("performance_simulation_job_completed", Recurrence.ONCE, _JOB_ATTRIBUTES, core=True,
              subject=_JOB_SUBJECT, identifier="job_id", values=_FINISHED),
    EventType("plan_set_request_status_changed", Recurrence.STATE, ("plan_set_request_id", "status"), core=True,
              subject=_subject("plan_set_request_id"), identifier="plan_set_request_id", state_attribute="status",
              values=_known(status=("draft", "submitted", "completed", "rejected")),
              legacy_names=("plan_set_status_changed",)),
    EventType("project_created", Recurrence.ONCE, ("project_id", "source"), core=True,
              subject=_subject("project_id"), identifier="project_id", values=_MADE_BY),
    EventType("project_deleted", Recurrence.ONCE, ("project_id", "source"), core=True,
              subject=_subject("project_id"), identifier="project_id", values=_MADE_BY),
    EventType("project_status_changed", Recurrence.STATE, ("project_id", "status"), core=True,
              subject=_subject("project_id"), identifier="project_id", state_attribute="status",
              legacy_names=("project_status_updated",)),
    EventType("web_proposal_url_created", Recurrence.SIGNAL, ("design_id", "source"), core=True,
              subject=_subject("design_id"),  # no identifier: a URL expires and is made again for the same design
              values=_known(source=("app", "api", "APP"))),
    # Others with known attributes.
    EventType("app_status_changed", Recurrence.STATE, ("app_id", "status"),
              subject=_subject("app_id"), identifier="app_id", state_attribute="status",
              values=_known(status=("enabled", "disabled"))),
    EventType("design_request_created", Recurrence.ONCE, ("design_request_id", "source"),
              subject=_subject("design_request_id"), identifier="design_request_id", evidence=Evidence.INTEGRATOR),
    EventType("financier_contract_status_changed", Recurrence.STATE,
              ("financing_id", "design_id", "external_provider_status"),
              subject=_subject("financing_id", "design_id"), identifier="financing_id",
              state_attribute="external_provider_status", evidence=Evidence.INTEGRATOR),
    EventType("imagery_lidar_completed", Recurrence.SIGNAL, ("project_id", "status"),
              subject=_subject("project_id"), evidence=Evidence.INTEGRATOR),
    EventType("milestone_created", Recurrence.SIGNAL, ("project_id", "design_id", "stage", "source"),
              subject=_subject("project_id", "design_id"),  # no identifier: a milestone can be reached again
              values=_known(stage=("sold", "installed", "permission_to_operate")), evidence=Evidence.INTEGRATOR),
    EventType("project_changed", Recurrence.SIGNAL, ("project_id", "source", "attributes"),
              subject=_subject("project_id"), evidence=Evidence.INTEGRATOR),
    EventType("proposal_pdf_generation_job_completed", Recurrence.ONCE, _JOB_ATTRIBUTES,
              subject=_JOB_SUBJECT, identifier="job_id", evidence=Evidence.INTEGRATOR),
    EventType("site_survey_requested", Recurrence.SIGNAL, ("site_survey_request_id", "tenant_id"),
              subject=_subject("site_survey_request_id")),  # its session_token is a secret and no attribute
    # Only the names are known.
    EventType("agreement_download_url_job_completed", evidence=Evidence.NAME_ONLY),
    EventType("ai_roof_job_completed", evidence=Evidence.NAME_ONLY),
    EventType("design_deleted", evidence=Evidence.NAME_ONLY),
    EventType("eagleview_design_request_created", evidence=Evidence.NAME_ONLY),
    EventType("eagleview_design_request_status_changed", evidence=Evidence.NAME_ONLY),
    EventType("fire_pathway_placement_job_completed", evidence=Evidence.NAME_ONLY),
    EventType("milestone_shared", evidence=Evidence.NAME_ONLY),
    EventType("order_created", evidence=Evidence.NAME_ONLY),
    EventType("site_survey_status_changed", evidence=Evidence.NAME_ONLY),
)
# fmt: on

CATALOGUE: Final[Mapping[str, EventType]] = MappingProxyType({event_type.name: event_type for event_type in _EVENTS})
"""Every known event by today's name."""

EVENTS: Final[tuple[str, ...]] = (*CATALOGUE, UNRECOGNIZED, DEAD_LETTER)
"""Every event that has a topic."""

PLACEHOLDER_ALIASES: Final[Mapping[str, str]] = MappingProxyType({"design_request_id_in_aurora": "design_request_id"})
"""Attributes of placeholders with another name than their attribute; both in lower snake_case."""

LEGACY_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {legacy: event_type.name for event_type in _EVENTS for legacy in event_type.legacy_names}
)
"""Today's name of every legacy name."""


def todays_name(event: str) -> str:
    """Return the current name of an event, in canonical form."""
    name = canonical_name(event)
    return LEGACY_NAMES.get(name, name)
