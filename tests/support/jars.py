"""Apache Kafka as a folder of jars, fetched once by Maven into `.kafka/4.3`, or that of another series.

TEST_KAFKA_SERIES chooses the series, `kafka/pom.xml` names the versions. The folder is filled under another name
and then renamed, with the pom beside the jars as the last file: it is complete if it holds the pom of today, and two
test runs that start together cannot disturb each other. `node.py` starts Kafka from it.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

POM: Final = Path(__file__).parent / "kafka" / "pom.xml"
SERIES: Final = ("4.3", "3.9")
"""The first is what the tests run on by default; each other one is a profile of the pom."""
CHOSEN: Final = os.environ.get("TEST_KAFKA_SERIES") or SERIES[0]
LIBS: Final = Path(__file__).parents[2] / ".kafka" / CHOSEN

DOWNLOAD_SECONDS: Final = 300
"""44 MB; about 10 s on a good line, and long enough for a bad one."""


INSTALL: Final = "install Java 17 or newer and Maven (Debian: apt-get install openjdk-17-jre-headless maven)"


class JarsMissingError(Exception):
    """Maven could not fetch the jars; carries the end of what it printed."""


def possible() -> bool:
    """Whether this machine has the programs to run Kafka; where not, `INSTALL` says what to do."""
    return shutil.which("java") is not None and (obtained() or shutil.which("mvn") is not None)


def obtained() -> bool:
    """Whether the jars that the pom names are in place, so that Maven is not needed."""
    marker = LIBS / POM.name
    return marker.is_file() and marker.read_bytes() == POM.read_bytes()


def obtain() -> list[Path]:
    """Return the jars in a steady order, after fetching them if need be.

    Raises `JarsMissingError` if the series is unknown, or if Maven fails or does not finish in time.
    """
    if not obtained():
        _download()
    return sorted(LIBS.glob("*.jar"))


def _download() -> None:
    if CHOSEN not in SERIES:
        message = f"TEST_KAFKA_SERIES is {CHOSEN!r}; expected one of {', '.join(SERIES)}"
        raise JarsMissingError(message)
    profile = [] if SERIES[0] == CHOSEN else [f"--activate-profiles={CHOSEN}"]
    LIBS.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=LIBS.parent) as scratch:
        fresh = Path(scratch, LIBS.name)
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={fresh}"]
        command = ["mvn", "--batch-mode", "--quiet", "--strict-checksums", f"--file={POM}", *profile, *goal]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS)
        except subprocess.CalledProcessError as error:
            message = f"Maven could not fetch Apache Kafka ({POM}):\n{(error.stdout + error.stderr)[-2000:]}"
            raise JarsMissingError(message) from error
        except subprocess.TimeoutExpired as error:
            message = f"Maven did not fetch Apache Kafka within {DOWNLOAD_SECONDS} s ({POM})"
            raise JarsMissingError(message) from error
        shutil.copy(POM, fresh)
        if not obtained():  # by another test run, in the meantime
            shutil.rmtree(LIBS, ignore_errors=True)
            fresh.rename(LIBS)
