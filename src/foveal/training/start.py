"""What a training starts from where nobody says: the best published weights that are on this machine, for photographs.

Photographs of a few hundred pixels show what ImageNet shows, so that a head on features found there beats what a few
hundred pictures could teach; digits and icons do not, and start from chance. Of the weights that are here those are
taken whose network is right most often on ImageNet, as long as its features are computed in the time there is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from foveal.errors import BadModel
from foveal.networks.facts import facts_of
from foveal.networks.index import CUSTOM
from foveal.networks.packages import in_package, install
from foveal.recipe import AUTO, IMAGENET, SCRATCH, Recipe, parse_size, parse_weights
from foveal.tasks.label_defaults import FEW, WITH_WEIGHTS
from foveal.tasks.task import Facts

if TYPE_CHECKING:
    from foveal.networks.entry import Entry, Package

__all__ = [
    "PHOTOGRAPH",
    "Start",
    "chosen_start",
    "looks_like_photographs",
    "passes",
    "trunk_here",
    "views_of",
    "way_to_weights",
]

PHOTOGRAPH = 96  # pixels of the shorter side, from which pictures are taken for photographs
SHARE = 0.45  # of --minutes that a frozen trunk's passes may take; head, test, baseline and report need the rest
VIEWS, MANY_VIEWED = 2, 10_000  # the picture and its mirror image; one view only from so many pictures on
COMPARED = 300  # pictures on which near and far are told apart
USUAL_SECONDS = 90.0  # of these passes, where no --minutes are asked for
TIMED_SECONDS = 1.0  # that a network's passes are timed for

Say = Callable[[str], None]


@dataclass(frozen=True)
class Start:
    """Weights and network that a training starts from."""

    weights: str  # `IMAGENET` or `SCRATCH`
    network: str  # a name, or "auto": left to the task
    sentence: str  # which, why, and how to say no; "" where nobody would ask


def looks_like_photographs(facts: Facts) -> bool:
    """Grey or colour, and not small."""
    return facts.channels in (1, 3) and min(facts.side) >= PHOTOGRAPH


def chosen_start(recipe: Recipe, facts: Facts, passes: int, device: str, say: Say) -> Start:
    """For a recipe whose weights are "auto", or are ImageNet's of a network that is left open.

    Args: passes, pictures that go through a frozen trunk, each view counted; say, is told what is amiss with weights.
    """
    asked, name = parse_weights(recipe.network.weights)[0], recipe.network.name
    if name not in (AUTO, CUSTOM):
        return _named(name, facts)
    if asked == AUTO and (name == CUSTOM or not looks_like_photographs(facts)):
        return Start(SCRATCH, name, "")
    from foveal.networks.catalogue import find

    here = _weights_here(say)
    if not here:
        return Start(IMAGENET, WITH_WEIGHTS, "") if asked == IMAGENET else Start(SCRATCH, AUTO, _none_here())
    seconds = recipe.training.minutes * 60 * SHARE or USUAL_SECONDS
    chosen = _fitting(here, recipe, facts, passes, seconds, device)
    no = f"; --weights {SCRATCH} trains from scratch" if asked == AUTO else ""
    best = "the best" if chosen == here[0] else "the best that fits the time"
    of = (
        f"{best} of the {len(here)} networks whose weights are on this machine"
        if len(here) > 1
        else "found on this machine"
    )
    known = f"{chosen}, {_top1(find(chosen)):g} % top-1 on ImageNet"
    return Start(IMAGENET, chosen, f"Starts from the pretrained weights of {known} ({of}){no}.")


def trunk_here(facts: Facts) -> str:
    """For boxes, whose own trunk starts from chance: that another one's weights are here, and how it is asked for.

    "" where none are, or they would be of little use: small pictures, or pictures enough.
    """
    from foveal.networks.catalogue import forward_flops

    here = [] if facts.pictures >= FEW or not looks_like_photographs(facts) else _weights_here(lambda _: None)
    if not here:
        return ""
    lightest = min(here, key=lambda name: forward_flops(name, 2, 3, (224, 224)))
    return (
        f"The trunk is trained from scratch. With so few pictures a pretrained one finds more: --network {lightest} "
        f"--weights {IMAGENET} (its weights are on this machine)."
    )


def passes(pictures: int, held_out: int, minutes: float = 0.0) -> int:
    """How many pictures go through a frozen trunk: each view of those to learn from, and those to be scored on.

    Where no --minutes press, those of the random rival as well.
    """
    rival = 0 if minutes else min(pictures, COMPARED)
    return pictures * views_of(pictures) + held_out + rival


def views_of(pictures: int) -> int:
    """In how many views a head is fitted on so many pictures."""
    return VIEWS if pictures < MANY_VIEWED else 1


def _named(name: str, facts: Facts) -> Start:
    """A network that somebody chose: from its own weights where they are here."""
    from foveal.networks.catalogue import find
    from foveal.networks.weights import lying_here

    if facts_of(name).weights is None or not looks_like_photographs(facts):
        return Start(SCRATCH, name, "")
    if lying_here(find(name)) is None:
        how = f"--weights {IMAGENET} gets them"
        return Start(
            SCRATCH,
            name,
            f"{name} is trained from scratch, since its pretrained weights are not on this machine; {how}.",
        )
    return Start(IMAGENET, name, f"{name} starts from its ImageNet weights; --weights {SCRATCH} trains from scratch.")


def way_to_weights() -> str:
    """The command that brings published weights as packages; "" where some network's are here already."""
    return "" if _weights_here(lambda _: None) else install(_best_packed())


def _none_here() -> str:
    return (
        f"Trained from scratch, since no pretrained weights are on this machine: {install(_best_packed())} brings some "
        "from ImageNet (Apache-2.0, 17 to 23 MB each), with which a few hundred photographs are enough."
    )


def _best_packed() -> Package:
    from foveal.networks.catalogue import NETWORKS

    packed = [entry for entry in NETWORKS.values() if entry.weights and entry.weights.package]
    best = max(packed, key=_top1).weights
    assert best is not None
    assert best.package is not None
    return best.package


def _weights_here(say: Say) -> list[str]:
    """Names of the networks whose published weights lie on this machine, the best first."""
    from foveal.networks.catalogue import NETWORKS
    from foveal.networks.weights import lying_here

    here = []
    for entry in sorted(NETWORKS.values(), key=_top1, reverse=True):
        if entry.weights is None:
            continue
        if lying_here(entry) is not None:
            here.append(entry.name)
        elif entry.weights.package is not None:
            try:
                in_package(entry.weights.package)
            except BadModel as error:
                say(f"The weights of {entry.name} are not used: {error}")
    return here


def _top1(entry: Entry) -> float:
    return entry.weights.top1 if entry.weights else 0.0


def _fitting(here: Sequence[str], recipe: Recipe, facts: Facts, passes: int, seconds: float, device: str) -> str:
    """The first that takes the size and whose passes fit into the seconds; the quickest where none's do."""
    side = None if recipe.data.size == AUTO else min(parse_size(recipe.data.size))
    fitting = [name for name in here if side is None or facts_of(name).smallest <= side] or list(here)
    took: dict[str, float] = {}
    for name in fitting[: len(fitting) if len(fitting) > 1 else 0]:
        took[name] = passes * features_seconds(name, recipe, facts, device)
        if took[name] <= seconds:
            return name
    return min(took, key=lambda name: took[name], default=fitting[0])


def features_seconds(name: str, recipe: Recipe, facts: Facts, device: str) -> float:
    """Of one picture's pass through a network, as features are computed; timed for a second."""
    import torch

    from foveal.networks.catalogue import build
    from foveal.training.arithmetic import Arithmetic
    from foveal.training.features import ARITHMETIC, pictures_at_once
    from foveal.training.trials import answering

    known = facts_of(name).weights
    size = known if recipe.data.size == AUTO and known else parse_size(recipe.data.size)
    with torch.random.fork_rng(devices=[]):
        network = build(name, len(facts.counts), facts.channels, size)
    images = torch.zeros((pictures_at_once(size, device), facts.channels, *size))
    end = time.perf_counter() + TIMED_SECONDS
    timed = answering(network, images)(Arithmetic(ARITHMETIC, device), lambda _: time.perf_counter() > end)
    return timed.shortest / timed.pictures
