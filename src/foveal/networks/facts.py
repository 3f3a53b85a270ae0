"""The facts of any network by its name: out of the index, or, of a notation and of timm's networks, by planning it.

What lies in the index needs no PyTorch.
"""

from __future__ import annotations

from foveal.networks import index
from foveal.networks.index import Facts, check_fits

__all__ = ["check_size", "facts_of"]


def facts_of(name: str) -> Facts:
    """The facts of a name.

    Raises: BadRecipe with the nearest name for an unknown one; what is wrong with a notation; Missing without timm.
    """
    if name in index.INDEX:
        return index.INDEX[name]
    from foveal.networks.catalogue import find

    return Facts.of(find(name))


def check_size(name: str, size: tuple[int, int]) -> None:
    """Raises: BadRecipe for an unknown name, or when (H, W) is below what the network can take."""
    check_fits(facts_of(name), size)
