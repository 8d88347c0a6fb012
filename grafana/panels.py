"""The kinds of panels: a number, states and lines over time, times with Aurora's limit, bars, a heatmap.

Each has an id of its own that stays when others come, so that links to it stay good, and a description in three parts.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from grafana_foundation_sdk.builders import bargauge, common, heatmap, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    DataSourceRef,
    GraphThresholdsStyleMode,
    HeatmapCellLayout,
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.queries import Query, selected

Panel = Builder[model.Panel]
Steps = Sequence[tuple[float, str]]
"""From each value on, this colour."""
Words = Mapping[str, tuple[str, str]]
"""By value, its text and colour."""

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "#808080"
OUTCOMES = {"published": GREEN, "spooled": YELLOW, "duplicate": BLUE, "dead_lettered": ORANGE, "refused": RED}
FULL: Steps = [(0.8, YELLOW), (0.95, RED)]
"""Of what has a size, from which share on it is said."""
LINE = Query("max(aurora_bridge_budget_seconds)", "Aurora gives up")
"""The line at 10 s."""
_NOTHING = model.SpecialValueMap(
    options=model.DashboardSpecialValueMapOptions(
        match=model.SpecialValueMatch.NULL_AND_NAN, result=model.ValueMappingResult(text="none yet", color=GREY)
    )
)
_GRAPH_HEIGHT, _NUMBER_HEIGHT = 8, 4


class About(NamedTuple):
    """A panel's description."""

    means: str
    normal: str
    act: str
    """What to do when it is not so."""

    def __str__(self) -> str:
        return f"{self.means}\n\n**Normal:** {self.normal}\n\n**Otherwise:** {self.act}"


def number(  # noqa: PLR0913 - what tells one such panel from another
    panel_id: int,
    title: str,
    about: About,
    query: Query,
    *,
    unit: str = units.NoUnit,
    decimals: int = 0,
    base: str = GREEN,
    steps: Steps = (),
    words: Words | None = None,
    width: int = 4,
    height: int = _NUMBER_HEIGHT,
) -> Panel:
    """Return a panel of one number."""
    panel = stat.Panel().id(panel_id).title(title).description(str(about)).datasource(DATASOURCE)
    panel.height(height).span(width).targets(_targets([query], instant=True))
    panel.unit(unit).decimals(decimals).thresholds(_thresholds(base, steps)).no_value("none yet")
    panel.mappings([_mapped(words), _NOTHING] if words else [_NOTHING])
    panel.graph_mode(BigValueGraphMode.NONE).color_mode(BigValueColorMode.BACKGROUND)
    panel.text_mode(BigValueTextMode.VALUE)
    return panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def states(  # noqa: PLR0913 - as above
    panel_id: int, title: str, about: About, query: Query, words: Words, *, width: int = 8
) -> Panel:
    """Return a panel of a band for each series, which says in which state it was when."""
    panel = statetimeline.Panel().id(panel_id).title(title).description(str(about)).datasource(DATASOURCE)
    panel.height(_GRAPH_HEIGHT).span(width).targets(_targets([query])).unit(units.NoUnit)
    panel.mappings([_mapped(words)]).merge_values(merge_values=True).show_value(VisibilityMode.AUTO).fill_opacity(80)
    panel.row_height(0.8).color_scheme(FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    panel.legend(common.VizLegendOptions().show_legend(show_legend=False))
    return panel.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.SINGLE))


def lines(  # noqa: PLR0913 - as above
    panel_id: int,
    title: str,
    about: About,
    *queries: Query,
    unit: str,
    steps: Steps = (),
    colors: Mapping[str, str] | None = None,
    stacked: bool = False,
    highest: float | None = None,
    width: int = 8,
) -> timeseries.Panel:
    """Return a panel of lines over time; `steps` are drawn across it, `colors` are those of series by name."""
    panel = timeseries.Panel().id(panel_id).title(title).description(str(about)).datasource(DATASOURCE)
    panel.height(_GRAPH_HEIGHT).span(width).targets(_targets(queries)).unit(unit).min(0)
    panel.line_width(1).fill_opacity(30 if stacked else 8).show_points(VisibilityMode.AUTO)
    if highest is not None:
        panel.max(highest)
    if steps:
        panel.thresholds(_thresholds(GREEN, steps))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    panel.legend(legend.show_legend(show_legend=True))
    panel.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    for name, color in (colors or {}).items():
        panel.override_by_name(name, [_property("color", {"mode": "fixed", "fixedColor": color})])
    return panel


def times(
    panel_id: int,
    title: str,
    about: About,
    *queries: Query,
    colors: Mapping[str, str] | None = None,
    width: int = 8,
) -> Panel:
    """Return a panel of times that count against Aurora's 10 s, on a logarithmic scale, with the line there."""
    panel = lines(panel_id, title, about, *queries, LINE, unit=units.Seconds, colors=colors, width=width)
    panel.min(0.0001).scale_distribution(common.ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10))
    return panel.override_by_name(
        LINE.legend,
        [
            _property("color", {"mode": "fixed", "fixedColor": RED}),
            _property("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
            _property("custom.lineWidth", 2),
            _property("custom.fillOpacity", 0),
        ],
    )


def bars(  # noqa: PLR0913 - as above
    panel_id: int,
    title: str,
    about: About,
    *queries: Query,
    unit: str = units.NoUnit,
    base: str = BLUE,
    steps: Steps = (),
    highest: float | None = None,
    width: int = 8,
    height: int = _GRAPH_HEIGHT,
) -> Panel:
    """Return a panel of a bar for each series at the end of the range; one is full at `highest`, or as the longest."""
    panel = bargauge.Panel().id(panel_id).title(title).description(str(about)).datasource(DATASOURCE)
    panel.height(height).span(width).targets(_targets(queries, instant=True))
    panel.unit(unit).decimals(0).min(0).no_value("none yet").display_mode(BarGaugeDisplayMode.BASIC)
    panel.orientation(VizOrientation.HORIZONTAL).thresholds(_thresholds(base, steps))
    if highest is not None:
        panel.max(highest)
    return panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def heat(panel_id: int, title: str, about: About, query: Query, *, width: int = 8) -> Panel:
    """Return a heatmap of a histogram's buckets; the border of the topmost row is the highest bound of the query."""
    panel = heatmap.Panel().id(panel_id).title(title).description(str(about)).datasource(DATASOURCE)
    panel.height(_GRAPH_HEIGHT).span(width).targets(_targets([query], heat=True)).unit(units.CountsPerMinute)
    panel.calculate(calculate=False).rows_frame(heatmap.RowsHeatmapOptions().layout(HeatmapCellLayout.LE))
    panel.y_axis(heatmap.YAxisConfig().unit(units.Seconds))
    panel.color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
    return panel.cell_gap(1).tooltip(heatmap.HeatmapTooltip().mode(TooltipDisplayMode.SINGLE))


def _targets(queries: Sequence[Query], *, instant: bool = False, heat: bool = False) -> list[Builder[Dataquery]]:
    targets: list[Builder[Dataquery]] = []
    for ref, query in zip("ABCDEFGH", queries, strict=False):
        target = prometheus.Dataquery().ref_id(ref).datasource(DATASOURCE).expr(selected(query.expression))
        target.legend_format(query.legend or "__auto")
        target.format(PromQueryFormat.HEATMAP if heat else PromQueryFormat.TIME_SERIES)
        targets.append(target.instant() if instant else target.range())
    return targets


def _thresholds(base: str, steps: Steps) -> ThresholdsConfig:
    found = [model.Threshold(color=base), *(model.Threshold(value=value, color=color) for value, color in steps)]
    return ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(found)


def _mapped(words: Words) -> model.ValueMap:
    return model.ValueMap(
        options={value: model.ValueMappingResult(text=text, color=color) for value, (text, color) in words.items()}
    )


def _property(name: str, value: object) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val=name, value=value)
