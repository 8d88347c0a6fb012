"""How connections to the brokers are secured: from the settings to what aiokafka's connection takes.

The files are read again for each connection (`wire` asks for `options`), so that a rotation needs no restart: what is
connected stays so, the next connection has the new password, token or certificate. A file that is broken or missing at
that moment leaves the last good content in force. Reading is a matter of a few KiB of a local disk, less than a
millisecond; the TLS context is made anew only when one of its files has changed.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from aurora_bridge.settings import KafkaSettings
from aurora_bridge.settings.files import FileError, read_bytes, read_secret, tls_context

OnFiles = Callable[[list[str]], None]
"""Told, each time the files were read, what is wrong with them; nothing: all are good."""


class UnusableFileError(KafkaError):
    """A file cannot be used, and never could be since the start. The message says which and why."""


class _Token(AbstractTokenProvider):
    """The token of a file, as aiokafka asks for it."""

    def __init__(self, path: Path) -> None:
        self._token = read_secret("kafka.sasl_token_file", path)

    async def token(self) -> str:
        return self._token


class Security:
    """The security of all connections to Kafka."""

    def __init__(self, settings: KafkaSettings, on_files: OnFiles = lambda _broken: None) -> None:
        """Read the files of `settings`; `on_files` hears each time what is wrong with them."""
        self._settings = settings
        self._on_files = on_files
        self._good: dict[str, Any] = {}
        self._tls_files: dict[str, bytes] = {}

    def options(self) -> dict[str, Any]:
        """Return the arguments for a connection, from the files as they are now. Raises `UnusableFileError`."""
        settings = self._settings
        broken: list[str] = []
        for name, read in self._files():
            try:
                self._good[name] = read()
            except FileError as error:
                if name not in self._good:
                    raise UnusableFileError(str(error)) from None
                broken.append(str(error))
        self._on_files(broken)
        return {
            "security_protocol": settings.security_protocol,
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            **self._good,
        }

    def _files(self) -> list[tuple[str, Callable[[], object]]]:
        """Return how to read each argument that comes from files."""
        settings = self._settings
        files: list[tuple[str, Callable[[], object]]] = []
        if settings.sasl_password_file is not None:
            read = partial(read_secret, "kafka.sasl_password_file", settings.sasl_password_file)
            files.append(("sasl_plain_password", read))
        if settings.sasl_token_file is not None:
            files.append(("sasl_oauth_token_provider", partial(_Token, settings.sasl_token_file)))
        if "SSL" in settings.security_protocol:
            files.append(("ssl_context", self._tls))
        return files

    def _tls(self) -> SSLContext:
        settings = self._settings
        paths = {
            "kafka.tls_ca_file": settings.tls_ca_file,
            "kafka.tls_certificate_file": settings.tls_certificate_file,
            "kafka.tls_key_file": settings.tls_key_file,
        }
        contents = {key: read_bytes(key, path) for key, path in paths.items() if path is not None}
        context: SSLContext | None = self._good.get("ssl_context")
        if context is None or contents != self._tls_files:
            context = tls_context(settings)
            self._tls_files = contents
        return context
