"""Who computes: uint8 pictures in, named arrays out. What comes after is shared, whoever computed.

An engine may be asked by several threads at once. PyTorch is imported when an engine of PyTorch's is made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foveal.preprocess import Preprocess, Views

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Engine", "TorchEngine", "viewed"]


class Engine(Protocol):
    """What answers for pictures, as `Preprocess.pixels` made them."""

    @property
    def device(self) -> str:
        """Where it computes: "cpu", "cuda", …"""
        ...

    def __call__(
        self, pixels: NDArray[np.uint8], views: Views = "none", features: bool = False
    ) -> dict[str, NDArray[Any]]:
        """(N, H, W, C) -> the task's tensors by name, N rows each; with `features` (N, D) as well, what entered the
        classifier of the pictures as they are.

        Args:   views, of each picture, over which the tensors are averaged.
        Raises: BadRecipe for features of a network without a linear classifier.
        """
        ...


@dataclass(eq=False)
class TorchEngine:
    """A network of PyTorch's, in eval mode and float32, channels last in memory as `Preprocess.tensor` gives pictures:
    a forward pass is twice as fast so."""

    network: nn.Module
    preprocess: Preprocess
    tensors: Callable[[Any], dict[str, Tensor]]  # the task's: outputs -> tensors of fixed shapes
    classifier: Callable[[], str] | None = None  # path of the layer whose inputs are the features
    folding: bool = False  # answer with batch norms folded into the convolutions before them
    _folded: nn.Module | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self.network.eval()
        import torch

        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def device(self) -> str:
        """Of the network's parameters."""
        return next(self.network.parameters()).device.type

    def outputs(self, pixels: NDArray[np.uint8]) -> Any:
        """What the network itself gives for (N, H, W, C)."""
        import torch

        with torch.inference_mode():
            return self._answering()(self._images(pixels))

    def __call__(
        self, pixels: NDArray[np.uint8], views: Views = "none", features: bool = False
    ) -> dict[str, NDArray[Any]]:
        """See `Engine`."""
        import torch

        from foveal.networks.head import taking_features

        network = self._answering()
        taking = taking_features(network, self._classifier()) if features else nullcontext()
        with torch.inference_mode(), taking as taken:
            found, seen = [], None
            for weight, view in viewed(self._images(pixels), views):
                named = self.tensors(network(view))
                found.append({name: value if weight == 1 else weight * value for name, value in named.items()})
                if taken is not None and seen is None:
                    seen = taken.take().cpu().numpy()
        joined = {name: sum_of([named[name] for named in found]).cpu().numpy() for name in found[0]}
        return joined if seen is None else {**joined, "features": seen}

    def _images(self, pixels: NDArray[np.uint8]) -> Tensor:
        import torch

        device = next(self.network.parameters()).device
        return self.preprocess.tensor(torch.from_numpy(np.ascontiguousarray(pixels)).to(device))

    def _classifier(self) -> str:
        assert self.classifier is not None, "this network has no classifier"
        return self.classifier()

    def _answering(self) -> nn.Module:
        if not self.folding:
            return self.network
        from foveal.networks.folding import folded

        with self._lock:
            if self._folded is None:
                self._folded = folded(self.network)
            return self._folded


def sum_of(parts: list[Tensor]) -> Tensor:
    """Of tensors of one shape; a single one as it is."""
    import torch

    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


def viewed(images: Tensor, views: Views) -> Iterator[tuple[float, Tensor]]:
    """The views of (N, C, H, W) whose logits are averaged, with their weights.

    "mirror+shift" is the six views of the CIFAR-10 speed runs: the picture, and the picture moved by a pixel up-left
    and down-right, each also mirrored; half of the weight lies on the unmoved one.
    Source: Jordan 2024, arXiv:2404.00498, section 3.7.
    """
    from torch.nn import functional as F

    if views == "none":
        yield 1.0, images
        return
    shifted = [(1.0, images)]
    if views == "mirror+shift":
        height, width = images.shape[2:]
        padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
        shifted = [(0.5, images), (0.25, padded[:, :, :height, :width]), (0.25, padded[:, :, 2:, 2:])]
    for weight, view in shifted:
        yield weight / 2, view
        yield weight / 2, view.flip(-1)
