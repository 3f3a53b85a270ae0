"""A block drawn in characters: what follows what, where it branches, where branches meet.

>>> from foveal.networks.catalogue import build
>>> from foveal.networks.layers import layers
>>> print(diagram(layers(build("resnet18", 10, 3, (64, 64)), 64), "layer2.0"))
64×16×16
├─ Conv2d 3×3, stride 2, padding 1 → 128×8×8 ─ BatchNorm2d ─ ReLU ─ Conv2d 3×3, padding 1 ─ BatchNorm2d
└─ Conv2d 1×1, stride 2 → 128×8×8 ─ BatchNorm2d
Add ─ ReLU
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foveal.errors import BadRecipe, did_you_mean, shown
from foveal.networks.layers import Layer, LayerTable

__all__ = ["diagram"]

_INPUT = -1
WIDEST = 100  # letters of a line


def diagram(table: LayerTable, block: str) -> str:
    """The layers below the path `block` as lines of text; of "" the whole network, in lines that a terminal holds.

    Raises: BadRecipe when there is no such block, or more ways than letters can draw.
    """
    if not block:
        whole = _Drawing(table.layers, range(len(table.layers)))
        lines = [part for line in whole.lines() for part in _folded(line)]
        if len(whole.drawn) < len(table.layers):
            raise BadRecipe("its ways cross too often to be drawn in letters; --html FILE draws it.")
        return "\n".join(lines)
    inside = [i for i, layer in enumerate(table.layers) if layer.name == block or layer.name.startswith(f"{block}.")]
    if not inside:
        blocks = {name.rpartition(".")[0] for name in (layer.name for layer in table.layers)} - {""}
        raise BadRecipe(f'the network has no block "{shown(block)}"{did_you_mean(block, sorted(blocks))}.')
    return "\n".join(_Drawing(table.layers, inside).lines())


@dataclass(frozen=True)
class _Branch:
    """One way from where ways part."""

    head: str
    inner: list[str]  # what comes below it, where it branches further
    end: int | None  # the layer in which it meets others


class _Drawing:
    """The block as a graph: its layers are nodes, −1 is what comes in."""

    def __init__(self, rows: Sequence[Layer], inside: Sequence[int]) -> None:
        self.rows = rows
        members = set(inside)
        self.before = {
            i: sorted({number if number in members else _INPUT for number in rows[i].inputs}) for i in inside
        }
        nodes = [_INPUT, *inside]
        self.after = {node: [i for i in inside if node in self.before[i]] for node in nodes}
        self.drawn: set[int] = set()
        self.outer = next((n for i in inside for n in rows[i].inputs if n not in members), _INPUT)

    def lines(self) -> list[str]:
        """From what comes in to what goes out."""
        start = self.rows[self.outer].shape if self.outer != _INPUT else None
        begin = [_shape(start) if start else "the picture"]
        lines, node = begin, _INPUT
        while True:
            branches, joint = self._branches(node)
            lines += branches
            if joint is None:
                return lines
            words, node = self._chain(joint, self._shape_before(joint))
            lines.append(words)
            if not self.after[node]:
                return lines

    def _branches(self, node: int) -> tuple[list[str], int | None]:
        """The lines of everything between a node and the one where its branches meet again, and that one."""
        following = self.after[node]
        if len(following) == 1 and self.before[following[0]] == [node]:
            return [], following[0]
        branches = self._gathered([self._branch(first) for first in following])
        ends = [branch.end for branch in branches if branch.end is not None]
        return _side_by_side(branches), max(ends) if ends else None

    def _branch(self, first: int) -> _Branch:
        if len(self.before[first]) > 1:
            return _Branch("(as it is)", [], first)
        words, last = self._chain(first, self._shape_before(first))
        return _Branch(words, *self._to_joint(last))

    def _gathered(self, branches: list[_Branch]) -> list[_Branch]:
        """Branches that meet before the others do become one, until all end in the same layer."""
        while len({branch.end for branch in branches}) > 1:
            earliest = min(branch.end for branch in branches if branch.end is not None)
            meeting = [branch for branch in branches if branch.end == earliest]
            if len(meeting) < len(self.before[earliest]):
                return branches
            words, last = self._chain(earliest, self._shape_before(earliest))
            inner, end = self._to_joint(last)
            together = _Branch(f"({len(meeting)} ways)", [*_side_by_side(meeting), words, *inner], end)
            at = branches.index(meeting[0])
            branches = [*branches[:at], together, *(b for b in branches[at:] if b not in meeting)]
        return branches

    def _to_joint(self, node: int) -> tuple[list[str], int | None]:
        """Inside a branch: further branchings until a layer that something from outside flows into as well."""
        following = self.after[node]
        if not following or (len(following) == 1 and len(self.before[following[0]]) > 1):
            return [], following[0] if following else None
        lines, joint = self._branches(node)
        if joint is None or not self._closes(node, joint):
            return lines, joint
        words, last = self._chain(joint, self._shape_before(joint))
        inner, end = self._to_joint(last)
        return [*lines, words, *inner], end

    def _closes(self, node: int, joint: int) -> bool:
        """Whether all that flows into a layer comes by way of `node`."""
        wanted, seen = list(self.before[joint]), set()
        while wanted:
            at = wanted.pop()
            if at == node or at in seen:
                continue
            if at < node:
                return False
            seen.add(at)
            wanted += self.before[at]
        return True

    def _chain(self, node: int, shape: tuple[int, ...] | None) -> tuple[str, int]:
        """The words of a node and of all that follow it one by one, and the last of them."""
        words = [_label(self.rows[node], shape)]
        self.drawn.add(node)
        while len(self.after[node]) == 1 and len(self.before[self.after[node][0]]) == 1:
            shape, node = self.rows[node].shape, self.after[node][0]
            words.append(_label(self.rows[node], shape))
            self.drawn.add(node)
        return " ─ ".join(words), node

    def _shape_before(self, node: int) -> tuple[int, ...] | None:
        source = self.before[node][0]
        source = self.outer if source == _INPUT else source
        return None if source == _INPUT else self.rows[source].shape


def _folded(line: str) -> list[str]:
    """A line of one layer after the other, in lines of at most WIDEST; what branches stays as it is."""
    if line[0] in "├└│":
        return [line]
    folded = [""]
    for word in line.split(" ─ "):
        longer = f"{folded[-1]} ─ {word}" if folded[-1] else word
        folded = [*folded[:-1], longer] if len(longer) <= WIDEST else [*folded, f"─ {word}"]
    return folded


def _side_by_side(branches: Sequence[_Branch]) -> list[str]:
    lines = []
    for number, branch in enumerate(branches, 1):
        mark, beside = ("└─ ", "   ") if number == len(branches) else ("├─ ", "│  ")
        lines += [mark + branch.head, *(beside + line for line in branch.inner)]
    return lines


def _label(layer: Layer, before: tuple[int, ...] | None) -> str:
    """Kind and settings, and the shape where it changes."""
    words = f"{layer.kind} {layer.settings}".strip()
    return words if layer.shape == before else f"{words} → {_shape(layer.shape)}"


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
