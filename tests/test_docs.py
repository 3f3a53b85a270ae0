"""The README, CONTRIBUTING and the docs are true: their examples run, and print what the page says they print.

On a page, from top to bottom, in one empty folder and one namespace:

    ```python      runs; `>>>` examples run as doctests; a ```text block right after it is what it printed
    ```console     `$ foveal …` lines run, the lines below each are what came out; `...` or `…` stands for anything
    <!-- setup     Python that runs unseen (makes a folder of pictures, say), up to `-->`
    <!-- not executed: REASON -->     the next block only shows something
    <!-- needs: mnist -->             the rest of the page needs that folder below $FOVEAL_DATA
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("README.md"), *ROOT.glob("CONTRIBUTING.md"), *sorted((ROOT / "docs").rglob("*.md"))]
PART = re.compile(
    r"^```(?P<kind>[\w-]*)[^\n]*\n(?P<body>.*?)^```[ \t]*$|^<!-- (?P<note>setup|not executed:|needs:)(?P<text>.*?)-->",
    re.MULTILINE | re.DOTALL,
)
SHOWN_ONLY = {"make", "pip", "uv", "git", "cd", "python"}  # commands a page may show that are not run here


@dataclass(frozen=True)
class Block:
    """One thing of a page that is run or compared."""

    kind: str  # "python", "console", "text", "setup", "needs", …
    body: str
    line: int


def blocks(text: str) -> Iterator[Block]:
    """What a page holds, in order; a block behind `not executed:` is left out."""
    skip = False
    for match in PART.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if match["note"] == "not executed:":
            assert match["text"].strip(), f"line {line}: say why the block is not executed"
            skip = True
        elif match["note"]:
            yield Block(match["note"].rstrip(":"), match["text"].strip("\n"), line)
        else:
            if not skip:
                yield Block(match["kind"], match["body"], line)
            skip = False


def agrees(expected: str, got: str) -> bool:
    """Whether the output is what the page says, where `...` and `…` stand for anything and blanks don't count.

    >>> agrees("test  99.…", "test 99.17 % of 360"), agrees("a", "b")
    (True, False)
    """
    parts = re.split(r"\.\.\.|…", " ".join(expected.split()))
    pattern = ".*".join(re.escape(part.strip()).replace(r"\ ", r"\s+") for part in parts)
    return re.fullmatch(pattern.replace(".*", r".*?"), " ".join(got.split()), re.DOTALL) is not None


def commands(body: str) -> Iterator[tuple[str, str]]:
    """(command, what the page says it prints) of a console block."""
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, _, expected = part.replace("\\\n", " ").partition("\n")
        yield command, expected


class Page:
    """A page under way: its folder, its namespace, and what was printed last."""

    def __init__(self, folder: Path, foveal: Callable[..., Any], real_data: Callable[[str], Path]) -> None:
        self.folder, self.foveal, self.real_data = folder, foveal, real_data
        self.names: dict[str, Any] = {"__name__": "__page__"}
        self.printed: str | None = None

    def run(self, block: Block) -> None:
        before, self.printed = self.printed, None
        if block.kind == "needs":
            self.real_data(block.body.strip())
        elif block.kind in ("python", "setup"):
            self.printed = self._python(block)
        elif block.kind == "console":
            self._console(block)
        elif block.kind == "text" and before is not None:
            assert agrees(block.body, before), (
                f"line {block.line}: the page says\n{block.body}\nbut it printed\n{before}"
            )

    def _python(self, block: Block) -> str:
        out = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(out):
            if block.body.lstrip().startswith(">>>"):
                test = doctest.DocTestParser().get_doctest(block.body, self.names, "page", None, block.line)
                failed = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, clear_globs=False).failed
                self.names.update(test.globs)
                assert not failed, out.getvalue()
            else:
                exec(compile("\n" * block.line + block.body, "page", "exec"), self.names)
        return out.getvalue()

    def _console(self, block: Block) -> None:
        for command, expected in commands(block.body):
            words = shlex.split(command, comments=True)
            if words[0] in SHOWN_ONLY:
                continue
            assert words[0] == "foveal", f"line {block.line}: this test does not know how to run {words[0]}"
            done = self.foveal(*words[1:], cwd=self.folder)
            seen = (done.stdout, done.stderr, done.stderr + done.stdout)
            assert "Traceback" not in done.stderr
            assert any(agrees(expected, text) for text in seen) or (not expected.strip() and done.exit_code == 0), (
                f"line {block.line}: $ {command}\n{done.stderr}{done.stdout}(exit code {done.exit_code})\n"
                f"but the page says\n{expected}"
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_the_page_run_and_print_what_it_says(page, tmp_path, foveal, real_data):
    under_way = Page(tmp_path, foveal, real_data)
    for block in blocks(page.read_text(encoding="utf-8")):
        try:
            under_way.run(block)
        except Exception as error:
            error.add_note(f"{page.relative_to(ROOT)}, line {block.line}")
            raise


def headings(page: Path) -> set[str]:
    """The anchors of a page, as Markdown's readers make them."""
    words = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one_and_to_a_heading_that_is_there(page):
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for file, heading in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", prose):
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), file
        assert not heading or heading in headings(target), heading


def test_the_page_of_the_recipe_lists_every_key_and_no_other():
    """Each in its section's table, with the flag that is short for it."""
    from foveal.cli._flags import FLAGS
    from foveal.recipe import Recipe

    page = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    told: dict[str, str] = {}
    for part in re.split(r"^## ", page, flags=re.MULTILINE):
        if section := re.match(r"`\[(\w+)\]`", part):
            for cells in re.findall(r"^\| (`.*?) \|(.*)", part, flags=re.MULTILINE):
                told |= {f"{section[1]}.{key}": cells[1] for key in re.findall(r"`(\w+)`", cells[0])}
    assert set(told) == {f"{section}.{key}" for section, keys in Recipe().model_dump().items() for key in keys}
    for flag, short in FLAGS.items():
        assert f"`{flag}`" in told[short.key], f"{flag} is short for {short.key}, and its row does not say so"


@pytest.mark.parametrize(("told", "right"), [("21", True), ("2…", True), ("22", False)])
def test_a_page_that_tells_the_wrong_output_is_found(tmp_path, foveal, real_data, told, right):
    under_way = Page(tmp_path, foveal, real_data)
    example, output = blocks(f"```python\nx = 20\nprint(x + 1)\n```\n```text\n{told}\n```\n")
    under_way.run(example)
    if right:
        under_way.run(output)
    else:
        with pytest.raises(AssertionError, match="line 5"):
            under_way.run(output)


def test_a_command_of_a_page_is_run_and_its_output_compared(tmp_path, foveal, real_data):
    under_way = Page(tmp_path, foveal, real_data)
    shown_only = "<!-- not executed: it does not exist -->\n```console\n$ foveal nonsense\n```\n"
    (block,) = blocks(shown_only + "```console\n$ foveal --version\nfoveal …\n```\n")
    under_way.run(block)
    (wrong,) = blocks("```console\n$ foveal --version\ngoveal 1\n```\n")
    with pytest.raises(AssertionError, match="goveal"):
        under_way.run(wrong)


def test_output_is_compared_loosely_where_dots_stand():
    assert agrees("test ... right\nbaseline …\n", "test 99 % of 360 right\nbaseline 97 %\n")
    assert agrees("", "")
    assert not agrees("test ... right", "test 99 % wrong")
    assert not agrees("", "something")
