"""Raises the open-file limit, and keeps connections from using up what the rest of the daemon needs.

A process without a free file descriptor silently accepts no connection, reaches no broker and answers no probe. The
usual limit of 1024 is the soft one, which a process may raise itself up to the hard one (`man 2 getrlimit`).
"""

import logging
import resource

from aurora_bridge.logs import fields

log = logging.getLogger(__name__)

SPARE = 512
"""Descriptors for everything but the ingress: brokers, the two databases, secrets, the admin port, and headroom."""
ADMIN_CONNECTIONS = 32
"""Connections of the admin port at once, out of `SPARE`: a probe or a scrape holds one for milliseconds."""


def connections_allowed(wanted: int) -> int:
    """Raise the open-file limit for `wanted` connections; return how many may be open at once."""
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
        "the open-file limit allows fewer connections than AURORA_BRIDGE_INGRESS__MAX_CONNECTIONS; raise the hard "
        "limit (ulimit -Hn, LimitNOFILE=), or lower the setting",
        extra=fields(limit=limit, needed=needed, connections=allowed),
    )
    return allowed
