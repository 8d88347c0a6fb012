"""One HTTP request of Aurora, as received: what the ingress hands to `routes`."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Delivery:
    """A request's head, undecoded, with the time of its receipt by both clocks.

    Never changed, like `Match`, `Event`, `Decision` and `Answer`. One of each is made for every webhook, and a named
    tuple or a frozen dataclass costs twice as much.
    """

    method: str
    target: bytes
    """The request target as it stood in the request line (RFC 9112, section 3.2)."""
    headers: Sequence[tuple[bytes, bytes]]
    received_us: int
    """Wall clock: microseconds since the epoch."""
    received: float
    """Monotonic clock, in seconds: every deadline is measured from here."""
    peer: str = ""
    """Address at the other end of the connection, which may be a proxy's: see `client_address`."""
