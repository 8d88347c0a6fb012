"""Every query of every panel, asked of a real Prometheus that saw the real daemon under load and faults; and drawn."""

from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Final

import pytest

from tests.support import tools
from tests.support.broker import KafkaCluster
from tests.support.dashboards import Asked, asked, dashboards, panels, replaced
from tests.support.drawing import Drawing
from tests.support.missing import unavailable
from tests.support.scene import Played, played

pytestmark = pytest.mark.ops

INTERVAL: Final = "5s"
"""A few scrapes, as Grafana would choose."""
ZERO: Final = {
    "aurora 206 B": "Aurora's last retry comes after a day: test_retries.py",
    "aurora 206 C": "a re-send is declared by hand: e2e",
    "overview 110 D": "as aurora 206 B",
    "overview 110 G": "a spool that is broken at a start: e2e/test_start.py",
    "pipeline 307 B": "the broker has no quota: kafka",
    "pipeline 309 D": "a new producer id takes a broker that forgets: kafka/test_sender_renewal.py",
    "pipeline 502 A": "an index that is late or fails: dedup/test_deduplicator.py",
    "pipeline 502 B": "an index that is full: the same",
    "pipeline 607 A": "nobody floods the port: ingress",
}
"""By dashboard, panel and query: what has series, all of them 0, and why."""


@pytest.fixture(scope="module")
def scene(prometheus: str, kafka1: KafkaCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """What happened."""
    with played(tmp_path_factory.mktemp("scene"), prometheus, kafka1.nodes[0]) as scene:
        yield scene


@pytest.mark.parametrize("query", [pytest.param(query, id=query.place) for query in asked()])
def test_no_query_fails_and_each_shows_something_of_what_happened(scene: Played, query: Asked) -> None:
    found = scene.asked(replaced(query.expression, interval=INTERVAL, shown=f"{scene.seconds}s"))
    values = [float(value) for series in found for _, value in series["values"]]
    shown = list(filter(isfinite, values))
    assert shown, f"empty: {query.expression}"
    assert any(shown) or query.place in ZERO, f"nothing but 0: {query.expression}"


def test_what_grafana_asks_for_at_one_time_has_an_answer_at_the_end(scene: Played) -> None:
    for query in asked():
        if query.instant:
            expression = replaced(query.expression, interval=INTERVAL, shown=f"{scene.seconds}s")
            assert scene.asked_at_the_end(expression), query.place


@pytest.fixture
def drawing(tmp_path: Path) -> Drawing:
    """Where dashboards are drawn."""
    try:
        return Drawing(tmp_path)
    except tools.ToolMissingError as error:
        unavailable(str(error))


def test_the_files_are_of_the_type_that_grafana_says(drawing: Drawing) -> None:
    assert drawing.mistyped() == ""


def test_every_panel_can_be_drawn_by_grafanas_own_parts(scene: Played, drawing: Drawing) -> None:
    drawing.write_pages(scene, interval=INTERVAL)
    for name, board in dashboards().items():
        page = drawing.drawn(name)
        for panel in panels(board):
            assert f'data-panel="{panel["id"]}"' in page
        assert page.count("<canvas") == sum(panel["type"] == "timeseries" for panel in panels(board))
