"""Augmentation: one matrix, one resample; then colour, cutout, and mixing of neighbours.

All geometry drawn for a picture (flip, crop, zoom, translation, rotation, shear, padded crop) is multiplied into one
3×3 matrix, and the picture is resampled once. Points and boxes follow by `ops.geometry.map_points` with the same
matrix. Every draw is a function of (seed, epoch, sample), see `ops/draws.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from foveal.ops.draws import batch_generator, uniforms
from foveal.ops.geometry import flip_matrix, linear_about, on_pixel_centres, scale_matrix, translation
from foveal.recipe import AugmentRecipe

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Drawn", "draw", "in_words", "mix", "recolored", "resolve", "resolve_boxes", "warp"]

# Bounds between the presets, in training pictures: fewer pictures are drawn more strongly.
STRONG_BELOW = 5_000
OFF_FROM = 1_000_000
GLYPH_SIDE = 48  # grey pictures up to this side are mostly writing: never mirrored, moved as a hand would

_DRAWS = 16  # numbers per picture and epoch; the order below is part of "to the bit"


def resolve(recipe: AugmentRecipe, size: tuple[int, int], channels: int, pictures: int) -> AugmentRecipe:
    """Every "auto" replaced: the preset by the number of training pictures, its strengths by what the pictures are."""
    preset = recipe.preset
    if preset == "auto":
        preset = "strong" if pictures < STRONG_BELOW else "mild" if pictures < OFF_FROM else "off"
    strengths = _preset(preset, min(size), channels)
    chosen = {k: (strengths[k] if v == "auto" else v) for k, v in recipe.model_dump().items() if k != "preset"}
    return AugmentRecipe.model_validate({"preset": preset, **chosen})


def _preset(preset: str, side: int, channels: int) -> dict[str, object]:
    off: dict[str, object] = {
        "flip": "none",
        "crop": 1.0,
        "zoom": 0.0,
        "translate": 0.0,
        "rotate": 0.0,
        "shear": 0.0,
        "pad_crop": 0,
        "color": 0.0,
        "cutout": 0.0,
        "mixup": 0.0,
        "cutmix": 0.0,
        "mosaic": 0.0,
    }
    if preset == "off":
        return off
    strong = preset == "strong"
    if channels == 1 and side <= GLYPH_SIDE:
        drawn = (
            {"zoom": 0.15, "translate": 0.08, "rotate": 12.0, "shear": 8.0}
            if strong
            else {"zoom": 0.1, "translate": 0.07, "rotate": 10.0, "shear": 5.0}
        )
        return off | drawn
    flip = "horizontal" if channels >= 3 else "none"
    if side <= 64:  # photographs of the size of CIFAR: every pixel counts, a resample blurs
        pad = max(1, side // 16)
        return off | {"flip": flip, "pad_crop": pad} | ({"zoom": 0.1, "rotate": 8.0, "cutout": 0.25} if strong else {})
    drawn = {"crop": 0.35, "rotate": 8.0, "color": 0.3} if strong else {"crop": 0.5, "color": 0.15}
    return off | {"flip": flip} | drawn


def resolve_boxes(recipe: AugmentRecipe, size: tuple[int, int], channels: int, pictures: int) -> AugmentRecipe:
    """As `resolve`, for pictures with boxes: nothing is turned or sheared, since an upright box around a turned one is
    no longer tight, and nothing is cropped away; few photographs become mosaics."""
    settled = resolve(recipe.model_copy(update={"preset": recipe.preset}), size, channels, pictures)
    off = settled.preset == "off"
    photographs = max(size) > GLYPH_SIDE and channels == 3
    strong = settled.preset == "strong"
    strengths: dict[str, object] = {
        "flip": "none" if off or not photographs else "horizontal",
        "crop": 1.0,
        "zoom": 0.0 if off else 0.4 if photographs else 0.15,
        "translate": 0.0 if off else 0.1 if photographs else 0.05,
        "rotate": 0.0,
        "shear": 0.0,
        "pad_crop": 0,
        "color": 0.0 if off else 0.3 if strong and photographs else 0.2,
        "cutout": 0.0,
        "mixup": 0.0,
        "cutmix": 0.0,
        "mosaic": 0.5 if strong and photographs else 0.0,
    }
    chosen = {k: (strengths[k] if v == "auto" else v) for k, v in recipe.model_dump().items() if k != "preset"}
    return AugmentRecipe.model_validate({"preset": settled.preset, **chosen})


def in_words(recipe: AugmentRecipe) -> str:
    """What a resolved recipe draws, in one line: `strong: flip horizontal, crop to 35 %, rotate 8°`."""
    parts = [
        f"flip {recipe.flip}" if recipe.flip != "none" else "",
        f"crop to {100 * float(recipe.crop):.0f} % of the area" if recipe.crop != 1 else "",
        f"zoom ±{100 * float(recipe.zoom):.0f} %" if recipe.zoom else "",
        f"translate {100 * float(recipe.translate):.0f} %" if recipe.translate else "",
        f"rotate ±{recipe.rotate:g}°" if recipe.rotate else "",
        f"shear ±{recipe.shear:g}°" if recipe.shear else "",
        f"pad {recipe.pad_crop} px and crop" if recipe.pad_crop else "",
        f"color {recipe.color:g}" if recipe.color else "",
        f"cutout {100 * float(recipe.cutout):.0f} % of the side" if recipe.cutout else "",
        f"mixup {recipe.mixup:g}" if recipe.mixup else "",
        f"CutMix {recipe.cutmix:g}" if recipe.cutmix else "",
        f"mosaic of {100 * float(recipe.mosaic):.0f} % of the pictures" if recipe.mosaic else "",
    ]
    return f"{recipe.preset}: " + (", ".join(p for p in parts if p) or "pictures as they are")


@dataclass(frozen=True)
class Drawn:
    """What was drawn for n pictures."""

    matrices: NDArray[np.float64]  # (n, 3, 3), original to augmented picture, continuous coordinates
    colors: (
        NDArray[np.float64] | None
    )  # (n, 3, 4) for RGB, (n, 1, 2) for grey, (n, 4, 5) for bands: linear part and offset, in 0…255
    holes_xyxy: NDArray[np.int64] | None  # (n, 4) pixels, what cutout hides


def draw(
    recipe: AugmentRecipe, size: tuple[int, int], channels: int, seed: int, epoch: int, samples: NDArray[np.int64]
) -> Drawn:
    """The draws of n pictures of size (H, W); recipe must be resolved."""
    u = uniforms(seed, epoch, samples, _DRAWS)
    either_way = 2 * u - 1  # in [-1, 1)
    height, width = size
    matrices = _crop(u[:, 0:4], float(recipe.crop), width, height)
    if recipe.zoom or recipe.rotate or recipe.shear:
        zoom = 1 + float(recipe.zoom) * either_way[:, 6]
        about = linear_about(
            width / 2, height / 2, float(recipe.rotate) * either_way[:, 4], float(recipe.shear) * either_way[:, 5], zoom
        )
        matrices = about @ matrices
    shift = float(recipe.translate)
    pad = int(recipe.pad_crop)
    if shift or pad:
        dx = shift * width * either_way[:, 7] + np.floor(u[:, 9] * (2 * pad + 1)) - pad
        dy = shift * height * either_way[:, 8] + np.floor(u[:, 10] * (2 * pad + 1)) - pad
        matrices = translation(dx, dy) @ matrices
    matrices = _flips(str(recipe.flip), seed, epoch, samples, width, height) @ matrices
    colors = _colors(float(recipe.color), either_way[:, 11:14], channels) if recipe.color else None
    holes = _holes(float(recipe.cutout), u[:, 14:16], width, height) if recipe.cutout else None
    return Drawn(matrices, colors, holes)


def _crop(u: NDArray[np.float64], smallest: float, width: int, height: int) -> NDArray[np.float64]:
    """A part of the picture with an area of `smallest` to 1 and a side ratio of 3/4 to 4/3, stretched to the whole.

    Source: Szegedy et al. 2014, arXiv:1409.4842, section 6 (there with an area from 8 %).
    """
    n = len(u)
    if smallest >= 1:
        return np.tile(np.eye(3), (n, 1, 1))
    area = smallest + (1 - smallest) * u[:, 0]
    ratio = np.exp((2 * u[:, 1] - 1) * np.log(4 / 3))
    w, h = np.minimum(np.sqrt(area * ratio), 1), np.minimum(np.sqrt(area / ratio), 1)  # shares of the sides
    left, top = (1 - w) * u[:, 2] * width, (1 - h) * u[:, 3] * height
    return scale_matrix(1 / w, 1 / h) @ translation(-left, -top)


def _flips(
    flip: str, seed: int, epoch: int, samples: NDArray[np.int64], width: int, height: int
) -> NDArray[np.float64]:
    """Mirrored in every other epoch, each picture starting on a side of its own.

    More even than a coin each time: two epochs show both sides. Source: Jordan 2024, arXiv:2404.00498, section 3.6.
    """
    start = uniforms(seed, 0, samples, _DRAWS + 2)[:, _DRAWS:] < 0.5
    horizontal = (start[:, 0] ^ (epoch % 2 == 1)) & (flip in ("horizontal", "both"))
    vertical = (start[:, 1] ^ (epoch // 2 % 2 == 1)) & (flip in ("vertical", "both"))
    return flip_matrix(horizontal, vertical, width, height)


_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601


def _colors(strength: float, either_way: NDArray[np.float64], channels: int) -> NDArray[np.float64]:
    """Brightness, contrast (about middle grey) and saturation are all linear in RGB: one 3×4 matrix a picture."""
    brightness, contrast, saturation = (1 + strength * either_way[:, i] for i in range(3))
    gain = brightness * contrast
    offset = 127.5 * (1 - contrast)
    if channels == 1:
        return np.stack([gain, offset], axis=1)[:, None, :]
    if channels != 3:  # bands, of which nobody knows a luma
        linear = gain[:, None, None] * np.eye(channels)
        return np.concatenate([linear, np.broadcast_to(offset[:, None, None], (len(gain), channels, 1))], axis=2)
    grey = np.tile(_LUMA, (3, 1))
    linear = gain[:, None, None] * (saturation[:, None, None] * np.eye(3) + (1 - saturation[:, None, None]) * grey)
    return np.concatenate([linear, np.broadcast_to(offset[:, None, None], (len(gain), 3, 1))], axis=2)


def _holes(share: float, u: NDArray[np.float64], width: int, height: int) -> NDArray[np.int64]:
    """A square of `share` of the shorter side, its centre anywhere. DeVries and Taylor 2017, arXiv:1708.04552."""
    side = max(1, round(share * min(width, height)))
    x, y = np.floor(u[:, 0] * width).astype(np.int64), np.floor(u[:, 1] * height).astype(np.int64)
    left, top = x - side // 2, y - side // 2
    low = np.stack([left, top, left + side, top + side], axis=1)
    return np.clip(low, 0, np.array([width, height, width, height]))


def warp(
    pictures: NDArray[np.uint8],
    drawn: Drawn,
    fill: NDArray[np.uint8],
    outside: Literal["mirrored", "filled"] = "mirrored",
) -> NDArray[np.uint8]:
    """(n, H, W, C) uint8 as drawn. What lies outside the picture is mirrored in, or filled: a mirrored object would be
    one without a box. What is filled, or hidden by cutout, becomes `fill` (C,).

    One bilinear resample a picture, which for mirrorings and whole-pixel moves copies pixels and blurs nothing.
    """
    import cv2

    out = np.empty_like(pictures)
    _, height, width, _ = pictures.shape
    affine = on_pixel_centres(drawn.matrices)[:, :2]
    for i in range(len(pictures)):
        cv2.warpAffine(
            pictures[i],
            affine[i],
            (width, height),
            dst=out[i],
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101 if outside == "mirrored" else cv2.BORDER_CONSTANT,
            borderValue=fill.tolist(),
        )
        out[i] = recolored(out[i], drawn, i)
        if drawn.holes_xyxy is not None:
            left, top, right, bottom = drawn.holes_xyxy[i]
            out[i, top:bottom, left:right] = fill
    return out


def recolored(picture: NDArray[np.uint8], drawn: Drawn, number: int) -> NDArray[np.uint8]:
    """(H, W, C) in the colours drawn for picture `number`."""
    if drawn.colors is None:
        return picture
    import cv2

    return np.asarray(cv2.transform(picture, drawn.colors[number]), np.uint8).reshape(picture.shape)


def mix(
    recipe: AugmentRecipe, images: Tensor, targets: Tensor, classes: int, seed: int, epoch: int, step: int
) -> tuple[Tensor, Tensor]:
    """Mixup or CutMix of a batch with itself turned round: (N, C, H, W) and soft targets (N, K).

    Where both are on, a coin decides batch by batch; where neither is, the batch comes back as it was.
    Source: Zhang et al. 2017, arXiv:1710.09412; Yun et al. 2019, arXiv:1905.04899.
    """
    mixup, cutmix = float(recipe.mixup), float(recipe.cutmix)
    if not (mixup or cutmix):
        return images, targets
    import torch.nn.functional as F

    generator = batch_generator(seed, epoch, step)
    use_cutmix = bool(cutmix) and (not mixup or generator.random() < 0.5)
    share = float(generator.beta(cutmix, cutmix) if use_cutmix else generator.beta(mixup, mixup))
    one_hot = (F.one_hot(targets, classes) if targets.ndim == 1 else targets).to(images.dtype)
    if use_cutmix:
        height, width = images.shape[2:]
        cut_h, cut_w = round(height * (1 - share) ** 0.5), round(width * (1 - share) ** 0.5)
        y, x = int(generator.integers(height)), int(generator.integers(width))
        top, bottom = max(0, y - cut_h // 2), min(height, y - cut_h // 2 + cut_h)
        left, right = max(0, x - cut_w // 2), min(width, x - cut_w // 2 + cut_w)
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = images.flip(0)[:, :, top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (height * width)  # what the clipped cut really kept
        images = mixed
    else:
        images = share * images + (1 - share) * images.flip(0)
    return images, share * one_hot + (1 - share) * one_hot.flip(0)
