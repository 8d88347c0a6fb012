"""An index that knows many fingerprints, written without a daemon that received them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def fill_index(directory: Path, count: int) -> None:
    """Make the state directory of a daemon whose index holds `count` random fingerprints, seen today.

    It has no positions in Kafka: a start on it has nothing to read.
    """
    message = f"nothing writes {count:,} fingerprints into {directory / 'index.db'} yet: its schema is being rebuilt"
    raise NotImplementedError(message)
