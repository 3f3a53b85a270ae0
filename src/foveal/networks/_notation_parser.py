"""A network's notation from text to layers: words and signs first, then recursive descent, a method for each rule.

Every complaint is a BadRecipe with the place, the word that stands there, and the nearest word that would do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from foveal.errors import BadRecipe, did_you_mean, shown
from foveal.networks._notation_layers import (
    ACTIVATIONS,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Global,
    Identity,
    Layer,
    Logits,
    Pad,
    Pair,
    Parallel,
    Pool,
    Repeat,
    Residual,
)

__all__ = ["LAYERS", "Token", "layers_of", "tokens_of"]

SIGNS = "(),|*"
LAYERS = ("conv", "pool", "avgpool", "global", "flatten", "identity", "dense", "dropout", "residual", "parallel")
CLASSES = ("classes", "k")
# What hostile or slipped numbers may not exceed; people's networks stay far below.
DEEPEST = 32  # groups within groups: far from the interpreter's own limit
MOST_TIMES = 1000
MOST_CHANNELS = 65_536
MOST_PIXELS = 1024  # of a kernel's side, a stride, a padding, a dilation
_ELSEWHERE = {  # what other libraries and papers call it
    "fc": "dense",
    "linear": "dense",
    "maxpool": "pool",
    "gap": "global avg",
    "skip": "residual",
    "inception": "parallel",
    "concat": "parallel",
}


@dataclass(frozen=True)
class Token:
    """A word, a number or a sign; "" stands at the end."""

    text: str
    line: int  # from 1
    column: int  # from 1

    def __str__(self) -> str:
        return f'"{shown(self.text[:40])}"' if self.text else "the end of the text"

    @property
    def word(self) -> str:
        return self.text.lower()

    @property
    def is_number(self) -> bool:
        return self.text[:1].isdigit()


def tokens_of(text: str) -> list[Token]:
    """Signs, and what stands between signs and blanks; `#` begins a comment that ends with its line."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    tokens = [token for number, line in enumerate(lines, 1) for token in _of_line(line.partition("#")[0], number)]
    return [*tokens, Token("", len(lines), len(lines[-1]) + 1)]


def _of_line(line: str, number: int) -> Iterator[Token]:
    start: int | None = None
    for place, character in enumerate(line + " "):
        if not character.isspace() and character not in SIGNS:
            start = place if start is None else start
            continue
        if start is not None:
            yield Token(line[start:place], number, start + 1)
            start = None
        if character in SIGNS:
            yield Token(character, number, place + 1)


def layers_of(text: str, where: str) -> tuple[Layer, ...]:
    """The layers of a network. Raises: BadRecipe that begins with `where` and points at the place."""
    return _Parser(text, where).network()


class _Parser:
    """Reads from left to right; each method stands for one rule of the grammar and leaves `ahead` behind it."""

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self.tokens = tokens_of(text)
        self.at = 0
        self.readers: Mapping[str, Callable[[int], Layer]] = {word: getattr(self, f"_{word}") for word in LAYERS}

    def network(self) -> tuple[Layer, ...]:
        if not self.ahead.text:
            raise self.refusal(self.ahead, "there is no layer; write some, such as: conv 25 3x3, pool 2, dense classes")
        layers = self.sequence(0)
        if self.ahead.text:
            raise self.stray(self.ahead)
        return layers

    # Reading

    @property
    def ahead(self) -> Token:
        return self.tokens[self.at]

    def take(self) -> Token:
        token = self.ahead
        self.at += bool(token.text)  # the end stays ahead
        return token

    def took(self, sign: str) -> bool:
        there = self.ahead.text == sign
        self.at += there
        return there

    # Groups

    def sequence(self, depth: int) -> tuple[Layer, ...]:
        """Layers with commas between them; one more at the end is welcome."""
        layers = [self.item(depth)]
        while self.took(","):
            if self.ahead.text in ("", ")", "|"):
                break
            layers.append(self.item(depth))
        return tuple(layers)

    def item(self, depth: int) -> Layer:
        """A layer, a group or a repetition. Depth 0 is the network itself."""
        token = self.take()
        if depth > DEEPEST:
            raise self.refusal(token, f"groups stand within groups more than {DEEPEST} deep")
        if self.ahead.text == "*" and token.text not in ("", *SIGNS):
            return self.repeated(token, depth)
        if token.word not in self.readers:
            raise self.no_layer(token)
        try:
            return self.readers[token.word](depth)
        except ValueError as error:  # what the layer's own checks say
            raise self.refusal(token, f"{token.word}: {error}") from None

    def repeated(self, count: Token, depth: int) -> Repeat:
        times = self.whole(count, count.text, "the number of repetitions must be", 1, MOST_TIMES)
        self.take()  # the asterisk
        if self.ahead.text != "(":
            return Repeat(times, (self.item(depth + 1),))
        layers = self.in_parentheses("a repetition", depth)[0]
        self.options("a repetition", {})
        return Repeat(times, layers)

    def in_parentheses(self, group: str, depth: int, *, branches: bool = False) -> list[tuple[Layer, ...]]:
        """Everything from "(" to its ")": one sequence, or several with "|" between them."""
        opening = self.take()
        if opening.text != "(":
            raise self.refusal(opening, f'{group} begins with "(", got {opening}')
        found = [self.sequence(depth + 1)]
        while branches and self.took("|"):
            found.append(self.sequence(depth + 1))
        if not self.ahead.text:
            raise self.refusal(opening, 'this "(" is never closed')
        if not self.took(")"):
            raise self.stray(self.ahead)
        return found

    def _residual(self, depth: int) -> Residual:
        layers = self.in_parentheses("residual", depth)[0]
        return Residual(layers, **self.options("residual", {}, activation=True))

    def _parallel(self, depth: int) -> Parallel:
        branches = self.in_parentheses("parallel", depth, branches=True)
        self.options("parallel", {})
        return Parallel(tuple(branches))

    # Layers

    def _conv(self, depth: int) -> Conv:
        channels = self.number("the channels of a conv must be")
        kernel = self.sides("the kernel of a conv must be")
        takes = {"stride": self.stride, "pad": self.pad, "dilation": self.dilation, "groups": self.groups, "bn": _yes}
        return Conv(channels, kernel, **self.options("conv", takes, activation=True))

    def _pool(self, depth: int, kind: Literal["pool", "avgpool"] = "pool") -> Pool:
        window = self.sides(f"the window of {'a' if kind == 'pool' else 'an'} {kind} must be")
        found = self.options(kind, {"stride": self.stride, "pad": self.pad})
        return Pool(kind, window, found.get("stride", window), found.get("pad", (0, 0)))

    def _avgpool(self, depth: int) -> Pool:
        return self._pool(depth, "avgpool")

    def _global(self, depth: int) -> Global:
        kind = self.take()
        if kind.word not in ("avg", "max"):
            raise self.refusal(kind, f'a global pool is written "global avg" or "global max", got {kind}')
        self.options("global", {})
        return Global("avg" if kind.word == "avg" else "max")

    def _flatten(self, depth: int) -> Flatten:
        self.options("flatten", {})
        return Flatten()

    def _identity(self, depth: int) -> Identity:
        self.options("identity", {})
        return Identity()

    def _dropout(self, depth: int) -> Dropout:
        token = self.take()
        if not _is_whole(token.text.replace(".", "", 1)):
            raise self.refusal(token, f"dropout takes the share to drop, such as 0.5, got {token}")
        self.options("dropout", {})
        return Dropout(float(token.text))

    def _dense(self, depth: int) -> Dense | Logits:
        token = self.take()
        classes = token.word in CLASSES
        units = 0 if classes else self.whole(token, token.text, "the units of a dense must be", 1, MOST_CHANNELS)
        behind = self.ahead
        found = self.options("dense", {"bn": _yes}, activation=True)
        if depth == 0 and self.at_end():
            if found not in ({}, {"activation": "linear"}):
                raise self.refusal(behind, f"the last dense gives the logits, and nothing follows: remove {behind}")
            return Logits(None if classes else units)
        if classes:
            raise self.refusal(token, f"only the last layer of a network can be dense {token.word}")
        return Dense(units, **found)

    def at_end(self) -> bool:
        return not self.ahead.text or (self.ahead.text == "," and not self.tokens[self.at + 1].text)

    # Options and numbers

    def options(
        self, layer: str, takes: Mapping[str, Callable[[], object]], *, activation: bool = False
    ) -> dict[str, Any]:
        """The words behind a layer, in any order, each once."""
        found: dict[str, Any] = {}
        while self.ahead.text and self.ahead.text not in SIGNS:
            token = self.take()
            key = "activation" if activation and token.word in ACTIVATIONS else token.word
            if key in found:
                raise self.refusal(token, f"{layer} has a second {key}")
            if token.word in takes:
                found[key] = takes[token.word]()
            elif key != token.word:
                found[key] = token.word
            else:
                raise self.no_option(token, layer, [*takes, *(ACTIVATIONS if activation else ())])
        return found

    def stride(self) -> Pair:
        return self.sides("a stride must be")

    def dilation(self) -> Pair:
        return self.sides("a dilation must be")

    def groups(self) -> int:
        return self.number("groups must be")

    def pad(self) -> Pad:
        if self.ahead.word in ("same", "valid"):
            return "same" if self.take().word == "same" else (0, 0)
        return self.sides("a pad must be same, valid,", least=0)

    def number(self, must_be: str) -> int:
        token = self.take()
        return self.whole(token, token.text, must_be, 1, MOST_CHANNELS)

    def sides(self, must_be: str, least: int = 1) -> Pair:
        """`3`, or `1x7` for height and width."""
        token = self.take()
        parts = token.word.replace("×", "x").split("x")
        if len(parts) > 2 or not all(map(_is_whole, parts)):
            raise self.refusal(token, f"{must_be} a side or height x width, such as 3 or 1x7, got {token}")
        numbers = [self.whole(token, part, must_be, least, MOST_PIXELS) for part in parts]
        return numbers[0], numbers[-1]

    def whole(self, token: Token, digits: str, must_be: str, least: int, most: int) -> int:
        if not _is_whole(digits) or not least <= int(digits) <= most:
            raise self.refusal(token, f"{must_be} a whole number from {least} to {most}, got {token}")
        return int(digits)

    # Complaints

    def refusal(self, token: Token, reason: str) -> BadRecipe:
        end = "" if reason.endswith("?") else "."
        return BadRecipe(f"{self.where}, line {token.line}, column {token.column}: {reason}{end}")

    def stray(self, token: Token) -> BadRecipe:
        """A sign where none can be."""
        reasons = {
            ")": 'this ")" closes nothing',
            "|": '"|" stands only between the branches of parallel(… | …)',
            "(": '"(" stands only behind residual, parallel or a repetition, as in 3 * (…)',
            "*": '"*" stands only between a number and what is repeated, as in 3 * (…)',
        }
        return self.refusal(token, reasons.get(token.text, f"a comma is missing before {token}"))

    def no_layer(self, token: Token) -> BadRecipe:
        if token.text in ("", ",", ")", "|"):
            return self.refusal(token, f"a layer is missing before {token}")
        if token.text in SIGNS:
            return self.stray(token)
        if token.word in _ELSEWHERE:
            return self.refusal(token, f'no layer is called {token}; did you mean "{_ELSEWHERE[token.word]}"?')
        if token.word == "bn" or token.word in ACTIVATIONS:
            return self.refusal(token, f"{token} is no layer of its own: it stands behind one, without a comma")
        return self.refusal(token, f"no layer is called {token}{_near(token.word, LAYERS, 'layers')}")

    def no_option(self, token: Token, layer: str, words: Iterable[str]) -> BadRecipe:
        if token.word in LAYERS or (token.is_number and self.ahead.text == "*"):
            return self.refusal(token, f"a comma is missing before {token}")
        if token.word == "softmax":
            return self.refusal(token, "the loss applies the softmax; remove it")
        if token.is_number:
            return self.refusal(token, f"{layer} takes no further number, got {token}")
        return self.refusal(token, f"{layer} has no option {token}{_near(token.word, words, 'options')}")


def _near(word: str, known: Iterable[str], what: str) -> str:
    """The nearest known word, else all of them."""
    known = list(known)
    return did_you_mean(word[:40], known) or f" ({what}: {', '.join(known) or 'none'})"


def _is_whole(digits: str) -> bool:
    return digits.isascii() and digits.isdigit() and len(digits) <= 9  # more would be an attack on int()


def _yes() -> bool:
    return True
