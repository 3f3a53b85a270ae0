"""Pictures in memory, and the built-in digits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from foveal.data.sources import open_dataset
from foveal.errors import BadData

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
Y = np.arange(40) % 4


def test_the_three_layouts_give_the_same_pictures():
    last, first = open_dataset((X, Y)), open_dataset((X.transpose(0, 3, 1, 2), Y))
    assert np.array_equal(last.pictures.pixels, X)
    assert np.array_equal(first.pictures.pixels, X)
    assert np.array_equal(first.digests, last.digests)
    assert first.pictures.content(3).flags.c_contiguous
    grey = open_dataset((X[..., 0], Y))
    assert grey.pictures.content(7).shape == (6, 5)
    assert last.classes == ("0", "1", "2", "3")
    assert last.pictures.name(3) == "X[3]"


def test_tensors_are_arrays():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = torch.from_numpy(X).permute(0, 3, 1, 2).float().div(255).requires_grad_()
    dataset = open_dataset((x, torch.from_numpy(Y)))
    assert np.array_equal(dataset.pictures.pixels, X)
    assert any("rounded to 256 levels" in note for note in dataset.notes)


@given(hnp.arrays(np.uint8, (3, 2, 2)), st.sampled_from([np.float16, np.float32, np.float64, np.int64, np.int16]))
def test_whole_numbers_and_floats_of_the_same_pictures_are_equal(x, dtype):
    scaled = (x / 255).astype(dtype) if np.issubdtype(dtype, np.floating) else x.astype(dtype)
    assert np.array_equal(open_dataset((scaled, ["a", "b", "a"])).pictures.pixels, x)


@pytest.mark.parametrize("labels", [Y, Y.astype(np.uint8), Y.astype(float), Y.tolist()])
def test_labels_are_numbers_in_any_dress(labels):
    dataset = open_dataset((X, labels), classes=["a", "b", "c", "d"])
    assert dataset.classes == ("a", "b", "c", "d")
    assert np.array_equal(dataset.labels, Y)


@pytest.mark.parametrize("kind", [np.array, list, lambda y: np.array(y, object)])
def test_labels_may_be_texts(kind):
    dataset = open_dataset((X, kind([f"c{k}" for k in Y])))
    assert dataset.classes == ("c0", "c1", "c2", "c3")
    assert np.array_equal(dataset.labels, Y)


def test_named_labels_follow_the_order_that_is_asked_for():
    dataset = open_dataset((X, [f"c{k}" for k in Y]), classes=["c3", "c1", "c0", "c2"])
    assert dataset.classes == ("c3", "c1", "c0", "c2")
    assert [dataset.classes[k] for k in dataset.labels] == [f"c{k}" for k in Y]


def test_numbers_that_do_not_begin_at_zero_keep_their_names_and_order():
    dataset = open_dataset((X, Y * 7 + 3))
    assert dataset.classes == ("3", "10", "17", "24")


@pytest.mark.parametrize(
    ("source", "needle"),
    [
        ((X, Y[:-1]), r"40 pictures but labels of shape \(39,\)"),
        ((X, np.eye(40) / 2), "say with 0 and 1 which of 40 a picture has; y holds others"),
        ((X[0], Y), r"labels of shape|X has shape"),
        ((X[..., :2], Y), "must be 1, 3 or 4 colors"),
        ((X[:, :0], Y), "X has shape"),
        ((X.astype(float), Y), "pixels are whole numbers in 0…255 or floats in 0…1"),
        ((X.astype(int) - 1, Y), "X holds int64 of -1 to 254"),
        ((np.where(X > 250, np.nan, X / 255), Y), "X holds float64 of NaN"),
        ((X.astype(complex), Y), "X holds complex128"),
        (([[1, 2], [3]], [0, 1]), "a list of unequal pictures"),
        ((X, Y + 0.5), "labels must be whole numbers or texts"),
        ((X, [None] * 40), "labels must be whole numbers or texts"),
        ((X, [""] * 40), "labels must be whole numbers or texts"),
        ((X, Y, Y), r"is a pair \(X, y\); got 3 values"),
        ((X, np.zeros(40, int)), 'needs two classes, found one: "0"'),
        ((X[:0], Y[:0]), "holds no picture"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(source, needle):
    with pytest.raises(BadData, match=needle):
        open_dataset(source)


def test_labels_beyond_the_names_are_refused():
    with pytest.raises(BadData, match="label 3, but 2 class names"):
        open_dataset((X, Y), classes=["a", "b"])
    with pytest.raises(BadData, match="label -1, but 4 class names"):
        open_dataset((X, Y - 1), classes=["a", "b", "c", "d"])
    with pytest.raises(BadData, match="class names must be given and differ"):
        open_dataset((X, Y), classes=["a", "a", "c", "d"])


def test_equal_pictures_with_two_labels_are_counted():
    x = X.copy()
    x[5] = x[0]
    assert any("1 pictures in (X, y) appear again with another label" in n for n in open_dataset((x, Y)).notes)


def test_digits_are_those_of_scikit_learn_and_every_fifth_is_test():
    from sklearn.datasets import load_digits

    dataset = open_dataset("digits")
    assert len(dataset) == 1797
    assert len(dataset.indices("test")) == 360
    assert (dataset.indices("test") % 5 == 0).all()
    assert np.array_equal(dataset.labels, load_digits().target)
    assert np.abs(dataset.pictures.pixels / 255 * 16 - load_digits().images).max() < 16 / 255
    assert dataset.pictures.pixels.max() == 255
    assert 100 < len(dataset.indices("val")) < 190  # a tenth of 1437
    assert dataset.classes == tuple("0123456789")
    assert dataset.digests.shape == (1797, 16)
