"""Checks settings against one another, after each is valid by itself.

Each check yields messages in the form of `error_messages`. `load` runs them last.
"""

import importlib.util
import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from aurora_bridge.settings.error_messages import both_names, table_name
from aurora_bridge.settings.field_types import FILES_ARE_HERE
from aurora_bridge.settings.files import FileError, read_secret
from aurora_bridge.settings.names import variable
from aurora_bridge.settings.sections import AuroraSettings, AuthSettings, DeadlinesSettings
from aurora_bridge.settings.security import kafka_security
from aurora_bridge.settings.settings import Settings

_EXTRA_CODECS = frozenset({"snappy", "lz4", "zstd"})


def conflicts(settings: Settings) -> Iterator[str]:
    """Yield one readable line for each conflict."""
    yield from _deadlines(settings)
    yield from _ports(settings)
    yield from _credentials(settings)
    yield from _tls(settings)
    yield from _proxies(settings)
    yield from _aurora(settings.aurora)
    yield from _event_log(settings)
    yield from _compression(settings)
    yield from kafka_security(settings.kafka)


def _deadlines(settings: Settings) -> Iterator[str]:
    given = settings.deadlines
    if not given.publish_seconds < given.spool_seconds < given.answer_seconds:
        names = ", ".join(both_names(f"deadlines.{field}") for field in DeadlinesSettings.model_fields)
        yield (
            f"{names}: invalid {_in_words(given)}; expected each less than the next. Put them in that "
            f"order, or omit all three for the defaults, {_in_words(DeadlinesSettings())}."
        )


def _ports(settings: Settings) -> Iterator[str]:
    ingress, admin = settings.ingress, settings.admin
    if ingress.port == admin.port != 0 and _overlap(ingress.host, admin.host):
        yield (
            f"{both_names('ingress.port')} and {both_names('admin.port')}: both are {admin.port}; expected "
            "different ports. Change one of them."
        )


def _in_words(deadlines: DeadlinesSettings) -> str:
    return f"{deadlines.publish_seconds:g}, {deadlines.spool_seconds:g} and {deadlines.answer_seconds:g} s"


def _credentials(settings: Settings) -> Iterator[str]:
    remedy = (
        f"Write a token into a file, set {both_names('auth.tokens_file')} to its path and make Aurora send it in the "
        f"header {settings.auth.header}; or allow anonymous deliveries explicitly: "
        f"{variable('auth.allow_anonymous')}=true."
    )
    for table, auth in _takes(settings):
        if auth.tokens_file is None and auth.query_parameter is not None:
            yield (
                f"{f'query_parameter of {table}' if table else both_names('auth.query_parameter')}: "
                f"{auth.query_parameter!r} requires a tokens_file, which has the valid tokens. "
                "Add tokens_file, or remove query_parameter."
            )
        if auth.tokens_file is None and auth.basic_file is None and not auth.allow_anonymous:
            if table and not _is_loopback(settings.ingress.host):
                yield (
                    f"{table} has no credentials, and {both_names('ingress.host')} is "
                    f"{settings.ingress.host!r}; they are required off loopback (127.0.0.1, ::1 or localhost). "
                    "Add tokens_file or basic_file to it, or allow_anonymous = true."
                )
            elif not _is_loopback(settings.ingress.host):
                yield (
                    f"{both_names('ingress.host')}: {settings.ingress.host!r} without credentials; "
                    f"they are required off loopback (127.0.0.1, ::1 or localhost). {remedy}"
                )


def takes_from_anyone(settings: Settings) -> bool:
    """Whether a proxy makes loopback public and deliveries need no credentials, without `allow_anonymous`.

    A public host in the URLs that Aurora is given reveals the proxy.
    """
    urls = (settings.ingress.public_url, *(route.template for route in settings.routes))
    return any(map(_is_elsewhere, urls)) and any(
        auth.tokens_file is None and auth.basic_file is None and not auth.allow_anonymous
        for _, auth in _takes(settings)
    )


def _takes(settings: Settings) -> Iterator[tuple[str, AuthSettings]]:
    """Yield each route's table name (empty for the default route) and its credentials."""
    if settings.default_route:
        yield "", settings.auth
    for number, route in enumerate(settings.routes):
        yield table_name("routes", str(number)), route.auth(settings.auth)


def _tls(settings: Settings) -> Iterator[str]:
    certificate, key = settings.ingress.tls_certificate_file, settings.ingress.tls_key_file
    if (certificate is None) != (key is None):
        names = [both_names("ingress.tls_certificate_file"), both_names("ingress.tls_key_file")]
        given, missing = names if key is None else reversed(names)
        yield f"{given}: {str(certificate or key)!r} without {missing}; expected both or neither. Add the other."


def _proxies(settings: Settings) -> Iterator[str]:
    if settings.ingress.proxy_protocol and not settings.ingress.trusted_proxies:
        yield (
            f"{both_names('ingress.proxy_protocol')}: true requires {both_names('ingress.trusted_proxies')}, "
            "else no announced address is trusted. Set them to the proxy's addresses."
        )


def _aurora(aurora: AuroraSettings) -> Iterator[str]:
    key, ids = (
        "aurora.api_token_file",
        [both_names(f"aurora.{name}") for name in ("tenant_id", "partner_application_id")],
    )
    if aurora.tenant_id and aurora.partner_application_id:
        yield f"{' and '.join(ids)}: both are set; expected one of the two. Remove the other."
    elif aurora.api_token_file is None and (aurora.tenant_id or aurora.partner_application_id):
        yield (
            f"{ids[0 if aurora.tenant_id else 1]}: requires {both_names(key)}, the key of Aurora's API. "
            "Set both, or neither."
        )
    elif aurora.api_token_file is not None and not (aurora.tenant_id or aurora.partner_application_id):
        yield f"{both_names(key)}: requires {' or '.join(ids)}, which says whose subscriptions to list. Set one."
    if urlsplit(aurora.api_url).scheme == "http" and _is_elsewhere(aurora.api_url):
        yield (
            f"{both_names('aurora.api_url')}: invalid {aurora.api_url!r}; plain http is allowed on loopback only, "
            "since anybody on the path could read the token. Use https."
        )
    if aurora.api_token_file is not None and FILES_ARE_HERE.get():
        try:
            read_secret(key, aurora.api_token_file)
        except FileError as error:
            yield (
                f"{both_names(key)}: cannot use {str(error.path)!r}: {error.why}; expected a file with the API key "
                "on one line. Fix the file or the path."
            )


def _event_log(settings: Settings) -> Iterator[str]:
    embedded, kafka, host = settings.embedded, settings.kafka.bootstrap_servers, settings.ingress.host
    set_brokers = f"Set {both_names('kafka.bootstrap_servers')} to your brokers, as in kafka-1:9092"
    if kafka and embedded:
        yield (
            f"{both_names('embedded')}: true conflicts with {both_names('kafka.bootstrap_servers')}, {kafka!r}; "
            "expected one of the two. Unset EMBEDDED to publish to Kafka (the embedded log drains into it), or unset "
            "the brokers to keep events here."
        )
    if not kafka and embedded is False:
        yield (
            f"{both_names('embedded')}: false requires Kafka, which is not configured. "
            f"{set_brokers}, or unset EMBEDDED."
        )
    if not kafka and embedded is None and not _is_loopback(host):
        yield (
            f"{both_names('kafka.bootstrap_servers')}: required off loopback "
            f"({variable('ingress.host')}={host}) unless {variable('embedded')}=true. {set_brokers}, or set "
            f"{variable('embedded')}=true to keep the events in the daemon's own log."
        )
    if not kafka and not settings.spool.enabled:
        yield (
            f"{both_names('spool.enabled')}: false requires Kafka, which is not configured: the events would be "
            f"stored nowhere. {set_brokers}, or unset SPOOL__ENABLED."
        )


def _compression(settings: Settings) -> Iterator[str]:
    codec = settings.kafka.compression
    # aiokafka uses cramjam for these codecs, and would notice its absence only when it builds the first batch.
    if codec in _EXTRA_CODECS and importlib.util.find_spec("cramjam") is None:
        yield (
            f"{both_names('kafka.compression')}: the codec of {codec!r} is not installed; without it, expected one "
            f"of none, gzip. Install it, pip install 'aiokafka[{codec}]', or choose one of the two."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _overlap(one: str, other: str) -> bool:
    """Whether two addresses to listen on overlap. Of names, only localhost is known."""
    hosts = {one.lower(), other.lower()}
    if len(hosts) == 1 or "::" in hosts:
        return True
    if "0.0.0.0" in hosts:  # noqa: S104 - a comparison
        return not any(":" in host for host in hosts)
    return "localhost" in hosts and all(map(_is_loopback, hosts))


def _is_elsewhere(url: str) -> bool:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return False
    return host is not None and not _is_loopback(host)
