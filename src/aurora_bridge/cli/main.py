"""`aurora-bridge`: finds the command and runs it."""

import argparse
from importlib.metadata import version

from aurora_bridge.cli import config, drain, find, serve, set_aside, tail, templates, topics

_EPILOG = """exit codes: 0 done, 1 failed while running, 2 wrong usage, 78 a setting is wrong (the message names it)"""


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="aurora-bridge",
        description="Takes the webhooks of Aurora Solar and publishes each as a canonical event to Kafka.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('aurora-bridge')}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (serve, config, templates, topics, tail, find, set_aside, drain):
        command.add(subparsers)
    parsed = parser.parse_args(arguments)
    return int(parsed.run(parsed))
