"""What goes to one broker: one request at a time, no larger than the link can carry, and not before its quota allows.

A request that times out is sent again: on a slow link for ever, if it is always as large. So requests start small, and
grow up to a bound while the link carries them quickly.
"""

from math import inf

from aurora_bridge.metrics import Metrics

MAX_REQUEST_BYTES = 1024 * 1024
FIRST_REQUEST_BYTES = 64 * 1024
"""Limit for the first request, also after a lost connection: at 26 kB/s it arrives before its timeout."""
TRANSFER_SECONDS = 0.25
"""How long a request may take beyond the round trip, or make a quota pause us. A live event can wait this long behind
a request of a backlog."""
_SLOW_SECONDS = 0.5
"""A slower response never raises the limit, whatever the round trip seems to be."""
_GROWTH = 4
_CAUTIOUS_BYTES = 256 * 1024
_CAUTIOUS_SHARE = 8
"""Larger requests are at most this fraction (1/8) of all bytes sent before. A quota passes ten seconds' worth of bytes
before its first pause, so that this pause is at most 1.25 s, and live events keep their publish deadline."""
_SMALL_BYTES = 4096
"""A request this small measures the round trip, and adds little to a quota's pause."""


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
        """Whether a request is in flight."""
        self.doubtful_last = False
        """Whether its last request carried batches in doubt; the next one then carries others."""
        self.acknowledged_at = 0.0
        """Monotonic time at which it last acknowledged a batch."""
        self.open_at = 0.0
        """Monotonic time until which its quota mutes the connection (KIP-219)."""
        self.limit_bytes = FIRST_REQUEST_BYTES
        """Current limit of a request; a single batch is sent whatever its size."""
        self._round_trip = inf
        self._carried = 0
        """Bytes sent since a connection was lost, or a quota imposed a long pause."""
        self._metrics = metrics
        self._label = label = metrics.broker_label(node)
        metrics.kafka_request_seconds.add(label)
        metrics.kafka_request_bytes.setdefault(label, 0)
        metrics.kafka_throttled_seconds.add(label)

    def answered(self, size: int, seconds: float, now: float, throttled_seconds: float) -> None:
        """Learn from a request of `size` bytes, answered after `seconds` at monotonic time `now`.

        `throttled_seconds` is how long the broker's quota mutes the connection.
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
            return  # too small to show what the link can carry
        transfer = max(seconds - self._round_trip, throttled_seconds)
        if throttled_seconds > TRANSFER_SECONDS:  # within the quota's ten seconds, more bytes mean longer pauses
            self.limit_bytes, self._carried = _SMALL_BYTES, 0
        elif transfer > TRANSFER_SECONDS:
            self.limit_bytes = max(FIRST_REQUEST_BYTES, int(size * TRANSFER_SECONDS / transfer))
        elif transfer < TRANSFER_SECONDS / _GROWTH and seconds < _SLOW_SECONDS:
            most = max(_CAUTIOUS_BYTES, self._carried // _CAUTIOUS_SHARE)
            self.limit_bytes = max(self.limit_bytes, min(_GROWTH * self.limit_bytes, most, MAX_REQUEST_BYTES))

    def lost(self) -> None:
        """Start over: the next connection may use another link."""
        self.limit_bytes = FIRST_REQUEST_BYTES
        self._round_trip = inf
        self._carried = 0
