"""A COCO results file: a list with an object a box; pictures and classes are numbered from 0, in their order.

Lin et al. 2014, arXiv:1405.0312; format: https://cocodataset.org/#format-results. `file_name` is said besides.
"""

from __future__ import annotations

from foveal.files.plain_json import JsonList
from foveal.tasks import formats
from foveal.tasks.answers import Detections, Prediction

__all__ = ["Writer"]


class Writer(formats.Writer):
    """Boxes in hundredths of a pixel; a picture without a box keeps its number, and is not told of."""

    ANSWERS = (Detections,)
    MODELS = "detectors"

    def begin(self) -> None:
        """See `Writer` in `formats`."""
        self._picture = -1
        self._list = JsonList(self.out)
        self._list.begin()

    def add(self, prediction: Prediction) -> int:
        """See `Writer` in `formats`."""
        self._picture += 1
        found = prediction.answer
        if not isinstance(found, Detections):
            return 0
        for xyxy, label, score in zip(found.xyxy.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True):
            x1, y1, x2, y2 = (round(v, 2) for v in xyxy)
            self._list.add({
                "image_id": self._picture, "file_name": prediction.name, "category_id": label,
                "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)], "score": score,
            })  # fmt: skip
        return len(found)

    def end(self) -> None:
        """See `Writer` in `formats`."""
        self._list.end()
