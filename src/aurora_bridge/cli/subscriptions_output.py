"""What `aurora-bridge subscriptions` prints: a plan, its findings, and the result.

Anybody may have written what Aurora returns: `for_terminal` removes what a terminal would interpret.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from aurora_bridge.aurora.apply import Applied
from aurora_bridge.aurora.checks import Finding
from aurora_bridge.aurora.diff import Change, Plan
from aurora_bridge.aurora.errors import ApiReason, AuroraError
from aurora_bridge.web.formatting import counted
from aurora_bridge.webhook.catalogue import todays_name

_SIGNS: Final[Mapping[str, str]] = {"create": "+", "update": "~", "delete": "-"}
_DONE: Final[Mapping[str, str]] = {"create": "created", "update": "updated", "delete": "deleted"}
_WIDTH: Final = 15
"""Length of the longest field name, authentication, and a space."""


def for_terminal(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines without control characters."""
    for line in lines:
        yield "".join(filter(str.isprintable, line))


def plan_in_words(plan: Plan) -> Iterator[str]:
    """Yield a plan, with a line for each field that differs."""
    for change in plan.changes:
        yield f"{_SIGNS[change.kind]} {change.kind} {change.event}{f' ({change.id})' if change.id else ''}"
        for name, before, after in change.differences:
            yield f"    {name:{_WIDTH}} {f'{before} -> {after}' if before else after}"
    if plan.unmanaged:
        yield "Not in the file, and left unchanged (--delete ID deletes one):"
        for one in plan.unmanaged:
            yield f"  {one.id}  {one.event or 'unknown event'}{f'  {one.description!r}' if one.description else ''}"
    for name, count in plan.not_compared.items():
        after = " If you changed it, use --resend-credentials." if name == "secret" else ""
        yield f"Not compared: the {name} of {counted(count, 'subscription')}, which Aurora does not show.{after}"
    for identifier in plan.not_there:
        yield f"The id {identifier} in the file is unknown to Aurora. Remove it."
    counts = {kind: sum(change.kind == kind for change in plan.changes) for kind in _SIGNS}
    if plan.changes:
        yield ", ".join(f"{count} to {kind}" for kind, count in counts.items()) + "."
    else:
        yield f"Nothing to change: Aurora has the {counted(len(plan.pairs), 'subscription')} in the file."


def findings_in_words(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield a line for each finding."""
    for one in findings:
        yield f"{'error' if one.error else 'warning'}: {one.where} ({one.check}): {one.words}"


def change_in_words(total: int, number: int, change: Change, error: AuroraError | None) -> str:
    """Return a line of progress."""
    which = f"{change.event}{f' ({change.id})' if change.id else ''}"
    if error is None:
        return f"[{number}/{total}] {_DONE[change.kind]} {which}"
    return f"[{number}/{total}] could not {change.kind} {which}: {error}"


def outcome_in_words(applied: Applied) -> Iterator[str]:
    """Yield the result of applying a plan, and what to do about failures."""
    yield from dict.fromkeys(failure.error.remedy for failure in applied.failures)
    leads = [
        failure.change.event
        for failure in applied.failures
        if todays_name(failure.change.event).startswith("lead_")
        and failure.change.kind == "create"
        and failure.error.reason in {ApiReason.NOT_PROVISIONED, ApiReason.INVALID}
    ]
    if leads:
        yield (
            f"Some tenants do not have lead events. If yours does not, move {', '.join(leads)} to a table with "
            "left_out = true."
        )
    total = applied.done + len(applied.failures) + applied.not_tried
    if applied.failures:
        yield f"{applied.done} of {counted(total, 'change')} made. Run it again for the others."
    else:
        yield f"{counted(total, 'change')} made."
