"""Every outcome of a delivery, and every reason for a refusal or a dead letter.

The same token is the `reason` in the response's body, in the metric's label and in the log, so that it can be found in
all of them.
"""

from enum import StrEnum
from typing import Self


class Outcome(StrEnum):
    """What became of a delivery."""

    PUBLISHED = "published"
    SPOOLED = "spooled"
    DUPLICATE = "duplicate"
    DEAD_LETTERED = "dead_lettered"
    REFUSED = "refused"


class Reason(StrEnum):
    """Why a delivery was refused; `status` is its HTTP status and `retry_after` the hint in seconds, if any."""

    status: int
    retry_after: int | None

    def __new__(cls, token: str, status: int, retry_after: int | None = None) -> Self:
        """Attach the HTTP answer to the token."""
        member = str.__new__(cls, token)
        member._value_ = token
        member.status = status
        member.retry_after = retry_after
        return member

    NO_ROUTE = "no_route", 404
    METHOD_NOT_ALLOWED = "method_not_allowed", 405
    UNAUTHORIZED = "unauthorized", 401
    CROSS_SITE = "cross_site", 403
    MALFORMED_HTTP = "malformed_http", 400
    MALFORMED_WITH_CREDENTIAL = "malformed_with_credential", 400
    TARGET_TOO_LONG = "target_too_long", 414
    OVERLOADED = "overloaded", 503, 30
    SPOOL_FULL = "spool_full", 503, 30
    SPOOL_FAILED = "spool_failed", 503, 30
    KAFKA_UNAVAILABLE = "kafka_unavailable", 503, 30
    KAFKA_REFUSED = "kafka_refused", 503, 30
    TOO_LATE = "too_late", 503, 30
    INTERNAL_ERROR = "internal_error", 500, 30


class Credential(StrEnum):
    """What was wrong with the credential, if a delivery was refused for it. The response does not say."""

    MISSING = "missing"
    WRONG = "wrong"


class DeadLetterReason(StrEnum):
    """Why an authenticated delivery could not be made into an event and became a dead letter."""

    NO_ATTRIBUTES = "no_attributes"
    UNFILLED_PLACEHOLDER = "unfilled_placeholder"
    CONFLICTING_VALUES = "conflicting_values"
    CONFLICTING_EVENT = "conflicting_event"
    NOT_UTF8 = "not_utf8"
    CONTROL_CHARACTERS = "control_characters"
    NOT_AS_TEMPLATE = "not_as_template"


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not an error of ours
    """A delivery is refused, and not acknowledged.

    `doubtful` says that the event may still become durable, because a send or a commit is in progress. A retry must
    then reuse its id.
    """

    def __init__(self, reason: Reason, *, doubtful: bool = False, credential: Credential | None = None) -> None:
        """Refuse for `reason`; `credential` says what was wrong with the credential, if that is why."""
        super().__init__(reason.value)
        self.reason = reason
        self.doubtful = doubtful
        self.credential = credential


class Malformed(Exception):  # noqa: N818 - the delivery is kept, as a dead letter
    """An authenticated delivery on a known route that carries no readable event."""

    def __init__(self, reason: DeadLetterReason) -> None:
        """Keep the reason."""
        super().__init__(reason.value)
        self.reason = reason
