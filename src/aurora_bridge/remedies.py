"""What to do about each reason for a refusal or a dead letter, for the log and the status page."""

from collections.abc import Mapping
from types import MappingProxyType

from aurora_bridge.outcomes import Credential, DeadLetterReason, Reason

AUTO_DISABLE = (
    "Aurora does so when 100 attempts within 48 h have all failed, and the subscription stays off until somebody "
    "switches it on. Fix the cause of the refusals, which are logged with remedies of their own; one success ends the "
    "risk. Then check in Aurora that the subscription is still on."
)
"""About a subscription that Aurora may switch off."""
REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        Reason.NO_ROUTE: (
            "No route has this path. If it was Aurora: compare its URL template with those that the status page and "
            "`aurora-bridge templates` show, and INGRESS__BASE_PATH with the path that the proxy in front forwards."
        ),
        Reason.METHOD_NOT_ALLOWED: "Not a GET, so not Aurora.",
        Reason.UNAUTHORIZED: (
            "No credential, or a wrong one. If it was Aurora: compare the subscription's authentication with the "
            "route's header and secret file."
        ),
        Reason.CROSS_SITE: (
            "A browser requested it for a page of another site, so not Aurora. This is possible only because no "
            "credential is required: set AUTH__TOKENS_FILE."
        ),
        Reason.MALFORMED_HTTP: "Not HTTP, so not Aurora: a scanner, or TLS spoken to a plain port.",
        Reason.MALFORMED_WITH_CREDENTIAL: (
            "Not HTTP, but with a valid credential, so perhaps Aurora. Send the same request by hand, and check what "
            "the proxy in front makes of it; the log has the kind of error."
        ),
        Reason.TARGET_TOO_LONG: (
            "The URL is longer than INGRESS__MAX_TARGET_BYTES. If it was Aurora: remove parameters from the template, "
            "or raise the limit."
        ),
        Reason.OVERLOADED: (
            "More at once than INGRESS__MAX_IN_FLIGHT or INGRESS__MAX_CONNECTIONS. Something hangs: check Kafka and "
            "the disk."
        ),
        Reason.SPOOL_FULL: (
            "Kafka has been away for too long, or the volume of STATE_DIR is full. Bring Kafka back, make room on the "
            "volume, or raise SPOOL__MAX_BYTES and restart the daemon."
        ),
        Reason.SPOOL_FAILED: (
            "The disk failed, and the daemon ends. Start it again once the disk works: everything committed is kept."
        ),
        Reason.KAFKA_UNAVAILABLE: "Kafka is away, and there is no spool. Bring Kafka back, or set SPOOL__ENABLED=true.",
        Reason.KAFKA_REFUSED: (
            "Kafka rejects the topic or the event, and there is no spool. Fix the cause: the log has Kafka's error."
        ),
        Reason.TOO_LATE: "Neither Kafka nor the disk answered in time: check the load and the disk of this machine.",
        Reason.INTERNAL_ERROR: "A bug in the bridge: the log has its location. Please report it.",
    }
)
"""By reason for a refusal."""
DEAD_LETTERS: Mapping[str, str] = MappingProxyType(
    {
        DeadLetterReason.NO_ATTRIBUTES: (
            "None of the event's attributes came: paste the template from `aurora-bridge templates`."
        ),
        DeadLetterReason.UNFILLED_PLACEHOLDER: (
            "Aurora does not know a placeholder in the template, or it is not written like <THIS>: paste the template "
            "from `aurora-bridge templates`, or remove that parameter."
        ),
        DeadLetterReason.CONFLICTING_VALUES: (
            "One attribute came twice, with different values: remove one of the parameters."
        ),
        DeadLetterReason.CONFLICTING_EVENT: "The path and aurora_event name different events: remove one of them.",
        DeadLetterReason.NOT_UTF8: "A value is not UTF-8 after decoding.",
        DeadLetterReason.CONTROL_CHARACTERS: "A value has control characters.",
        DeadLetterReason.NOT_AS_TEMPLATE: (
            "A value does not match the route's template: compare the template with Aurora's."
        ),
    }
)
"""By reason for a dead letter."""
CREDENTIALS: Mapping[Credential, str] = MappingProxyType(
    {
        Credential.MISSING: (
            "The request has no credential, but the route requires one. If it was Aurora: set the subscription's "
            "authentication, with the route's header (AUTH__HEADER), and make sure that no proxy in front removes it."
        ),
        Credential.WRONG: (
            "The credential is not in the route's secret file. If it was Aurora: compare the subscription's "
            "authentication with the file, which may list both the old and the new secret, one per line."
        ),
    }
)
"""Remedies for `unauthorized`, by what was wrong with the credential."""
