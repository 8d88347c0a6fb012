"""The types of the settings' fields, each with its check, and with the words that say what is expected.

`expected_values` finds the words for any field. The fields are in `sections`.
"""

import ipaddress
import os
import re
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.fields import FieldInfo
from pydantic_settings import NoDecode

from aurora_bridge.settings.expected_values import Expected
from aurora_bridge.settings.units import Unit, in_bytes, in_days, in_seconds

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_BROKER = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Secret:
    """Marks a setting that names a file with a secret in it."""


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def _refuse_empty(value: object) -> object:
    if value == "":
        raise ValueError
    return value


def _refuse_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - pydantic makes its own error of a ValueError
    return value


def _digits_as_number(value: object) -> object:
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def _split_commas(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",")) if value.strip() else ()


def _host(value: str) -> str:
    if not _HOST_NAME.fullmatch(value) or value.rpartition(".")[2].isdigit():  # no domain ends in a number
        ipaddress.ip_address(value)  # raises ValueError
    return value


def _brokers(value: str) -> str:
    brokers = [broker.strip() for broker in value.split(",")] if value.strip() else []
    for broker in brokers:
        match = _BROKER.fullmatch(broker)
        if match is None or not 0 < int(match["port"]) <= _HIGHEST_PORT:
            raise ValueError
    return ",".join(brokers)


def _https_url(value: str) -> str:
    _ = urlsplit(value).port  # raises ValueError
    return value


def _api_url(value: str) -> str:
    if urlsplit(value).hostname is None:
        raise ValueError
    return _https_url(value).rstrip("/")


def _extensions(value: tuple[str, ...]) -> tuple[str, ...]:
    names = [pair.partition("=")[0] for pair in value]
    if len(set(names)) < len(names) or "auth" in names:  # reserved for the token (RFC 7628)
        raise ValueError
    return value


def _network(value: object) -> object:
    return ipaddress.ip_network(str(value))  # str: a number would be taken for an address; raises ValueError


def _no_slash_at_end(value: str) -> str:
    return value.rstrip("/") or "/"


FILES_ARE_HERE: ContextVar[bool] = ContextVar("files_are_here", default=True)
"""Whether this machine has the files that the settings name; if not, only their paths are checked.

A context variable, since pydantic passes no context to the validators of a model that is constructed:
https://docs.pydantic.dev/latest/concepts/validators/#validation-context
"""


def _path(value: Path) -> Path:
    if "\0" in str(value):
        raise ValueError
    str(value).encode()  # raises ValueError: outputs are UTF-8
    return value


def _readable(value: Path | None) -> Path | None:
    if value is None:
        return None
    _path(value)
    # os.access first: unlike is_file it raises no OSError, such as for a folder that may not be entered
    if FILES_ARE_HERE.get() and not (os.access(value, os.R_OK) and value.is_file()):
        raise ValueError
    return value


EMPTY_IS_NONE = BeforeValidator(_none_if_empty)
"""An environment variable cannot hold None; an empty one stands for it."""
NO_BOOL = BeforeValidator(_refuse_bool)
"""In Python True is a number; in a settings file `true` for a number is a mistake."""

Whole = Annotated[int, NO_BOOL]
Seconds = Annotated[float, NO_BOOL, BeforeValidator(in_seconds), Unit("seconds", "ms, s, m, h")]
WholeSeconds = Annotated[int, NO_BOOL, BeforeValidator(in_seconds), Unit("seconds", "s, m, h, d")]
Days = Annotated[int, NO_BOOL, BeforeValidator(in_days), Unit("days", "d, w")]
Bytes = Annotated[int, NO_BOOL, BeforeValidator(in_bytes), Unit("bytes", "kB, KiB, MB, MiB, GB, GiB")]
Host = Annotated[
    str,
    AfterValidator(_host),
    Expected("an address or a name of this machine; 0.0.0.0 is every IPv4 address, :: every address"),
]
Port = Annotated[Whole, Field(ge=0, le=_HIGHEST_PORT), Expected("a port from 0 to 65535; 0 takes a free one")]
Networks = Annotated[
    tuple[Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, BeforeValidator(_network)], ...],
    NoDecode,
    BeforeValidator(_split_commas),
    Expected("addresses and networks such as 10.0.0.0/8: with commas between, or as a list of strings in the file"),
]
BasePath = Annotated[
    str,
    Field(pattern=r"^(/|(/[A-Za-z0-9_~][A-Za-z0-9_.~-]*)+/?)$"),
    AfterValidator(_no_slash_at_end),
    Expected("/, or a path such as /hooks/aurora of letters, digits, - . _ ~"),
]
Brokers = Annotated[
    str, AfterValidator(_brokers), Expected("host:port, several with commas between, as in kafka-1:9092,kafka-2:9092")
]
TopicPrefix = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9._-]{0,200}$"),
    Expected("up to 200 of the characters of a topic: letters, digits, . _ -"),
]
ClientId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$"), Expected("1 to 200 letters, digits, . _ -")]
ClusterId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,200}$"), Expected("up to 200 letters, digits, . _ -")]
Tenant = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$"),
    Expected("1 to 128 letters, digits, - . _ ~, the first one a letter or a digit"),
]
HeaderName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$"), Expected("the name of an HTTP header, without colon")
]
_WORD = r"[^\x00-/:-\x60{-\x7f]+"  # in ASCII, lower-case letters and digits; beyond ASCII, anything
SnakeCase = Annotated[  # every name that `webhook.decoding.canonical_name` makes, such as _ga
    str, Field(pattern=f"^(_|_?{_WORD}(_{_WORD})*_?)$"), Expected("a name in lower snake_case")
]
AttributeNames = Annotated[
    tuple[SnakeCase, ...],
    NoDecode,  # in the environment names with commas between, not JSON
    BeforeValidator(_split_commas),
    Expected("names in lower snake_case: with commas between, or as a list of strings in the file"),
]
ParameterNames = Annotated[AttributeNames, Field(min_length=1)]
ParameterName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_.~-]{1,128}$"), Expected("the name of a parameter: letters, digits, - . _ ~")
]
EventName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_-]{1,128}$"),
    Expected("the name of an event as Aurora calls it, such as agreement_status_changed"),
]
EventNames = Annotated[tuple[EventName, ...], Field(min_length=1), Expected('names of events, as in ["lead_created"]')]
FilterValues = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^<?[A-Za-z][A-Za-z0-9_-]*>?$")], Annotated[tuple[str, ...], Field(min_length=1)]
    ],
    Expected('values by placeholder, as in { "<STATUS>" = ["signed", "declined"] }'),
]
Template = Annotated[
    str,
    Field(min_length=1, max_length=8000),
    Expected("a URL template as it stands in Aurora, such as https://hooks.example.com/x?a=<AGREEMENT_ID>"),
]
RouteName = Annotated[
    str, Field(min_length=1, max_length=8000), Expected("default, or the name of a route, such as /hooks/v2?kind=all")
]
Description = Annotated[str, Field(max_length=1000), Expected("a text of up to 1000 characters")]
PublicUrl = Annotated[
    str,
    Field(pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9_.~/-]*)?)?$"),
    AfterValidator(lambda value: value.rstrip("/")),
    Expected("the URL under which Aurora reaches the bridge, such as https://hooks.example.com"),
]
MalformedStatus = Annotated[Literal[200, 422], BeforeValidator(_digits_as_number)]
Folder = Annotated[
    Path, BeforeValidator(_refuse_empty), AfterValidator(_path), Expected("the path of a folder, in UTF-8")
]
ReadableFile = Annotated[
    Path | None,
    EMPTY_IS_NONE,
    AfterValidator(_readable),
    Expected("the path of a file that exists and that this user may read"),
]
SecretFile = Annotated[ReadableFile, Secret()]
UserName = Annotated[
    str,
    Field(pattern=r"^[^\x00-\x1f\x7f]{0,255}$"),
    Expected("up to 255 characters, none of them a control character"),
]
HttpsUrl = Annotated[
    str,
    Field(pattern=r"^(https://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9_.~/%:+-]*)?)?$"),
    AfterValidator(_https_url),
    Expected("an https URL without user, password and query, such as https://login.example.com/oauth2/token"),
]
ApiUrl = Annotated[
    str,
    Field(pattern=r"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9_.~/-]*)?$"),
    AfterValidator(_api_url),
    Expected("an https URL without user, password and query, such as https://api-sandbox.aurorasolar.com"),
]
AuroraId = Annotated[
    str,
    Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._~-]{0,127})?$"),
    Expected("an id of Aurora's: up to 128 letters, digits, - . _ ~, the first one a letter or a digit"),
]
OAuthClientId = Annotated[str, Field(pattern="^[ -~]{0,255}$"), Expected("up to 255 characters of ASCII")]
Scope = Annotated[
    str,
    Field(pattern=r"^([!#-\[\]-~]+( [!#-\[\]-~]+)*)?$", max_length=1000),
    Expected("one scope, or several with a space between, as the identity provider calls them"),
]
Extensions = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[A-Za-z]+=[!-~][ -~]*$")], ...],
    NoDecode,
    BeforeValidator(_split_commas),
    AfterValidator(_extensions),
    Expected(
        "NAME=VALUE, each name of letters, once and not auth: with commas between, or as a list of strings in the file"
    ),
]
AwsRegion = Annotated[
    str,
    Field(pattern=r"^([a-z]{2,}(-[a-z]+)+-[0-9]+)?$", max_length=63),
    Expected("a region of AWS, such as eu-west-1"),
]
Deadline = Annotated[
    Seconds,
    Field(gt=0, le=9.5),
    Expected("seconds above 0, up to 9.5: Aurora gives up after 10, and the answer needs time for its way"),
]


def is_path(field: FieldInfo) -> bool:
    """Whether `field` takes the path of a file or a folder."""
    return Path in (field.annotation, *get_args(field.annotation))
