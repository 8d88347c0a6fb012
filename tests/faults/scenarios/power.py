"""The machine of the daemon loses its power: a kill -9 keeps what only the system's memory has, this does not.

After LazyFS (https://github.com/dsrhaslab/lazyfs), a file system that forgets what was not fsynced, as Jepsen uses it
(https://github.com/jepsen-io/jepsen, `jepsen.lazyfs`). Spool and index lose alike; the boot id is another one. Of what
was not fsynced every page is lost in one round, and each with even chances in the next: a system writes them back in no
order (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014). Spans are those at scale 1.

Nothing acknowledged may be lost, no state that comes back may be swallowed, and no event may come under another's id.
What may: a state whose answer was lost with the power is published again when it comes again behind a newer one, if the
index lost that a retry of it was expected. It cannot be told from a state that came back then.
"""

from threading import Event
from typing import Final

from tests.faults.power import Machine
from tests.faults.scenario import Scenario
from tests.faults.scenarios.disk import end_kafka, expect_empty_and_whole
from tests.faults.stage import Stage, Turns

SLOW: Final = Turns(subjects=100, seconds=12.0, lost=0.0)
"""What comes back was told before, so long before that no retry of it is expected, whatever the scale."""


def power_lost(stage: Stage) -> None:
    """Kafka is away, and every 5 to 15 s the daemon's machine loses its power, and all that was not fsynced."""
    machine = Machine(stage.folder, stage.daemon.state)
    stage.daemon.surroundings |= machine.surroundings
    with stage.load(turns=SLOW):
        Event().wait(2 * SLOW.seconds)
        end_kafka(stage)
        Event().wait(SLOW.seconds / 2)
        for round_ in range(12):
            stage.wait(stage.random.uniform(5, 15))
            stage.daemon.kill()
            stage.observer.index_lost()
            machine.lose_power(surviving=round_ % 2 / 2)
            stage.daemon.start()
        stage.cluster.restore()
        stage.fixed()
        stage.wait(20)
    for name, pages in machine.lost.items():
        stage.measured[f"pages of {name} lost"] = pages
    stage.expect(machine.lost["index.db-wal"], "no page was lost: nothing was tried")
    expect_empty_and_whole(stage)


SCENARIOS = [
    Scenario("11-power-lost", power_lost, nodes=1),
]
"""Played with one broker, since it is away."""
