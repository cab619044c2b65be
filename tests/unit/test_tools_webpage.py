"""HTML as text: what a reader would see, from any page, also one that was made to hurt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tools.webpage import text_of

BASE = "https://example.org/docs/"


def test_a_page_is_title_headings_paragraphs_lists_and_links() -> None:
    page = """<!doctype html><html><head><title> The &amp; page </title><style>p > a {}</style>
    <script>if (a < b) document.write("</p><p>no");</script></head><body>
    <!-- <p>not this</p> --><h1>Head<em>ing</em></h1><p>Some   text,
    and <a href="next?a=1&amp;b=2">a <b>link</b></a>.<br>New line</p>
    <ul><li>one</li><li>two<li>three</ul><table><tr><td>a<td>b</tr></table>
    <pre>  kept
    as is</pre><img alt="A cat" src=x><svg><text>no</text></svg><noscript><p>no</p></noscript>
    <a href="javascript:alert(1)">plain</a> <a href="#here">here</a> 1 < 2 &copy; &#20013;</body></html>"""
    assert text_of(page, BASE).split("\n") == [
        "The & page",
        "",
        "# Heading",
        "",
        "Some text, and [a link](https://example.org/docs/next?a=1&b=2).",
        "New line",
        "",
        "- one",
        "",
        "- two",
        "- three",
        "",
        "| a | b",
        "",
        "kept",
        "    as is",
        "[image: A cat] plain here 1 < 2 © 中",
    ]


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("", ""),
        ("just text", "just text"),
        ("<p>open <b", "open"),
        ("a<!-- never closed <p>b", "a"),
        ("a<script>b", "a"),
        ("<p title='a > b'>shown", "shown"),
        ("<p it's>shown</p>", "shown"),
        ("<P>up</P><SCRIPT>x</Script >per", "up\nper"),
        ("a</>b<?php echo ?>c", "abc"),
        ("&#" + "9" * 5_000 + ";", "&#" + "9" * 5_000 + ";"),
        (
            '<a href="x">one<a href="y">two',
            "[one](https://example.org/docs/x)[two](https://example.org/docs/y)",
        ),
        ('<a href="http://[bad">x</a>', "x"),
    ],
)
def test_pages_that_are_not_well_formed(page: str, shown: str) -> None:
    assert text_of(page, BASE) == shown


@given(
    st.text(alphabet="<>/!-ab =\"'&#;[?\n\t")
    | st.lists(
        st.sampled_from(
            [
                "<",
                ">",
                "<!--",
                "-->",
                "<a href=",
                '"',
                "'",
                "</",
                "<script>",
                "</script>",
                "<p>",
                "<svg>",
                "</svg>",
                "x",
                "<![",
                "&#",
            ]
        )
    ).map("".join)
)
def test_no_page_breaks_it(page: str) -> None:
    assert isinstance(text_of(page, BASE), str)


@pytest.mark.parametrize(
    "unit", ["<", "<a", "<a ", "<!--", "<a b='", '<a href="', "</", "<title>", "<![CDATA[", "<p>", "&"]
)
def test_a_page_that_was_made_to_take_long_does_not(unit: str) -> None:
    """A parser that takes time with the square of the size takes hours for these, and so the test's time-out."""
    text_of(unit * (1024 * 1024 // len(unit)), BASE)
