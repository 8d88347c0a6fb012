"""`make look`: pictures of the status page in each of its states, on a phone and dark as well, by a real Chromium."""

import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.support import jars
from tests.support.broker import KafkaCluster
from tests.support.browser import NAMES, Browser, chromium
from tests.support.states import states
from tests.support.topics import unique_prefix

MANNERS: Final = {"": (1280, False), "-phone": (375, False), "-dark": (1280, True)}
"""How wide the window is, and whether dark."""


def main(folder: Path) -> str | None:
    """Take the pictures; return what went wrong, if anything."""
    program = chromium()
    if program is None:
        return f"no picture was taken: none of {', '.join(NAMES)} is here. Install Debian's package chromium."
    if not jars.possible():
        return f"no picture was taken: Apache Kafka cannot run here: {jars.INSTALL}"
    folder.mkdir(parents=True, exist_ok=True)
    wrong = []
    with tempfile.TemporaryDirectory() as place, KafkaCluster() as kafka:
        for state, daemon in states(Path(place), kafka.nodes[0], unique_prefix()):
            with Browser(program) as browser:
                for manner, (width, dark) in MANNERS.items():
                    needed = browser.show(f"{daemon.admin_url}/?still", width, dark=dark)
                    if needed > width:
                        wrong.append(f"{state}: {needed} pixels wide in a window of {width}")
                    picture = folder / f"{state}{manner}.png"
                    browser.photograph(picture)
                    print(picture, flush=True)
    return "\n".join(wrong) or None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
