"""How many files the system lets this process have open: connections are files, and so is what the daemon lives on.

A process that has no file left accepts nobody, reaches no broker and answers no probe, without a word. The usual limit
of 1024 is the soft one, which a process may raise itself (`man 2 getrlimit`); only what the hard one leaves is given to
connections.
"""

import logging
import resource

from aurora_bridge.logs import fields

log = logging.getLogger(__name__)

SPARE = 512
"""Files that are no connection of the ingress: brokers, the two databases, secrets, the admin port, and room."""
ADMIN_CONNECTIONS = 32
"""Connections of the admin port at once, out of these: a probe or a scrape holds one for milliseconds."""


def connections_allowed(wanted: int) -> int:
    """Raise the limit of open files for so many connections; return how many may be open at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    allowed = max(limit - SPARE, limit // 2)
    if allowed >= wanted:
        return wanted
    log.warning(
        "the limit of open files leaves fewer connections than AURORA_BRIDGE_INGRESS__MAX_CONNECTIONS; raise the hard "
        "limit (ulimit -Hn, LimitNOFILE=), or lower the setting",
        extra=fields(limit=limit, needed=needed, connections=allowed),
    )
    return allowed
