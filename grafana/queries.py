"""What the dashboards ask Prometheus: PromQL over our metrics, for the instances that the variables choose.

The expressions of the dashboards name metrics only; `selected` writes the choice into every selector. A Prometheus that
scrapes without Kubernetes knows no `namespace`, and most know no `cluster`: the variable's "All" is `.*`, which an
absent label matches as well.
"""

import re
from typing import NamedTuple

from aurora_bridge.metrics import BUDGET_SECONDS
from aurora_bridge.outcomes import Reason

OBJECTIVE = 0.999
"""Share of Aurora's deliveries that are to be taken within its 10 s, over 30 days."""
SELECTION = 'cluster=~"$cluster",namespace=~"$namespace",job=~"$release",instance=~"$instance"'
POD = "{{pod}} {{instance}}"
"""What tells replicas apart: the pod's name, where there are pods, and its address."""
INTERVAL = "[$__rate_interval]"
RANGE = "[$__range]"
OUR_FAULT = "|".join(reason.value for reason in Reason if reason.status >= 500)  # noqa: PLR2004 - HTTP: a server error
"""Reasons of refusals that are our own fault, or Kafka's."""
AT_THE_DOOR = "|".join(reason.value for reason in Reason if reason.status < 500)  # noqa: PLR2004
"""Reasons of refusals that the request gave."""
_SELECTOR = re.compile(r"\b((?:aurora_bridge|process)_\w+)(?:\{([^}]*)\})?")
_TAKEN = '{outcome!="refused"}'
_IN_TIME = f'{{outcome!="refused",le="{BUDGET_SECONDS:.1f}"}}'


class Query(NamedTuple):
    """An expression, and what its series are called."""

    expression: str
    legend: str = ""


def selected(expression: str) -> str:
    """Return an expression with the choice of instances in every selector."""

    def select(found: re.Match[str]) -> str:
        name, labels = found.groups()
        return f"{name}{{{labels + ',' if labels else ''}{SELECTION}}}"

    return _SELECTOR.sub(select, expression)


def of_ours(expression: str) -> str:
    """Return an expression over metrics that every process has, for ours only."""
    return f"({expression} and on (cluster, namespace, job, instance) aurora_bridge_build_info)"


def quantile(share: float, metric: str, by: str = "") -> str:
    """Return a quantile of one of our histograms, for each value of the label `by`."""
    grouping = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({grouping}) (rate({metric}_bucket{INTERVAL})))"


def missed(window: str) -> str:
    """Return how many deliveries a second were not taken within Aurora's 10 s, by no fault of their own."""
    late = (
        f"sum(rate(aurora_bridge_response_seconds_count{_TAKEN}{window}))"
        f" - sum(rate(aurora_bridge_response_seconds_bucket{_IN_TIME}{window}))"
    )
    return f'({late} + sum(rate(aurora_bridge_refusals_total{{reason=~"{OUR_FAULT}"}}{window})))'


def due(window: str) -> str:
    """Return how many deliveries a second were to be taken: those refused for what they are do not count."""
    refused = f'sum(rate(aurora_bridge_refusals_total{{reason=~"{OUR_FAULT}"}}{window}))'
    return f"(sum(rate(aurora_bridge_response_seconds_count{_TAKEN}{window})) + {refused})"
