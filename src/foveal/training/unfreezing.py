"""How much of a network learns: what is frozen, and at which share of the learning rate the rest goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from foveal.errors import BadRecipe, shown
from foveal.networks.catalogue import find
from foveal.networks.head import CUSTOM, classifier_path
from foveal.networks.stages import Stages
from foveal.recipe import parse_train

__all__ = ["check_stages", "freeze", "rates", "trunk_of"]

SLOWER = 1.3  # times, each stage further from the head (Howard and Ruder 2018, arXiv:1801.06146, section 3.2, have 2.6)


def check_stages(network: nn.Module, name: str, train: str) -> None:
    """Raises: BadRecipe when last:K asks for more stages than the trunk has."""
    word, K = parse_train(train)
    have = len(_stages(network, name))
    if word == "last" and have < K:
        raise BadRecipe(f"--train last:{K}: the trunk of {shown(name)} has {have} stages; give last:1 to last:{have}.")


def trunk_of(network: nn.Module) -> Stages | None:
    """The stages of a network of the catalogue that a detector's head stands on; None where there is no such head."""
    trunk = getattr(network, "trunk", None)
    return trunk if isinstance(trunk, Stages) else None


def freeze(network: nn.Module, name: str, train: str) -> tuple[nn.Module, ...]:
    """Let only what `train` names learn; returns the modules whose batch norm keeps its statistics.

    last:K leaves everything behind the (K + 1)-last stage to learn; a stage ends with its record's module. The head of
    a detector always learns.
    """
    word, K = parse_train(train)
    if (trunk := trunk_of(network)) is not None:
        network = trunk.network
        if word == "head":
            trunk.requires_grad_(False)
            return (trunk,)
    if word not in ("last", "head"):
        return ()
    stages = _stages(network, name)
    order = {path: number for number, (path, _) in enumerate(network.named_modules())}
    classifier = classifier_path(network, name)
    if word == "head":
        first = order[classifier]
    elif len(stages) == K:
        first = 0
    else:
        first = 1 + _end(order, stages[-K - 1])
    frozen = [module for path, module in network.named_modules() if order[path] < first]
    kept = tuple(module for module in frozen if not any(True for _ in module.children()))
    for module in kept:
        module.requires_grad_(False)
    return kept


def rates(network: nn.Module, name: str, classifier: str) -> dict[int, float]:
    """id of each parameter -> its share of the learning rate: stages further from the head change less."""
    order = {path: number for number, (path, _) in enumerate(network.named_modules())}
    edges = [_end(order, stage) for stage in _stages(network, name)]
    shares: dict[int, float] = {}
    for path, module in network.named_modules():
        above = sum(order[path] <= edge for edge in edges) if path != classifier else 0
        shares |= {id(parameter): SLOWER**-above for parameter in module.parameters(recurse=False)}
    return shares


def _end(order: Mapping[str, int], stage: str) -> int:
    """The number of a stage's last module."""
    return max(number for path, number in order.items() if path == stage or path.startswith(f"{stage}."))


def _stages(network: nn.Module, name: str) -> Sequence[str]:
    """Paths of the trunk's stages; of a network of one's own its parts that hold parameters, the last one apart."""
    if name != CUSTOM:
        return [stage.module for stage in find(name).stages]
    return [path for path, part in network.named_children() if any(True for _ in part.parameters())][:-1]
