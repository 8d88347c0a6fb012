"""What can fail when Aurora's API is called, with its token in logs and metrics, and its remedy."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class ApiReason(StrEnum):
    """Why a call to Aurora's API failed."""

    TOKEN_UNUSABLE = "token_unusable"  # noqa: S105 - a name
    UNAUTHORIZED = "unauthorized"
    NOT_PROVISIONED = "not_provisioned"
    NOT_FOUND = "not_found"
    INVALID = "invalid"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    TIMED_OUT = "timed_out"
    TLS_FAILED = "tls_failed"
    UNREACHABLE = "unreachable"
    UNEXPECTED_RESPONSE = "unexpected_response"
    INCOMPLETE = "incomplete"


API_REMEDIES: Final[Mapping[ApiReason, str]] = MappingProxyType(
    {
        ApiReason.TOKEN_UNUSABLE: "Write the API key, and nothing else, into the file of AURORA__API_TOKEN_FILE.",
        ApiReason.UNAUTHORIZED: (
            "Compare the key in AURORA__API_TOKEN_FILE with Aurora's dashboard (Settings, API Keys): it may have been "
            "revoked, or belong to the sandbox while AURORA__API_URL names production, or the reverse."
        ),
        ApiReason.NOT_PROVISIONED: (
            "The key is valid, but not provisioned for this call. Ask Aurora's representative to allow it webhooks, or "
            "use another key; one that begins with rk_ is restricted to some calls."
        ),
        ApiReason.NOT_FOUND: (
            "Compare AURORA__TENANT_ID or AURORA__PARTNER_APPLICATION_ID with Aurora's dashboard, and check that "
            "AURORA__API_URL is the environment in which it exists. A subscription may just have been deleted."
        ),
        ApiReason.INVALID: "Correct what Aurora's message names, then try again.",
        ApiReason.RATE_LIMITED: (
            "Aurora allows 90 requests a minute per key. Wait, and give the bridge a key that nothing else uses."
        ),
        ApiReason.SERVER_ERROR: "Aurora is failing. Try again in a few minutes.",
        ApiReason.TIMED_OUT: "Try again. If it persists, check the network and any proxy in front of AURORA__API_URL.",
        ApiReason.TLS_FAILED: (
            "Check the host in AURORA__API_URL. If a proxy intercepts TLS, name its CA certificates in SSL_CERT_FILE."
        ),
        ApiReason.UNREACHABLE: "Check AURORA__API_URL, DNS, and that the firewall lets this machine reach it.",
        ApiReason.UNEXPECTED_RESPONSE: (
            "Check AURORA__API_URL: something other than Aurora's API may answer there. If it is Aurora's, report it."
        ),
        ApiReason.INCOMPLETE: (
            "An incomplete list proves nothing: a subscription that is missing from it may exist. Try again; if it "
            "persists, report it."
        ),
    }
)
"""Remedies by reason."""


class AuroraError(Exception):
    """A call to Aurora's API failed. The message says which and why, and contains no secret."""

    def __init__(  # noqa: PLR0913 - all that is known of a failure
        self,
        reason: ApiReason,
        call: str,
        why: str,
        *,
        status: int | None = None,
        messages: Sequence[str] = (),
        in_doubt: bool = False,
        retry_after: float | None = None,
    ) -> None:
        """Report that `call`, such as `POST /tenants/t-1/webhooks`, failed."""
        words = f"{why}: {'; '.join(messages)}" if messages else why
        doubt = " The change may have been made nevertheless." if in_doubt else ""
        super().__init__(f"{call}: {words}.{doubt}")
        self.reason = reason
        self.status = status
        """HTTP status, if there was a response."""
        self.messages = tuple(messages)
        """Aurora's messages, redacted."""
        self.in_doubt = in_doubt
        """Whether a change may have been made nevertheless."""
        self.retry_after = retry_after
        """Seconds to wait before the next call, after a 429."""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return API_REMEDIES[self.reason]
