"""Recognises the names of secrets, and replaces their values by `***`.

Events, dead letters, routes, credentials and messages about settings all use `SecretNames`. A parameter with such a
name is dropped from an event; in any other text, the value assigned to the name becomes `***`, and the rest stays.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, Self
from urllib.parse import quote, unquote, unquote_plus, unquote_to_bytes

HIDDEN: Final = "***"
_MOST_LEVELS = 3  # of percent-encoding that are decoded in a text that was decoded once
_BYTES = "surrogateescape"
_READABLE = "!\"$'()*,/:;<=>?@[\\]^`{|}"  # all printable characters without a meaning in a query's value
_USER_INFO = re.compile(r"\A([A-Za-z][A-Za-z0-9+.-]*://|//)?[^/?#]*@")
_UNPRINTABLE = re.compile(rb"[^\x21-\x7e]")
_ASSIGNED = r"""
    (?: [.\[\]]+ [\w-]+ ){0,3} [^\w?&;,/=:]*    # the rest of the name, as in token[0]= and "token":
    [=:]+ >? \s*
"""
_VALUE = r"""
    (?:
        (?P<quote> \\*["'] ) (?: (?!(?P=quote)) (?:\\.|.) )+                # a string, also in JSON inside JSON
      | [\[{] .*                                                          # an array or object, and what follows
      | (?: (?:basic|bearer|token) \s+ )? (?!\\*["']) [^\s?&;,]+          # a word, also of `Authorization`
    )
"""
_WORD = re.compile(r"([A-Za-z._~-]*+[0-9]?+[A-Za-z._~-]*+)(?:([?;&]).*)?", re.DOTALL)
_LONGEST_WORD = 40
_MOST_SEGMENTS = 8
_FLAGS = re.DOTALL | re.IGNORECASE | re.VERBOSE


class SecretNames:
    """Names of parameters that are secrets.

    Names are compared by their letters and digits, after percent-decoding: `sessionToken`, `SESSION-TOKEN` and
    `session%5Ftoken` are all `session_token`. A secret's name may be part of a longer name, if no letter, digit, `_`,
    `-` or white space adjoins it: `amp;token`, `x[token]` and `x.token` are secrets, `my_token` and `my token` are not.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        words = "|".join(sorted(map(_any_spelling, self._names))) or "(?!)"
        name = rf"(?<![\w\s-]) [\s_-]* (?:{words}) [\s_-]* (?![\w\s-])"
        self._name = re.compile(name, _FLAGS)
        self._assignment = re.compile(f"(?P<name> {name} {_ASSIGNED}) {_VALUE}", _FLAGS)

    def __contains__(self, name: str) -> bool:
        """Whether a decoded name is a secret's or contains one, like `token=x` if its `=` was encoded."""
        return any(map(self._name.search, _levels(name)))

    def __or__(self, names: Iterable[str]) -> Self:
        """Return the union of these names and others."""
        return type(self)(self._names.union(names))

    def redact(self, text: str, levels: int = _MOST_LEVELS) -> str:
        """Return a decoded text with `***` for each value after a secret's name and `=` or `:`, encoded or not.

        The value is a quoted string if one begins there; the whole rest of the text, if it begins with a bracket; or
        else everything up to white space or one of `?&;,`.
        """
        if "=" in text or ":" in text:
            text = self._assignment.sub(rf"\g<name>\g<quote>{HIDDEN}", text)
        if levels and "%" in text and (decoded := unquote(text, errors=_BYTES)) != text:
            return self._redact_encoded(text, decoded, levels - 1, HIDDEN)
        return text

    def redact_values(self, values: list[str]) -> list[str]:
        """Return decoded values, each redacted."""
        everything = "".join(values)
        if "=" in everything or ":" in everything or "%" in everything:
            return list(map(self.redact, values))
        return values

    def redact_target(self, target: bytes) -> str:
        """Return a request target or URL as printable ASCII, without user info, and with `***` for secrets.

        Unprintable bytes are percent-encoded; parts without a secret are not changed.
        """
        text = _USER_INFO.sub(r"\1", target.decode(errors=_BYTES), count=1)
        path, mark, query = text.partition("?")
        text = self._redact_raw(path) + mark + "&".join(map(self._redact_parameter, query.split("&")))
        return _UNPRINTABLE.sub(lambda match: b"%%%02X" % ord(match[0]), text.encode(errors=_BYTES)).decode()

    def _redact_parameter(self, parameter: str) -> str:
        name, sign, value = parameter.partition("=")
        is_secret = sign and unquote_plus(name, errors=_BYTES) in self
        return self._redact_raw(name) + sign + (HIDDEN if is_secret else self._redact_raw(value))

    def _redact_raw(self, text: str) -> str:
        return self._redact_encoded(text, unquote_plus(text, errors=_BYTES), _MOST_LEVELS, _READABLE)

    def _redact_encoded(self, text: str, decoded: str, levels: int, safe: str) -> str:
        redacted = self.redact(decoded, levels)
        return text if redacted == decoded else quote(redacted, safe=safe, errors=_BYTES)


def _any_spelling(name: str) -> str:
    """Return a pattern for every spelling of a name. A name without letters and digits has only one."""
    return r"(?:_|[^\w?&;,/=:])*".join(filter(str.isalnum, name)) or re.escape(name)


def _levels(text: str) -> Iterator[str]:
    """Yield a text, and the results of percent-decoding it again and again."""
    yield text
    for _ in range(_MOST_LEVELS):
        if "%" not in text:
            return
        text = unquote(text, errors=_BYTES)
        yield text


def redact_path(path: bytes) -> str:
    """Return a target's path for people: words, and `***` for segments that may be identifiers or secrets.

    A word is short and has at most one digit. What follows it after a `?`, `;` or `&` is hidden as well.
    """
    *segments, rest = path.split(b"/", _MOST_SEGMENTS)
    return "/".join([*map(_redact_segment, segments), "..." if b"/" in rest else _redact_segment(rest)])


def _redact_segment(segment: bytes) -> str:
    text = unquote_to_bytes(segment).decode("utf-8", "replace")
    match = _WORD.fullmatch(text)
    if match is None or len(match[1]) > _LONGEST_WORD:
        return HIDDEN
    return f"{match[1]}{match[2]}{HIDDEN}" if match[2] else match[1]
