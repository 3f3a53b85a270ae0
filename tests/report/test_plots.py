from __future__ import annotations

import io

import matplotlib
import numpy as np
import pytest

from foveal.ops.statistics import calibration_bins
from foveal.report import plots, sentences
from foveal.tasks.classification_scores import score_labels
from foveal.training.baseline import Baseline
from foveal.training.curve import fit_curve


def _scores(confusion):
    """Scores whose confusion matrix is the given one."""
    counts = np.asarray(confusion)
    labels = np.repeat(np.arange(len(counts)), counts.sum(axis=1))
    guesses = np.concatenate([np.repeat(np.arange(len(counts)), row) for row in counts])
    return score_labels(4.0 * np.eye(len(counts))[guesses], labels, [f"c{k}" for k in range(len(counts))])


def _texts(figure):
    return [t.get_text() for axes in figure.axes for t in axes.texts]


def test_confusion_tells_the_most_frequent_mistake_and_every_count():
    figure = plots.plot_confusion(_scores([[8, 1, 0], [3, 5, 0], [0, 0, 9]]))
    assert figure.get_suptitle() == "Most frequent confusion: c1 predicted as c0 (3×)"
    (axes,) = figure.axes
    written = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axes.texts}
    assert written == {(0, 0): "8", (0, 1): "1", (1, 0): "3", (1, 1): "5", (2, 2): "9"}
    assert axes.get_ylabel() == "true class"
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


@pytest.mark.parametrize("K", [2, 26, 27, 60, 61, 150])
def test_confusion_can_be_drawn_for_any_number_of_classes(K):
    rng = np.random.default_rng(0)
    figure = plots.plot_confusion(_scores(rng.integers(0, 2, (K, K)) + 9 * np.eye(K, dtype=int)))
    figure.savefig(io.BytesIO(), format="svg")


def test_errors_are_seen_in_another_ink_than_hits():
    inks = plots._confusion_inks(_scores([[99, 1], [0, 100]]))
    assert (inks[0, 0, :3] != inks[0, 1, :3]).any()
    assert inks[0, 1, 3] > 0.3  # one error in a hundred can be seen
    assert inks[1, 0, 3] == 0


def test_curves_mark_the_best_epoch():
    rows = [{"epoch": e, "val_top1": v, "train_top1": 0.9} for e, v in ((1, 0.5), (2, 0.8), (3, 0.7))]
    figure = plots.plot_curves(rows)
    assert figure.get_suptitle().replace("\u202f", " ") == "Validation accuracy was best in epoch 2: 80.0 %"
    assert figure.axes[0].get_ylabel() == "accuracy, %"
    assert sorted(_texts(figure)) == ["training", "validation"]
    dashes = {line.get_linestyle() for line in figure.axes[0].lines[:2]}
    assert len(dashes) == 2  # apart in grey, too


def test_the_lowest_loss_is_the_best():
    rows = [{"epoch": e, "val_loss": v, "train_loss": 0.9} for e, v in ((1, 0.5), (2, float("nan")), (3, 0.3))]
    assert plots.plot_curves(rows, "loss").get_suptitle() == "Validation loss was best in epoch 3: 0.300"


def test_reliability_puts_each_full_bin_at_its_place():
    p = np.array([[0.9, 0.1]] * 10 + [[0.6, 0.4]] * 10)
    bins = calibration_bins(p, [0] * 8 + [1] * 2 + [0] * 6 + [1] * 4)
    figure = plots.plot_reliability(bins)
    (dots,) = figure.axes[0].collections
    np.testing.assert_allclose(sorted(dots.get_offsets().tolist()), [[60, 60], [90, 80]])
    assert "5.0 points" in figure.get_suptitle()
    assert "overconfident" in figure.get_suptitle()


def test_weakest_classes_stand_on_top():
    figure = plots.plot_class_f1(_scores([[5, 5, 0], [0, 10, 0], [0, 0, 10]]))
    assert "c0" in figure.get_suptitle()
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["c0", "c1", "c2"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_of_many_classes_only_the_weakest_are_drawn():
    figure = plots.plot_class_f1(_scores(np.eye(100, dtype=int) * 5))
    assert len(figure.axes[0].patches) == plots.MOST_BARS
    assert "of 100 classes" in figure.axes[0].get_xlabel()


def test_comparison_shows_the_network_and_the_classic_method():
    figure = plots.plot_comparison(
        _scores([[8, 2], [1, 9]]), Baseline("HOG + linear", 0.7, (0.5, 0.85), 9, 20, 1.0, "")
    )
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["network", "HOG + linear"]
    assert [text.replace("\u202f", " ") for text in _texts(figure)] == ["85.0 %", "70.0 %"]


def test_a_dollar_in_a_class_name_is_no_formula():
    from dataclasses import replace

    scores = replace(_scores([[3, 2], [0, 5]]), classes=("$\\frac$", "$x"))
    for figure in (plots.plot_confusion(scores), plots.plot_class_f1(scores)):
        out = io.StringIO()
        figure.savefig(out, format="svg")


def test_drawing_leaves_the_callers_settings_alone():
    before = dict(matplotlib.rcParams)
    plots.plot_confusion(_scores([[3, 2], [0, 5]]))
    assert dict(matplotlib.rcParams) == before


def test_what_the_network_bought_is_said_in_errors():
    scores = _scores([[99, 1], [0, 100]])

    def against(top1, interval):
        baseline = Baseline("HOG + linear", top1, interval, 9, 200, 1.0, "")
        return sentences.bought(scores, baseline).replace("\u202f", " ")

    assert against(0.95, (0.91, 0.97)) == "The network makes 90 % fewer errors than HOG + linear: 5.0 % → 0.5 %"
    assert against(0.999, (0.998, 1.0)).startswith("HOG + linear is better here: 0.1 % errors against 0.5 %")
    assert against(0.995, (0.97, 0.999)).startswith("HOG + linear is equally good")


def test_intervals_that_overlap_are_owned_up_to():
    scores = _scores([[99, 1], [0, 100]])
    assert sentences.doubt(scores, Baseline("HOG", 0.9, (0.85, 0.94), 9, 200, 1.0, "")) == ""
    assert "overlap" in sentences.doubt(scores, Baseline("HOG", 0.99, (0.96, 0.998), 9, 200, 1.0, ""))


def test_a_baseline_that_saw_fewer_pictures_is_told_in_the_headline():
    scores = _scores([[99, 1], [0, 100]])
    half = Baseline("HOG", 0.9, (0.85, 0.94), 9, 200, 1.0, "on 9 of 18 training pictures")
    assert "fewer errors than HOG on 9 of 18 training pictures: " in sentences.bought(scores, half)


def test_single_mistakes_have_no_most_frequent_pair():
    figure = plots.plot_confusion(_scores([[8, 1], [1, 9]]))
    assert figure.get_suptitle() == "No two classes were confused more than once"


def test_the_most_frequent_confusions_are_listed_in_order():
    assert sentences.confusions(_scores([[8, 1, 0], [3, 5, 2], [0, 0, 9]])) == [
        ("c1", "c0", 3),
        ("c1", "c2", 2),
        ("c0", "c1", 1),
    ]


def test_the_learning_curve_goes_on_to_twice_the_pictures():
    pictures = np.array([30, 60, 120, 240])
    curve = fit_curve(pictures, (0.1 + 2.0 * pictures**-0.5)[:, None] + np.array([[-0.01, 0.0, 0.01]]))
    figure = plots.plot_learning_curve(curve)
    (axes,) = figure.axes
    assert figure.get_suptitle().startswith("Twice the pictures would add about")
    assert max(line.get_xdata().max() for line in axes.lines) == 480
    seen = next(line for line in axes.lines if len(line.get_xdata()) == 4)
    np.testing.assert_allclose(seen.get_ydata(), 100 * curve.accuracy)
