"""The command line: one module per command."""

from aurora_bridge.cli.main import main

__all__ = ["main"]
