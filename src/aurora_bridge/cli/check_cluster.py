"""Checks that a command talks to the daemon's Kafka cluster: if not, what would change topics fails, the rest warns.

Without a state directory that this user may read, any cluster is right.
"""

from functools import cache, partial

from aurora_bridge.cli.output import tell
from aurora_bridge.kafka.client import CheckCluster
from aurora_bridge.kafka.cluster_guard import WrongClusterError, read_id, require
from aurora_bridge.kafka.problem_reasons import explain
from aurora_bridge.settings import Settings
from aurora_bridge.state.directory import StateError


def refusing(settings: Settings) -> CheckCluster:
    """Return a check that raises `WrongClusterError` for another cluster."""
    return partial(require, _expected(settings))


def warning(settings: Settings) -> CheckCluster:
    """Return a check that warns of another cluster, once."""
    expected = _expected(settings)

    @cache
    def check(cluster_id: str) -> None:
        try:
            require(expected, cluster_id)
        except WrongClusterError as error:
            tell(f"warning: {explain(error, settings.kafka.bootstrap_servers)}.")

    return check


def _expected(settings: Settings) -> str:
    try:
        return settings.kafka.cluster_id or read_id(settings.state_dir)
    except StateError:
        return ""
