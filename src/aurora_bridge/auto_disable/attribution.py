"""Whether a refused request was Aurora's, and of which subscription: by its path, and by its credential.

A public address gets the requests of scanners, too. Only what is Aurora's counts as one of its attempts (`attempts`),
and gets its own lines in the log and on the status page.
"""

from aurora_bridge.metrics import NO_EVENT
from aurora_bridge.outcomes import Reason
from aurora_bridge.webhook.catalogue import CATALOGUE
from aurora_bridge.webhook.event import Event
from aurora_bridge.webhook.routes import Match


def subscription_of(match: Match) -> tuple[str, str]:
    """Return route and event, by which Aurora's attempts are counted."""
    return match.route.name, match.route.rules.type_of(match.event).name


def is_attempt(match: Match, reason: Reason) -> bool:
    """Whether what was refused after its route was found is Aurora's: by a valid credential, or by its path."""
    if reason is Reason.UNAUTHORIZED:
        return is_auroras(match)
    return reason is not Reason.CROSS_SITE


def is_auroras(match: Match) -> bool:
    """Whether the path is a written route's or a known event's: on the default route any word is an event's name."""
    return match.route.template is not None or match.event in CATALOGUE


def event_of(match: Match | None, event: Event | None) -> str:
    """Return the name of a refused delivery's event, if it is known.

    Even with a wrong credential: on the path of a known event it is most likely Aurora's, and no scanner's.
    """
    if event is not None:
        return event.name
    return match.event if match is not None and match.event in CATALOGUE else NO_EVENT
