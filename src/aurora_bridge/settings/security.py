"""Checks Kafka's security settings against one another, and the files that they name.

A setting that would have no effect is rejected: whoever set it relies on a protection that is not there.
"""

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from aurora_bridge.settings.error_messages import both_names
from aurora_bridge.settings.field_types import FILES_ARE_HERE
from aurora_bridge.settings.files import FileError, read_secret, tls_context, trusting
from aurora_bridge.settings.names import variable
from aurora_bridge.settings.sections import KafkaSettings

_MSK = "AWS_MSK_IAM"


class _Way(NamedTuple):
    """A way to sign in: the settings it needs, and those it may have."""

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()


_PASSWORD = (_Way(("sasl_username", "sasl_password_file")),)
_WAYS: Mapping[str, Sequence[_Way]] = {
    "PLAIN": _PASSWORD,
    "SCRAM-SHA-256": _PASSWORD,
    "SCRAM-SHA-512": _PASSWORD,
    "OAUTHBEARER": (
        _Way(("sasl_token_file",), ("oauth_extensions",)),
        _Way(
            ("oauth_token_url", "oauth_client_id", "oauth_client_secret_file"),
            ("oauth_client_authentication", "oauth_scope", "oauth_extensions", "oauth_ca_file"),
        ),
    ),
    _MSK: (_Way(("aws_region",)),),
}
_CREDENTIALS = tuple(dict.fromkeys(field for ways in _WAYS.values() for way in ways for field in sum(way, ())))
_SASL = ("sasl_mechanism", *_CREDENTIALS)
_TLS = ("tls_ca_file", "tls_certificate_file", "tls_key_file", "tls_check_hostname")
_CONTENT = {
    "kafka.sasl_password_file": "a file with the password on one line, in UTF-8",
    "kafka.sasl_token_file": "a file with the token on one line",
    "kafka.oauth_client_secret_file": "a file with the client's secret on one line, in UTF-8",
    "kafka.oauth_ca_file": "a file with certificates in PEM",
    "kafka.tls_ca_file": "a file with certificates in PEM",
    "kafka.tls_certificate_file": "a file with a certificate in PEM, and its private key without a password, there or "
    f"in the file of {variable('kafka.tls_key_file')}",
}


def kafka_security(kafka: KafkaSettings) -> Iterator[str]:
    """Yield one readable line for each conflict."""
    found = [*_of_the_protocol(kafka), *_of_the_mechanism(kafka), *_of_the_signer(kafka)]
    if kafka.tls_key_file is not None and kafka.tls_certificate_file is None:
        found.append(
            f"{both_names('kafka.tls_key_file')}: {str(kafka.tls_key_file)!r} without a certificate; expected "
            f"both. Set {both_names('kafka.tls_certificate_file')}, or remove the key."
        )
    yield from found or (_of_the_files(kafka) if FILES_ARE_HERE.get() else ())


def _given(kafka: KafkaSettings, fields: tuple[str, ...]) -> list[str]:
    return [field for field in fields if getattr(kafka, field) != KafkaSettings.model_fields[field].default]


def _of_the_protocol(kafka: KafkaSettings) -> Iterator[str]:
    protocol = kafka.security_protocol
    for fields, has, allowed in (
        (_SASL, "SASL" in protocol, "SASL_SSL or SASL_PLAINTEXT"),
        (_TLS, "SSL" in protocol, "SSL or SASL_SSL"),
    ):
        useless = [] if has else _given(kafka, fields)
        if useless:
            yield (
                f"{both_names('kafka.security_protocol')}: {protocol} does not use "
                f"{', '.join(both_names(f'kafka.{field}') for field in useless)}; expected {allowed}. "
                "Set it to one of these, or remove the settings that it does not use."
            )


def _of_the_mechanism(kafka: KafkaSettings) -> Iterator[str]:
    protocol, mechanism = kafka.security_protocol, kafka.sasl_mechanism
    if "SASL" not in protocol:
        return
    if mechanism is None:
        yield (
            f"{both_names('kafka.sasl_mechanism')}: required with {variable('kafka.security_protocol')}="
            f"{protocol}; expected one of {', '.join(_WAYS)}. Set the one that the brokers' listener accepts."
        )
        return
    given = set(_given(kafka, _CREDENTIALS))
    ways = _WAYS[mechanism]
    if not any(given.issuperset(way.needed) and given.issubset(sum(way, ())) for way in ways):
        came = ", ".join(variable(f"kafka.{field}") for field in _CREDENTIALS if field in given) or "nothing else"
        yield (
            f"{both_names('kafka.sasl_mechanism')}: {mechanism} with {came}; expected "
            f"{', or '.join(map(_in_words, ways))}, and nothing that belongs to another mechanism. Set only these."
        )


def _of_the_signer(kafka: KafkaSettings) -> Iterator[str]:
    if kafka.sasl_mechanism == _MSK and importlib.util.find_spec("aws_msk_iam_sasl_signer") is None:
        yield (
            f"{both_names('kafka.sasl_mechanism')}: the library that signs the tokens of {_MSK} is not "
            f"installed; without it, expected one of {', '.join(way for way in _WAYS if way != _MSK)}. Install it, "
            "pip install 'aurora-bridge[msk]' (the image: --build-arg EXTRA=msk), or choose one of the others."
        )


def _in_words(way: _Way) -> str:
    needed = " and ".join(both_names(f"kafka.{field}") for field in way.needed)
    optional = ", ".join(variable(f"kafka.{field}") for field in way.optional)
    return f"{needed} (and optionally {optional})" if optional else needed


def _of_the_files(kafka: KafkaSettings) -> Iterator[str]:
    try:
        if kafka.sasl_password_file is not None:
            read_secret("kafka.sasl_password_file", kafka.sasl_password_file)
        if kafka.sasl_token_file is not None:
            read_secret("kafka.sasl_token_file", kafka.sasl_token_file)
        if kafka.oauth_client_secret_file is not None:
            read_secret("kafka.oauth_client_secret_file", kafka.oauth_client_secret_file)
            trusting("kafka.oauth_ca_file", kafka.oauth_ca_file)
        if "SSL" in kafka.security_protocol:
            tls_context(kafka)
    except FileError as error:
        yield (
            f"{both_names(error.key)}: cannot use {str(error.path)!r}: {error.why}; expected {_CONTENT[error.key]}. "
            "Fix the file or the path."
        )
