"""`make pictures`: plays load and faults for some minutes, and takes pictures of the dashboards that show them."""

import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.support import jars, tools
from tests.support.broker import KafkaCluster
from tests.support.dashboards import dashboards
from tests.support.drawing import Drawing
from tests.support.scene import played

CALM_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.05
INTERVAL: Final = "15s"


def main(folder: Path) -> str | None:
    """Take the pictures; return what went wrong, if anything."""
    if not jars.possible():
        return f"no picture was taken: Apache Kafka cannot run here: {jars.INSTALL}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        drawing, prometheus = Drawing(folder), tools.program("prometheus")
    except tools.ToolMissingError as error:
        return f"no picture was taken: {error}"
    with (
        tempfile.TemporaryDirectory() as place,
        KafkaCluster() as kafka,
        played(Path(place), prometheus, kafka.nodes[0], calm=CALM_SECONDS, pause=PAUSE_SECONDS) as scene,
    ):
        drawing.write_pages(scene, interval=INTERVAL)
    for name in dashboards():
        print(drawing.picture(name), flush=True)
    return None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
