"""The command line: one module a command."""

from aurora_bridge.cli.main import main

__all__ = ["main"]
