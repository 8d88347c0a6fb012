"""Whether something grows: a straight line through what was seen, and how sure its slope is."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import fmean
from typing import Final

BLOCKS: Final = 20


@dataclass(frozen=True, slots=True)
class Trend:
    """A slope, and its standard error."""

    slope: float
    error: float

    def surely_above(self, bound: float) -> bool:
        """Whether the slope is above the bound by more than three standard errors."""
        return self.slope - 3 * self.error > bound


def trend(points: Sequence[tuple[float, float]]) -> Trend:
    """Return the least squares line of `(x, y)`, through the means of up to 20 blocks.

    What lies side by side is alike (memory comes in pieces); each taken for itself, the points would claim too much.
    """
    size = max(1, len(points) // BLOCKS)
    blocks = [points[at : at + size] for at in range(0, len(points), size)]
    xs, ys = ([fmean(point[axis] for point in block) for block in blocks] for axis in (0, 1))
    middle_x, middle_y = fmean(xs), fmean(ys)
    spread = sum((x - middle_x) ** 2 for x in xs)
    if len(blocks) < 3 or not spread:
        return Trend(0.0, inf)
    slope = sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True)) / spread
    rest = sum((y - middle_y - slope * (x - middle_x)) ** 2 for x, y in zip(xs, ys, strict=True))
    return Trend(slope, sqrt(rest / (len(blocks) - 2) / spread))
