"""The status page: `status` as one plain HTML page, below the first line that `diagnosis` gives it.

It needs no script. Its tables are in `page_sections`. What is not markup is escaped (`markup`); how it looks, and what
its policy allows, is in `style`.
"""

from aurora_bridge.web.components import timestamp
from aurora_bridge.web.diagnosis import Line, diagnose
from aurora_bridge.web.formatting import duration
from aurora_bridge.web.markup import Html, element
from aurora_bridge.web.page_sections import sections
from aurora_bridge.web.status import Status
from aurora_bridge.web.style import STYLE

REFRESH_SECONDS = 15


def page(status: Status, *, refreshing: bool = True) -> str:
    """Return the page; `refreshing`, it reloads itself every few seconds."""
    first, *others = diagnose(status)
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        *([element("meta", http_equiv="refresh", content=str(REFRESH_SECONDS))] if refreshing else []),
        element("title", f"{first.level.value}: {first.text} - aurora-bridge"),
        element("style", Html(STYLE)),
    ]
    body = [
        _header(status, refreshing=refreshing),
        element("main", element("div", *map(_line, [first, *others])), *sections(status)),
    ]
    return "<!DOCTYPE html>\n" + element("html", element("head", *head), element("body", *body), lang="en")


def _header(status: Status, *, refreshing: bool) -> Html:
    link = element("a", "pause refresh", href="?still") if refreshing else element("a", "resume refresh", href="?")
    every = f", refreshed every {REFRESH_SECONDS} s: " if refreshing else ", refresh paused: "
    return element(
        "header",
        element("h1", f"aurora-bridge {status.version}"),
        element("p", "As of ", timestamp(status.now), every, link, f". Up {duration(status.now - status.started)}."),
    )


def _line(line: Line) -> Html:
    text = element("p", element("span", f"{line.level.value}:", class_="level"), " ", element("strong", line.text, "."))
    remedy = [element("p", line.remedy)] if line.remedy else []
    return element("div", text, *remedy, class_=f"line {line.level.name.lower()}")
