"""Every query of every panel, asked of a real Prometheus that saw the real daemon under load and faults."""

from collections.abc import Iterator
from math import isfinite
from typing import Final

import pytest

from tests.support.broker import KafkaCluster
from tests.support.dashboards import Asked, asked, replaced
from tests.support.scene import Played, played

pytestmark = pytest.mark.ops

INTERVAL: Final = "5s"
"""Four scrapes, as Grafana would choose: the scene has one each 250 ms."""
MAY_BE_EMPTY: Final[dict[str, str]] = {}
"""By dashboard, panel and query, why the scene leaves it empty."""


@pytest.fixture(scope="module")
def scene(prometheus: str, kafka1: KafkaCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """What happened."""
    with played(tmp_path_factory.mktemp("scene"), prometheus, kafka1.nodes[0]) as scene:
        yield scene


@pytest.mark.parametrize("query", [pytest.param(query, id=query.place) for query in asked()])
def test_no_query_fails_and_none_is_empty_that_should_not_be(scene: Played, query: Asked) -> None:
    expression = replaced(query.expression, interval=INTERVAL, shown=f"{scene.seconds}s")
    found = scene.asked(expression, instant=query.instant)
    values = [float(value) for series in found for _, value in series["values"]]
    assert any(map(isfinite, values)) or query.place in MAY_BE_EMPTY, expression
