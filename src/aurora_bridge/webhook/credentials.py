"""Who may deliver: the header token of a route, several valid at once so that a rotation refuses nothing.

The answer to a bad credential is the same whatever was wrong with it.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from hmac import compare_digest

from aurora_bridge.refusal import Reason, Refusal
from aurora_bridge.webhook.delivery import Delivery


def parse_tokens(text: str) -> tuple[bytes, ...]:
    """Return the tokens of a secret file: one a line, surrounding white space and empty lines left out."""
    return tuple(line.strip().encode() for line in text.splitlines() if line.strip())


class Credentials:
    """The valid tokens of one header. Keeps their digests only, so that no `repr` or traceback can show a secret."""

    def __init__(self, header: str, tokens: Iterable[bytes]) -> None:
        """Accept any of `tokens` in the header named `header` (compared without case)."""
        self._header = header.lower().encode()
        self._digests: Sequence[bytes] = tuple(sha256(token).digest() for token in tokens)

    def admit(self, delivery: Delivery) -> None:
        """Raise `Refusal` unless the delivery carries a valid token.

        Digests are compared, in constant time and without an early exit: neither length nor position of a secret shows.
        """
        header = self._header
        for name, value in delivery.headers:
            if len(name) == len(header) and name.lower() == header:
                digest, found = sha256(value).digest(), False
                for valid in self._digests:
                    found |= compare_digest(digest, valid)
                if found:
                    return
        raise Refusal(Reason.UNAUTHORIZED)


class Anonymous:
    """Admits everybody: for loopback, or where the operator allowed it in so many words."""

    def admit(self, delivery: Delivery) -> None:
        """Admit the delivery."""
