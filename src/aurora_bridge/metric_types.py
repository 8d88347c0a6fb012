"""Counters, gauges and histograms, as plain dictionaries of their series. `metrics` declares them.

prometheus_client writes the text formats, but does not count: its counters and histograms take a lock each time, and
would cost 10 us a webhook together, a fifth of the whole way. Label values come from closed sets: every series exists
from the start, and an unknown one raises `KeyError`.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, product
from math import inf

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

Labels = tuple[tuple[str, Sequence[str]], ...]
Key = str | tuple[str, ...]


def _keys(labels: Labels) -> Iterator[Key]:
    """Yield the key of every series: a string for one label, a tuple otherwise."""
    for values in product(*(values for _, values in labels)):
        yield values[0] if len(values) == 1 else values


def _values(key: Key) -> Sequence[str]:
    return (key,) if isinstance(key, str) else key


class Counter(dict[Key, int]):
    """A counter's series, by label value or tuple of them: `metrics.refusals[reason] += 1`."""

    def __init__(self, name: str, text: str, labels: Labels = ()) -> None:
        super().__init__(dict.fromkeys(_keys(labels), 0))
        self.name, self.text = name, text
        self.labels = [(label, tuple(values)) for label, values in labels]

    def collect(self) -> Metric:
        """Return all series in prometheus_client's form."""
        family = CounterMetricFamily(self.name, self.text, labels=[label for label, _ in self.labels])
        for key, value in self.items():
            family.add_metric(_values(key), value)
        return family


class Gauge(dict[Key, float]):
    """A gauge's series. A value that another object holds is read from there at each scrape.

    `source`, if set, gives the value of the one without labels, `sources` the values of those with labels.
    """

    def __init__(self, name: str, text: str, labels: Labels = ()) -> None:
        super().__init__(dict.fromkeys(_keys(labels), 0.0))
        self.name, self.text = name, text
        self.labels = [(label, tuple(values)) for label, values in labels]
        self.source: Callable[[], float] | None = None
        self.sources: Callable[[], Mapping[str, float]] | None = None

    def value(self) -> float:
        """Return the value of the series without labels."""
        return self[()] if self.source is None else self.source()

    def collect(self) -> Metric:
        """Return all series in prometheus_client's form."""
        if self.source is not None:
            self[()] = self.source()
        if self.sources is not None:
            self.update(self.sources())
        family = GaugeMetricFamily(self.name, self.text, labels=[label for label, _ in self.labels])
        for key, value in self.items():
            family.add_metric(_values(key), value)
        return family


class Series:
    """One series of a histogram: how many observations fell between its bounds.

    An observation is appended to a list. All that came are counted together: when somebody asks, and four times a
    second (`Metrics.settle`). The list holds a quarter of a second's webhooks at most, at 32 bytes each.
    """

    __slots__ = ("_counts", "_new", "_sum", "bounds", "observe")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._new: list[float] = []
        self.observe: Callable[[float], None] = self._new.append
        """Take one observation. A function in Python would cost four times as much to call."""

    @property
    def counts(self) -> Sequence[int]:
        """The number of observations up to each bound and above the previous one; the last is for those above all."""
        self.settle()
        return self._counts

    @property
    def sum(self) -> float:
        """The sum of all observations."""
        self.settle()
        return self._sum

    def settle(self) -> None:
        """Count the new observations."""
        new, below = self._new, 0
        if not new:
            return
        new.sort()
        for place, bound in enumerate((*self.bounds, inf)):
            up_to = bisect_right(new, bound)
            self._counts[place] += up_to - below
            below = up_to
        self._sum += sum(new)
        new.clear()


class Histogram(dict[Key, Series]):
    """A histogram of seconds, by label value or tuple of them: `metrics.stage_seconds["read"].observe(seconds)`."""

    def __init__(self, name: str, text: str, buckets: Sequence[float], labels: Labels = ()) -> None:
        super().__init__({key: Series(buckets) for key in _keys(labels)})
        self.name, self.text = name, text
        self.labels = [(label, tuple(values)) for label, values in labels]
        self._buckets = buckets
        self._bounds = [*(str(float(bound)) for bound in buckets), "+Inf"]

    def add(self, key: Key) -> None:
        """Add a series whose label value is not known beforehand."""
        self.setdefault(key, Series(self._buckets))

    def collect(self) -> Metric:
        """Return all series in prometheus_client's form."""
        family = HistogramMetricFamily(self.name, self.text, labels=[label for label, _ in self.labels])
        for key, series in self.items():
            buckets = list(zip(self._bounds, accumulate(series.counts), strict=True))
            family.add_metric(_values(key), buckets, series.sum)
        return family
