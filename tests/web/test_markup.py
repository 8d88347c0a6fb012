"""What is not markup already is escaped."""

from aurora_bridge.web.markup import Html, element, join


def test_text_and_attributes_are_escaped_and_elements_are_not_twice() -> None:
    made = element("p", "<&>", element("code", '"'), title="\"<>&'", aria_label="a", class_="b")
    assert made == (
        '<p title="&quot;&lt;&gt;&amp;&#x27;" aria-label="a" class="b">&lt;&amp;&gt;<code>&quot;</code></p>'
    )
    assert isinstance(made, Html)


def test_pieces_join_to_markup() -> None:
    assert element("p", join("<", element("a"))) == "<p>&lt;<a></a></p>"


def test_a_void_element_is_not_closed() -> None:
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'
