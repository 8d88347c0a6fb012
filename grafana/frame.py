"""The frame of every dashboard: its variables, its links to the others, and its rows of panels."""

from typing import NamedTuple

from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.models import dashboard as model

from grafana.panels import DATASOURCE, Panel

TAG = "aurora-bridge"
_BUILD = "aurora_bridge_build_info"
_VARIABLES = (
    ("cluster", "cluster", _BUILD, "Where a Prometheus sees several; without that label there is only All."),
    ("namespace", "namespace", _BUILD, "Of Kubernetes; a scrape without has only All."),
    ("release", "job", _BUILD, "An installation: the label job of the scrape, with the chart the release's name."),
    ("instance", "instance", _BUILD, "A process of the daemon."),
    (
        "event",
        "event",
        "aurora_bridge_deliveries_total",
        "Aurora's events, for the panels that tell them apart; none: refused before it was known.",
    ),
)
"""Name, label, the metric that has it, and what it chooses; each within what those before it chose."""
_TENANT = ("tenant", "tenant", "aurora_bridge_attempts", "Tenants of the routes, for the panels of Aurora's attempts.")
_ALL = model.VariableOption(selected=True, text="All", value="$__all")


class Section(NamedTuple):
    """A row of a dashboard, and its panels."""

    title: str
    panels: tuple[Panel, ...]
    collapsed: bool = False
    """What is rarely read: Grafana asks nothing for it until it is opened."""


def framed(
    uid: str, title: str, description: str, since: str, *sections: Section, tenants: bool = False
) -> model.Dashboard:
    """Return a dashboard that shows the time since `since`, and with `tenants` lets them be chosen."""
    board = Dashboard(f"aurora-bridge / {title}").uid(f"aurora-bridge-{uid}").description(description).tags([TAG])
    board.editable().time(since, "now").refresh("30s").timezone("browser").tooltip(model.DashboardCursorSync.CROSSHAIR)
    board.annotations([])
    board.link(
        DashboardLink("aurora-bridge")
        .type(model.DashboardLinkType.DASHBOARDS)
        .icon("dashboard")
        .tags([TAG])
        .include_vars(include_vars=True)
        .keep_time(keep_time=True)
    )
    source = DatasourceVariable("datasource").label("Data source").type("prometheus")
    board.with_variable(source.description("The Prometheus that scrapes the daemon."))
    chosen: list[str] = []
    for name, label, metric, chooses in (*_VARIABLES, *([_TENANT] if tenants else ())):
        board.with_variable(_variable(name, label, f"{metric}{{{','.join(chosen)}}}", chooses))
        chosen.append(f'{label}=~"${name}"')
    for number, section in enumerate(sections, start=1):
        row = Row(section.title).id(number)
        if section.collapsed:
            for panel in section.panels:
                row.with_panel(panel)
        board.with_row(row)
        if not section.collapsed:
            for panel in section.panels:
                board.with_panel(panel)
    return _without_defaults(board.build())


def _without_defaults(made: model.Dashboard) -> model.Dashboard:
    """Drop what the SDK gives to all: variables get what is for those of intervals, links a place in a menu."""
    for variable in (made.templating and made.templating.list_val) or ():
        variable.auto = variable.auto_min = variable.auto_count = None
    for link in made.links or ():
        link.placement = None  # type: ignore[assignment]
    return made


def _variable(name: str, label: str, selector: str, description: str) -> QueryVariable:
    variable = QueryVariable(name).label(name.capitalize()).description(description).datasource(DATASOURCE)
    variable.query(f"label_values({selector}, {label})").refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    variable.sort(model.VariableSort.ALPHABETICAL_ASC).current(_ALL)
    return variable.multi(multi=True).include_all(include_all=True).all_value(".*")
