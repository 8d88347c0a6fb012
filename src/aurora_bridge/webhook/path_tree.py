"""A tree of path segments, which finds what is at a path quickly, however many paths there are.

Literal segments are looked up as they are, patterns by the text before and after their placeholders. Segments are
compared decoded, so that no other spelling of a path bypasses a route. `routes` keeps its URL templates in one.
"""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from aurora_bridge.webhook.decoding import decode_segment
from aurora_bridge.webhook.segment_pattern import Pattern, Segment

Leaf = TypeVar("Leaf")


class _Node(Generic[Leaf]):
    __slots__ = ("leaf", "literals", "patterns", "wildcard")

    def __init__(self) -> None:
        self.leaf: Leaf | None = None
        self.literals: dict[str, _Node[Leaf]] = {}
        self.wildcard: _Node[Leaf] | None = None
        self.patterns: dict[tuple[int, int], dict[tuple[str, str], list[tuple[Pattern, _Node[Leaf]]]]] = {}
        """By the lengths of the text before and after the placeholders, then by that text."""

    def child(self, segment: Segment) -> "_Node[Leaf]":
        """Return the child node for a segment, created if missing."""
        if isinstance(segment, str):
            return self.literals.setdefault(segment, _Node())
        if segment.whole:
            self.wildcard = self.wildcard or _Node()
            return self.wildcard
        before, behind = segment.literals[0], segment.literals[-1]
        group = self.patterns.setdefault((len(before), len(behind)), {}).setdefault((before, behind), [])
        for known, node in group:
            if known.literals == segment.literals:
                return node
        node = _Node[Leaf]()
        group.append((segment, node))
        return node

    def below(self, text: str) -> Iterator[tuple["_Node[Leaf]", tuple[str, ...]]]:
        """Yield the child nodes that match a decoded segment, each with the values of its placeholders."""
        literal = self.literals.get(text)
        if literal is not None:
            yield literal, ()
        for (before, behind), groups in self.patterns.items():
            for pattern, node in groups.get((text[:before], text[len(text) - behind :]), ()):
                parts = pattern.parts(text)
                if parts is not None:
                    yield node, parts
        if self.wildcard is not None:
            yield self.wildcard, (text,)


class PathTree(Generic[Leaf]):
    """Leaves by path."""

    def __init__(self) -> None:
        self._root = _Node[Leaf]()
        self._lengths: set[int] = set()

    def add(self, segments: Sequence[Segment], leaf: Leaf) -> None:
        """Put a leaf at a path."""
        self._lengths.add(len(segments))
        node = self._root
        for segment in segments:
            node = node.child(segment)
        node.leaf = leaf

    def find(self, path: bytes) -> Iterator[tuple[Leaf, tuple[str, ...]]]:
        """Yield the leaf of every path that matches, each with its placeholders' values, decoded like a `Segment`."""
        if path.count(b"/") in self._lengths:  # a path of any other length is not even split
            yield from _walk(self._root, [decode_segment(piece) for piece in path.split(b"/")[1:]], ())


def _walk(node: _Node[Leaf], pieces: Sequence[str], carried: tuple[str, ...]) -> Iterator[tuple[Leaf, tuple[str, ...]]]:
    if not pieces:
        if node.leaf is not None:
            yield node.leaf, carried
        return
    for child, found in node.below(pieces[0]):
        yield from _walk(child, pieces[1:], carried + found)
