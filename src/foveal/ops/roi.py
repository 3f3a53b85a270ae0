"""RoIAlign: a small map of fixed size for each region of a feature map, without rounding its corners.

He, Gkioxari, Dollár, Girshick 2017, "Mask R-CNN", arXiv:1703.06870, section 3. A cell's value is the mean of a few
bilinear samples in it; that is a weighted sum of places of the map, so all cells of all regions are bags of weighted
places, which torch sums without ever holding the samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["roi_align"]


def roi_align(
    maps: Tensor,
    regions: Tensor,
    pictures: Tensor,
    size: tuple[int, int],
    scale: float = 1.0,
    samples: int = 0,
    aligned: bool = False,
) -> Tensor:
    """Regions of feature maps, brought to one size; differentiable in the maps, not in the regions.

    Args:    maps (N, C, H, W); regions (K, 4) xyxy in pixels of the picture; pictures (K,) int64, whose map is meant;
             size, of the result (height, width); scale, of the map beside the picture (1 / stride); samples, a side of
             each cell (0: as many as the cell has places of the map, rounded up); aligned, whether the centre of a
             map's first place is (0.5, 0.5), as it should be, and not (0, 0), as earlier detectors have it (regions
             are then at least one place wide).
    Returns: (K, C, *size). A sample more than one place outside the map counts as zero, one nearer as the edge.
    """
    import torch

    scaled = regions.detach().to(maps.dtype) * scale - (0.5 if aligned else 0.0)
    extent = scaled[:, 2:] - scaled[:, :2]
    if not aligned:
        extent = extent.clamp_min(1.0)
    cells = torch.tensor((size[1], size[0]), dtype=maps.dtype, device=maps.device)
    cell = extent / cells
    counts = torch.full_like(cell, samples) if samples > 0 else cell.ceil().clamp_min(0)
    out = maps.new_zeros(len(regions), maps.shape[1], *size)
    rows = maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])  # a place's channels side by side
    kinds, kind_of = torch.unique(counts.long(), dim=0, return_inverse=True)
    for kind, (across, down) in enumerate(kinds.tolist()):
        own = (kind_of == kind).nonzero()[:, 0]
        if across and down:
            x = _taps(scaled[own, 0], cell[own, 0], size[1], across, maps.shape[3])
            y = _taps(scaled[own, 1], cell[own, 1], size[0], down, maps.shape[2])
            out = out.index_copy(0, own, _bags(rows, pictures[own], x, y, maps.shape[2:]))
    return out


def _taps(start: Tensor, cell: Tensor, cells: int, samples: int, length: int) -> tuple[Tensor, Tensor]:
    """Along one axis: (K, cells, 2 · samples) places of the map and their weights, those of a cell adding up to 1."""
    import torch

    steps = torch.arange(cells * samples, device=start.device, dtype=start.dtype).add_(0.5).div_(samples)
    at = (start[:, None] + steps * cell[:, None]).view(len(start), cells, samples)
    inside = (at >= -1) & (at <= length)
    at = at.clamp(0, length - 1)
    low = at.floor()
    part = at - low
    high = (low + 1).clamp_max(length - 1)
    weights = torch.cat([1 - part, part], -1) * torch.cat([inside, inside], -1) / samples
    return torch.cat([low, high], -1).long(), weights


def _bags(
    rows: Tensor, pictures: Tensor, x: tuple[Tensor, Tensor], y: tuple[Tensor, Tensor], shape: tuple[int, ...]
) -> Tensor:
    """(K, C, h, w): weighted sums of rows (N · H · W, C), each the product of an axis of x and one of y."""
    from torch.nn import functional

    places = (pictures[:, None, None] * shape[0] + y[0])[:, :, None, :, None] * shape[1] + x[0][:, None, :, None, :]
    weights = y[1][:, :, None, :, None] * x[1][:, None, :, None, :]
    k, h, w = places.shape[:3]
    summed = functional.embedding_bag(
        places.reshape(k * h * w, -1), rows, mode="sum", per_sample_weights=weights.reshape(k * h * w, -1)
    )
    return summed.view(k, h, w, -1).permute(0, 3, 1, 2)
