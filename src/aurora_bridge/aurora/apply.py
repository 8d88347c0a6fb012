"""Carries out a plan, one call after another, until one fails for good. The next run plans what is left."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from aurora_bridge.aurora.client import AuroraClient
from aurora_bridge.aurora.diff import Change
from aurora_bridge.aurora.errors import ApiReason, AuroraError

_ENDING: Final = frozenset(
    {
        ApiReason.TOKEN_UNUSABLE,
        ApiReason.UNAUTHORIZED,
        ApiReason.RATE_LIMITED,
        ApiReason.TIMED_OUT,
        ApiReason.TLS_FAILED,
        ApiReason.UNREACHABLE,
    }
)
"""Errors that the next change would meet as well."""


class Failure(NamedTuple):
    """A change that failed."""

    change: Change
    error: AuroraError


class Applied(NamedTuple):
    """The result of a plan."""

    done: int
    failures: Sequence[Failure]
    not_tried: int


async def carry_out(
    client: AuroraClient, changes: Sequence[Change], on_done: Callable[[int, Change, AuroraError | None], None]
) -> Applied:
    """Make changes; call `on_done` after each, with its number (from 1) and its error, if any.

    Raises `ValueError` and `OSError` if a secret file cannot be used.
    """
    failures: list[Failure] = []
    for number, change in enumerate(changes, 1):
        try:
            await _make(client, change)
        except AuroraError as error:
            failures.append(Failure(change, error))
            on_done(number, change, error)
            if error.reason in _ENDING:
                return Applied(number - len(failures), failures, len(changes) - number)
        else:
            on_done(number, change, None)
    return Applied(len(changes) - len(failures), failures, 0)


async def _make(client: AuroraClient, change: Change) -> None:
    match change.kind:
        case "create":
            await client.create(change.body())
        case "update":
            await client.update(change.id, change.body())
        case "delete":
            await client.delete(change.id)
