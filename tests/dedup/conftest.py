"""What happens each second in the daemon happens each few milliseconds here."""

import pytest


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses."""
    for name, seconds in {
        "write_behind._SLOWEST": 0.002,
        "write_behind._QUICKEST": 0.001,
        "index_file._STEP_SECONDS": 0.01,
        "log_reader._AGAIN_SECONDS": 0.01,
    }.items():
        monkeypatch.setattr(f"aurora_bridge.dedup.{name}", seconds)
