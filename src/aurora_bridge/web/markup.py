"""HTML without a template engine: what is not markup already is escaped, so that nothing can be forgotten.

`components` makes the parts of the status page of it.
"""

from html import escape

_VOID = frozenset({"meta"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, /, *content: str, **attributes: str) -> Html:
    """Return an element around its content. `class_` is `class`, `aria_label` is `aria-label`."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    if tag in _VOID:
        return Html(f"<{tag}{given}>")
    return Html(f"<{tag}{given}>{join(*content)}</{tag}>")


def join(*content: str) -> Html:
    """Return several pieces as one."""
    return Html("".join(piece if isinstance(piece, Html) else escape(piece) for piece in content))
