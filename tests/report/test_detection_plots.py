from __future__ import annotations

import io

import numpy as np
import pytest

from foveal.data.dataset import Boxes
from foveal.report import detection_plots as plots
from foveal.tasks.answers import Detections
from foveal.tasks.detection_scores import DetectionScores, score_objects


def truth_of(n: int, K: int) -> Boxes:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 60, (2 * n, 2))
    xyxy = np.concatenate([low, low + rng.uniform(12, 135, (2 * n, 2))], axis=1)
    none = np.zeros(2 * n, np.bool_)
    sizes = np.tile([200, 260], (n, 1))
    return Boxes(xyxy, rng.integers(0, K, 2 * n), np.arange(0, 2 * n + 1, 2), sizes, none, none.copy())


def scored(n: int = 8, K: int = 3) -> tuple[DetectionScores, Boxes]:
    """The first picture is missed altogether; the second has a sure false alarm."""
    truth, found = truth_of(n, K), []
    for i in range(n):
        xyxy, labels = truth.xyxy[truth.of(i)], truth.labels[truth.of(i)]
        if i == 0:
            found.append(Detections(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0)))
            continue
        extra = np.array([[190.0, 150, 255, 199]])
        boxes = np.concatenate([extra, xyxy]) if i == 1 else xyxy
        kinds = np.append(0, labels) if i == 1 else labels
        found.append(Detections(boxes, kinds, np.linspace(0.9, 0.6, len(boxes))))
    return score_objects(found, truth, [f"c{k}" for k in range(K)], resamples=20), truth


def texts(figure) -> list[str]:
    return [t.get_text().replace("\u202f", " ") for axes in figure.axes for t in axes.texts]


def saved(figure) -> None:
    figure.savefig(io.BytesIO(), format="svg")


def test_precision_by_recall_tells_both_means_and_names_the_weakest() -> None:
    scores, _ = scored()
    figure = plots.plot_precision_recall(scores)
    assert f"{100 * scores.ap50:.1f}" in figure.get_suptitle()
    weakest = scores.classes[int(np.nanargmin(scores.class_ap50))]
    assert any(text.startswith(f"{weakest}: ") for text in texts(figure))
    assert len(figure.axes[0].lines) == 3 + 2
    saved(figure)


def test_the_confusion_counts_misses_and_false_alarms() -> None:
    scores, _ = scored()
    figure = plots.plot_confusion_with_background(scores)
    assert (
        figure.get_suptitle().replace("\n", " ").endswith("2 missed, 1 false positives, 0 predicted as another class")
    )
    written = {tuple(round(v) for v in t.get_position()[::-1]): t.get_text() for t in figure.axes[0].texts}
    assert written == {(t, g): str(scores.confusion[t, g]) for t, g in np.argwhere(scores.confusion).tolist()}
    saved(figure)


@pytest.mark.parametrize("K", [1, 2, 26, 27, 90])
def test_every_chart_can_be_drawn_for_any_number_of_classes(K: int) -> None:
    scores, _ = scored(n=20, K=K)
    for draw in (
        plots.plot_precision_recall,
        plots.plot_average_precision,
        plots.plot_ap_by_size,
        plots.plot_confusion_with_background,
    ):
        saved(draw(scores))


def test_charts_of_nothing_to_find_say_so() -> None:
    truth = truth_of(2, 1).take(np.zeros(0, np.int64))
    scores = score_objects([], truth, ["$x$"])
    assert plots.plot_average_precision(scores).get_suptitle() == "No class could be scored"
    assert texts(plots.plot_ap_by_size(scores)) == ["no objects"] * 4
    saved(plots.plot_precision_recall(scores))
    saved(plots.plot_confusion_with_background(scores))


def test_sizes_tell_where_it_is_worst() -> None:
    scores, _ = scored()
    known = {"small": scores.ap_small, "medium": scores.ap_medium, "large": scores.ap_large}
    worst = min((v, name) for name, v in known.items() if not np.isnan(v))[1]
    assert worst in plots.plot_ap_by_size(scores).get_suptitle()


def test_the_worst_misses_and_alarms_are_on_their_pictures() -> None:
    scores, truth = scored()
    misses, alarms = plots.worst_misses(scores, truth), plots.worst_alarms(scores)
    assert [error.picture for error in misses] == [0]
    areas = (truth.xyxy[:2, 2:] - truth.xyxy[:2, :2]).prod(axis=1)
    assert np.array_equal(misses[0].xyxy, truth.xyxy[int(areas.argmax())])
    assert [(error.picture, error.words) for error in alarms] == [(1, "c0 0.90")]
