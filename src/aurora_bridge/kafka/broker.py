"""What goes to one broker: one request at a time, no larger than the line carries, and not before its quota allows it.

A request that takes too long is cut by its time-out, and its bytes have to go again: on a slow line for ever, if the
next request is as large. So requests begin small, and grow while the line carries them quickly, up to a bound.
"""

from math import inf

from aurora_bridge.metrics import Metrics

MAX_REQUEST_BYTES = 1024 * 1024
FIRST_REQUEST_BYTES = 64 * 1024
"""Of the first request, and again after a lost connection: it fits through 26 kB/s before it times out."""
CARRYING_SECONDS = 0.25
"""How long the bytes of a request may take beyond the round trip, or be paid for by a quota's pause. A live event waits
for a backlog's request as long."""
_SLOW_SECONDS = 0.5
"""An answer that takes longer never makes requests larger, whatever is taken for the round trip."""
_GROWTH = 4
_CAUTIOUS_BYTES = 256 * 1024
_CAUTIOUS_SHARE = 8
"""Larger requests are at most such a share of all that went before. A quota lets ten seconds' worth of bytes pass
before its first pause: one oversteps it by 1.25 s then, and live events do not miss their publish deadline."""
_SMALL_BYTES = 4096
"""A request of this size shows the round trip, and adds little to the pause that a quota asks for."""


class Broker:
    """One broker, as the sender sees it."""

    __slots__ = (
        "_carried",
        "_label",
        "_metrics",
        "_round_trip",
        "acknowledged_at",
        "busy",
        "doubtful_last",
        "limit_bytes",
        "node",
        "open_at",
    )

    def __init__(self, node: int, metrics: Metrics) -> None:
        self.node = node
        self.busy = False
        """Whether a request is under way."""
        self.doubtful_last = False
        """Whether its last request carried batches in doubt: others have their turn now."""
        self.acknowledged_at = 0.0
        """Monotonic time at which it last acknowledged a batch."""
        self.open_at = 0.0
        """Monotonic time before which its quota allows no request: the broker reads none before (KIP-219)."""
        self.limit_bytes = FIRST_REQUEST_BYTES
        """Largest request for now; one batch goes whatever its size."""
        self._round_trip = inf
        self._carried = 0
        """Bytes since a connection was lost, or a quota asked for a long pause."""
        self._metrics = metrics
        self._label = label = metrics.broker_label(node)
        metrics.kafka_request_seconds.add(label)
        metrics.kafka_request_bytes.setdefault(label, 0)
        metrics.kafka_throttled_seconds.add(label)

    def answered(self, size: int, seconds: float, now: float, throttled_seconds: float) -> None:
        """Learn from a request of `size` bytes, answered after `seconds` at monotonic time `now`.

        The broker wants no other for `throttled_seconds`.
        """
        self._metrics.kafka_request_seconds[self._label].observe(seconds)
        self._metrics.kafka_request_bytes[self._label] += size
        self._carried += size
        if throttled_seconds:
            self.open_at = now + throttled_seconds
            self._metrics.kafka_throttled_seconds[self._label].observe(throttled_seconds)
        if seconds < self._round_trip or size <= _SMALL_BYTES:
            self._round_trip = seconds
        if size <= self.limit_bytes // 2:
            return  # it says nothing of what the line carries
        carrying = max(seconds - self._round_trip, throttled_seconds)
        if throttled_seconds > CARRYING_SECONDS:  # until the first ten seconds are over, more bytes make longer pauses
            self.limit_bytes, self._carried = _SMALL_BYTES, 0
        elif carrying > CARRYING_SECONDS:
            self.limit_bytes = max(FIRST_REQUEST_BYTES, int(size * CARRYING_SECONDS / carrying))
        elif carrying < CARRYING_SECONDS / _GROWTH and seconds < _SLOW_SECONDS:
            most = max(_CAUTIOUS_BYTES, self._carried // _CAUTIOUS_SHARE)
            self.limit_bytes = max(self.limit_bytes, min(_GROWTH * self.limit_bytes, most, MAX_REQUEST_BYTES))

    def lost(self) -> None:
        """Start over: the next connection may be another line."""
        self.limit_bytes = FIRST_REQUEST_BYTES
        self._round_trip = inf
        self._carried = 0
