"""XML from outside: read with limits, declared nothing, and told in half a sentence when it cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from foveal.files.safely import Unreadable, read_all

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["BadXml", "parsed", "tree_of"]

DEPTH_MAX = 32  # the deepest of the forms that are read is five deep


class BadXml(Exception):
    """A file that cannot be used; its text completes the sentence that begins with the file's name."""


class _TooDeep(Exception):
    pass


def tree_of(path: Path, limit: int) -> Element:
    """The tree of a file of at most `limit` bytes. Raises: BadXml."""
    try:
        data = read_all(path, limit)
    except Unreadable as unreadable:
        raise BadXml(unreadable.reason) from None
    return parsed(data)


def parsed(data: bytes) -> Element:
    """The tree of a file that declares nothing and is not nested for its own sake. Raises: BadXml."""
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException, DTDForbidden

    if not data.strip():
        raise BadXml("is empty")
    if b"\0" in data[:4] or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BadXml("is UTF-16 or UTF-32; save it as UTF-8")
    try:
        return _parsed(data)
    except DTDForbidden:
        raise BadXml("has a DOCTYPE, which foveal does not read") from None
    except _TooDeep:
        raise BadXml("is too deeply nested") from None
    except (DefusedXmlException, ParseError, ValueError, LookupError):
        raise BadXml("is not a complete XML file") from None


def _parsed(data: bytes) -> Element:
    from xml.etree.ElementTree import TreeBuilder

    from defusedxml.ElementTree import XMLParser

    class Shallow(TreeBuilder):
        depth = 0

        def start(self, tag: str, attrs: dict[str, str], /) -> Element:
            self.depth += 1
            if self.depth > DEPTH_MAX:
                raise _TooDeep
            return super().start(tag, attrs)

        def end(self, tag: str, /) -> Element:
            self.depth -= 1
            return super().end(tag)

    parser = XMLParser(target=Shallow(), forbid_dtd=True)
    parser.feed(data)
    root: Element = parser.close()
    return root
