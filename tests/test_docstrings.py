"""Whatever a reader may call tells what it does: no public function is without a docstring."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "foveal"
FILES = sorted(SOURCE.rglob("*.py"))
OF_TORCH = {"forward", "extra_repr", "step"}  # told by the class: what a module or an optimiser does when it is called
MOST_LINES, LONG_LINES, MOST_LONG = 60, 40, 12


def functions(tree: ast.AST, public: bool = True, inside: str = "") -> Iterator[tuple[str, bool, ast.FunctionDef]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef) and not any(ast.unparse(d) == "overload" for d in node.decorator_list):
            yield inside + node.name, public and not node.name.startswith("_"), node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, public and not node.name.startswith("_"), f"{node.name}.")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_every_public_function_says_what_it_does(file: Path) -> None:
    module = not file.name.startswith("_") or file.name == "__init__.py"
    found = functions(ast.parse(file.read_text(encoding="utf-8")), module)
    silent = [
        name
        for name, public, node in found
        if public and ast.get_docstring(node) is None and not ("." in name and node.name in OF_TORCH)
    ]
    assert silent == []


def test_no_function_is_longer_than_a_page() -> None:
    lengths = {
        f"{file.relative_to(SOURCE)}:{name}": (node.end_lineno or 0) - node.lineno + 1
        for file in FILES
        for name, _, node in functions(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert [name for name, lines in lengths.items() if lines > MOST_LINES] == []
    long = {name: lines for name, lines in lengths.items() if lines > LONG_LINES}
    assert len(long) <= MOST_LONG, long
