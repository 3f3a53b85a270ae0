"""What a run and an evaluation show: at a prompt, in a notebook, as tables and curves."""

from __future__ import annotations

import csv
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from trainings import QUICK, pictures, saved_weights

import foveal
from foveal.data.dataset import Skipped
from foveal.errors import BadRecipe, Missing
from foveal.files.tables import Table
from foveal.runs.evaluate import Evaluation
from foveal.tasks.classification_scores import score_labels
from foveal.tasks.localisation_scores import score_locations
from foveal.training.curve import LearningCurve, fit_curve


@pytest.fixture(scope="module")
def arrays():
    some = pictures(parts={"train": 80, "val": 10, "test": 10})
    return np.stack([some.pictures.content(i) for i in range(len(some))]), some.labels


@pytest.fixture(scope="module")
def run(arrays, tmp_path_factory):
    return foveal.train(arrays, out=tmp_path_factory.mktemp("trained") / "run <b>", settings=QUICK, progress=None)


@pytest.fixture(scope="module")
def head_alone(arrays, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    network, place = saved_weights(folder)
    asked = {"data.size": QUICK["data.size"], "training.threads": 1, "training.arithmetic": "fp32"}
    return foveal.train(
        arrays, out=folder / "run", network=network, weights=place, train="head", settings=asked, progress=None
    )


class Text(HTMLParser):
    """The words of a page, and the addresses that it links to; an unknown element would show."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words, self.links, self.elements = "", [], set()
        self.feed(page)

    def handle_data(self, data):
        self.words += f"{data} "

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.links += [value for key, value in attrs if key == "href"]


def test_a_run_is_one_line_at_a_prompt_and_a_table_in_a_notebook(run):
    test, baseline = run.metrics["test"], run.metrics["baseline"]
    assert f"{test['top1']:.2%}".replace("%", " %") in repr(run)
    assert "\n" not in repr(run)
    assert len(repr(run)) <= 400
    assert len(repr(replace(run, folder=run.folder / ("x" * 1000)))) <= 400
    page = Text(run._repr_html_())
    low, high = test["top1_interval"]
    for share in (test["top1"], low, high, baseline["top1"], *baseline["interval"]):
        assert f"{share:.2%}".replace("%", " %") in page.words
    assert baseline["name"] in page.words
    assert page.elements == {"table", "tr", "th", "td", "a"}  # the folder's <b> is text
    assert page.links == [run.report.as_posix().replace(" ", "%20").replace("<", "%3C").replace(">", "%3E")]


def test_the_history_is_what_the_folder_holds(run, monkeypatch):
    with (run.folder / "history.csv").open() as lines:
        told = list(csv.DictReader(lines))
    assert len(run.history) == len(told) == 2
    assert [row["epoch"] for row in run.history] == [1, 2]
    assert run.history[-1]["val_loss"] == float(told[-1]["val_loss"])
    assert [row["epoch"] for row in run.history[:1]] == [1]
    assert "2 epochs" in repr(run.history)
    assert len(repr(run.history)) < 200
    assert run.history._repr_html_().count("<tr>") == 3
    with pytest.raises(Missing, match="is not there any more"):
        replace(run, folder=run.folder / "moved").history  # noqa: B018


def test_a_fitted_head_has_no_epochs_and_says_why(head_alone):
    assert list(head_alone.history) == []
    assert "without epochs" in repr(head_alone.history)
    assert "without epochs" in head_alone.history._repr_html_()
    gone = replace(head_alone, metrics={**head_alone.metrics, "learning_curve": None})
    with pytest.raises(BadRecipe, match="has no curve to plot: a head was fitted"):
        gone.plot()


def test_the_plot_draws_the_history(run):
    (axes,) = run.plot().axes
    lines = [line for line in axes.lines if len(line.get_xdata()) == 2]
    drawn = [list(line.get_ydata()) for line in lines]
    assert [100 * row["val_top1"] for row in run.history] in drawn
    assert [100 * row["train_top1"] for row in run.history] in drawn
    assert run.plot()._repr_png_().startswith(b"\x89PNG")


def test_without_epochs_the_plot_is_accuracy_by_the_number_of_pictures(head_alone):
    curve = head_alone.metrics["learning_curve"]
    (axes,) = head_alone.plot().axes
    assert axes.get_xlabel() == "training pictures"
    dots = next(line for line in axes.lines if line.get_marker() == "o")
    assert list(dots.get_xdata()) == curve["pictures"]
    assert np.allclose(dots.get_ydata(), [100 * share for share in curve["accuracy"]])


@pytest.mark.parametrize("points", [[10, 20, 40, 80, 160], [10, 20]])
def test_a_learning_curve_comes_back_from_what_it_told(points):
    rng = np.random.default_rng(0)
    n = np.array(points)
    curve = fit_curve(n, 0.1 + n[:, None] ** -0.5 + rng.normal(0, 0.01, (len(n), 5)))
    again = LearningCurve.of(curve.as_dict())
    assert again.sentence == curve.sentence
    for name in ("pictures", "accuracy", "low", "high", "doubled", "doubled_low", "doubled_high", "gain"):
        assert np.allclose(getattr(again, name), getattr(curve, name), atol=2e-4, equal_nan=True)
    assert np.allclose(again.predicted(n), curve.predicted(n), equal_nan=True)


def test_an_evaluation_is_one_line_and_a_table_of_its_classes(run, arrays):
    found = foveal.evaluate(run.model, arrays, on="all", progress=None)
    assert isinstance(found, foveal.Evaluation)
    assert repr(found) == f"Evaluation({found.scores.headline()[0]})"
    answers = [answer.label for answer in run.model.predict(list(arrays[0]))]
    for row in found.table():
        truth = [int(row["class"]) == label for label in arrays[1]]
        said = [answer == row["class"] for answer in answers]
        both = sum(a and b for a, b in zip(truth, said, strict=True))
        assert row["pictures"] == sum(truth)
        assert row["recall"] == pytest.approx(both / sum(truth))
        assert row["precision"] == pytest.approx(both / sum(said))
    assert repr(found.table()).splitlines()[0].split() == ["class", "pictures", "precision", "recall", "f1"]
    assert found._repr_html_().count("<tr>") == 3


def test_a_table_of_scores_says_what_is_not_defined():
    scores = score_labels(np.eye(3)[[0, 0, 1]] * 9, [0, 0, 1], ["a", "b", "c"])
    assert [row["pictures"] for row in scores.table().rows] == [2, 1, 0]
    assert repr(scores.table()).splitlines()[-1].split() == ["c", "0", "–", "–", "–"]


def test_located_objects_are_told_by_class():
    from trainings import boxed

    truth = boxed().boxes
    on = np.flatnonzero(truth.counts)
    labels = np.zeros(len(truth.counts), np.int64)
    labels[on] = truth.labels
    xyxy = np.zeros((len(truth.counts), 4))
    xyxy[on] = truth.xyxy
    wrong = int(on[truth.labels == 1][0])
    labels[wrong] = 0
    rows = score_locations(np.ones(len(labels)), xyxy, labels, truth, ("blue", "red")).table().rows
    blue, red = np.bincount(truth.labels)
    assert [row["pictures"] for row in rows] == [blue, red]
    assert [row["recall"] for row in rows] == [1, (red - 1) / red]
    assert [row["precision"] for row in rows] == [blue / (blue + 1), 1]


def test_long_tables_show_their_first_rows_and_hold_all():
    long = Table(("n", "<b>"), tuple((i, "x\n" * 300) for i in range(1000)))
    assert len(long) == len(long.rows) == len(list(long)) == 1000
    assert len(repr(long).splitlines()) < 60
    assert "(960 more rows)" in repr(long)
    page = Text(long._repr_html_())
    assert "960 more rows" in page.words
    assert page.elements == {"table", "tr", "th", "td"}
    assert len(long._repr_html_()) < 20_000


def test_tables_become_data_frames_and_say_what_is_missing(run, monkeypatch):
    pandas = pytest.importorskip("pandas")
    table = Table(("class", "recall"), (("a", 0.5), ("b", float("nan"))))
    frame = table.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.columns.tolist() == ["class", "recall"]
    assert np.array_equal(frame.recall, [0.5, np.nan], equal_nan=True)
    assert run.history.to_pandas().epoch.tolist() == [1, 2]
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    for give in (table.to_pandas, run.history.to_pandas, run.model.predict([]).to_pandas):
        with pytest.raises(Missing, match="data frames need pandas: pip install pandas"):
            give()


def test_what_is_no_data_set_is_refused_in_one_sentence(arrays, run, tmp_path):
    X, y = arrays
    for source, words in (
        ((X.reshape(len(X), -1), y), r"X has shape \(100, 80\); it must be"),
        ((X, y[:-1]), "100 pictures but labels of shape"),
        ((X[None], y), "X has shape"),
        ((np.where(X > 0, np.nan, 0.5), y), "holds float64 of NaN"),
        ((X / 100.0, y), "floats in 0…1"),
        ((X.astype(object), y), "holds object"),
        (([], []), "X has shape"),
        ((None, y), "X has shape"),
        ((X, None), "labels of shape"),
        ((X, y.astype(float) + 0.5), "labels must be whole numbers or texts"),
        ((X, y, y), r"a pair \(X, y\); got 3"),
        (X, r"a pair \(X, y\); got an array"),
        ([X, y], r"a pair \(X, y\); got a list"),
        (None, r"a pair \(X, y\); got None"),
        (3, r"a pair \(X, y\); got an int"),
    ):
        for ask in (
            lambda source: foveal.open_dataset(source),
            lambda source: foveal.train(source, out=tmp_path / "never", progress=None),
            lambda source: foveal.evaluate(run.model, source, progress=None),
        ):
            with pytest.raises(foveal.FovealError, match=words) as refused:
                ask(source)
            assert "\n" not in str(refused.value)
    assert not (tmp_path / "never").exists()


def test_floats_of_the_right_range_are_used(arrays, run):
    X, y = arrays
    assert repr(foveal.evaluate(run.model, (X / 255.0, y), on="all", progress=None)) == repr(
        foveal.evaluate(run.model, (X, y), on="all", progress=None)
    )


def test_an_evaluation_tells_how_many_were_left_out():
    scores = score_labels(np.eye(2) * 9, [0, 1], ["a", "b"])
    left_out = Evaluation(scores, (), (Skipped("a.png", "is empty"),))
    assert repr(left_out).endswith("1 left out)")
