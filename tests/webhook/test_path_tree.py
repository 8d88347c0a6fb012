"""The tree of paths: whatever lies at a path is found, and nothing else, however much else there is."""

from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.redaction import SecretNames
from aurora_bridge.webhook.path_tree import PathTree
from aurora_bridge.webhook.url_template import Template

Found = list[tuple[str, tuple[str, ...]]]


def tree(*paths: str) -> PathTree[str]:
    made = PathTree[str]()
    for path in paths:
        made.add(Template(path, SecretNames(())).segments, path)
    return made


def found(made: PathTree[str], path: bytes) -> Found:
    return sorted(made.find(path))


def test_a_literal_a_pattern_and_a_placeholder_can_lie_at_one_path() -> None:
    made = tree("/a/v-1.json", "/a/v-<X>.json", "/a/<X>", "/a/<X>/c", "/b/<X>")
    assert found(made, b"/a/v-1.json") == [
        ("/a/<X>", ("v-1.json",)),
        ("/a/v-1.json", ()),
        ("/a/v-<X>.json", ("1",)),
    ]


def test_a_way_that_ends_nowhere_hides_no_other() -> None:
    made = tree("/a/b/c", "/a/<X>/d", "/<X>/b/e")
    assert found(made, b"/a/b/c") == [("/a/b/c", ())]
    assert found(made, b"/a/b/d") == [("/a/<X>/d", ("b",))]
    assert found(made, b"/a/b/e") == [("/<X>/b/e", ("a",))]
    assert found(made, b"/a/b/f") == []


def test_patterns_with_the_same_ends_are_told_apart_by_what_is_between() -> None:
    made = tree("/<A>-<B>", "/<A>.<B>")
    assert found(made, b"/1-2") == [("/<A>-<B>", ("1", "2"))]
    assert found(made, b"/1.2") == [("/<A>.<B>", ("1", "2"))]
    assert found(made, b"/1") == []


def test_paths_that_are_the_same_share_their_leaf() -> None:
    made = tree("/<A>-<B>", "/<C>-<D>")
    assert found(made, b"/1-2") == [("/<C>-<D>", ("1", "2"))]


def test_values_are_decoded_a_character_for_each_byte() -> None:
    assert found(tree("/<A>"), b"/%c3%A9\xff+") == [("/<A>", ("\xc3\xa9\xff+",))]


def test_a_path_longer_than_all_others_is_not_looked_at() -> None:
    assert found(tree("/a", "/<X>/b"), b"/" * 100_000) == []


segment = st.sampled_from(["", "a", "ab", "<X>", "a<X>", "<X>b", "<X>-<Y>"])
path = st.lists(segment, min_size=1, max_size=3).map(lambda pieces: "/" + "/".join(pieces))
request = st.lists(st.text("ab-", max_size=3), min_size=1, max_size=4).map(lambda pieces: "/" + "/".join(pieces))


@given(st.sets(path, max_size=8), request)
def test_a_tree_finds_what_each_path_finds_alone(paths: set[str], target: str) -> None:
    raw = target.encode()
    assert found(tree(*paths), raw) == sorted(one for alone in paths for one in found(tree(alone), raw))
