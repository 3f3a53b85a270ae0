"""`Detector`: what a training with boxes gives. Network, preprocessing and classes in one file without code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.errors import BadPicture, BadRecipe
from foveal.files.given import Picture, named_pictures
from foveal.files.headers import shape_of
from foveal.files.model_file import DETECTION, KIND
from foveal.files.tensors import write_tensors
from foveal.networks.folding import folded
from foveal.ops.boxes import map_boxes
from foveal.ops.geometry import inverse
from foveal.ops.suppression import batched_nms
from foveal.preprocess import Preprocess
from foveal.progress import SILENT, Progress
from foveal.tasks.answers import Detections
from foveal.tasks.architecture import Architecture, BoxTask, DetectorNetwork, Kind, task_of
from foveal.tasks.detection import LEAST_SCORE, MOST, OVERLAP
from foveal.tasks.detection_trust import DetectionTrust

__all__ = ["Detector", "Found"]

_BATCH_PIXELS = {"cpu": 1_700_000}  # of input in one forward pass: what caches still hold
_BATCH_PIXELS_ELSEWHERE = 30_000_000
TILE_OVERLAP = 0.2  # of a tile's side that its neighbour sees as well

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """What became of one picture: its objects, or the reason why there are none to tell of."""

    name: str
    objects: Detections | None  # in pixels of the upright picture
    size: tuple[int, int] = (0, 0)  # its height and width
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Detector:
    """A trained detector."""

    network: DetectorNetwork  # in eval mode, float32
    preprocess: Preprocess
    classes: tuple[str, ...]
    architecture: Architecture
    threshold: float = 0.25  # least score of what `predict` shows: best F1 on validation
    trained: Mapping[str, Any] = field(default_factory=dict)
    trust: DetectionTrust | None = None  # None: scores are what the network says

    def __post_init__(self) -> None:
        self.network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def task(self) -> BoxTask:
        return task_of(self.network, self.classes, self.size)

    @property
    def kind(self) -> Kind:
        return self.architecture.kind

    @cached_property
    def _answering(self) -> DetectorNetwork:
        """The network as it is asked: its batch norms folded."""
        return folded(self.network)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        return self.preprocess.height, self.preprocess.width

    def said(self, pixels: Tensor) -> Iterator[Any]:
        """(N, H, W, C) uint8 as `preprocess` made them -> what the network says, some pictures at a time."""
        device = next(self.network.parameters()).device
        step = self._pictures_at_once(device)
        with torch.inference_mode():
            for part in torch.split(pixels, step) if len(pixels) else ():
                yield self._answering(self.preprocess.tensor(part.to(device)))

    def _pictures_at_once(self, device: torch.device) -> int:
        pixels = _BATCH_PIXELS.get(device.type, _BATCH_PIXELS_ELSEWHERE)
        return max(1, min(64, pixels // (self.size[0] * self.size[1])))

    def objects(self, pixels: Tensor, score: float = LEAST_SCORE, iou: float = OVERLAP) -> list[Detections]:
        """Detections of N pictures as `preprocess` made them, in pixels of the network's input.

        Scores are calibrated where the detector knows how; up to LEAST_SCORE, `score` bounds what the network says.
        """
        said_least = score if self.trust is None else max(LEAST_SCORE, self.trust.maps.lowest(score))
        found = [o for said in self.said(pixels) for o in self.task.decode(said, self.size, said_least, iou)]
        if self.trust is None:
            return found
        found = [self.trust.calibrated(objects) for objects in found]
        return found if score <= LEAST_SCORE else [objects.take(objects.scores >= score) for objects in found]

    def score_for(self, precision: float) -> float:
        """The least score to tell so that this share of the boxes is right; above 1 where that is out of reach.

        Raises: BadRecipe when the detector was never tried on pictures held out.
        """
        if self.trust is None or not self.trust.curve.n:
            raise BadRecipe(
                "--precision needs a detector whose scores were tried on validation pictures; this one's were not: "
                "give --score, or train it again."
            )
        return min(self.trust.bound_for(precision), 2.0)

    def predict(self, pictures: Picture | Iterable[Picture], **asked: Any) -> list[Found]:
        """As `stream`, all at once."""
        return list(self.stream(pictures, **asked))

    def stream(
        self,
        pictures: Picture | Iterable[Picture],
        *,
        score: float | None = None,
        iou: float = OVERLAP,
        tile: int = 0,
        progress: Progress = SILENT,
    ) -> Iterator[Found]:
        """Detections on paths (a folder stands for all pictures below it), file contents, uint8 arrays or PIL pictures.

        A picture that cannot be read gets a reason and no objects; the rest goes on. Memory is bounded by the batch.
        Args:   score, the least that is told, by default the detector's own; iou, above which two boxes of a class are
                one object; tile, pixels a side: larger pictures are looked at piece by piece.
        Raises: Missing for a path that is not there.
        """
        named = list(named_pictures(pictures))
        least = self.threshold if score is None else score
        step = self._pictures_at_once(next(self.network.parameters()).device)
        with progress.task("predicting", len(named)) as advance:
            for start in range(0, len(named), 1 if tile else step):
                part = named[start : start + (1 if tile else step)]
                yield from self._tiled(*part[0], tile, least, iou) if tile else self._answer(part, least, iou)
                advance(len(part))

    def _answer(self, named: Sequence[tuple[str, Any]], score: float, iou: float) -> Iterator[Found]:
        pixels: dict[int, Pixels] = {}
        sizes: dict[int, tuple[int, int]] = {}
        reasons: dict[int, str] = {}
        for i, (name, source) in enumerate(named):
            try:
                sizes[i] = shape_of(source, name)[:2]
                pixels[i] = self.preprocess.pixels(source, name)
            except BadPicture as error:
                reasons[i] = error.reason
        found: dict[int, Detections] = {}
        if pixels:
            batch = torch.from_numpy(np.stack(list(pixels.values())))
            found = dict(zip(pixels, self.objects(batch, score, iou), strict=True))
        for i, (name, _) in enumerate(named):
            if i in found:
                yield Found(name, self.at_home(found[i], sizes[i]), sizes[i])
            else:
                yield Found(name, None, reason=reasons[i])

    def at_home(self, objects: Detections, size: tuple[int, int]) -> Detections:
        """Detections in pixels of the network's input -> in those of a picture of (height, width) pixels."""
        boxes, kept = map_boxes(inverse(self.preprocess.matrix(*size)), objects.xyxy, size[1], size[0], 0.0, 1e-6)
        return Detections(boxes, objects.labels, objects.scores).take(kept)

    def _tiled(self, name: str, source: Any, tile: int, score: float, iou: float) -> Iterator[Found]:
        """The picture in pieces that overlap, and as a whole; what pieces see twice is told once."""
        from foveal.files.pictures import read_image

        try:
            picture = read_image(source, name=name, channels=self.preprocess.channels,
                                 max_megapixels=self.preprocess.max_megapixels)  # fmt: skip
        except BadPicture as error:
            yield Found(name, None, reason=error.reason)
            return
        height, width = picture.shape[:2]
        parts = [(0, 0, height, width)] + [
            (top, left, min(tile, height), min(tile, width))
            for top in _starts(height, tile) for left in _starts(width, tile)
        ]  # fmt: skip
        boxes, labels, scores = [], [], []
        for top, left, high, wide in dict.fromkeys(parts):
            pixels = self.preprocess.pixels(np.ascontiguousarray(picture[top : top + high, left : left + wide]), name)
            own = self.at_home(self.objects(torch.from_numpy(pixels[None]), score, iou)[0], (high, wide))
            inner = _not_cut(own.xyxy, (top, left, high, wide), (height, width))
            boxes.append(own.xyxy[inner] + np.array([left, top, left, top]))
            labels.append(own.labels[inner])
            scores.append(own.scores[inner])
        together = Detections(np.concatenate(boxes), np.concatenate(labels), np.concatenate(scores))
        xyxy, scored, classed = (torch.from_numpy(v) for v in (together.xyxy, together.scores, together.labels))
        kept = batched_nms(xyxy, scored, classed, iou)
        yield Found(name, together.take(kept[:MOST].numpy()), (height, width))

    def save(self, path: Path) -> None:
        """Write the detector as one `.safetensors` file, durably."""
        state = {name: value.detach().to("cpu").contiguous() for name, value in self.network.state_dict().items()}
        built = self.architecture
        facts = {
            "task": DETECTION,
            "network": {
                "name": built.trunk, "options": dict(built.options), "detector": built.kind, "width": built.width,
                "anchors": [list(anchor) for anchor in built.anchors],
                "frozen_norms": built.frozen_norms, "cfg": built.cfg,
            },
            "classes": list(self.classes),
            "preprocess": self.preprocess.as_dict(),
            "threshold": self.threshold,
            "trained": dict(self.trained),
            "trust": self.trust and self.trust.facts(),
        }  # fmt: skip
        write_tensors(path, state, facts, KIND)


def _starts(length: int, tile: int) -> list[int]:
    """Where tiles begin along one side: evenly, overlapping by a share at least, the last one at the end."""
    if length <= tile:
        return [0]
    count = 1 + int(np.ceil((length - tile) / (tile * (1 - TILE_OVERLAP))))
    return [round(v) for v in np.linspace(0, length - tile, count)]


def _not_cut(xyxy: Floats, part: tuple[int, int, int, int], whole: tuple[int, int]) -> NDArray[np.bool_]:
    """(n,) boxes that do not end at an edge where the picture goes on: a neighbouring tile, or the whole, sees more."""
    top, left, high, wide = part
    open_edges = np.array([left > 0, top > 0, left + wide < whole[1], top + high < whole[0]])
    at_edge = np.abs(xyxy - np.array([0, 0, wide, high])) < 1.0
    clear: NDArray[np.bool_] = ~(at_edge & open_edges).any(1)
    return clear
