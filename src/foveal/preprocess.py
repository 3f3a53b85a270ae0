"""How a picture becomes a tensor: one value, saved in the model and used by everything.

The store that training slices, `predict`, `evaluate` and every exported form go through `Preprocess.pixels`, the one
description of size, resize rule, colour and scaling (no second one exists).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from foveal.files.pictures import Encoded, read_image
from foveal.ops.geometry import scale_matrix, translation

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GREY", "VIEWS", "Preprocess", "Views"]

GREY = 114  # beside a whole picture; near the mean of photographs
Views = Literal["none", "mirror", "mirror+shift"]  # of a picture, whose answers are averaged
VIEWS: tuple[Views, ...] = ("none", "mirror", "mirror+shift")


@dataclass(frozen=True)
class Preprocess:
    """Size, resize rule, colour and scaling of a network's input.

    A picture is resized (bicubic, antialiased) until it covers `height` × `width` divided by `crop_fraction`, and its
    centre is cut out; with `whole` it is resized until it fits inside, and what is left is filled with grey: no object
    is lost. Pixels are uint8 until `tensor`, which gives `(x / 255 − mean) / std`.

    >>> Preprocess(28, 28, channels=1, mean=(0.13,), std=(0.31,)).pixels(zero).shape
    (28, 28, 1)
    """

    height: int  # pixels
    width: int
    channels: int = 3  # 3: RGB; 1: grey; 4: four bands
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)  # of values in [0, 1], one a channel
    std: tuple[float, ...] = (0.25, 0.25, 0.25)
    crop_fraction: float = 1.0  # share of the resized picture's side that the centre crop keeps
    interpolation: str = "bicubic"  # or "bilinear"
    max_megapixels: float = 100.0  # a larger picture is refused before it is decoded
    whole: bool = False  # the whole picture, with grey beside it, for boxes; else its centre, for labels
    white: float | None = None  # value that is white in pictures of more than 8 bits a sample; None: by their type

    def __post_init__(self) -> None:
        if self.channels not in (1, 3, 4):
            raise ValueError(f"channels must be 1, 3 or 4, is {self.channels}")
        if not (1 <= self.height <= 8192 and 1 <= self.width <= 8192):
            raise ValueError(f"size must be 1 to 8192 pixels a side, is {self.height} x {self.width}")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(f"mean and std must have {self.channels} values")
        if not all(math.isfinite(m) for m in self.mean) or not all(math.isfinite(s) and s > 0 for s in self.std):
            raise ValueError("mean must be finite and std finite and above 0")
        if not 0 < self.crop_fraction <= 1:
            raise ValueError(f"crop_fraction must be in (0, 1], is {self.crop_fraction}")
        if self.interpolation not in ("bicubic", "bilinear"):
            raise ValueError(f"interpolation must be bicubic or bilinear, is {self.interpolation}")
        if self.whole and self.crop_fraction != 1:
            raise ValueError("crop_fraction must be 1 where the whole picture is wanted")
        if not (math.isfinite(self.max_megapixels) and self.max_megapixels > 0):
            raise ValueError("max_megapixels must be above 0")
        if self.white is not None and not (math.isfinite(self.white) and self.white > 0):
            raise ValueError("white must be finite and above 0")

    def pixels(self, source: Encoded | NDArray[np.uint8], name: str = "") -> NDArray[np.uint8]:
        """(H, W, C) uint8 of one picture: an encoded file's bytes or path, or decoded pixels (H, W) or (H, W, C).

        Raises: BadPicture when the picture cannot be decoded whole.

        >>> model.preprocess.pixels(zero).shape
        (24, 24, 1)
        """
        cover = (math.ceil(self.height / self.crop_fraction), math.ceil(self.width / self.crop_fraction))
        picture = self.upright(source, name, cover)
        if self.whole:
            return inside(picture, (self.height, self.width), self.interpolation)
        return fit(picture, cover, (self.height, self.width), self.interpolation)

    def upright(
        self, source: Encoded | NDArray[np.uint8], name: str = "", cover: tuple[int, int] | None = None
    ) -> NDArray[np.uint8]:
        """(H, W, C) uint8 of one picture at its own size, as `read_image` gives it. Raises: BadPicture.

        >>> model.preprocess.upright(zero).shape
        (8, 8, 1)
        """
        return read_image(
            source, name=name, channels=self.channels, cover=cover, max_megapixels=self.max_megapixels, white=self.white
        )

    def matrix(self, height: int, width: int) -> NDArray[np.float64]:
        """(3, 3) that carries places of an upright picture of this size to its pixels as `pixels` gives them.

        >>> Preprocess(24, 24).matrix(8, 8) @ [4, 4, 1]
        array([12., 12.,  1.])
        """
        if self.whole:
            new_h, new_w, top, left = _placed((height, width), (self.height, self.width))
            return translation(left, top) @ scale_matrix(new_w / width, new_h / height)
        cover = (math.ceil(self.height / self.crop_fraction), math.ceil(self.width / self.crop_fraction))
        new_h, new_w = _covering((height, width), cover)
        away = translation(-(new_w - self.width) / 2, -(new_h - self.height) / 2)
        return away @ scale_matrix(new_w / width, new_h / height)

    def tensor(self, pixels: Tensor) -> Tensor:
        """(N, H, W, C) uint8 on any device -> (N, C, H, W) float32, normalised; channels last in memory.

        >>> import torch
        >>> Preprocess(8, 8).tensor(torch.zeros(2, 8, 8, 3, dtype=torch.uint8)).shape
        torch.Size([2, 3, 8, 8])
        """
        import torch

        n, height, width, channels = pixels.shape
        # Whole rows at a time: three channels are too short a last axis for vector instructions.
        rows = pixels.to(torch.float32, memory_format=torch.contiguous_format).view(n, height, width * channels)
        mean = (torch.tensor(self.mean, device=rows.device) * 255).repeat(width)
        std = (torch.tensor(self.std, device=rows.device) * 255).repeat(width)
        return rows.sub_(mean).div_(std).view(n, height, width, channels).permute(0, 3, 1, 2)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `Preprocess(**that)` gives the same value back.

        >>> Preprocess(**Preprocess(8, 8).as_dict()).height
        8
        """
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items() if v is not None}


def fit(
    picture: NDArray[np.uint8], cover: tuple[int, int], crop: tuple[int, int], interpolation: str = "bicubic"
) -> NDArray[np.uint8]:
    """Resize (H, W, C) until it covers `cover` with its proportions kept, then cut the centre `crop` out."""
    height, width = picture.shape[:2]
    new_h, new_w = _covering((height, width), cover)
    # Only the part that the crop keeps is resized: a 1 x 200 strip would otherwise become 200 pictures wide.
    top, left = (new_h - crop[0]) / 2, (new_w - crop[1]) / 2
    if (new_h, new_w) == (height, width):
        y, x = int(top), int(left)
        return np.ascontiguousarray(picture[y : y + crop[0], x : x + crop[1]])
    box = (
        left * width / new_w,
        top * height / new_h,
        (left + crop[1]) * width / new_w,
        (top + crop[0]) * height / new_h,
    )
    return _resized(picture, crop, interpolation, box)


def inside(picture: NDArray[np.uint8], size: tuple[int, int], interpolation: str = "bicubic") -> NDArray[np.uint8]:
    """Resize (H, W, C) until it fits into `size` with its proportions kept, in the middle of grey."""
    new_h, new_w, top, left = _placed(picture.shape[:2], size)
    if (new_h, new_w) == size == picture.shape[:2]:
        return picture
    out = np.full((*size, picture.shape[2]), GREY, np.uint8)
    out[top : top + new_h, left : left + new_w] = _resized(picture, (new_h, new_w), interpolation)
    return out


def _covering(size: tuple[int, int], cover: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a picture resized until it covers."""
    scale = max(cover[0] / size[0], cover[1] / size[1])
    return max(cover[0], round(size[0] * scale)), max(cover[1], round(size[1] * scale))


def _placed(size: tuple[int, ...], into: tuple[int, int]) -> tuple[int, int, int, int]:
    """Height, width, top and left of a picture resized until it fits."""
    scale = min(into[0] / size[0], into[1] / size[1])
    height = min(into[0], max(1, round(size[0] * scale)))
    width = min(into[1], max(1, round(size[1] * scale)))
    return height, width, (into[0] - height) // 2, (into[1] - width) // 2


def _resized(
    picture: NDArray[np.uint8],
    size: tuple[int, int],
    interpolation: str,
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.uint8]:
    """(H, W, C) of the picture, or of a part of it (left, upper, right, lower)."""
    from PIL import Image

    resample = Image.Resampling.BICUBIC if interpolation == "bicubic" else Image.Resampling.BILINEAR
    whole = (
        [picture] if picture.shape[2] == 3 else list(picture.transpose(2, 0, 1))
    )  # bands: Pillow's fourth is opacity
    images = (Image.fromarray(np.ascontiguousarray(part)) for part in whole)
    parts = [np.asarray(image.resize((size[1], size[0]), resample, box=box)) for image in images]
    return parts[0] if parts[0].ndim == 3 else np.stack(parts, axis=2)
