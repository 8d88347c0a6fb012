"""Aurora's attempts of the last 48 h, by route and event: how close Aurora is to switching a subscription off.

Aurora does so when all its retries fail within 48 h, with at least 100 attempts in these 48 h (Aurora: "Delivery").
We read this as: when a delivery's last retry fails, after 48 h with at least 100 attempts and no success.

We count the failures since the last success instead, even if that was less than 48 h ago, because nothing tells which
retry is the last. So a warning comes too early rather than too late. Aurora tells neither that it has switched a
subscription off, nor which one an attempt belongs to: we go by route and event, and subscriptions that share both are
counted together.

The time of the last success tells when an event last came, and that a request without a credential is not Aurora's.
`guard` saves the attempts, and warns.
"""

from collections.abc import Iterator
from math import inf
from typing import NamedTuple

import orjson

DISABLED_AT = 100
"""Number of attempts, all failed, at which Aurora may switch a subscription off."""
WARNED_AT = 20
"""Failures in a row that are a risk. Each replica only knows its own: even with five, the warning comes in time."""
NO_ROUTE = "none"
"""Stands for the route if no route has the path, but the request names an event or has a valid credential."""
_KNOWN_US = 30 * 86_400 * 1_000_000
"""How long an accepted attempt shows that Aurora sends a credential. Some events come once a month."""
_BUCKET_US = 15 * 60 * 1_000_000
_WINDOW_BUCKETS = 48 * 4
"""Besides the current one: the window is 48 h to 48 h 15 min long. A subscription's buckets take 20 kB."""
_RECENT_BUCKETS = 4
"""Besides the current one: failures in this hour or a little more are the present rate."""


class Subscription(NamedTuple):
    """The attempts of one subscription in the last 48 h."""

    route: str
    event: str
    attempts: int
    failures: int
    in_a_row: int
    """Number of failures since the last success, within the 48 h."""
    seconds_left: float
    """Time until Aurora may switch it off, at the present rate; infinity if there is no risk, or no attempt comes."""

    @property
    def at_risk(self) -> bool:
        """Whether Aurora may switch it off if this goes on."""
        return self.in_a_row >= WARNED_AT


class _Tally:
    __slots__ = ("accepted_us", "buckets", "in_a_row", "row_began_us")

    def __init__(self) -> None:
        self.buckets: dict[int, list[int]] = {}
        """Numbers of attempts and failures, by bucket of time."""
        self.in_a_row = 0
        """Includes failures before the window."""
        self.row_began_us = 0
        self.accepted_us = 0
        """Time of the last success; 0: never."""


class Attempts:
    """Counts attempts. Times are microseconds since the epoch."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], _Tally] = {}
        self._unrouted: dict[str, _Tally] = {}
        """Attempts of `NO_ROUTE`, by event."""

    def enter(self, subscription: tuple[str, str], time_us: int, *, failed: bool) -> None:
        """Enter an attempt of a subscription, which is a route and an event."""
        tally = self._tallies.get(subscription) or self._begin(subscription)
        bucket = tally.buckets.get(time_us // _BUCKET_US)
        if bucket is None:
            bucket = tally.buckets[time_us // _BUCKET_US] = [0, 0]
        bucket[0] += 1
        if failed:
            bucket[1] += 1
            tally.in_a_row += 1
            if tally.in_a_row == 1:
                tally.row_began_us = time_us
            return
        tally.in_a_row, tally.accepted_us = 0, time_us
        if self._unrouted and (unrouted := self._unrouted.get(subscription[1])) is not None:
            unrouted.in_a_row = 0  # its template was fixed, and leads to a route

    def _begin(self, subscription: tuple[str, str]) -> _Tally:
        tally = self._tallies[subscription] = _Tally()
        if subscription[0] == NO_ROUTE:
            self._unrouted[subscription[1]] = tally
        return tally

    def accepted_lately(self, subscription: tuple[str, str], now_us: int) -> bool:
        """Whether an attempt of a subscription has succeeded within 30 days."""
        tally = self._tallies.get(subscription)
        return tally is not None and tally.accepted_us > now_us - _KNOWN_US

    def last_accepted(self) -> dict[str, int]:
        """Return the time of the last success of each event, over all routes."""
        found: dict[str, int] = {}
        for (_, event), tally in self._tallies.items():
            if tally.accepted_us > found.get(event, 0):
                found[event] = tally.accepted_us
        return found

    def evaluate(self, now_us: int) -> list[Subscription]:
        """Return all subscriptions ever entered; drop attempts that are older than the window."""
        return [_evaluate(route, event, tally, now_us) for (route, event), tally in self._tallies.items()]

    def dump(self) -> str:
        """Return everything as a line of JSON."""
        rows = [
            [
                route,
                event,
                tally.in_a_row,
                tally.row_began_us,
                [[bucket, *counts] for bucket, counts in tally.buckets.items()],
                tally.accepted_us,
            ]
            for (route, event), tally in self._tallies.items()
            if tally.buckets or tally.accepted_us
        ]
        return orjson.dumps(rows).decode()

    def load(self, line: str) -> None:
        """Load what `dump` returned. Raises `ValueError` for anything else, and loads nothing."""
        for subscription, tally in list(_parse(line)):
            known = self._begin(subscription)
            known.buckets, known.in_a_row, known.row_began_us = tally.buckets, tally.in_a_row, tally.row_began_us
            known.accepted_us = tally.accepted_us


def _evaluate(route: str, event: str, tally: _Tally, now_us: int) -> Subscription:
    now = now_us // _BUCKET_US
    # If the clock was set back, counts are in the future. One bucket ahead is kept: NTP makes such steps.
    for bucket in [bucket for bucket in tally.buckets if not now - _WINDOW_BUCKETS <= bucket <= now + 1]:
        del tally.buckets[bucket]
    attempts = sum(attempts for attempts, _ in tally.buckets.values())
    failures = sum(failures for _, failures in tally.buckets.values())
    in_a_row = min(tally.in_a_row, failures)
    found = Subscription(route, event, attempts, failures, in_a_row, inf)
    return found._replace(seconds_left=_seconds_left(tally, in_a_row, now_us)) if found.at_risk else found


def _seconds_left(tally: _Tally, in_a_row: int, now_us: int) -> float:
    if in_a_row >= DISABLED_AT:
        return 0.0
    first = now_us // _BUCKET_US - _RECENT_BUCKETS
    recent = min(in_a_row, sum(failures for bucket, (_, failures) in tally.buckets.items() if bucket >= first))
    if not recent:
        return inf
    began_us = max(tally.row_began_us, first * _BUCKET_US)
    return (DISABLED_AT - in_a_row) * max(1.0, (now_us - began_us) / 1e6) / recent


def _parse(line: str) -> Iterator[tuple[tuple[str, str], _Tally]]:
    try:
        for route, event, in_a_row, row_began_us, buckets, *accepted in orjson.loads(line):
            tally = _Tally()
            tally.buckets = {
                _whole(bucket): [_whole(attempts), _whole(failures)] for bucket, attempts, failures in buckets
            }
            tally.in_a_row, tally.row_began_us = _whole(in_a_row), _whole(row_began_us)
            tally.accepted_us = _whole(accepted[0]) if accepted else 0  # an older version wrote none
            yield (str(route), str(event)), tally
    except TypeError as error:
        msg = "damaged content"
        raise ValueError(msg) from error


def _whole(value: object) -> int:
    """Return a count or a time. Raises `ValueError` for a float: JSON integers beyond 64 bits are parsed as one."""
    if not isinstance(value, int) or value < 0:
        msg = "damaged content"
        raise ValueError(msg)
    return value
