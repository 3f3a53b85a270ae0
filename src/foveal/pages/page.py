"""What a page says, as one value: an answer, then sections, each made of blocks of the kinds below.

`render` knows how to draw each kind: `kinds.html.jinja` has a macro of its name. Texts may hold anything, they are
escaped where they are drawn; what is markup already is a `Markup`, made with `marked`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from foveal.errors import shown
from foveal.pages.words import THIN

__all__ = [
    "Alarm", "Answer", "Block", "Card", "Cell", "Chart", "Columns", "Details", "Fact", "Facts", "Heading", "Page",
    "Paragraph", "Picture", "Pictures", "Ready", "Section", "Sheet", "Table", "marked", "safe",
]  # fmt: skip

OFFLINE = "One file, nothing loaded from elsewhere."


def safe(text: str) -> str:
    """A text whose control characters and the like are spelt out; narrow spaces stay what they are."""
    return text if text.isprintable() else THIN.join(shown(part) for part in text.split(THIN))


def marked(template: str, *texts: object, **named: object) -> Markup:
    """Markup of our own with texts in it, which stay texts.

    >>> marked("<b>{}</b>", "a < b")
    Markup('<b>a &lt; b</b>')
    """
    return Markup(template).format(*map(_text, texts), **{key: _text(value) for key, value in named.items()})


def _text(value: object) -> object:
    return safe(value) if type(value) is str else value


@dataclass(frozen=True)
class Block:
    """A part of a section. Its kind is the name of the macro that draws it."""

    @property
    def kind(self) -> str:
        """The name of the class, in small letters."""
        return type(self).__name__.lower()

    def inside(self) -> Sequence[Block]:
        """The blocks that this one is made of."""
        return ()


@dataclass(frozen=True)
class Paragraph(Block):
    """Some sentences."""

    words: str


@dataclass(frozen=True)
class Heading(Block):
    """The title of a part of a section."""

    words: str


@dataclass(frozen=True)
class Chart(Block):
    """A figure ready for the page: its message apart, as text that can wrap and be read aloud."""

    title: str
    svg: Markup
    note: str = ""


@dataclass(frozen=True)
class Columns(Block):
    """Blocks side by side where there is room; a column of several blocks is a tuple."""

    columns: Sequence[Block | Sequence[Block]]

    def inside(self) -> Sequence[Block]:
        """All blocks, column after column."""
        return [block for column in self.columns for block in ((column,) if isinstance(column, Block) else column)]


@dataclass(frozen=True)
class Card(Block):
    """Blocks in a frame."""

    blocks: Sequence[Block]
    title: str = ""

    def inside(self) -> Sequence[Block]:
        """What stands in the frame."""
        return self.blocks


@dataclass(frozen=True)
class Cell:
    """A cell of a table that is sorted by `value`, and may have a bar below its words."""

    words: str
    value: float | None = None
    share: float | None = None  # of the cell's width


@dataclass(frozen=True)
class Table(Block):
    """Rows of texts or cells.

    look: "list", names on the left and values on the right; "terms", both on the left; "figures", numbers in columns;
    "sortable", the same with heads that sort it.
    """

    rows: Sequence[Sequence[str | Cell]]
    head: Sequence[str] = ()
    look: Literal["list", "terms", "figures", "sortable"] = "list"
    about: str = ""  # what a long table that scrolls is called aloud

    def cells(self) -> list[list[Cell]]:
        """The rows with every text as a cell."""
        return [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in self.rows]


@dataclass(frozen=True)
class Picture:
    """A picture and what is said of it."""

    uri: str  # a data address; "" where there is no picture to show
    words: str
    alt: str = ""  # the same for those who can't see it; `words` where nothing else is said
    sharp: bool = False  # pixels are seen as squares


@dataclass(frozen=True)
class Pictures(Block):
    """Pictures side by side; as small framed cards where they are many."""

    pictures: Sequence[Picture]
    small: bool = False


@dataclass(frozen=True)
class Sheet(Block):
    """One picture in a frame, as wide as the page or at most `width` pixels."""

    uri: str
    alt: str
    sharp: bool = False
    width: int | None = None


@dataclass(frozen=True)
class Fact:
    """A figure with its name."""

    term: str
    value: str
    more: str = ""


@dataclass(frozen=True)
class Facts(Block):
    """Figures side by side."""

    facts: Sequence[Fact]


@dataclass(frozen=True)
class Alarm(Block):
    """Sentences that nobody may overlook."""

    sentences: Sequence[str]
    title: str = ""


@dataclass(frozen=True)
class Details(Block):
    """Settings in groups, folded away under a summary."""

    summary: str
    groups: Sequence[tuple[str, Sequence[tuple[str, str]]]]  # (name, [(key, value)])


@dataclass(frozen=True)
class Ready(Block):
    """Markup for what no kind fits, from a macro of `special.html.jinja`."""

    markup: Markup


@dataclass(frozen=True)
class Section:
    """A chapter of the page."""

    title: str
    blocks: Sequence[Block]
    lead: str = ""


@dataclass(frozen=True)
class Answer:
    """What stands at the top, in large letters."""

    lead: str
    more: str = ""
    figure: str = ""
    chart: Chart | None = None


@dataclass(frozen=True)
class Page:
    """All that a page says, from top to bottom."""

    name: str  # of what it is about: a run, a network, a data set
    about: str  # stands after the name
    title: str  # of the window, after the name
    sections: Sequence[Section]
    answer: Answer | None = None
    reason: str = ""  # a sentence below the answer
    warnings: Sequence[str] = ()  # sentences that take something away from the answer: it is marked
    facts: Sequence[Fact] = ()
    description: str = ""
    footer: str = OFFLINE
    broad: bool = False  # uses more of a wide screen

    def blocks(self) -> Iterator[Block]:
        """Every block, those within others as well."""
        waiting = [block for section in self.sections for block in section.blocks][::-1]
        while waiting:
            block = waiting.pop()
            yield block
            waiting += reversed(block.inside())

    @property
    def script(self) -> bool:
        """Whether something on the page needs the script: a table that can be sorted."""
        return any(isinstance(block, Table) and block.look == "sortable" for block in self.blocks())
