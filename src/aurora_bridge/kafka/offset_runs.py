"""Runs of offsets where our own records were stored in a partition. The follower need not read them."""

_MOST_RUNS = 1000
"""Limit between two polls of the follower. Records beyond it are read from Kafka, like those of other replicas."""


class OffsetRuns:
    """Runs of offsets, each as [first, last + 1]."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs = [[0, 0]]

    def add(self, offset: int, count: int) -> None:
        """Note `count` records from `offset` on; -1: Kafka did not report it."""
        run = self._runs[-1]
        if run[1] == offset:
            run[1] = offset + count
        elif offset >= 0 and len(self._runs) < _MOST_RUNS:
            self._runs.append([offset, offset + count])

    def take(self) -> list[list[int]]:
        """Return the runs noted since the last call."""
        taken, end = self._runs, self._runs[-1][1]
        self._runs = [[end, end]]
        return [run for run in taken if run[0] < run[1]]
