"""A spool that is broken at a start: what of it is lost, and how Aurora's sending it again brings it back.

The index is a file of its own and goes on knowing what the spool has lost. So an event that comes again is a duplicate,
until the index is deleted, and rebuilt from what is left: Kafka's records and the spool.
"""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from tests.e2e.stores import Place
from tests.support.daemon import Daemon, command
from tests.support.damage import damage_events
from tests.support.ports import HOST, free_ports

PAGE = (Path(__file__).parents[2] / "docs" / "runbooks" / "AuroraBridgeBrokenFile.md").read_text()
ONCE, STATE = "/lead_created?lead_id={}", "/project_status_changed?status=sold&project_id={}"


def test_what_it_lost_stays_lost_when_it_comes_again_until_the_index_is_rebuilt(place: Place, tmp_path: Path) -> None:
    targets = [f"{each.format(uuid4())}&note={'x' * 700}" for _ in range(20) for each in (ONCE, STATE)]
    told = fill_the_spool(place, tmp_path, targets)
    damage_events(tmp_path / "state" / "spool.db")
    with place.daemon(tmp_path) as daemon:
        place.settle(daemon)
        assert command("resend", "begin", cwd=tmp_path, state_dir=daemon.state).returncode == 0
        kept = keys(place, daemon)
        salvaged, lost = [each for each in targets if told[each] in kept], missing(told, kept)
        assert f"{len(salvaged)} readable rows were salvaged" in daemon.log.read_text()
        assert salvaged
        assert {each.partition("?")[0] for each in lost} == {each.partition("?")[0] for each in (ONCE, STATE)}

        assert outcomes(daemon, targets) == {"duplicate"}
        assert missing(told, keys(place, daemon)) == lost

        delete_the_index(daemon)
        again = send(daemon, lost)
        place.settle(daemon)
        assert missing(again, keys(place, daemon)) == []
        assert outcomes(daemon, salvaged) == {"duplicate"}


def fill_the_spool(place: Place, folder: Path, targets: Sequence[str]) -> dict[str, str]:
    """Deliver while no Kafka is there, and end the daemon."""
    (nobody,) = free_ports(1)
    away = {"kafka__bootstrap_servers": f"{HOST}:{nobody}"} if place.bootstrap else {}
    with Daemon(folder, kafka__topic_prefix=place.prefix, **away) as daemon:
        told = send(daemon, targets)
        daemon.terminate()
    return told


def send(daemon: Daemon, targets: Sequence[str]) -> dict[str, str]:
    """Return the ids of events that are all taken."""
    answers = {target: daemon.get(target).json for target in targets}
    assert {answer["outcome"] for answer in answers.values()} <= {"published", "spooled"}
    return {target: answer["id"] for target, answer in answers.items()}


def outcomes(daemon: Daemon, targets: Sequence[str]) -> set[str]:
    """Return what becomes of deliveries."""
    return {daemon.get(target).json["outcome"] for target in targets}


def keys(place: Place, daemon: Daemon) -> set[str]:
    """Return the ids of all that is kept."""
    return {stored.key for stored in place.read(daemon)}


def missing(told: dict[str, str], kept: set[str]) -> list[str]:
    """Return what was taken and is not kept."""
    return [target for target, key in told.items() if key not in kept]


def delete_the_index(daemon: Daemon) -> None:
    """Do what the runbook says, and wait for what it says to wait for."""
    (command,) = re.findall(r"^ +(rm .+)\n", PAGE, re.MULTILINE)
    assert f"-- sh -c '{command}'" in PAGE
    subprocess.run(["sh", "-ec", command.replace("/var/lib/aurora-bridge", str(daemon.state))], check=True)
    daemon.wait_until("it is rebuilt", is_rebuilt)


def is_rebuilt(daemon: Daemon) -> bool:
    """Tell whether the log says so."""
    return "the index is complete" in daemon.log.read_text().partition("rebuilding it from the log")[2]
