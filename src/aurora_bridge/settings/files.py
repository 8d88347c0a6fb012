"""Reads the files that the settings of Kafka and of Aurora's API name: secrets and certificates.

`security` and `checks` read them at start, `kafka.security` and `aurora.client` again for each connection.
"""

import ssl
from pathlib import Path

from aurora_bridge.os_errors import reason
from aurora_bridge.settings.sections import KafkaSettings

_CA, _CERTIFICATE = "kafka.tls_ca_file", "kafka.tls_certificate_file"


class FileError(Exception):
    """A file cannot be used. The message says why, and quotes nothing of its content."""

    def __init__(self, key: str, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.key = key
        self.path = path
        self.why = why


def read_secret(key: str, path: Path) -> str:
    """Return the one line of a secret file. Raises `FileError`."""
    try:
        secret = read_bytes(key, path).decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise FileError(key, path, "it is not UTF-8") from None
    if not secret:
        raise FileError(key, path, "it is empty")
    if len(secret.splitlines()) > 1 or "\0" in secret:
        raise FileError(key, path, "it has more than one line")
    return secret


def read_bytes(key: str, path: Path) -> bytes:
    """Return the content of a file. Raises `FileError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(key, path, f"it cannot be read ({reason(error)})") from None


def tls_context(settings: KafkaSettings) -> ssl.SSLContext:
    """Return the TLS context for connections to the brokers. Raises `FileError`."""
    certificate = settings.tls_certificate_file
    context = trusting(_CA, settings.tls_ca_file)
    context.check_hostname = settings.tls_check_hostname
    if certificate is not None:
        try:
            context.load_cert_chain(certificate, settings.tls_key_file, password=_no_password)
        except OSError as error:
            raise FileError(_CERTIFICATE, certificate, _words(error)) from None
    return context


def trusting(key: str, ca: Path | None) -> ssl.SSLContext:
    """Return a TLS client's context that trusts the CA certificates in a file, or the system's without a file.

    Raises `FileError`.
    """
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError is one
        if ca is None:
            raise
        raise FileError(key, ca, _words(error)) from None


def _no_password() -> str:
    """Keep OpenSSL from asking the terminal for the password of an encrypted key."""
    return ""


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        why = error.reason.replace("_", " ").lower() if error.reason else "not PEM"
        return f"OpenSSL cannot use it ({why})"
    return f"it cannot be read ({reason(error)})"
