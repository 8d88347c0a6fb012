"""HTML without a template engine: everything but `Html` is escaped, so that nothing can be forgotten."""

from html import escape

_VOID = frozenset({"meta"})


class Html(str):
    """Text that is already HTML."""

    __slots__ = ()


def element(tag: str, /, *content: str, **attributes: str) -> Html:
    """Return an element with its content. `class_` becomes `class`, `aria_label` becomes `aria-label`."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    if tag in _VOID:
        return Html(f"<{tag}{given}>")
    return Html(f"<{tag}{given}>{join(*content)}</{tag}>")


def join(*content: str) -> Html:
    """Return the pieces as one, those that are not `Html` escaped."""
    return Html("".join(piece if isinstance(piece, Html) else escape(piece) for piece in content))
