"""`timm:resnet26`: any network of timm, where that library is installed (the extra `timm`), as a record of the zoo.

Stages, classifier, sizes and published weights are read from what timm says of its networks; names are looked up in its
own table and nowhere else, so that a name from a file cannot make it fetch or open anything.
"""

from __future__ import annotations

import copy
import math
import re
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import nn

from foveal.errors import BadRecipe, Missing, did_you_mean, shown
from foveal.networks.entry import Entry, Published, Stage
from foveal.networks.index import NO_TIMM, PREFIX
from foveal.preprocess import Preprocess

__all__ = ["PREFIX", "entry_of"]

_CHECKSUM = re.compile(r"-([0-9a-f]{8,64})\.pth$")  # first digits of the file's SHA-256, as torch.hub expects them
_ARXIV = re.compile(r"arXiv:(\d\d)\d\d\.\d+")


@cache
def entry_of(name: str) -> Entry:
    """The record of "timm:<network>", or of "timm:<network>.<set of weights>".

    Raises: Missing when timm is not installed or does not import; BadRecipe with the nearest name for an unknown one.
    """
    timm = _timm()
    word = name.removeprefix(PREFIX)
    known = timm.list_models()
    if word.partition(".")[0] not in known or ("." in word and word not in timm.list_models(include_tags=True)):
        near = did_you_mean(name[:80], (PREFIX + other for other in known))
        raise BadRecipe(
            f'no such network: "{shown(name[:80])}"{near} (timm {timm.__version__} has {len(known)} networks)'
        )
    facts = timm.get_pretrained_cfg(word)
    return _entry(timm, name, word, facts)


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        if error.name in ("timm", None):
            raise Missing(NO_TIMM) from None
        raise Missing(f'timm does not import ({shown(str(error))}): pip install "foveal[timm]".') from None
    except (RuntimeError, OSError) as error:  # its torchvision asks for operators that another build of PyTorch has
        first = shown(str(error).splitlines()[0][:100])
        raise Missing(
            f"timm does not import, because its torchvision was not built for PyTorch {torch.__version__} ({first}); "
            "install the torchvision that belongs to it (https://pytorch.org/get-started)."
        ) from None
    module: ModuleType = timm
    return module


def _entry(timm: ModuleType, name: str, word: str, facts: Any) -> Entry:
    sample = _without_memory(timm, word)
    stages = _stages(sample)
    natural, fixed = int(facts.input_size[-1]), bool(facts.fixed_input_size)
    least = max((stage.stride for stage in stages), default=32)  # a pixel of the last map
    if facts.min_input_size:
        least = max(least, *facts.min_input_size[1:])
    paper = facts.paper_ids if isinstance(facts.paper_ids, str) else (facts.paper_ids or ("",))[0]
    arxiv = _ARXIV.search(paper or "")
    return Entry(
        name=name,
        build=_builder(timm, word, natural, fixed),
        paper=", ".join(filter(None, (facts.paper_name, paper, f"timm {timm.__version__}"))),
        year=2000 + int(arxiv[1]) if arxiv else 0,
        smallest=min(least, natural),
        natural=natural,
        stages=stages,
        classifier=_classifier(sample, facts),
        options=("dropout",),
        takes_size=fixed,
        weights=_published(facts),
    )


def _without_memory(timm: ModuleType, word: str) -> nn.Module:
    """The network to look at; on no device where it can be built there, since some have billions of parameters."""
    try:
        with torch.device("meta"):
            network: nn.Module = timm.create_model(word)
    except (RuntimeError, NotImplementedError):  # reads a value while it is built
        with torch.random.fork_rng(devices=[]):
            network = timm.create_model(word)
    return network


def _builder(timm: ModuleType, word: str, natural: int, fixed: bool) -> Any:
    """What `catalogue.build` calls. Always built in memory: some networks read values while they are built."""

    def create(size: tuple[int, int] | None, **arguments: Any) -> nn.Module:
        meta = torch.empty(0).is_meta
        try:
            with torch.device("cpu"):
                network: nn.Module = timm.create_model(word, img_size=size, **arguments)
            if size is not None:  # some find out only when a picture comes
                picture = torch.empty(1, arguments["in_chans"], *size, device="meta")
                copy.deepcopy(network).to("meta").eval()(picture)
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:  # what does not go is told in many ways
            if size is not None:
                raise BadRecipe(
                    f"{PREFIX}{word} does not take pictures of {size[0]}x{size[1]}; try --size {natural}."
                ) from error
            reason = shown((str(error) or type(error).__name__).splitlines()[0][:100])
            raise BadRecipe(f"{PREFIX}{word} cannot be built so ({reason}); try another network.") from error
        return network.to("meta") if meta else network

    def of_any_size(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0) -> nn.Module:
        return create(None, num_classes=num_classes, in_chans=in_channels, drop_rate=dropout)

    def of_a_size(
        num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0, size: tuple[int, int] = (natural, natural)
    ) -> nn.Module:
        return create(size, num_classes=num_classes, in_chans=in_channels, drop_rate=dropout)

    return of_a_size if fixed else of_any_size


def _stages(network: nn.Module) -> tuple[Stage, ...]:
    """Where feature maps can be taken, as far as timm says and the modules are there."""
    modules = dict(network.named_modules())
    told = [row for row in getattr(network, "feature_info", ()) if row.get("module") in modules]
    return tuple(Stage(row["module"], int(row["reduction"]), int(row["num_chs"])) for row in told)


def _classifier(network: nn.Module, facts: Any) -> str:
    """Path of the last linear layer (of the first one, where a network was distilled and has two)."""
    told = facts.classifier
    path = told[0] if isinstance(told, tuple | list) else told
    if path:
        return str(path)
    last = network.get_classifier()  # type: ignore[operator]
    return next((path for path, module in network.named_modules() if module is last), "")


def _published(facts: Any) -> Published | None:
    """timm's weights for ImageNet-1k, where they lie at an address with their checksum in it."""
    url = facts.url if isinstance(facts.url, str) else ""
    checksum = _CHECKSUM.search(url)
    plain = not facts.custom_load and facts.num_classes == 1000 and facts.interpolation in ("bicubic", "bilinear")
    if not (checksum and plain and url.startswith("https://")):
        return None
    side = int(facts.input_size[-1])
    preprocess = Preprocess(
        side,
        side,
        mean=tuple(facts.mean),
        std=tuple(facts.std),
        crop_fraction=float(facts.crop_pct),
        interpolation=facts.interpolation,
    )
    return Published(
        url, checksum[1], preprocess, math.nan, f"timm, {facts.tag or 'default'}", facts.license or "not stated"
    )
