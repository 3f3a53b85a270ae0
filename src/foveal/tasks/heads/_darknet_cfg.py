"""Writes a Darknet cfg layer by layer, out of the very modules that compute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from foveal.networks.darknet import Convolution, Residual

__all__ = ["CfgWriter"]


class CfgWriter:
    """The text of a cfg so far. Each layer that is written returns its number, as routes name it."""

    def __init__(self, height: int, width: int, channels: int = 3) -> None:
        self.last = -1  # number of the layer written last
        self._lines: list[str] = []
        self._section("net", width=width, height=height, channels=channels)
        self.last = -1

    @property
    def text(self) -> str:
        """The cfg."""
        return "\n".join(self._lines) + "\n"

    def _section(self, kind: str, **options: object) -> int:
        gap = [""] if self._lines else []
        self._lines += [*gap, f"[{kind}]", *(f"{key}={value}" for key, value in options.items())]
        self.last += 1
        return self.last

    def convolution(self, module: nn.Module) -> int:
        """A `networks.darknet.Convolution`, or a plain one with a bias."""
        normed = isinstance(module, Convolution)
        conv = module.conv if normed else module
        assert isinstance(conv, nn.Conv2d)
        norm = {"batch_normalize": 1} if normed else {}
        size, stride = conv.kernel_size[0], conv.stride[0]
        activation = "leaky" if normed else "linear"
        return self._section(
            "convolutional", **norm, filters=conv.out_channels, size=size, stride=stride, pad=1, activation=activation
        )

    def residual(self, module: Residual) -> int:
        """Two convolutions and the shortcut."""
        self.convolution(module.narrow)
        self.convolution(module.wide)
        return self._section("shortcut", **{"from": -3}, activation="linear")

    def max_pool(self, size: int, stride: int) -> int:
        """Padded so that the map keeps its side, or halves it rounding up."""
        return self._section("maxpool", size=size, stride=stride)

    def upsample(self) -> int:
        """Twice the side."""
        return self._section("upsample", stride=2)

    def route(self, *layers: int) -> int:
        """Earlier layers, joined by channel."""
        return self._section("route", layers=",".join(map(str, layers)))

    def yolo(self, anchors: Sequence[tuple[float, float]], mask: Iterable[int], classes: int) -> int:
        """How the layer before is read: those of all anchors that the mask counts."""
        told = ", ".join(f"{w!r},{h!r}" for w, h in anchors)
        return self._section("yolo", mask=",".join(map(str, mask)), anchors=told, classes=classes, num=len(anchors))
