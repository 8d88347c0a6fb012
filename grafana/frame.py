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
_ALL = model.VariableOption(selected=True, text="All", value="$__all")


class Section(NamedTuple):
    """A row of a dashboard, and its panels."""

    title: str
    panels: tuple[Panel, ...]


def framed(uid: str, title: str, description: str, since: str, *sections: Section) -> model.Dashboard:
    """Return a dashboard that shows the time since `since`."""
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
    board.with_variable(
        _variable("namespace", "aurora_bridge_build_info", "Of Kubernetes; a scrape without has only All.")
    )
    board.with_variable(
        _variable("instance", 'aurora_bridge_build_info{namespace=~"$namespace"}', "A process of the daemon.")
    )
    board.with_variable(
        _variable(
            "event",
            'aurora_bridge_deliveries_total{namespace=~"$namespace",instance=~"$instance"}',
            "Aurora's events, for the panels that tell them apart; none: refused before it was known.",
        )
    )
    for number, section in enumerate(sections, start=1):
        board.with_row(Row(section.title).id(number))
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


def _variable(label: str, metric: str, description: str) -> QueryVariable:
    variable = QueryVariable(label).label(label.capitalize()).description(description).datasource(DATASOURCE)
    variable.query(f"label_values({metric}, {label})").refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    variable.sort(model.VariableSort.ALPHABETICAL_ASC).current(_ALL)
    return variable.multi(multi=True).include_all(include_all=True).all_value(".*")
