"""The figures as plain tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench import routes
    from bench.index import Figures
    from bench.runs import Record, Scenario

LATENCIES = ("p50", "p99", "p999")
COST = ("per CPU-s", "CPU us", "ratio")
SERVICE = ("per s", "p50 ms", "p99 ms", "p99.9 ms", "RSS MB", "peak MB")
INDEX = ("complete s", "complete MB", "answered", "slowest ms", "CPU us", "ratio", "RSS MB", "peak MB")


def show_scenario(scenario: Scenario, records: list[Record], revision: str | None) -> None:
    """Print what the servers did, the hello-world being the first; `revision` is the name of one of them."""
    speed = f"{scenario.rate:,.0f} webhooks a second" if scenario.rate else "as fast as the answers come"
    print(f"\n{scenario.connections} connections, {speed}; {scenario.count:,} webhooks a round, medians of the rounds")
    before = next((record for record in records if record.server == revision), None)
    to_revision = (f"to {revision}",) if before else ()
    _show([("", *COST, *to_revision, *SERVICE)] + [_cells(record, records[0], before) for record in records])
    print("every webhook got 200 and has its record in Kafka; what the daemons count, warm-up included:")
    for record in records:
        if record.outcomes:
            counted = ", ".join(f"{count:,} {outcome}" for outcome, count in record.outcomes.items())
            print(f"{record.server}: {counted}", flush=True)


def show_index(figures: list[Figures]) -> None:
    """Print what an empty and a filled index cost."""
    empty = figures[0].record
    lines: list[tuple[str, ...]] = [("", *INDEX)]
    for _, start, record in figures:
        cells = (
            f"{start.seconds:.2f}",
            f"{start.megabytes:.0f}",
            f"{start.answered:,}",
            f"{1e3 * start.slowest:.1f}",
            f"{1e6 * record.median('cpu_per_webhook'):.1f}",
            f"{record.cpu_ratio(empty):.2f}",
            f"{record.megabytes:.0f}",
            f"{record.megabytes_peak:.0f}",
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


def _show(lines: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) + 3 for column in zip(*lines, strict=True)]
    for name, *cells in lines:
        aligned = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        print(f"{name:{widths[0] - 3}}" + "".join(aligned), flush=True)


def _cells(record: Record, hello: Record, before: Record | None) -> tuple[str, ...]:
    cpu = record.median("cpu_per_webhook")
    return (
        record.server,
        f"{1 / cpu:,.0f}",
        f"{1e6 * cpu:.1f}",
        f"{hello.cpu_ratio(record):.2f}",
        *((f"{record.cpu_ratio(before):.2f}",) if before else ()),
        f"{record.median('per_second'):,.0f}",
        *(f"{1e3 * record.median(latency):.2f}" for latency in LATENCIES),
        f"{record.megabytes:.0f}",
        f"{record.megabytes_peak:.0f}",
    )
