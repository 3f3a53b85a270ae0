"""Pages of every kind of block, of tasks that foveal has never heard of, and of names that mean harm."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from types import ModuleType

import pytest
from reading import HOSTILE, Reader

from foveal.pages import page as kinds
from foveal.pages.page import (
    Alarm,
    Answer,
    Block,
    Card,
    Cell,
    Columns,
    Details,
    Fact,
    Facts,
    Heading,
    Page,
    Paragraph,
    Picture,
    Pictures,
    Ready,
    Section,
    Sheet,
    Table,
    marked,
)  # fmt: skip
from foveal.pages.render import page_file, render
from foveal.report import PAGES
from foveal.report.finished import FinishedRun, write_report

PIXEL = "data:image/png;base64,AAAA"


def every_kind(words: str) -> list[Block]:
    """A block of each kind that says `words` wherever it can."""
    chart = kinds.Chart(words, marked("<svg></svg>"), words)
    return [
        Paragraph(words), Heading(words), chart, Alarm([words], words), Facts([Fact(words, words, words)]),
        Columns([chart, [Heading(words), Paragraph(words)]]),
        Card([Table([(words, words)], (words,), look="list"), Table([(words, words)], look="terms")], words),
        Table([(words, Cell(words, 0.5, 0.5))], (words, words), "sortable", about=words),
        Pictures([Picture(PIXEL, words), Picture("", marked("<b>{}</b>", words))]),
        Pictures([Picture(PIXEL, marked("<b>{}</b>", words), sharp=True)], small=True),
        Sheet(PIXEL, words, width=100), Details(words, [(words, [(words, words)])]), Ready(marked("<i>{}</i>", words)),
    ]  # fmt: skip


def everything(words: str) -> Page:
    answer = Answer(words, words, words, kinds.Chart(words, marked("<svg></svg>")))
    facts = [Fact(words, words)]
    return Page(words, words, words, [Section(words, every_kind(words), words)], answer, words, [words], facts, words)


def test_every_kind_has_a_macro_and_no_macro_is_without_a_kind() -> None:
    named = {cls.__name__.lower() for cls in vars(kinds).values() if isinstance(cls, type) and issubclass(cls, Block)}
    assert {block.kind for block in everything("x").blocks()} == named - {"block"}
    macros = set(re.findall(r"macro (\w+)\(block\)", page_file("kinds.html.jinja")))
    assert macros == named - {"block"}


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_a_text_holds_comes_out_as_text(name: str) -> None:
    html, calm = render(everything(name)), Reader(render(everything("calm")))
    reader = Reader(html)
    assert reader.open == []
    assert [tag for tag, _ in reader.tags] == [tag for tag, _ in calm.tags]
    assert not set(html) & {"\x1b", "\u202e", "\x00", "\ufffe"}
    html.encode("utf-8")


def test_the_script_is_there_for_tables_that_sort_and_the_policy_knows_it_alone() -> None:
    sortable = render(everything("x"))
    (script,) = re.findall(r"<script>(.*?)</script>", sortable, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in sortable
    plain = render(Page("x", "x", "x", [Section("x", [Paragraph("x")])]))
    assert "script" not in plain
    assert "default-src 'none'" in plain


def test_a_blocks_class_that_no_macro_draws_is_told() -> None:
    class Unheard(Block):
        pass

    with pytest.raises(AttributeError, match="unheard"):
        render(Page("x", "x", "x", [Section("x", [Unheard()])]))


def test_a_new_task_is_one_module_and_one_line(tmp_path, monkeypatch) -> None:
    def counting_page(run: FinishedRun) -> Page:
        pictures = Section("What was counted", [Pictures([Picture(PIXEL, f"{n} sheep") for n in run.answers])])
        return Page(run.name, "counting", "sheep", [pictures], Answer(f"{run.scores} right", f"of {run.on}"))

    module = ModuleType("toy_counting_page")
    module.page = counting_page
    monkeypatch.setitem(sys.modules, "toy_counting_page", module)
    monkeypatch.setitem(PAGES, "count", "toy_counting_page")
    run = FinishedRun("flock-1", None, None, None, "test", [3, 5], 2, {}, ["Look twice."], 0)
    write_report(run, "count", tmp_path / "report.html")
    reader = Reader((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert reader.open == []
    for words in ("flock-1", "counting", "2 right", "of test", "What was counted", "3 sheep", "5 sheep"):
        assert words in reader.text
    assert [image["alt"] for image in reader.of("img")] == ["3 sheep", "5 sheep"]
