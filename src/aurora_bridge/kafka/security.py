"""Secures the connections to the brokers: makes aiokafka's arguments from the settings.

The files are re-read for each connection (`client` calls `options`), so rotating them needs no restart: connections
stay open, and the next one uses the new password, token or certificate. If a file is broken or missing at that moment,
its last good content is used. Reading takes less than a millisecond: a few KiB from a local disk. A TLS context is
recreated only if one of its files has changed. The credentials for a token are re-read each time one is obtained.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import Any

from aiokafka.errors import KafkaError

from aurora_bridge.kafka.msk import MskSigner
from aurora_bridge.kafka.oidc import ClientCredentials
from aurora_bridge.kafka.tokens import CachedToken, FileToken, OnToken
from aurora_bridge.settings import KafkaSettings
from aurora_bridge.settings.files import FileError, read_bytes, read_secret, tls_context, trusting

OnFiles = Callable[[list[str]], None]
"""Called each time the files were read, with what is wrong with them; empty if all are good."""

AWS_MSK_IAM = "AWS_MSK_IAM"
"""Amazon's name for it; in the protocol it is OAUTHBEARER with a special token."""

_CLIENT_SECRET, _ENDPOINT_TLS = "client_secret", "token_endpoint_tls"


class UnusableFileError(KafkaError):
    """A file cannot be used, and has no earlier good content. The message says which and why."""


class Security:
    """Security arguments for all connections to Kafka."""

    def __init__(
        self,
        settings: KafkaSettings,
        on_files: OnFiles = lambda _broken: None,
        on_token: OnToken = lambda _error: None,
    ) -> None:
        """Take the files from `settings`.

        `on_files` is called after each read of the files, `on_token` after each attempt to obtain a token.
        """
        self._settings = settings
        self._on_files = on_files
        self._good: dict[str, Any] = {}
        self._tls_files: dict[str, dict[str, bytes]] = {}
        self._extensions = dict(pair.split("=", 1) for pair in settings.oauth_extensions)
        self._obtained: CachedToken | None = None
        if settings.oauth_token_url:
            client = ClientCredentials(settings, self._credentials)
            self._obtained = CachedToken(client.obtain, on_token, self._extensions)
        elif settings.sasl_mechanism == AWS_MSK_IAM:
            self._obtained = CachedToken(MskSigner(settings.aws_region).obtain, on_token, {})

    def options(self) -> dict[str, Any]:
        """Return the arguments for a connection, from the files as they are now. Raises `UnusableFileError`."""
        settings = self._settings
        contents = self._read()
        if self._obtained is not None:
            contents["sasl_oauth_token_provider"] = self._obtained
        return {
            "security_protocol": settings.security_protocol,
            "sasl_mechanism": "OAUTHBEARER" if settings.sasl_mechanism == AWS_MSK_IAM else settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            **{name: content for name, content in contents.items() if name not in {_CLIENT_SECRET, _ENDPOINT_TLS}},
        }

    def _credentials(self) -> tuple[str, SSLContext]:
        contents = self._read()
        return contents[_CLIENT_SECRET], contents[_ENDPOINT_TLS]

    def _read(self) -> dict[str, Any]:
        """Return each file's current content, or else its last good one. Raises `UnusableFileError`."""
        before = dict(self._good)
        broken: list[str] = []
        for name, read in self._files():
            try:
                self._good[name] = read()
            except FileError as error:
                if name not in self._good:
                    raise UnusableFileError(str(error)) from None
                broken.append(str(error))
        self._on_files(broken)
        changed = any(before.get(name) != self._good.get(name) for name in (_CLIENT_SECRET, _ENDPOINT_TLS))
        if changed and self._obtained is not None:
            self._obtained.retry()
        return dict(self._good)

    def _files(self) -> list[tuple[str, Callable[[], object]]]:
        """Return the arguments that come from files, each with a function that reads it."""
        settings = self._settings
        files: list[tuple[str, Callable[[], object]]] = []
        if settings.sasl_password_file is not None:
            read = partial(read_secret, "kafka.sasl_password_file", settings.sasl_password_file)
            files.append(("sasl_plain_password", read))
        if settings.sasl_token_file is not None:
            files.append(("sasl_oauth_token_provider", partial(self._file_token, settings.sasl_token_file)))
        if settings.oauth_client_secret_file is not None:
            read = partial(read_secret, "kafka.oauth_client_secret_file", settings.oauth_client_secret_file)
            files.extend([(_CLIENT_SECRET, read), (_ENDPOINT_TLS, self._endpoint_tls)])
        if "SSL" in settings.security_protocol:
            files.append(("ssl_context", self._tls))
        return files

    def _file_token(self, path: Path) -> FileToken:
        return FileToken(read_secret("kafka.sasl_token_file", path), self._extensions)

    def _tls(self) -> SSLContext:
        settings = self._settings
        paths = {
            "kafka.tls_ca_file": settings.tls_ca_file,
            "kafka.tls_certificate_file": settings.tls_certificate_file,
            "kafka.tls_key_file": settings.tls_key_file,
        }
        return self._context("ssl_context", paths, partial(tls_context, settings))

    def _endpoint_tls(self) -> SSLContext:
        key, path = "kafka.oauth_ca_file", self._settings.oauth_ca_file
        return self._context(_ENDPOINT_TLS, {key: path}, partial(trusting, key, path))

    def _context(self, name: str, paths: Mapping[str, Path | None], make: Callable[[], SSLContext]) -> SSLContext:
        """Return the current context, or a new one if one of its files has changed."""
        contents = {key: read_bytes(key, path) for key, path in paths.items() if path is not None}
        context: SSLContext | None = self._good.get(name)
        if context is None or contents != self._tls_files[name]:
            context = make()
            self._tls_files[name] = contents
        return context
