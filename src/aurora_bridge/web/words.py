"""What the status page says to people: times and sizes as they are spoken, and what to do about each reason."""

from collections.abc import Mapping
from types import MappingProxyType

from aurora_bridge.refusal import Defect, Reason

REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        Reason.NO_ROUTE: (
            "No route has this path. If it was Aurora: compare its URL template with those below, and "
            "INGRESS__BASE_PATH with what the proxy in front leaves of the path."
        ),
        Reason.METHOD_NOT_ALLOWED: "Not a GET, so not Aurora.",
        Reason.UNAUTHORIZED: (
            "No credential, or a wrong one. If it was Aurora: compare the subscription's authentication with the "
            "route's secret file."
        ),
        Reason.CROSS_SITE: (
            "A browser asked it for the page of another site, so not Aurora. Only where no credential is needed: set "
            "AUTH__TOKENS_FILE."
        ),
        Reason.MALFORMED_HTTP: "Not HTTP, so not Aurora: a scanner, or TLS spoken to a plain port.",
        Reason.MALFORMED_WITH_CREDENTIAL: (
            "Not HTTP, but with a valid credential, so perhaps Aurora. Send the same request by hand, and compare what "
            "the proxy in front makes of it; the log has the kind of mistake."
        ),
        Reason.TARGET_TOO_LONG: (
            "A URL above INGRESS__MAX_TARGET_BYTES. If it was Aurora: take parameters out of the template, or raise it."
        ),
        Reason.OVERLOADED: (
            "More at once than INGRESS__MAX_IN_FLIGHT or INGRESS__MAX_CONNECTIONS. Something hangs: look at Kafka and "
            "the disk."
        ),
        Reason.SPOOL_FULL: (
            "Kafka has been away for too long, or the volume of STATE_DIR is full. Bring Kafka back, make room on the "
            "volume, or raise SPOOL__MAX_BYTES and restart the daemon."
        ),
        Reason.SPOOL_FAILED: (
            "The disk failed, and the daemon ends. Start it again once the disk is sound: what was committed is there."
        ),
        Reason.KAFKA_UNAVAILABLE: "Kafka is away, and there is no spool. Bring Kafka back, or set SPOOL__ENABLED=true.",
        Reason.KAFKA_REFUSED: (
            "Kafka refuses the topic or the event, and there is no spool. The log has Kafka's own word for it."
        ),
        Reason.TOO_LATE: "Neither Kafka nor the disk answered in time: look at the load and the disk of this machine.",
        Reason.INTERNAL_ERROR: "A fault in the bridge: the log has the place. Please report it.",
    }
)
"""By reason of a refusal."""
DEFECTS: Mapping[str, str] = MappingProxyType(
    {
        Defect.NO_ATTRIBUTES: "None of the event's attributes came: paste the template below.",
        Defect.UNFILLED_PLACEHOLDER: (
            "Aurora does not know a placeholder of the template, or it is not written like <THIS>: paste the template "
            "below, or take that parameter out."
        ),
        Defect.CONFLICTING_VALUES: "One attribute came twice, with different values: leave one of the parameters out.",
        Defect.CONFLICTING_EVENT: "Path and aurora_event name different events: leave one of them out.",
        Defect.NOT_UTF8: "A value is not UTF-8 after decoding.",
        Defect.CONTROL_CHARACTERS: "A value has control characters.",
        Defect.NOT_AS_TEMPLATE: "A value does not look as the route's template says: compare it with Aurora's.",
    }
)
"""By reason of a dead letter."""

_UNITS = ((86_400, "day"), (3600, "h"), (60, "min"))
_KIBI = 1024


def duration(seconds: float) -> str:
    """Return a time as it is spoken, in its largest unit: `3 min`, `2 days`."""
    for size, unit in _UNITS:
        if seconds >= size:
            count = int(seconds / size)
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{max(0, int(seconds))} s"


def answer_time(seconds: float) -> str:
    """Return a time within which answers left: `7.5 ms`, `2 s`."""
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def size(count: int) -> str:
    """Return a number of bytes as it is spoken: `812 KiB`."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < _KIBI:
            return f"{amount:.0f} {unit}"
        amount /= _KIBI
    return f"{amount:.1f} GiB"


def counted(count: int, noun: str) -> str:
    """Return how many there are of something: `1 event`, `12,345 events`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
