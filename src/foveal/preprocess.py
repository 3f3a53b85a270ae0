"""How a picture becomes a tensor: one value, saved in the model and used by everything.

The store that training slices, `predict`, `evaluate` and every exported form go through `Preprocess.pixels`, the one
description of size, resize rule, colour and scaling (no second one exists).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foveal.files.pictures import Encoded, read_image

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Preprocess"]


@dataclass(frozen=True)
class Preprocess:
    """Size, resize rule, colour and scaling of a network's input.

    A picture is resized (bicubic, antialiased) until it covers `height` × `width` divided by `crop_fraction`, and its
    centre is cut out. Pixels are uint8 until `tensor`, which gives `(x / 255 − mean) / std`.
    """

    height: int  # pixels
    width: int
    channels: int = 3  # 3: RGB; 1: grey
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)  # of values in [0, 1], one a channel
    std: tuple[float, ...] = (0.25, 0.25, 0.25)
    crop_fraction: float = 1.0  # share of the resized picture's side that the centre crop keeps
    interpolation: str = "bicubic"  # or "bilinear"
    max_megapixels: float = 100.0  # a larger picture is refused before it is decoded

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, is {self.channels}")
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
        if not (math.isfinite(self.max_megapixels) and self.max_megapixels > 0):
            raise ValueError("max_megapixels must be above 0")

    def pixels(self, source: Encoded | NDArray[np.uint8], name: str = "") -> NDArray[np.uint8]:
        """(H, W, C) uint8 of one picture: an encoded file's bytes or path, or decoded pixels (H, W) or (H, W, C).

        Raises: BadPicture when the picture cannot be decoded whole.
        """
        cover = (math.ceil(self.height / self.crop_fraction), math.ceil(self.width / self.crop_fraction))
        picture = read_image(source, name=name, channels=self.channels, cover=cover, max_megapixels=self.max_megapixels)
        return fit(picture, cover, (self.height, self.width), self.interpolation)

    def tensor(self, pixels: Tensor) -> Tensor:
        """(N, H, W, C) uint8 on any device -> (N, C, H, W) float32, normalised; channels last in memory."""
        import torch

        n, height, width, channels = pixels.shape
        # Whole rows at a time: three channels are too short a last axis for vector instructions.
        rows = pixels.to(torch.float32, memory_format=torch.contiguous_format).view(n, height, width * channels)
        mean = (torch.tensor(self.mean, device=rows.device) * 255).repeat(width)
        std = (torch.tensor(self.std, device=rows.device) * 255).repeat(width)
        return rows.sub_(mean).div_(std).view(n, height, width, channels).permute(0, 3, 1, 2)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `Preprocess(**that)` gives the same value back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def fit(
    picture: NDArray[np.uint8], cover: tuple[int, int], crop: tuple[int, int], interpolation: str = "bicubic"
) -> NDArray[np.uint8]:
    """Resize (H, W, C) until it covers `cover` with its proportions kept, then cut the centre `crop` out."""
    from PIL import Image

    height, width = picture.shape[:2]
    scale = max(cover[0] / height, cover[1] / width)
    new_h, new_w = max(cover[0], round(height * scale)), max(cover[1], round(width * scale))
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
    resample = Image.Resampling.BICUBIC if interpolation == "bicubic" else Image.Resampling.BILINEAR
    grey = picture.shape[2] == 1
    image = Image.fromarray(picture[:, :, 0] if grey else picture)
    out = np.asarray(image.resize((crop[1], crop[0]), resample, box=box))
    return out[:, :, None] if grey else out
