"""The file that a simulation can begin with (TOML): subscriptions with the API's fields, and one's own stories."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from aurora_bridge.settings.units import duration
from aurora_bridge.simulator.stories import STORIES, Step
from aurora_bridge.simulator.subscriptions import RefusedError, Subscription, created

_SECTIONS: Final = frozenset({"subscriptions", "stories"})
_STEP: Final = frozenset({"event", "after", "values"})


class InitFileError(Exception):
    """The file cannot be used. The message says why, and where."""


class Beginning(NamedTuple):
    """The content of a file."""

    subscriptions: Sequence[Subscription] = ()
    """Their ids are the names in the file."""
    stories: Mapping[str, Sequence[Step]] = STORIES


def parse(text: str) -> Beginning:
    """Read a file. Raises `InitFileError`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"not TOML: {error}"
        raise InitFileError(msg) from None
    if others := document.keys() - _SECTIONS:
        msg = f"[{min(others)}] is not one of {', '.join(sorted(_SECTIONS))}"
        raise InitFileError(msg)
    subscriptions = [_subscription(n, one) for n, one in enumerate(_tables(document, "subscriptions"), 1)]
    if len({one.id for one in subscriptions}) < len(subscriptions):
        msg = "two [[subscriptions]] have the same name"
        raise InitFileError(msg)
    stories = document.get("stories", {})
    if not isinstance(stories, dict):
        msg = "stories must be written as [[stories.NAME]], one table for each step"
        raise InitFileError(msg)
    told = {name: tuple(_step(name, step) for step in _tables(stories, name)) for name in stories}
    return Beginning(subscriptions, told or STORIES)


def _tables(document: Mapping[str, Any], name: str) -> Sequence[dict[str, Any]]:
    tables = document.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        msg = f"{name} is not a list of tables; write each below a line [[...]]"
        raise InitFileError(msg)
    return tables


def _subscription(number: int, table: Mapping[str, Any]) -> Subscription:
    fields = dict(table)
    name, tenant = fields.pop("name", f"subscription-{number}"), fields.pop("tenant", "simulated")
    try:
        return created(str(name), f"tenants/{tenant}", fields)
    except RefusedError as error:
        msg = f"[[subscriptions]] number {number}: {error}"
        raise InitFileError(msg) from None


def _step(story: str, table: Mapping[str, Any]) -> Step:
    event, after, values = table.get("event"), duration(str(table.get("after", "0s"))), table.get("values", {})
    if not isinstance(event, str) or after is None or not isinstance(values, dict) or table.keys() - _STEP:
        msg = (
            f'[[stories.{story}]]: a step needs event = "NAME", and can have after = "2h" (90s, 15m, 1d) and '
            'values = { status = "signed" }'
        )
        raise InitFileError(msg)
    return Step(event, after, {name: str(value) for name, value in values.items()})
