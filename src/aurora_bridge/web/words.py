"""How the status page says times, sizes and counts: as they are spoken."""

from datetime import UTC, datetime

_UNITS = ((86_400, "day"), (3600, "h"), (60, "min"))
_KIBI = 1024


def duration(seconds: float) -> str:
    """Return a time as it is spoken, in its largest unit: `3 min`, `2 days`."""
    for size, unit in _UNITS:
        if seconds >= size:
            count = int(seconds / size)
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{max(0, int(seconds))} s"


def moment(time: float) -> str:
    """Return a time of the day, in seconds since the epoch, as people write it: `2027-01-15 07:57:00 UTC`."""
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"


def answer_time(seconds: float) -> str:
    """Return a time within which answers left: `7.5 ms`, `2 s`."""
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def size(count: float) -> str:
    """Return a number of bytes as it is spoken: `812 KiB`."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < _KIBI:
            return f"{amount:.0f} {unit}"
        amount /= _KIBI
    return f"{amount:.1f} GiB"


def counted(count: int, noun: str, nouns: str = "") -> str:
    """Return how many there are of something: `1 event`, `12,345 events`; `nouns` is a plural without a mere s."""
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"
