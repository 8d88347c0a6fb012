"""Who may deliver: a token in a header, HTTP Basic, or a token in the query; several can be valid at once.

That lets a secret be rotated without a refusal: both are valid, Aurora's subscription is changed, and the count of
uses by position shows when the old one can go. The answer to a bad credential is the same whatever was wrong with it.

The secrets of a file are one `Secrets`, shared by all routes that name the file; `secret_files` replaces its content.
"""

from base64 import b64decode
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from functools import partial
from hashlib import sha256
from hmac import compare_digest
from typing import Protocol
from urllib.parse import unquote_plus, unquote_to_bytes

from aurora_bridge.outcomes import Credential, Reason, Refusal
from aurora_bridge.redaction import SecretNames
from aurora_bridge.webhook.delivery import Delivery

Uses = MutableMapping[str | tuple[str, ...], int]
"""Uses of credentials by file, kind and position (from 1)."""

HEADER, BASIC, QUERY, NONE = KINDS = ("header", "basic", "query", "none")
UNNEEDED = ("", NONE, "0")
"""Key in `Uses` of deliveries that were let in without a valid credential, since none was needed."""
_AUTHORIZATION = b"authorization"
_SCHEME = b"basic "
_BASIC_CHALLENGE = 'Basic realm="aurora-bridge", charset="UTF-8"'
_TOKEN_CHALLENGE = "AuroraToken"  # noqa: S105 - a scheme's name
_COMMENT = "#"
_SITE = b"sec-fetch-site"
_OWN_SITE = (b"none", b"same-origin")


def parse_tokens(text: str) -> tuple[bytes, ...]:
    """Return the tokens of a secret file: one per line, white space around it stripped; `#` begins a comment line.

    Raises `ValueError` if there is none.
    """
    lines = map(str.strip, text.splitlines())
    tokens = tuple(line.encode() for line in lines if line and not line.startswith(_COMMENT))
    if not tokens:
        msg = "holds no token. Write one per line"
        raise ValueError(msg)
    return tokens


def parse_basic(text: str) -> tuple[bytes, ...]:
    """Return the pairs of a secret file: one `user:password` per line, not stripped; `#` begins a comment line.

    The user ends at the first colon (RFC 7617, section 2). Raises `ValueError` if there is none, or a line is no pair.
    """
    lines = [
        (number, line.rstrip("\r\n"))
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip() and not line.lstrip().startswith(_COMMENT)
    ]
    for number, line in lines:
        if not line.partition(":")[1]:
            msg = f"has no colon in line {number}. Write user:password, one pair per line"
            raise ValueError(msg)
    if not lines:
        msg = "holds no credentials. Write user:password, one pair per line"
        raise ValueError(msg)
    return tuple(line.encode() for _, line in lines)


class Secrets:
    """The valid secrets of one file. Keeps their digests only, so that no `repr` or traceback can show one."""

    def __init__(self, file: str, kinds: Sequence[str], uses: Uses) -> None:
        """Count uses of the secrets of `file` in `uses`, by position and by which of `kinds` they came as."""
        self._file = file
        self._kinds = kinds
        self._uses = uses
        self._digests: tuple[bytes, ...] = ()
        self._keys: dict[str, tuple[tuple[str, ...], ...]] = dict.fromkeys(kinds, ())

    def replace(self, secrets: Sequence[bytes]) -> None:
        """Make these the valid secrets."""
        self._digests = tuple(sha256(secret).digest() for secret in secrets)
        for kind in self._kinds:
            keys = [(self._file, kind, str(number)) for number in range(1, len(secrets) + 1)]
            self._keys[kind] = tuple(keys)
            for key in keys:
                self._uses.setdefault(key, 0)

    def admit(self, kind: str, secret: bytes, *, counted: bool = True) -> bool:
        """Whether the secret is valid, in UTF-8 or, as many clients send it, in ISO-8859-1.

        Its use counts if `counted`. Digests are compared in constant time and without an early exit, so that the time
        taken shows neither length nor position.
        """
        found = self._find(secret) or (not secret.isascii() and self._find(secret.decode("latin-1").encode()))
        if found and counted:
            self._uses[self._keys[kind][found - 1]] += 1
        return found > 0

    def _find(self, secret: bytes) -> int:
        """Return the position of a secret, 0 if it is not valid."""
        digest, found = sha256(secret).digest(), 0
        for position, valid in enumerate(self._digests, 1):
            if compare_digest(digest, valid):
                found = position
        return found


class Authenticator(Protocol):
    """Checks the credentials of a delivery."""

    @property
    def challenges(self) -> Sequence[str]:
        """The `WWW-Authenticate` of a 401 (RFC 9110, section 11.6.1): the same whatever was wrong."""

    def admit(self, delivery: Delivery) -> None:
        """Raise `Refusal` unless the delivery may come in."""

    def recognizes(self, delivery: Delivery) -> bool:
        """Whether the delivery carries a valid credential. Counts nothing."""

    def would_admit(self, delivery: Delivery) -> bool:
        """Whether the delivery could come in, unless a browser sends it. Counts nothing."""


class Credentials:
    """The credentials of a route: any valid one lets a delivery in."""

    def __init__(  # noqa: PLR0913 - the kinds of credential
        self,
        header: str,
        tokens: Secrets | None,
        basic: Secrets | None = None,
        query_parameter: str | None = None,
        *,
        anonymous: bool = False,
        uses: Uses | None = None,
    ) -> None:
        """Accept `tokens` in `header` (case-insensitive) and in `query_parameter`, and `basic` pairs.

        With `anonymous`, everybody is let in; deliveries without a valid credential are counted in `uses`.
        """
        self.challenges = [*([_BASIC_CHALLENGE] if basic else []), *([_TOKEN_CHALLENGE] if tokens else [])]
        self._by_header: list[tuple[bytes, Callable[..., bool]]] = []
        if tokens is not None:
            self._by_header.append((header.lower().encode(), partial(tokens.admit, HEADER)))
        if basic is not None:
            self._by_header.append((_AUTHORIZATION, partial(_admit_basic, basic)))
        self._in_query = tokens if query_parameter is not None else None
        self._parameter = (query_parameter or "").encode()
        self._spellings = SecretNames([query_parameter] if query_parameter else [])
        self._anonymous = anonymous
        self._uses: Uses = {} if uses is None else uses
        if anonymous:
            self._uses.setdefault(UNNEEDED, 0)

    def admit(self, delivery: Delivery) -> None:
        """Raise `Refusal` unless the delivery carries a valid credential, or needs none."""
        if self._find(delivery, counted=True):
            return
        if not self._anonymous:
            came = self._has_credential(delivery)
            raise Refusal(Reason.UNAUTHORIZED, credential=Credential.WRONG if came else Credential.MISSING)
        _refuse_cross_site(delivery)
        self._uses[UNNEEDED] += 1

    def recognizes(self, delivery: Delivery) -> bool:
        """Whether the delivery carries a valid credential. Counts nothing."""
        return self._find(delivery, counted=False)

    def would_admit(self, delivery: Delivery) -> bool:
        """Whether the delivery could come in, unless a browser sends it. Counts nothing."""
        return self._anonymous or self.recognizes(delivery)

    def _find(self, delivery: Delivery, *, counted: bool) -> bool:
        for header, valid in self._by_header:
            size = len(header)
            for name, value in delivery.headers:
                if len(name) == size and name.lower() == header and valid(value, counted=counted):
                    return True
        tokens = self._in_query
        return tokens is not None and any(
            tokens.admit(QUERY, unquote_to_bytes(way), counted=counted)
            for value in self._values_in_query(delivery.target)
            # How Aurora encodes a template's static text is not specified: a plus may stand for itself or a space.
            for way in dict.fromkeys((value, value.replace(b"+", b" ")))
        )

    def _values_in_query(self, target: bytes) -> Iterator[bytes]:
        """Yield the parameter's values: first those under its exact name, then under other spellings of it."""
        query = target.partition(b"?")[2]
        pairs = [piece.partition(b"=") for piece in query.split(b"&")]
        yield from (value for name, _, value in pairs if name == self._parameter)
        if _text(query) in self._spellings:
            yield from (value for name, _, value in pairs if name != self._parameter and _text(name) in self._spellings)

    def _has_credential(self, delivery: Delivery) -> bool:
        """Whether there is anything where a credential is expected, valid or not."""
        headers = {header for header, _ in self._by_header}
        if any(value and name.lower() in headers for name, value in delivery.headers):
            return True
        return self._in_query is not None and any(self._values_in_query(delivery.target))


def _text(name: bytes) -> str:
    return unquote_plus(name.decode("latin-1"))


def _admit_basic(pairs: Secrets, value: bytes, *, counted: bool) -> bool:
    """Whether the value of an `Authorization` header has a valid pair (RFC 7617)."""
    if value[: len(_SCHEME)].lower() != _SCHEME:
        return False
    try:
        return pairs.admit(BASIC, b64decode(value[len(_SCHEME) :].strip(), validate=True), counted=counted)
    except ValueError:
        return False


def _refuse_cross_site(delivery: Delivery) -> None:
    """Raise `Refusal` for what a browser requests on behalf of another site, perhaps unknown to its user.

    https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header
    """
    for name, value in delivery.headers:
        if len(name) == len(_SITE) and name.lower() == _SITE and value not in _OWN_SITE:
            raise Refusal(Reason.CROSS_SITE)


class Anonymous:
    """Admits everybody: on loopback, or where the operator explicitly allowed it."""

    challenges: Sequence[str] = ()

    def admit(self, delivery: Delivery) -> None:
        """Admit the delivery. Raises `Refusal` for a browser's request on behalf of another site."""
        _refuse_cross_site(delivery)

    def recognizes(self, delivery: Delivery) -> bool:
        """Return False: there are no credentials."""
        del delivery
        return False

    def would_admit(self, delivery: Delivery) -> bool:
        """Return True: nobody needs a credential."""
        del delivery
        return True
