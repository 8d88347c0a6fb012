"""The options that `simulate trigger` and `simulate run` share: where to send webhooks, with which subscriptions."""

import argparse
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Final

from aurora_bridge.cli.arguments import no_event
from aurora_bridge.settings import Settings
from aurora_bridge.simulator.fill_template import Spaces, is_template, suggested
from aurora_bridge.simulator.init_file import Beginning, InitFileError, parse
from aurora_bridge.simulator.subscriptions import Subscription, created
from aurora_bridge.webhook.catalogue import CATALOGUE, todays_name
from aurora_bridge.webhook.decoding import canonical_name

_OWNER: Final = "tenants/simulated"
_HIGHEST_PORT: Final = 65_535


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add the options for where and how to send."""
    parser.add_argument(
        "--to",
        metavar="URL",
        help="base URL of the receiver, or a whole URL template; default: the daemon of these settings",
    )
    parser.add_argument("--init", type=Path, metavar="FILE", help="file with subscriptions and stories (TOML)")
    parser.add_argument("--header", type=header, metavar="'NAME: VALUE'", help="header that authenticates Aurora")
    parser.add_argument("--basic", type=basic, metavar="USER:PASSWORD", help="HTTP Basic that authenticates Aurora")
    parser.add_argument(
        "--spaces",
        choices=list(Spaces),
        default=Spaces.PERCENT,
        metavar="FORM",
        help="how a space is written: %%20, + or raw; default %%20",
    )


def beginning(arguments: argparse.Namespace) -> Beginning:
    """Return the content of the `--init` file, or the defaults. Raises `InitFileError`, `OSError`."""
    if arguments.init is None:
        return Beginning()
    try:
        return parse(arguments.init.read_text("utf-8"))
    except (InitFileError, UnicodeDecodeError) as error:
        msg = f"{arguments.init}: {error}"
        raise InitFileError(msg) from None


def named(name: str, among: Sequence[Subscription]) -> Subscription:
    """Return the subscription of this name. Raises `InitFileError`."""
    for one in among:
        if one.id == name:
            return one
    known = ", ".join(one.id for one in among) or "none; name the file with --init"
    msg = f"no subscription is called {name!r}. Known: {known}"
    raise InitFileError(msg)


def subscription_to(
    event: str, arguments: argparse.Namespace, settings: Settings, more: tuple[str, ...] = ()
) -> Subscription:
    """Return the subscription that the options describe. Raises `RefusedError`."""
    to = arguments.to or _own_url(settings)
    body = {"event": event, "url_template": to if is_template(to) else suggested(to, event, more)}
    if arguments.header:
        body |= dict(zip(("header_auth_key", "header_auth_value"), arguments.header, strict=True))
    if arguments.basic:
        body |= dict(zip(("basic_auth_username", "basic_auth_password"), arguments.basic, strict=True))
    return created(f"simulated-{event}", _OWNER, body)


def _own_url(settings: Settings) -> str:
    ingress = settings.ingress
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(ingress.host, ingress.host)  # noqa: S104 - not to listen on
    scheme = "https" if ingress.tls_certificate_file else "http"
    return f"{scheme}://{host}:{ingress.port}{ingress.base_path}"


def attribute(text: str) -> tuple[str, str]:
    """Return name and value of an attribute."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        msg = f"{text!r} is not an attribute. Write NAME=VALUE, as in status=signed."
        raise argparse.ArgumentTypeError(msg)
    return canonical_name(name), value


def header(text: str) -> tuple[str, str]:
    """Return name and value of a header. No message echoes them: the value is a secret."""
    name, colon, value = text.partition(":")
    if not name.strip() or not colon or not value.strip():
        msg = "not a header. Write 'NAME: VALUE', as in 'X-Aurora-Webhook-Token: secret'."
        raise argparse.ArgumentTypeError(msg)
    return name.strip(), value.strip()


def basic(text: str) -> tuple[str, str]:
    """Return user and password. No message echoes them."""
    name, colon, password = text.partition(":")
    if not name or not colon or not password:
        msg = "not a user and a password. Write USER:PASSWORD."
        raise argparse.ArgumentTypeError(msg)
    return name, password


def events(text: str) -> list[str]:
    """Return comma-separated event names."""
    names = [todays_name(name) for name in text.split(",") if name.strip()]
    for name in names:
        if name not in CATALOGUE:
            raise argparse.ArgumentTypeError(no_event(name, list(CATALOGUE)))
    return names


def times(text: str) -> int:
    """Return a whole number above 0."""
    if not text.isdecimal() or not int(text):
        msg = f"{text!r} is not a whole number above 0."
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def port(text: str) -> int:
    """Return a port number, 0 for any port."""
    if not text.isdecimal() or int(text) > _HIGHEST_PORT:
        msg = f"{text!r} is not a port. Use a whole number from 0 to {_HIGHEST_PORT}."
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def number_from_0(text: str) -> float:
    """Return a finite number, 0 or more."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < inf:
        msg = f"{text!r} is not a number of 0 or more."
        raise argparse.ArgumentTypeError(msg)
    return number


def speed(text: str) -> float:
    """Return a number above 0."""
    if not (number := number_from_0(text)):
        msg = f"{text!r} is not a number above 0."
        raise argparse.ArgumentTypeError(msg)
    return number
