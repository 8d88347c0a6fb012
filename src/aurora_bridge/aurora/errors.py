"""What can go wrong when Aurora's API is called, each with the token that log and metrics have, and what to do."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class ApiReason(StrEnum):
    """Why a call of Aurora's API failed."""

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
            "revoked, or belong to the sandbox or to production where AURORA__API_URL names the other."
        ),
        ApiReason.NOT_PROVISIONED: (
            "The key is valid, but not provisioned for this call. Ask Aurora's representative to allow it webhooks, or "
            "take another key; one that begins with rk_ is restricted to some calls."
        ),
        ApiReason.NOT_FOUND: (
            "Compare AURORA__TENANT_ID or AURORA__PARTNER_APPLICATION_ID with Aurora's dashboard, and check that "
            "AURORA__API_URL is the API in which it exists. A single subscription may just have been deleted."
        ),
        ApiReason.INVALID: "Correct what Aurora's message names, then try again.",
        ApiReason.RATE_LIMITED: (
            "Aurora allows 90 requests a minute for each key. Wait, and give the bridge a key that nothing else uses."
        ),
        ApiReason.SERVER_ERROR: "Aurora is failing. Try again in some minutes.",
        ApiReason.TIMED_OUT: "Try again. If it persists, check the network and any proxy before AURORA__API_URL.",
        ApiReason.TLS_FAILED: (
            "Check the host in AURORA__API_URL. Where a proxy opens TLS, name its authorities by SSL_CERT_FILE."
        ),
        ApiReason.UNREACHABLE: "Check AURORA__API_URL, and that DNS and firewall let this machine reach it.",
        ApiReason.UNEXPECTED_RESPONSE: (
            "Check AURORA__API_URL: something other than Aurora's API may answer there. If it is Aurora, report it."
        ),
        ApiReason.INCOMPLETE: (
            "An incomplete list proves nothing: a subscription that is missing from it may exist. Try again; if it "
            "persists, report it."
        ),
    }
)
"""By reason."""


class AuroraError(Exception):
    """A call of Aurora's API failed. The message says which, and why, with no secret in it."""

    def __init__(  # noqa: PLR0913 - what is known of a failure
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
        """Say that `call`, as in `POST /tenants/t-1/webhooks`, failed."""
        words = f"{why}: {'; '.join(messages)}" if messages else why
        doubt = " The change may have been made all the same." if in_doubt else ""
        super().__init__(f"{call}: {words}.{doubt}")
        self.reason = reason
        self.status = status
        """HTTP status, if there was a response."""
        self.messages = tuple(messages)
        """Aurora's own."""
        self.in_doubt = in_doubt
        """Whether a change may have been made all the same."""
        self.retry_after = retry_after
        """Seconds to wait before the next call, after a 429."""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return API_REMEDIES[self.reason]
