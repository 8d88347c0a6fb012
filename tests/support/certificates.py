"""Certificates for the tests: an authority of their own, and what it signs, made by the `openssl` command.

A file holds private key and certificate together, as Kafka's PEM key stores and the daemon's settings take them.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.support.ports import HOST

INSTALL: Final = "install the openssl command (Debian: apt-get install openssl)"

OURS: Final = (f"IP:{HOST}", "DNS:localhost")
"""The names under which the brokers of the tests are reached."""

DAYS: Final = 30
NEW_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def possible() -> bool:
    """Whether this machine has the command; where not, `INSTALL` says what to do."""
    return shutil.which("openssl") is not None


class Authority:
    """Signs certificates; `file` is its own, which those who trust it have."""

    def __init__(self, folder: Path, name: str = "test-ca") -> None:
        """Make the authority's key and certificate in `folder`, which then gets what it signs."""
        self._folder = folder
        self._key = folder / f"{name}.key"
        self.file = folder / f"{name}.pem"
        _openssl(
            *("req", "-x509", *NEW_KEY, "-keyout", self._key, "-out", self.file, "-days", DAYS),
            *("-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )

    def sign(self, file: str, common_name: str, names: Sequence[str] = OURS, days: int = DAYS) -> Path:
        """Return a new file with key and certificate for these names; with 0 `days` it has expired a second later."""
        path = self._folder / f"{file}.pem"
        request, extensions, key = (path.with_suffix(suffix) for suffix in (".csr", ".ext", ".key"))
        alternatives = f"subjectAltName={','.join(names)}\n" if names else ""
        extensions.write_text(
            f"{alternatives}basicConstraints=CA:FALSE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        _openssl("req", *NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={common_name}")
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self._key, "-CAcreateserial"),
            *("-days", days, "-extfile", extensions, "-out", path),
        )
        path.write_text(key.read_text() + path.read_text())
        return path


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
