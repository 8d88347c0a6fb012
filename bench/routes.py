"""What routes cost (`python -m bench routes`): to find and read a webhook's own among few and among many.

Four kinds of route in equal parts: a path of its own, a placeholder in the path, a placeholder as part of a segment,
and a static parameter on a path that all of its kind share. Measured are CPU time from the target to the canonical
event, the memory of settings, routes and what is remembered of their queries, and the CPU time to make them. In this
process, without HTTP and Kafka, which cost the same whatever the routes.
"""

from __future__ import annotations

import gc
import statistics
import tracemalloc
from dataclasses import dataclass
from itertools import cycle, islice
from time import process_time

from aurora_bridge.metrics import Metrics
from aurora_bridge.routing import make_routing
from aurora_bridge.secret_files import SecretFiles
from aurora_bridge.settings import RouteSettings, Settings
from aurora_bridge.webhook import query_shape, url_template
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import normalise
from aurora_bridge.webhook.routes import Routes

FEW, MANY = 5, 500
WEBHOOKS = 20_000
MEGABYTE = 1e6

KINDS = (
    ("own path", "/hooks/{0}?a=<AGREEMENT_ID>&st=<STATUS>&p=<PROJECT_ID>"),
    ("path placeholder", "/{0}/<PROJECT_ID>/agreements?a=<AGREEMENT_ID>&st=<STATUS>"),
    ("part of a segment", "/v/s{0}-<PROJECT_ID>.json?a=<AGREEMENT_ID>&st=<STATUS>"),
    ("static parameter", "/one?a=<AGREEMENT_ID>&st=<STATUS>&p=<PROJECT_ID>&kind=k{0}"),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What so many routes cost."""

    routes: int
    microseconds: dict[str, float]
    """CPU time of a webhook, by the kind of its route."""
    megabytes: float
    seconds_to_make: float


def measure(rounds: int) -> list[Figures]:
    """Measure few and many routes in turns, medians of the rounds."""
    made = {count: _routes(count) for count in (FEW, MANY)}
    measured: dict[tuple[int, str], list[float]] = {}
    for _ in range(rounds):
        for kind, url in KINDS:
            for count, routes in made.items():
                measured.setdefault((count, kind), []).append(_microseconds(routes, url, count))
    return [
        Figures(
            count,
            {kind: statistics.median(measured[count, kind]) for kind, _ in KINDS},
            _megabytes(count),
            statistics.median(_seconds_to_make(count) for _ in range(rounds)),
        )
        for count in made
    ]


def _settings(count: int) -> Settings:
    urls = islice(cycle(url for _, url in KINDS), count)
    tables = [
        RouteSettings(template=url.format(number), event="agreement_status_changed", tenant=f"tenant-{number % 7}")
        for number, url in enumerate(urls)
    ]
    return Settings(routes=tuple(tables))


def _routes(count: int) -> Routes:
    metrics = Metrics()
    return make_routing(_settings(count), SecretFiles(metrics), metrics).routes


def _deliveries(url: str, count: int, webhooks: int) -> list[Delivery]:
    """Return webhooks for the routes of one kind in turn."""
    first = [kind_url for _, kind_url in KINDS].index(url)
    numbers = cycle(range(first, count, len(KINDS)))
    return [
        Delivery("GET", _filled(url.format(number), webhook), (), 0, 0.0)
        for webhook, number in zip(range(webhooks), numbers, strict=False)
    ]


def _filled(url: str, webhook: int) -> bytes:
    values = {"<AGREEMENT_ID>": f"a-{webhook}", "<PROJECT_ID>": f"p-{webhook}", "<STATUS>": "signed"}
    for placeholder, value in values.items():
        url = url.replace(placeholder, value)
    return url.encode()


def _read(routes: Routes, deliveries: list[Delivery]) -> None:
    for delivery in deliveries:
        normalise(routes.match(delivery))


def _microseconds(routes: Routes, url: str, count: int) -> float:
    deliveries = _deliveries(url, count, WEBHOOKS)
    _read(routes, deliveries[:MANY])  # each shape was seen before, as in a daemon that has run for a while
    began = process_time()
    _read(routes, deliveries)
    return (process_time() - began) / WEBHOOKS * 1e6


def _megabytes(count: int) -> float:
    """Return what settings and routes take, and the shapes of what comes there."""
    query_shape._known.cache_clear()  # noqa: SLF001 - what was measured before
    url_template._known_reading.cache_clear()  # noqa: SLF001
    gc.collect()
    tracemalloc.start()
    settings = _settings(count)
    metrics = Metrics()
    routes = make_routing(settings, SecretFiles(metrics), metrics).routes
    for _, url in KINDS:
        _read(routes, _deliveries(url, count, MANY))
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / MEGABYTE


def _seconds_to_make(count: int) -> float:
    settings, metrics = _settings(count), Metrics()
    began = process_time()
    make_routing(settings, SecretFiles(metrics), metrics)
    return process_time() - began
