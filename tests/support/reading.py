"""A page as a reader gets it: its text, its tags, and whether every tag is closed."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "img", "br"}
HOSTILE = (
    "<script>alert(1)</script>",
    "a\"b'c & <b>d</b>",
    "\x1b[31mred",
    "\u202egnp.exe",
    "=cmd()",
    "$\\frac{x$",
    "{{ 7 * 7 }}",
    "{} {name} %s",
    "line\nbreak\x00\ufffe",
    "\udcff\udcfe",
    "猫 और 🐈",
    "]]>--></style>",
    "#1d6fb0 url(#x)",
)


class Reader(HTMLParser):
    """Text, images and balance of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text, self.tags = "", []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def of(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]
