"""TLS of the ingress: certificate and key are reloaded when their files change, for new connections."""

import ssl
from collections.abc import Sequence
from pathlib import Path

from aurora_bridge.secret_files import SecretFiles


def server_context(certificate: Path, key: Path, files: SecretFiles) -> ssl.SSLContext:
    """Return a context for TLS 1.2 and newer that follows its files. Raises `SecretFileError`."""
    context = _new_context()

    def take(_contents: Sequence[bytes]) -> None:
        _load(_new_context(), certificate, key)  # loading a mismatched pair would leave `context` without a key
        _load(context, certificate, key)

    files.follow([certificate, key], take)
    return context


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        why = error.reason.replace("_", " ").lower() if error.reason else "not PEM, or encrypted"
        msg = f"do not hold a certificate (PEM, with its chain) and its matching, unencrypted key: {why}"
        raise ValueError(msg) from error
