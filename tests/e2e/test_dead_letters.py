"""Dead letters are counted, shown and replayed, by the commands beside a real daemon, on both stores."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.cli.here import here
from tests.e2e.stores import Place, Stored
from tests.support.daemon import PATIENT

pytestmark = pytest.mark.slow

BROKEN: Final = "/contracts?agreement_id=v-<AGREEMENT_ID>&status=<STATUS>"
MENDED: Final = "/contracts?agreement_id=<AGREEMENT_ID>&status=<STATUS>"


class Bench:
    """A daemon with one route of its own, whose template can be mended, and the commands beside it."""

    def __init__(self, folder: Path, place: Place) -> None:
        self.place = place
        self._config = folder / "bridge.toml"
        self.write(BROKEN)
        self._kafka = {"kafka__bootstrap_servers": place.bootstrap, "kafka__topic_prefix": place.prefix}
        self.daemon = place.daemon(folder, config=self._config, **PATIENT)
        self.daemon.start()
        place.settle(self.daemon)

    def write(self, template: str) -> None:
        """Let the next start have this template, and another secret in it."""
        self._config.write_text(f'[[routes]]\ntemplate = "{template}"\nevent = "agreement_status_changed"\n')

    def mend(self) -> None:
        self.write(MENDED)
        self.restart()

    def restart(self) -> None:
        self.daemon.terminate()
        self.daemon.start()
        self.place.settle(self.daemon)

    def bury(self, query: str, path: str = "/contracts") -> dict[str, Any]:
        """Send a delivery that becomes a dead letter; return its event."""
        answer = self.daemon.get(f"{path}?{query}").json
        assert answer["outcome"] == "dead_lettered", answer
        (stored,) = [each for each in self.place.read(self.daemon) if each.key == answer["id"]]
        return stored.event

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        settings = self._kafka if self.place.bootstrap else {}
        return here("dead-letters", *arguments, state_dir=self.daemon.state, config=self._config, **settings)

    def replay(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        """Return what a replay says, line by line."""
        done = self.run("replay", *arguments)
        assert done.returncode == code, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def events(self, agreement: str) -> list[Stored]:
        """Return what is stored of an agreement."""
        return [each for each in self.place.read(self.daemon) if each.event.get("subject") == f"agreement/{agreement}"]


@pytest.fixture
def bench(tmp_path: Path, place: Place) -> Iterator[Bench]:
    bench = Bench(tmp_path, place)
    yield bench
    bench.daemon.kill()


def name() -> str:
    return f"a-{uuid4()}"


def test_a_mended_template_brings_the_events_with_the_time_at_which_they_came(bench: Bench) -> None:
    agreement = name()
    letter = bench.bury(f"agreement_id={agreement}&status=signed")
    (line,) = bench.replay(letter["id"], code=1)
    assert (line["outcome"], line["reason"]) == ("dead_lettered", "not_as_template")
    bench.mend()
    (line,) = bench.replay(letter["id"])
    assert line == {
        "dead_letter": letter["id"],
        "outcome": "readable",
        "reason": None,
        "event": "agreement_status_changed",
        "id": None,
    }
    assert bench.events(agreement) == []
    (line,) = bench.replay(letter["id"], "--yes")
    (stored,) = bench.events(agreement)
    assert (line["outcome"], line["id"]) == (bench.place.outcome, stored.event["id"])
    assert stored.event["time"] == letter["time"]
    assert stored.event["data"] == {"agreement_id": agreement, "status": "signed"}
