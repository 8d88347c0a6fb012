"""Makes what the chart has of the code and of itself: `values.schema.json`, `files/catalogue.json`, the README's table.

`make docs` writes them, `make check` compares (`--check`): one that is out of date fails. The schema is made in
`schema`, the descriptions are the `comments` of `values.yaml`. The catalogue is what NOTES.txt must know of
events: their names, the older ones, and the URL templates.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from aurora_bridge.settings import Settings
from aurora_bridge.suggested_templates import to_paste
from aurora_bridge.webhook.catalogue import CATALOGUE, LEGACY_NAMES
from helm.comments import descriptions
from helm.schema import schema

CHART: Final = Path(__file__).parent / "aurora-bridge"
_BEGIN, _END = "<!-- Made by `make docs` from values.yaml. -->\n", "<!-- The end of what is made. -->\n"


def catalogue() -> dict[str, Any]:
    """Return what NOTES.txt must know of events."""
    return {
        "events": list(CATALOGUE),
        "legacy": dict(LEGACY_NAMES),
        "paste": [
            {"event": paste.event, "target": paste.url.removeprefix("https://HOST")} for paste in to_paste(Settings())
        ],
    }


def table(values: Mapping[str, Any], described: Mapping[str, str]) -> str:
    """Return the table of all values, a row for each that is described and is no group of others."""
    rows = [
        f"| `{path}` | `{json.dumps(value)}` | {described[path]} |"
        for path, value in _leaves(values, described)
        if path in described
    ]
    return "\n".join(["| value | default | what it is |", "|---|---|---|", *rows]) + "\n"


def _leaves(values: Mapping[str, Any], described: Mapping[str, str], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        path = above + key
        if isinstance(value, dict) and any(name.startswith(f"{path}.") for name in described):
            yield from _leaves(value, described, f"{path}.")
        else:
            yield path, value


def made() -> Iterator[tuple[Path, str]]:
    """Yield each file that is made, with its text."""
    text = (CHART / "values.yaml").read_text()
    values, described = yaml.safe_load(text), descriptions(text)
    yield CHART / "values.schema.json", json.dumps(schema(values, described), indent=2) + "\n"
    yield CHART / "files" / "catalogue.json", json.dumps(catalogue(), indent=1) + "\n"
    readme = (CHART / "README.md").read_text()
    before, _, rest = readme.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    yield CHART / "README.md", f"{before}{_BEGIN}\n{table(values, described)}\n{_END}{after}"


def main() -> int:
    """Write the files, or compare them; return the exit code."""
    stale = []
    for file, text in made():
        if sys.argv[1:] != ["--check"]:
            file.write_text(text)
        elif not file.exists() or file.read_text() != text:
            stale.append(f"helm/{file.relative_to(CHART.parent)} is out of date: run make docs, and commit it")
    print("\n".join(stale), end="\n" if stale else "", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
