"""The URL templates to paste into Aurora's subscriptions: those of the written routes, then the default route's.

`cli.templates` and the status page print them, and a subscription that names no template gets one of them.
"""

from collections.abc import Iterator
from typing import NamedTuple

from aurora_bridge.routing import secret_names
from aurora_bridge.settings import Settings
from aurora_bridge.webhook.catalogue import CATALOGUE, todays_name
from aurora_bridge.webhook.segment_pattern import placeholder

NO_HOST = "https://HOST"
"""Begins a template while `ingress.public_url` is not set."""


class Paste(NamedTuple):
    """A URL template to paste into a subscription of Aurora."""

    event: str
    tenant: str
    url: str
    """With its secrets hidden; HOST stands for the host if the settings do not name it."""


def to_paste(settings: Settings) -> Iterator[Paste]:
    """Yield what to paste for each written route, then for each event of the default route whose attributes are known.

    An event that a written route takes is left out of the default route's.
    """
    written, secrets = set(), secret_names(settings)
    for route in settings.routes:
        written.add((todays_name(route.event), tenant := route.tenant or settings.tenant))
        template = secrets.redact_target(route.template.encode())
        yield Paste(todays_name(route.event), tenant, with_host(template, settings))
    if not settings.default_route:
        return
    for name in CATALOGUE:
        of_default = default_template(name, settings)
        if of_default is not None and (name, settings.tenant) not in written:
            yield Paste(name, settings.tenant, of_default)


def default_template(event: str, settings: Settings) -> str | None:
    """Return what to paste for an event of the default route, None if its attributes are not known."""
    event_type = CATALOGUE.get(event)
    if event_type is None:
        return None
    # A placeholder that Aurora does not know makes dead letters, so of the doubtful ones only the identifier is used.
    sure = [at for at in event_type.attributes if at not in event_type.attribute_evidence]
    names = [at for at in event_type.attributes if at in sure or at == event_type.identifier]
    base = settings.ingress.base_path.rstrip("/")
    return with_host(f"{base}/{event}?{'&'.join(map(_parameter, names))}", settings) if names else None


def with_host(template: str, settings: Settings) -> str:
    """Return a template with scheme and host: its own, else those of `ingress.public_url`, else HOST."""
    has_host = not template.startswith(("/", "?"))
    return template if has_host else (settings.ingress.public_url or NO_HOST) + template


def _parameter(attribute: str) -> str:
    """Return what carries an attribute in a template: `project_id=<PROJECT_ID>`."""
    return f"{attribute}={placeholder(attribute)}"
