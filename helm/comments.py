"""The comments of `values.yaml`: what stands above a key is its description.

They are the one place where a value is described; `reference` makes the chart's table and `schema` the descriptions of
the schema from them.
"""

import re
from collections.abc import Iterator, Mapping

_KEY = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z0-9_]+):")


def descriptions(text: str) -> Mapping[str, str]:
    """Return the comment of each key by its path, `image.tag`; keys without one are left out."""
    return dict(_walk(text))


def _walk(text: str) -> Iterator[tuple[str, str]]:
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("# "):
            comment.append(line.strip().removeprefix("# "))
            continue
        match = _KEY.match(line)
        if match:
            path = [*path[: len(match["indent"]) // 2], match["key"]]
            if comment:
                yield ".".join(path), " ".join(comment)
        comment = []
