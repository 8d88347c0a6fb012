"""`make look`: pictures of the status page in each of its states, narrow and dark as well, by a real Chromium."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.support import jars
from tests.support.broker import KafkaCluster
from tests.support.states import states
from tests.support.topics import unique_prefix

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
SECONDS: Final = 60
MANNERS: Final = {
    "": ["--window-size=1280,1800"],
    "-narrow": ["--window-size=500,2400"],  # the narrowest window that Chromium makes
    "-dark": ["--window-size=1280,1800", "--blink-settings=preferredColorScheme=0"],
}


def main(folder: Path) -> str | None:
    """Take the pictures; return what went wrong, if anything."""
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        return f"no picture was taken: none of {', '.join(NAMES)} is here. Install Debian's package chromium."
    if not jars.possible():
        return f"no picture was taken: Apache Kafka cannot run here: {jars.INSTALL}"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, KafkaCluster() as kafka:
        for state, daemon in states(Path(place), kafka.nodes[0], unique_prefix()):
            for manner, options in MANNERS.items():
                picture = folder / f"{state}{manner}.png"
                command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *options]
                subprocess.run(
                    [*command, f"--screenshot={picture}", f"{daemon.admin_url}/?still"],
                    check=True,
                    capture_output=True,
                    timeout=SECONDS,
                )
                print(picture, flush=True)
    return None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
