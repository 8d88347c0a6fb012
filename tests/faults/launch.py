"""The daemon on the clock of the fault tests: `launch.py CLOCK SWITCH serve`.

Aurora tries again after 30 s to 20 h; here all of it is `CLOCK` times as fast, and the daemon's idea of when a retry is
due has to be, too. The slots are wider than the product's, by what a busy machine adds; `tests/webhook` tests those.
SWITCH is one of `lies` or `hooks`, or `none`.
"""

import sys

from aurora_bridge import cli
from aurora_bridge.webhook import recurrence
from tests.faults.hooks import HOOKS
from tests.faults.lies import LIES


def run_faster(clock: float) -> None:
    """Make Aurora's schedule so many times as fast."""
    due = [seconds * 1_000_000 / clock for _, seconds in recurrence._SCHEDULE]  # noqa: SLF001
    ends = [*(after / 2 for after in due[1:]), due[-1] * 3]
    slots = zip(recurrence._SLOTS, (seconds / 2 for seconds in due), ends, strict=True)  # noqa: SLF001
    recurrence._SLOTS = tuple((slot, begin, end) for (slot, _, _), begin, end in slots)  # noqa: SLF001
    recurrence._ECHO_US = due[0] / 2  # noqa: SLF001


if __name__ == "__main__":
    run_faster(float(sys.argv[1]))
    if sys.argv[2] != "none":
        (LIES | HOOKS)[sys.argv[2]]()
    sys.argv[1:] = sys.argv[3:]
    sys.exit(cli.main())
