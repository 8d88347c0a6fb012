"""Writes `settings.md`, `metrics.md` and `proofs.md` from code and tests; `--check` only compares.

`make docs` writes, `make check` compares: a reference that is out of date fails.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aurora_bridge.daemon import make_metrics
from aurora_bridge.metric_types import Counter, Gauge, Histogram
from aurora_bridge.settings import Settings
from aurora_bridge.settings.expected_values import expected
from aurora_bridge.settings.names import FILE_ONLY, SETTINGS, variable
from docs.proofs import problems, proofs_page

_FOLDER = Path(__file__).parent
_MADE = "<!-- Made by `make docs` from the code. Change the docstring there, not this page. -->\n"
_TOP = {"routes": "[[routes]]", "subscriptions": "[[subscriptions]]", "events": "[events.NAME]"}
_MOST_VALUES = 16


def settings_page() -> Iterator[str]:
    """Yield the lines of the settings reference."""
    yield "# Settings\n"
    yield _MADE
    yield (
        "Each setting is an environment variable or a key of the TOML file that `--config` or `AURORA_BRIDGE_CONFIG`\n"
        "names; the environment wins. `aurora-bridge config` checks them, and prints each value and its source.\n"
    )
    yield (
        "Words out of a fixed set are case-insensitive. Durations take a unit (`500ms`, `90s`, `24h`, `30d`), so\n"
        "do sizes (`64KiB`, `1GiB`; `1GB` is 10^9 bytes); in the file such a value is a string.\n"
    )
    yield "## At the top of the file\n"
    yield from _fields({key: field for key, field in SETTINGS.items() if "." not in key})
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if name not in FILE_ONLY and isinstance(group, type) and issubclass(group, BaseModel):
            yield f"## [{name}]\n"
            yield f"{_prose(group.__doc__ or '')}\n"
            yield from _fields({key: leaf for key, leaf in SETTINGS.items() if key.startswith(f"{name}.")})
    for name, table in FILE_ONLY.items():
        yield f"## {_TOP[name]}\n"
        yield f"{_prose(table.__doc__ or '')}\n"
        yield from _fields({f"{name}.{key}": field for key, field in table.model_fields.items()}, in_file_only=True)


def _fields(fields: dict[str, FieldInfo], *, in_file_only: bool = False) -> Iterator[str]:
    for key, field in fields.items():
        name = key.rpartition(".")[2] if in_file_only else variable(key)
        yield f"### `{name}`\n"
        yield f"{_prose(field.description or '')}\n"
        file = "" if in_file_only else f"In the file: `{key}`. "
        yield f"{file}Expected: {expected(field)}. {_default(field)}\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "Required."
    default = field.default
    match default:
        case None | "" | ():
            return "Default: empty."
        case bool():
            return f"Default: `{str(default).lower()}`."
        case tuple():
            return f"Default: `{','.join(default)}`."
        case _:
            return f"Default: `{default}`."


def _prose(text: str) -> str:
    """Return a docstring as paragraphs of one line each."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def metrics_page() -> Iterator[str]:
    """Yield the lines of the metrics reference."""
    yield "# Metrics\n"
    yield _MADE
    yield (
        "At `/metrics` on the admin port, as OpenMetrics if the scraper asks for it. Label values are closed sets, and "
        "every series exists from the start; the values of `file` are the files that the settings name.\n"
    )
    for metric in vars(make_metrics()).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            kind = type(metric).__name__.lower()
            yield f"## `{metric.name}{'_total' if kind == 'counter' else ''}`\n"
            yield f"A {kind}. {metric.text}\n"
            yield from (f"- `{label}`: {_values(values)}" for label, values in metric.labels)
            if metric.labels:
                yield ""


def _values(values: tuple[str, ...]) -> str:
    shown = ", ".join(f"`{value}`" for value in values[:_MOST_VALUES])
    more = f" and {len(values) - _MOST_VALUES} more" if len(values) > _MOST_VALUES else ""
    return f"{shown}{more}" if values else "as the settings name them"


def main() -> int:
    """Write the pages, or compare them; return the exit code."""
    stale = problems()
    pages = {"settings.md": settings_page(), "metrics.md": metrics_page(), "proofs.md": proofs_page()}
    for name, lines in pages.items():
        text = "\n".join(lines).rstrip() + "\n"
        page = _FOLDER / name
        if sys.argv[1:] != ["--check"]:
            page.write_text(text)
        elif not page.exists() or page.read_text() != text:
            stale.append(f"docs/{name} is out of date: run make docs, and commit it")
    print("\n".join(stale), end="\n" if stale else "", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
