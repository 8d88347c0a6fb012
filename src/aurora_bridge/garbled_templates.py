"""URL templates in Aurora that HTML or a framework garbled: noted for the status page, logged once each.

Their deliveries are read as they were meant (`webhook.query_shape`), so that nothing is lost until somebody fixes them.
"""

import logging
from typing import NamedTuple

from aurora_bridge.logs import fields
from aurora_bridge.metrics import Metrics
from aurora_bridge.webhook.decoding import canonical_name, meant_name
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import Event
from aurora_bridge.webhook.routes import DISCRIMINATOR, Match

log = logging.getLogger(__name__)

_ANOTHER_NAME = "(another)"


class GarbledTemplate(NamedTuple):
    """A URL template in Aurora that somebody has to fix."""

    time: float
    """When its last delivery came, seconds since the epoch."""
    event: str
    tenant: str
    route: str
    names: tuple[str, ...]
    """The garbled names as they came; `(another)` for one that is in neither catalogue nor settings."""


class GarbledTemplates(dict[tuple[str, str], GarbledTemplate]):
    """Garbled templates by event and route, of which there is a bounded number."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics

    def note(self, event: Event, match: Match, delivery: Delivery) -> None:
        """Note the template of a garbled delivery; log it the first time."""
        self._metrics.garbled_templates[event.name] += 1
        route, known = match.route, self.get((event.name, match.route.name))
        shown = route.rules.secrets.redact_target
        names = tuple(
            shown(name.encode()) if _is_known(meant_name(name), match) else _ANOTHER_NAME for name in event.garbled
        )
        self[event.name, route.name] = GarbledTemplate(
            delivery.received_us / 1e6, event.name, route.tenant, route.name, names
        )
        if known is None:
            log.warning(
                "a URL template in Aurora is garbled; its parameters are read as they were meant",
                extra=fields(event=event.name, route=route.name, names=list(names)),
            )


def _is_known(name: str, match: Match) -> bool:
    """Whether a parameter's name is in the catalogue or in the settings, so that it can be shown."""
    rules, template = match.route.rules, match.route.template
    known = {*rules.type_of(match.event).attributes, DISCRIMINATOR}
    return (
        canonical_name(name) in known or name in rules.secrets or (template is not None and name in template.parameters)
    )
