"""Where our records were stored in a partition: runs of offsets, which the follower need not read."""

_MOST_RUNS = 1000
"""Between two looks of the follower. What is beyond is read from Kafka like another's."""


class OffsetRuns:
    """Runs of offsets, each with its first and the one behind its last."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs = [[0, 0]]

    def add(self, offset: int, count: int) -> None:
        """Note `count` records from `offset` on; -1 where Kafka does not say."""
        run = self._runs[-1]
        if run[1] == offset:
            run[1] = offset + count
        elif offset >= 0 and len(self._runs) < _MOST_RUNS:
            self._runs.append([offset, offset + count])

    def take(self) -> list[list[int]]:
        """Return the runs since the last call."""
        taken, end = self._runs, self._runs[-1][1]
        self._runs = [[end, end]]
        return [run for run in taken if run[0] < run[1]]
