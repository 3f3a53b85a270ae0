"""How quick are the overlaps of many boxes, and their suppression class by class?

20,000 boxes of 80 classes on a canvas of 640 pixels, and 5,000 against 5,000; the median of five turns each.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from _common import Measure, Result, figures, parser


def main() -> None:
    """Measure and tell."""
    import torch

    from foveal.ops.boxes import box_iou
    from foveal.ops.suppression import batched_nms

    asked = parser(__doc__).parse_args()
    torch.manual_seed(0)

    def some(n: int) -> Any:
        corners = torch.rand(n, 2) * 600
        return torch.cat([corners, corners + 1 + torch.rand(n, 2) * 80], 1)

    few = 10 if asked.quick else 1
    many, scores, labels = some(20_000 // few), torch.rand(20_000 // few), torch.randint(0, 80, (20_000 // few,))
    square = some(5_000 // few)
    suppression = timed(lambda: batched_nms(many, scores, labels, 0.5))
    overlaps = timed(lambda: box_iou(square, square))
    rows = [
        ["suppression, 20,000 boxes of 80 classes", figures(suppression, "ms", 0)],
        ["overlaps, 5,000 × 5,000", figures(overlaps, "ms", 0)],
    ]
    found = [statistics.median(suppression), statistics.median(overlaps)]
    measures = [
        Measure("suppression", f"{found[0]:.0f} ms", "at most 100 ms", found[0] <= 100),
        Measure("overlaps", f"{found[1]:.0f} ms", "at most 200 ms", found[1] <= 200),
    ]
    raw = {"suppression": suppression, "overlaps": overlaps}
    Result("boxes", "Boxes by the thousand.", ["what", "time"], rows, measures, raw).finish(asked)


def timed(work: Callable[[], object], turns: int = 5) -> list[float]:
    """Milliseconds of each turn, after one that warms up."""
    work()
    spent = []
    for _ in range(turns):
        start = time.perf_counter()
        work()
        spent.append(1000 * (time.perf_counter() - start))
    return spent


if __name__ == "__main__":
    main()
