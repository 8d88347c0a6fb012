"""The figures as plain tables."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench import routes
    from bench.index import Figures
    from bench.runs import Record, Scenario

SERVICE = ("per s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "RSS MB", "peak MB", "disk B", "Kafka B", "requests")
INDEX = ("complete s", "complete MB", "slowest ms", "CPU us", "to empty", "RSS MB", "peak MB", "loop lag ms")


def show_scenario(scenario: Scenario, records: list[Record]) -> None:
    """Print what the servers did, the hello-world being the first and the daemon the second."""
    speed = f"{scenario.rate:,.0f} webhooks a second" if scenario.rate else "as fast as the answers come"
    print(f"\n{scenario.connections} connections, {speed}; {scenario.count:,} webhooks a round, medians of the rounds")
    yardsticks = records[:2]
    heads = ("CPU us", *(f"to {yardstick.server}" for yardstick in yardsticks), *SERVICE)
    _show([("", *heads)] + [_cells(record, yardsticks) for record in records])
    print("every webhook got 200 and is stored; what the daemons count, warm-up included:")
    for record in records:
        if record.outcomes:
            counted = ", ".join(f"{count:,} {outcome}" for outcome, count in record.outcomes.items())
            print(f"{record.server}: {counted}", flush=True)


def show_index(figures: list[Figures]) -> None:
    """Print what an empty and a filled index cost."""
    empty = figures[0].record
    lines: list[tuple[str, ...]] = [("", *INDEX)]
    for figure in figures:
        start, record = figure.start, figure.record
        cells = (
            f"{start.seconds:.2f}",
            f"{start.megabytes:.0f}",
            f"{1e3 * start.slowest:.1f}",
            spread([1e6 * cpu for cpu in record.values("cpu_per_webhook")]),
            f"{record.ratio(empty):.2f}",
            f"{record.megabytes:.0f}",
            f"{record.megabytes_peak:.0f}",
            f"{1e3 * max(record.values('lag')):g}",
        )
        lines.append((record.server, *cells))
    print("\nfrom the start until the index is complete; then measured in turns, medians of the rounds")
    _show(lines)


def show_routes(measured: list[routes.Figures]) -> None:
    """Print what few and many routes cost."""
    few, many = measured
    print(f"\n{'CPU us a webhook, by route':30}{f'{few.routes} routes':>12}{f'{many.routes} routes':>12}{'ratio':>8}")
    for kind, cost in few.microseconds.items():
        print(f"{kind:30}{cost:12.1f}{many.microseconds[kind]:12.1f}{many.microseconds[kind] / cost:8.2f}")
    print(f"{'memory, MB':30}{few.megabytes:12.2f}{many.megabytes:12.2f}")
    print(f"{'CPU s to make them':30}{few.seconds_to_make:12.3f}{many.seconds_to_make:12.3f}", flush=True)


def spread(values: list[float]) -> str:
    """Return the median of the rounds, and their least and largest."""
    return f"{statistics.median(values):.1f} ({min(values):.0f}-{max(values):.0f})"


def _show(lines: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) + 2 for column in zip(*lines, strict=True)]
    for name, *cells in lines:
        aligned = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        print(f"{name:{widths[0] - 2}}" + "".join(aligned), flush=True)


def _cells(record: Record, yardsticks: list[Record]) -> tuple[str, ...]:
    webhooks = sum(record.rounds[0].outcomes.values())
    requests, sent = (record.median(figure) / webhooks for figure in ("requests", "sent"))
    return (
        record.server,
        spread([1e6 * cpu for cpu in record.values("cpu_per_webhook")]),
        *(f"{record.ratio(yardstick):.2f}" for yardstick in yardsticks),
        f"{record.median('per_second'):,.0f}",
        *(f"{1e3 * record.median(latency):.2f}" for latency in ("p50", "p99", "p999")),
        f"{1e3 * max(record.values('max')):.1f}",
        f"{record.megabytes:.0f}",
        f"{record.megabytes_peak:.0f}",
        f"{record.median('written') / webhooks:,.0f}",
        f"{sent:,.0f}" if sent else "-",
        f"{requests:.3f}" if requests else "-",
    )
