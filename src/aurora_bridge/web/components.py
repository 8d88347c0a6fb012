"""What the sections of the status page are made of: facts, tables and their cells, times."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from aurora_bridge.web.formatting import duration, moment
from aurora_bridge.web.markup import Html, element, join

_LONGEST_NAME = 60


def section(title: str, *content: Html) -> Html:
    """Return a section with its heading."""
    return element("section", element("h2", title), *content)


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """Return a list of names with their values."""
    return element("dl", *(join(element("dt", name), element("dd", value)) for name, value in pairs))


def table(caption: str, columns: Iterable[str], rows: Iterable[Sequence[Html]]) -> Html:
    """Return a table; `#` before a column's name says that numbers stand below it."""
    heads = [
        element("th", column.removeprefix("#"), scope="col", **({"class_": "number"} if column[0] == "#" else {}))
        for column in columns
    ]
    whole = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *heads)),
        element("tbody", *(element("tr", *row) for row in rows)),
    )
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def key(text: str) -> Html:
    """Return the cell that a row is about."""
    return element("th", text, scope="row")


def cell(content: str, **attributes: str) -> Html:
    """Return any other cell."""
    return element("td", content, **attributes)


def number(count: int) -> Html:
    """Return a cell with a count."""
    return cell(f"{count:,}", class_="number")


def timestamp(time: float) -> Html:
    """Return a time for people, with one for machines behind it."""
    return element("time", moment(time), datetime=_iso(time))


def ago(time: float, now: float) -> Html:
    """Return how long ago a time was; pointing at it shows the time itself."""
    if not time:
        return join("-")
    absolute = _iso(time)
    return element("time", f"{duration(now - time)} ago", datetime=absolute, title=absolute)


def _iso(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%dT%H:%M:%SZ}"


def shortened(text: str) -> str:
    """Return a name, cut where it would make its table wide."""
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}..."
