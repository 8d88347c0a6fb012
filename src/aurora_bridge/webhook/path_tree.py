"""Finds what lies at a path, however many paths there are: a tree of their segments.

A literal segment is looked up, and so are patterns, by what stands before and behind their placeholders. `routes` keeps
the routes that were written by URL template in one.
"""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

from aurora_bridge.webhook.template import Pattern, Segment

Leaf = TypeVar("Leaf")


class _Node(Generic[Leaf]):
    __slots__ = ("leaf", "literals", "patterns", "wildcard")

    def __init__(self) -> None:
        self.leaf: Leaf | None = None
        self.literals: dict[bytes, _Node[Leaf]] = {}
        self.wildcard: _Node[Leaf] | None = None
        self.patterns: dict[tuple[int, int], dict[tuple[str, str], list[tuple[Pattern, _Node[Leaf]]]]] = {}
        """By the lengths of what stands before and behind, then by these themselves."""

    def child(self, segment: Segment) -> "_Node[Leaf]":
        """Return the node below, made if it is missing."""
        if isinstance(segment, bytes):
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

    def below(self, piece: bytes) -> Iterator[tuple["_Node[Leaf]", tuple[str, ...]]]:
        """Yield the nodes that a segment of a path leads to, each with what its placeholders carry, undecoded."""
        literal = self.literals.get(unquote_to_bytes(piece) if b"%" in piece else piece)
        if literal is not None:
            yield literal, ()
        if self.wildcard is None and not self.patterns:
            return
        text = piece.decode("latin-1")
        for (before, behind), groups in self.patterns.items():
            for pattern, node in groups.get((text[:before], text[len(text) - behind :]), ()):
                found = pattern.regex.fullmatch(text)
                if found is not None:
                    yield node, found.groups()
        if self.wildcard is not None:
            yield self.wildcard, (text,)


class PathTree(Generic[Leaf]):
    """Leaves by the path that leads to them."""

    def __init__(self) -> None:
        self._root = _Node[Leaf]()

    def add(self, segments: Sequence[Segment], leaf: Leaf) -> None:
        """Put a leaf at the end of a path."""
        node = self._root
        for segment in segments:
            node = node.child(segment)
        node.leaf = leaf

    def find(self, path: bytes) -> Iterator[tuple[Leaf, tuple[str, ...]]]:
        """Yield the leaf of every path that is this one, each with what its placeholders carry, undecoded.

        A slash at the end may be there or not.
        """
        pieces = path.split(b"/")[1:]
        yield from _walk(self._root, pieces, ())
        if len(pieces) > 1 and not pieces[-1]:
            yield from _walk(self._root, pieces[:-1], ())


def _walk(
    node: _Node[Leaf], pieces: Sequence[bytes], carried: tuple[str, ...]
) -> Iterator[tuple[Leaf, tuple[str, ...]]]:
    if not pieces:
        if node.leaf is not None:
            yield node.leaf, carried
        return
    for child, found in node.below(pieces[0]):
        yield from _walk(child, pieces[1:], carried + found)
