"""HTML read strictly: every tag is closed where it belongs, and known."""

from html.parser import HTMLParser
from typing import Final

VOID: Final = frozenset({"meta"})
KNOWN: Final = VOID | {
    *("html", "head", "title", "style", "body", "header", "main", "section", "div", "h1", "h2", "p", "span", "a"),
    *("strong", "time", "code", "dl", "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th", "td"),
    *("details", "summary"),
}


class Page(HTMLParser):
    """A page that was read. Raises `ValueError` for what is not well-formed, or not of the tags a plain page needs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        if not text.startswith("<!DOCTYPE html>"):
            message = "no doctype"
            raise ValueError(message)
        self.feed(text)
        self.close()
        if self._open:
            message = f"not closed: {self._open}"
            raise ValueError(message)

    @property
    def text(self) -> str:
        """What a person reads, the pieces with a blank between, without the style sheet."""
        return " ".join(" ".join(self.texts).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element with this tag."""
        return [attributes for name, attributes in self.elements if name == tag]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag not in KNOWN or len(attributes) != len(attrs) or None in attributes.values():
            message = f"not a tag to expect: {tag} {attrs}"
            raise ValueError(message)
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        message = f"<{tag}/> is no HTML: {attrs}"
        raise ValueError(message)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            message = f"</{tag}> closes nothing"
            raise ValueError(message)

    def handle_data(self, data: str) -> None:
        if not self._open and data.strip():
            message = f"outside of everything: {data}"
            raise ValueError(message)
        if self._open and self._open[-1] != "style":
            self.texts.append(data)
