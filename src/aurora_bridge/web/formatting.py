"""How the status page writes times, sizes and counts."""

from datetime import UTC, datetime

_UNITS = ((86_400, "day"), (3600, "h"), (60, "min"))
_KIBI = 1024


def duration(seconds: float) -> str:
    """Return a duration in its largest unit, rounded down: `3 min`, `2 days`."""
    for size, unit in _UNITS:
        if seconds >= size:
            count = int(seconds / size)
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{max(0, int(seconds))} s"


def moment(time: float) -> str:
    """Return a time in seconds since the epoch as `2027-01-15 07:57:00 UTC`."""
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"


def answer_time(seconds: float) -> str:
    """Return an answer time in seconds as `7.5 ms` or `2 s`."""
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def size(count: float) -> str:
    """Return a number of bytes in its largest unit: `812 KiB`."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < _KIBI:
            return f"{amount:.0f} {unit}"
        amount /= _KIBI
    return f"{amount:.1f} GiB"


def counted(count: int, noun: str, nouns: str = "") -> str:
    """Return a count and its noun: `1 event`, `12,345 events`; `nouns` is an irregular plural."""
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"
