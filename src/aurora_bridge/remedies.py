"""What to do about each reason of a refusal and of a dead letter, in words for the log and the status page."""

from collections.abc import Mapping
from types import MappingProxyType

from aurora_bridge.refusal import Credential, DeadLetterReason, Reason

AUTO_DISABLE = (
    "Aurora does so when 100 attempts within 48 h have all failed, and the subscription stays off until somebody "
    "switches it on. Fix the cause of the refusals, which have a line and a remedy of their own; one success ends the "
    "risk. Then look in Aurora whether the subscription is still on."
)
"""About a subscription that Aurora may switch off."""
REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        Reason.NO_ROUTE: (
            "No route has this path. If it was Aurora: compare its URL template with those that the status page and "
            "`aurora-bridge templates` show, and INGRESS__BASE_PATH with what the proxy in front leaves of the path."
        ),
        Reason.METHOD_NOT_ALLOWED: "Not a GET, so not Aurora.",
        Reason.UNAUTHORIZED: (
            "No credential, or a wrong one. If it was Aurora: compare the subscription's authentication with the "
            "route's header and secret file."
        ),
        Reason.CROSS_SITE: (
            "A browser asked it for the page of another site, so not Aurora. Only where no credential is needed: set "
            "AUTH__TOKENS_FILE."
        ),
        Reason.MALFORMED_HTTP: "Not HTTP, so not Aurora: a scanner, or TLS spoken to a plain port.",
        Reason.MALFORMED_WITH_CREDENTIAL: (
            "Not HTTP, but with a valid credential, so perhaps Aurora. Send the same request by hand, and compare what "
            "the proxy in front makes of it; the log has the kind of mistake."
        ),
        Reason.TARGET_TOO_LONG: (
            "A URL above INGRESS__MAX_TARGET_BYTES. If it was Aurora: take parameters out of the template, or raise it."
        ),
        Reason.OVERLOADED: (
            "More at once than INGRESS__MAX_IN_FLIGHT or INGRESS__MAX_CONNECTIONS. Something hangs: look at Kafka and "
            "the disk."
        ),
        Reason.SPOOL_FULL: (
            "Kafka has been away for too long, or the volume of STATE_DIR is full. Bring Kafka back, make room on the "
            "volume, or raise SPOOL__MAX_BYTES and restart the daemon."
        ),
        Reason.SPOOL_FAILED: (
            "The disk failed, and the daemon ends. Start it again once the disk is sound: what was committed is there."
        ),
        Reason.KAFKA_UNAVAILABLE: "Kafka is away, and there is no spool. Bring Kafka back, or set SPOOL__ENABLED=true.",
        Reason.KAFKA_REFUSED: (
            "Kafka refuses the topic or the event, and there is no spool. The log has Kafka's own word for it."
        ),
        Reason.TOO_LATE: "Neither Kafka nor the disk answered in time: look at the load and the disk of this machine.",
        Reason.INTERNAL_ERROR: "A fault in the bridge: the log has the place. Please report it.",
    }
)
"""By reason of a refusal."""
DEAD_LETTERS: Mapping[str, str] = MappingProxyType(
    {
        DeadLetterReason.NO_ATTRIBUTES: (
            "None of the event's attributes came: paste the template of `aurora-bridge templates`."
        ),
        DeadLetterReason.UNFILLED_PLACEHOLDER: (
            "Aurora does not know a placeholder of the template, or it is not written like <THIS>: paste the template "
            "of `aurora-bridge templates`, or take that parameter out."
        ),
        DeadLetterReason.CONFLICTING_VALUES: (
            "One attribute came twice, with different values: leave one of the parameters out."
        ),
        DeadLetterReason.CONFLICTING_EVENT: "Path and aurora_event name different events: leave one of them out.",
        DeadLetterReason.NOT_UTF8: "A value is not UTF-8 after decoding.",
        DeadLetterReason.CONTROL_CHARACTERS: "A value has control characters.",
        DeadLetterReason.NOT_AS_TEMPLATE: (
            "A value does not look as the route's template says: compare it with Aurora's."
        ),
    }
)
"""By reason of a dead letter."""
CREDENTIALS: Mapping[Credential, str] = MappingProxyType(
    {
        Credential.MISSING: (
            "No credential came where the route expects one. If it was Aurora: set the subscription's authentication, "
            "with the header that the route has (AUTH__HEADER), and let no proxy in front take it away."
        ),
        Credential.WRONG: (
            "A credential came that is not in the route's secret file. If it was Aurora: compare the subscription's "
            "authentication with the file; old and new secret may both stand in it, one a line."
        ),
    }
)
"""By what was wrong with a credential: the remedies of `unauthorized`."""
