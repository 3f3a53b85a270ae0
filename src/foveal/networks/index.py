"""What must be known of the networks before one is built: their names, sizes and recipes, without PyTorch.

A wrong name or size is so refused at once, rather than after the seconds that the catalogue takes to import. The facts
lie in index.json, written by `make networks` from the records beside the builders: a file of data, since nobody writes
it by hand and a network's line is all that changes. `make check` and the tests hold it against the catalogue.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from foveal.errors import BadRecipe, Missing, did_you_mean, shown
from foveal.networks import notation

if TYPE_CHECKING:
    from foveal.networks.entry import Entry

__all__ = [
    "CUSTOM", "FILE", "INDEX", "NO_TIMM", "PREFIX", "Facts", "check_fits", "check_name", "full_name",
    "index_text", "unknown", "without_weights",
]  # fmt: skip

FILE = Path(__file__).with_name("index.json")
CUSTOM = "custom"  # a module of the user's own has no record
PREFIX = "timm:"
NO_TIMM = 'names that begin with "timm:" need timm: pip install "foveal[timm]".'


@dataclass(frozen=True)
class Facts:
    """What a network's record says in numbers and words."""

    name: str
    year: int
    smallest: int  # pixels a side
    natural: int  # pixels a side it was made for
    auxiliary: int  # pixels a side from which its auxiliary classifiers can train; 0: it has none
    weights: tuple[int, int] | None  # (height, width) of the pictures of its published weights; None: it has none
    recipe: Mapping[str, Any]  # what trains it well, as keys of the recipe

    @classmethod
    def of(cls, entry: Entry) -> Facts:
        """From the record."""
        known = entry.weights.preprocess if entry.weights else None
        size = (known.height, known.width) if known else None
        return cls(entry.name, entry.year, entry.smallest, entry.natural, entry.auxiliary, size, dict(entry.recipe))

    @classmethod
    def read(cls, line: Mapping[str, Any]) -> Facts:
        """From a line of the index."""
        return cls(**{**line, "weights": line["weights"] and tuple(line["weights"])})


def index_text(entries: Mapping[str, Entry]) -> str:
    """The content of index.json: a network a line."""
    lines = (json.dumps(asdict(Facts.of(entry))) for entry in entries.values())
    return "[\n" + ",\n".join(lines) + "\n]\n"


INDEX: Mapping[str, Facts] = MappingProxyType(
    {line["name"]: Facts.read(line) for line in json.loads(FILE.read_text(encoding="utf-8"))}
)


def check_name(name: str) -> None:
    """Raises: BadRecipe for what is neither a network's name nor a notation; Missing for a name of timm's without timm,
    which is not asked yet whether it knows that name."""
    if name.startswith(PREFIX):
        if find_spec("timm") is None:
            raise Missing(NO_TIMM)
    elif notation.is_notation(name):
        notation.parse(name)
    elif name not in INDEX:
        raise unknown(name)


def full_name(name: str) -> str:
    """The name that builds the same network anywhere: of a notation, its shortest form, also where a file holds it.

    Raises: BadRecipe as `check_name`.
    """
    if name not in INDEX and os.path.isfile(name):
        return str(notation.read_notation(name))
    check_name(name)
    return str(notation.parse(name)) if notation.is_notation(name) else name


def check_fits(facts: Facts, size: tuple[int, int]) -> None:
    """Raises: BadRecipe when (H, W) is below what the network can take."""
    if min(size) >= facts.smallest:
        return
    least = f"{facts.smallest}x{facts.smallest}"
    if facts.auxiliary > facts.smallest:
        least += f", {facts.auxiliary}x{facts.auxiliary} to train with its auxiliary classifier"
    raise BadRecipe(
        f"{shown(facts.name[:80])} needs pictures of at least {least}; got {size[0]}x{size[1]}; "
        f"try --size {facts.natural}{_made_for(size)}."
    )


def _made_for(size: tuple[int, int], most: int = 3) -> str:
    """Networks that take such pictures, those made for the nearest size first."""
    fitting = [facts for facts in INDEX.values() if facts.smallest <= min(size) and facts.year > 1990]
    nearest = sorted(fitting, key=lambda facts: abs(facts.natural - min(size)))[:most]
    return f", or --network {' or '.join(facts.name for facts in nearest)}" if nearest else ""


def unknown(name: str) -> BadRecipe:
    """The refusal of a name that no network has, with the nearest one."""
    near = did_you_mean(name[:80], INDEX)
    return BadRecipe(f'no such network: "{shown(name[:80])}"{near} (foveal networks lists all)')


def without_weights(name: str) -> BadRecipe:
    """The refusal of published weights that nobody published, with the names of those that have some."""
    names = [facts.name for facts in INDEX.values() if facts.weights]
    have = f"{', '.join(names)} {'have' if len(names) > 1 else 'has'} some" if names else "no network has any"
    return BadRecipe(f"there are no published weights for {shown(name)}; {have}, or give --weights FILE.")
