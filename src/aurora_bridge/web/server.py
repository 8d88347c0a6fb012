"""Opens and closes the two HTTP ports."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import http_parser

from aurora_bridge.access_log import AccessLog
from aurora_bridge.bridge import Bridge
from aurora_bridge.metrics import Metrics
from aurora_bridge.os_errors import reason
from aurora_bridge.secret_files import SecretFileError, SecretFiles
from aurora_bridge.settings import AdminSettings, IngressSettings, SettingsError
from aurora_bridge.web.admin import Admin
from aurora_bridge.web.connection import Server
from aurora_bridge.web.file_descriptors import ADMIN_CONNECTIONS, connections_allowed
from aurora_bridge.web.ingress import Ingress, make_server
from aurora_bridge.web.listener import Listener
from aurora_bridge.web.readiness import Readiness
from aurora_bridge.web.status import Status
from aurora_bridge.web.tls import server_context

_KEEPALIVE_SECONDS = 75.0
"""The ingress's default."""
_ADMIN_ANSWER_SECONDS = 1.0


class ListenError(Exception):
    """Cannot listen on a port. The message says which, why, and what to do."""


@asynccontextmanager
async def ingress(  # noqa: PLR0913 - its dependencies
    bridge: Bridge,
    is_ready: Callable[[], bool],
    access_log: AccessLog,
    settings: IngressSettings,
    *,
    answer_seconds: float,
    files: SecretFiles,
    metrics: Metrics,
) -> AsyncIterator[str]:
    """Serve webhooks; yield the URL. On exit, answer what is in flight for up to `answer_seconds`.

    Raises `ListenError` and `SettingsError`.
    """
    if http_parser.HttpRequestParser.__module__ != "aiohttp._http_parser":
        msg = "aiohttp runs without its C parser, which the ingress relies on for safety. Install its wheel."
        raise ListenError(msg)
    edge = Ingress(bridge, is_ready, access_log, settings)
    context = tls_context(settings, files)
    proxies = settings.trusted_proxies if settings.proxy_protocol else None
    limit = connections_allowed(settings.max_connections)
    listener = Listener(make_server(edge, settings), "ingress", limit, metrics, context, proxies=proxies)
    async with _listening(listener, settings.host, settings.port, "INGRESS", answer_seconds) as port:
        yield f"http{'s' if context else ''}://{_authority(settings.host, port)}{settings.base_path.rstrip('/')}"


@asynccontextmanager
async def admin(
    readiness: Readiness, metrics: Metrics, look: Callable[[], Status], settings: AdminSettings
) -> AsyncIterator[str]:
    """Serve probes, metrics, and what `look` returns as the status page; yield the URL."""
    server = Server(Admin(readiness, metrics, look), keepalive_timeout=_KEEPALIVE_SECONDS)
    listener = Listener(server, "admin", ADMIN_CONNECTIONS, metrics)
    async with _listening(listener, settings.host, settings.port, "ADMIN", _ADMIN_ANSWER_SECONDS) as port:
        yield f"http://{_authority(settings.host, port)}"


@asynccontextmanager
async def _listening(listener: Listener, host: str, port: int, group: str, answer_seconds: float) -> AsyncIterator[int]:
    try:
        port = await listener.start(host, port)
    except OSError as error:
        msg = (
            f"Cannot listen on {host}:{port}: {reason(error)}. Stop what uses the port, or set "
            f"AURORA_BRIDGE_{group}__PORT (and AURORA_BRIDGE_{group}__HOST) to a free one."
        )
        raise ListenError(msg) from error
    try:
        yield port
    finally:
        await listener.stop(answer_seconds)


def tls_context(settings: IngressSettings, files: SecretFiles) -> ssl.SSLContext | None:
    """Return the TLS context of the ingress, None without TLS. Raises `SettingsError`."""
    certificate, key = settings.tls_certificate_file, settings.tls_key_file
    if certificate is None or key is None:
        return None
    try:
        return server_context(certificate, key, files)
    except SecretFileError as error:
        msg = (
            f"{error}. Fix the files that AURORA_BRIDGE_INGRESS__TLS_CERTIFICATE_FILE and "
            "AURORA_BRIDGE_INGRESS__TLS_KEY_FILE name, or unset both and terminate TLS in front."
        )
        raise SettingsError([msg]) from error


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
