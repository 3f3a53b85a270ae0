"""A function's source with what is known of a run put in: values for names, and the branches gone that are not taken.

It works on the text, so that comments and the author's lines stay; Python's own `ast` says where things stand.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["as_literal", "reduced"]

_OPEN = object()  # what is not known before it runs
_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Gt: lambda a, b: a > b,
}


def reduced(
    function: Callable[..., Any],
    known: Mapping[str, Any],
    *,
    true: Mapping[str, bool] | None = None,
    there: Collection[str] = (),
    without: Collection[str] = (),
    result: str = "",
) -> str:
    """The lines of a function's body, as they run with what is known.

    Args:   known, values by the names or dotted names that have them; true, whether a test of a name holds whose value
            has no literal; there, names that stand already where the lines will, and are not made again; without, names
            and dotted calls that do nothing: calls of `name.…`, a block under `with name:`, and the call alone, where
            what it is called on is its value (`x.to(device)`); result, the name of what is returned.
    Returns: text that ends with a line break.
    """
    source = textwrap.dedent(inspect.getsource(function))
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.FunctionDef)
    work = _Reduction(source.splitlines(), known, true or {}, {*there, *known}, frozenset(without), result)
    text = "\n".join(work.block(body.body, 0)) + "\n"
    return re.sub(r"\n\n\n+", "\n\n", text)


def as_literal(value: Any) -> str:
    """Plain values as Python has them, texts between double quotes where they hold none."""
    if isinstance(value, tuple):
        inner = ", ".join(map(as_literal, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{as_literal(key)}: {as_literal(own)}" for key, own in value.items()) + "}"
    written = repr(value)
    if isinstance(value, str) and written[0] == "'" and '"' not in written:
        return f'"{written[1:-1]}"'
    return written


@dataclass
class _Reduction:
    """One function on its way."""

    lines: list[str]
    known: Mapping[str, Any]
    true: Mapping[str, bool]
    there: Collection[str]
    without: frozenset[str]
    result: str
    returned: bool = field(default=False)

    def block(self, statements: Sequence[ast.stmt], indent: int) -> list[str]:
        """The lines of some statements that follow each other, at an indentation."""
        out: list[str] = []
        for number, statement in enumerate(statements):
            if self.returned:
                break
            first = statement.lineno - 1
            while first and self.lines[first - 1].lstrip().startswith("#"):
                first -= 1
            remarks = [" " * indent + line.strip() for line in self.lines[first : statement.lineno - 1]]
            if number and not self.lines[first - 1].strip():
                out.append("")
            if lines := self._statement(statement, indent):
                out += remarks + lines
        return out

    def _statement(self, statement: ast.stmt, indent: int) -> list[str]:
        if self._does_nothing(statement):
            return []
        if isinstance(statement, ast.If):
            return self._choice(statement, indent)
        if isinstance(statement, ast.With):
            inside = statement.items[0].context_expr
            if _name(inside) in self.without:
                return self.block(statement.body, indent)
            return self._headed(statement, [inside], indent)
        if isinstance(statement, ast.For):
            return self._headed(statement, [statement.iter], indent)
        if isinstance(statement, ast.Return) and self.result and statement.value is not None:
            self.returned = True
            lines = self._text(statement.lineno, statement.end_lineno or 0, [statement.value], indent)
            return [re.sub(r"^(\s*)return", rf"\1{self.result} =", lines[0]), *lines[1:]]
        return self._text(statement.lineno, statement.end_lineno or 0, [statement], indent)

    def _does_nothing(self, statement: ast.stmt) -> bool:
        if isinstance(statement, ast.Expr):
            value = statement.value
            if isinstance(value, ast.Constant):
                return True  # the docstring
            return isinstance(value, ast.Call) and _name(value).split(".")[0] in self.without
        if not isinstance(statement, ast.Assign):
            return False
        target = statement.targets[0]
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        return all(_name(name) in self.there for name in names)

    def _choice(self, statement: ast.If, indent: int) -> list[str]:
        assert not (statement.orelse and self._line(statement.orelse[0]).lstrip().startswith("elif"))
        holds = self._value(statement.test, test=True)
        if holds is not _OPEN:
            return self.block(statement.body if holds else statement.orelse, indent)
        lines = self._headed(statement, [statement.test], indent)
        if other := self.block(statement.orelse, indent + 4):
            lines += [" " * indent + "else:", *other]
        return lines

    def _headed(self, statement: ast.If | ast.For | ast.With, parts: Sequence[ast.expr], indent: int) -> list[str]:
        """A header and what stands below it."""
        header = self._text(statement.lineno, parts[-1].end_lineno or 0, parts, indent)
        return header + self.block(statement.body, indent + 4)

    def _line(self, statement: ast.stmt) -> str:
        return self.lines[statement.lineno - 1]

    def _text(self, first: int, last: int, parts: Sequence[ast.AST], indent: int) -> list[str]:
        """Lines of the source, from 1, with what is known put into some parts of them, at another indentation."""
        lines = [line.encode() for line in self.lines[first - 1 : last]]
        before = len(lines[0]) - len(lines[0].lstrip())
        edits = sorted((edit for part in parts for edit in self._edits(part)), reverse=True)
        for (row, start), (row_end, end), new in edits:
            at, until = row - first, row_end - first
            lines[at : until + 1] = [lines[at][:start] + new.encode() + lines[until][end:]]
        shift = " " * indent
        text = [shift + line.decode()[before:] for line in lines]
        return [re.sub(r"\s*# type: ignore\S*", "", line) for line in text]

    def _edits(self, node: ast.AST) -> Iterator[tuple[tuple[int, int], tuple[int, int], str]]:
        """(start, end, what stands there instead), in lines from 1 and bytes."""
        if isinstance(node, ast.expr) and not isinstance(node, ast.Constant):
            value = self._value(node)
            if value is not _OPEN:
                yield _start(node), _end(node), as_literal(value)
                return
        if isinstance(node, ast.BoolOp):
            while self._value(node.values[0], test=True) is not _OPEN:  # and decides nothing, or all would be known
                yield _start(node.values[0]), _start(node.values[1]), ""
                node.values.pop(0)
        if isinstance(node, ast.Call) and ast.unparse(node).endswith(tuple(f".{call}" for call in self.without)):
            assert isinstance(node.func, ast.Attribute)
            yield _end(node.func.value), _end(node), ""
            node = node.func.value
        for child in ast.iter_child_nodes(node):
            yield from self._edits(child)

    def _value(self, node: ast.expr, test: bool = False) -> Any:
        """What an expression is, `_OPEN` where that shows when it runs; of a test at least whether it holds."""
        name = _name(node)
        if test and name in self.true:
            return self.true[name]
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name | ast.Attribute):
            return self.known.get(name, _OPEN)
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARED:
            sides = self._value(node.left), self._value(node.comparators[0])
            return _OPEN if _OPEN in sides else _COMPARED[type(node.ops[0])](*sides)
        if isinstance(node, ast.BoolOp) and test:
            decides = isinstance(node.op, ast.Or)
            values = [self._value(value, test=True) for value in node.values]
            if any(value is not _OPEN and bool(value) == decides for value in values):
                return decides
            return _OPEN if any(value is _OPEN for value in values) else not decides
        return _OPEN


def _name(node: ast.expr) -> str:
    """A name, a dotted one, or that of what is called."""
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)


def _start(node: ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.expr) -> tuple[int, int]:
    return node.end_lineno or 0, node.end_col_offset or 0
