"""HTML as readable text: what a person would see, with links in Markdown.

Not the standard library's parser: on a page that was made for it, that one takes time with the square of the size. Here
every construct ends where the HTML standard ends it, or with the page, so each character is looked at once or twice.
"""

import html
import re
from collections.abc import Iterator
from typing import Literal
from urllib.parse import urljoin

from msgspec import Struct

# What is between their tags is not for the eye; of the first ones it is not even markup.
_RAW = frozenset({"script", "style", "title", "textarea", "noscript", "iframe", "xmp", "noframes"})
_UNSEEN = frozenset({"template", "svg", "object", "select", "canvas", "math"})
_BLOCKS = frozenset(
    "address article aside blockquote body br dd div dl dt fieldset figcaption figure footer form "  # noqa: SIM905
    "h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section table tr ul".split()
)
_BEFORE = {f"h{level}": "#" * level + " " for level in range(1, 7)} | {"li": "- "}
_TAG_BYTES_READ = 4_096
_LINK_CHARS_MAX = 500

_TAG_NAME = re.compile(r"</?([a-zA-Z][^\s/>]{0,30})")
_TAG_END = re.compile(r"=\s*([\"'])|>")
_SPACE = re.compile(r"\s+")
_ATTRIBUTES = {
    name: re.compile(rf"\s{name}\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>\"']+))", re.IGNORECASE)
    for name in ("href", "alt")
}


class _Piece(Struct):
    """`name` of a tag in lower case; `source` is the tag, or the text with its entities."""

    kind: Literal["text", "open", "close", "raw"]
    name: str
    source: str


def text_of(page: str, base: str) -> str:
    """The text of a page that lies at the URL `base`, headed by its title."""
    writer = _Writer(base)
    for piece in _pieces(page):
        writer.take(piece)
    return writer.text()


def _pieces(page: str) -> Iterator[_Piece]:
    at = 0
    while at < len(page):
        if page[at] != "<" or (end := _markup_end(page, at)) == at:
            following = page.find("<", at + 1)
            end = len(page) if following < 0 else following
            yield _Piece("text", "", page[at:end])
        elif (name := _TAG_NAME.match(page, at)) is not None:
            tag = name[1].lower()
            closing = page[at + 1] == "/"
            yield _Piece("close" if closing else "open", tag, page[at : min(end, at + _TAG_BYTES_READ)])
            if tag in _RAW and not closing:
                found = re.compile(rf"</{tag}(?=[\s/>])", re.IGNORECASE).search(page, end)
                raw_end = len(page) if found is None else found.start()
                yield _Piece("raw", tag, page[end:raw_end])
                end = raw_end
        at = end


def _markup_end(page: str, at: int) -> int:
    """Where the markup that begins at `at` ends; `at` where there is none. What is never closed takes the rest."""
    if page.startswith("<!--", at):
        found = page.find("-->", at + 4)
        return len(page) if found < 0 else found + 3
    if page.startswith(("<!", "<?"), at) or (page.startswith("</", at) and not _TAG_NAME.match(page, at)):
        found = page.find(">", at)
        return len(page) if found < 0 else found + 1
    if not _TAG_NAME.match(page, at):
        return at
    look = at
    while (found := _TAG_END.search(page, look)) is not None:
        if found[1] is None:
            return found.end()
        look = page.find(found[1], found.end()) + 1
        if look == 0:
            break
    return len(page)


class _Writer:
    def __init__(self, base: str) -> None:
        self._base = base
        self._parts: list[str] = []
        self._title = ""
        self._unseen: list[str] = []
        self._link = ""
        self._preformatted = 0

    def take(self, piece: _Piece) -> None:
        if piece.kind == "raw":
            if piece.name == "title" and not self._title:
                self._title = " ".join(_unescaped(piece.source).split())
        elif self._unseen:
            self._pass_by(piece)
        elif piece.kind == "text":
            content = _unescaped(piece.source)
            self._parts.append(content if self._preformatted else _SPACE.sub(" ", content))
        elif piece.kind == "open":
            self._open(piece)
        else:
            self._close(piece.name)

    def text(self) -> str:
        self._close("a")
        lines = [line.rstrip() if line.startswith("    ") else line.strip() for line in self._lines()]
        body = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
        return f"{self._title}\n\n{body}".strip("\n")

    def _lines(self) -> list[str]:
        return "".join(self._parts).split("\n")

    def _pass_by(self, piece: _Piece) -> None:
        if piece.name == self._unseen[0] and not piece.source.endswith("/>"):
            if piece.kind == "open":
                self._unseen.append(piece.name)
            else:
                self._unseen.pop()

    def _open(self, piece: _Piece) -> None:
        tag = piece.name
        if tag in _UNSEEN and not piece.source.endswith("/>"):
            self._unseen.append(tag)
        elif tag in _BLOCKS:
            self._parts.append("\n" + _BEFORE.get(tag, ""))
            self._preformatted += tag == "pre"
        elif tag in ("td", "th"):
            self._parts.append(" | ")
        elif tag == "a":
            self._close("a")
            self._open_link(_attribute("href", piece.source))
        elif tag == "img" and (alternative := _attribute("alt", piece.source)):
            self._parts.append(f"[image: {alternative}]")

    def _close(self, tag: str) -> None:
        if tag == "a" and self._link:
            self._parts.append(f"]({self._link})")
            self._link = ""
        elif tag in _BLOCKS:
            self._parts.append("\n")
            self._preformatted = max(0, self._preformatted - (tag == "pre"))

    def _open_link(self, target: str) -> None:
        try:
            link = _SPACE.sub("", urljoin(self._base, target.strip()))
        except ValueError:
            return
        web = link.startswith(("http://", "https://")) and len(link) <= _LINK_CHARS_MAX
        if target and not target.startswith("#") and web:
            self._link = link.replace("(", "%28").replace(")", "%29")
            self._parts.append("[")


def _attribute(name: str, source: str) -> str:
    found = _ATTRIBUTES[name].search(source)
    return "" if found is None else _unescaped(found[1] or found[2] or found[3] or "")


def _unescaped(source: str) -> str:
    try:
        return html.unescape(source)
    except ValueError:  # a character's number with thousands of digits
        return source
