"""`foveal cache` deletes what was asked for, and only that."""

import json

import numpy as np
import pytest

from foveal.data.dataset import ArrayPictures, Dataset, Origin
from foveal.data.store import list_stores, open_store
from foveal.preprocess import Preprocess


@pytest.fixture
def two_stores():
    """Two small stores in this test's cache."""
    rng = np.random.default_rng(0)
    for side in (16, 24):
        pixels = rng.integers(0, 256, (6, 40, 30, 3), dtype=np.uint8)
        pictures = ArrayPictures(pixels, tuple(f"train[{i}]" for i in range(6)))
        origin = Origin("numbers\x1b", "memory", "arrays")
        dataset = Dataset(pictures, np.arange(6) % 2, ("a", "b"), np.zeros(6, np.int8), origin)
        open_store(dataset, Preprocess(height=side, width=side), "pixels")
    return [info.key for info in list_stores()]


def test_the_list_names_what_is_there(foveal, two_stores):
    done = foveal("cache")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("2 pixel stores")
    for key in two_stores:
        assert key in done.stdout
    assert "\x1b" not in done.stdout
    facts = json.loads(foveal("cache", "list", two_stores[0], "--json").stdout)
    assert [fact["key"] for fact in facts] == [two_stores[0]]
    assert facts[0]["pictures"] == 6


def test_an_empty_cache_is_said(foveal):
    assert foveal("cache").stdout == "0 pixel stores, 0 bytes\n"
    assert foveal("cache", "clear", "--yes").stdout == "0 pixel stores deleted, 0 bytes freed\n"


def test_nothing_is_deleted_without_a_yes(foveal, two_stores):
    done = foveal("cache", "clear")
    assert done.exit_code == 2
    assert "--yes" in done.stderr
    assert [info.key for info in list_stores()] == two_stores


def test_one_key_deletes_one_store_and_none_all(foveal, two_stores):
    wrong = foveal("cache", "clear", "zzzz", "--yes")
    assert wrong.exit_code == 2
    assert "zzzz" in wrong.stderr
    assert foveal("cache", "clear", two_stores[0], "--yes").exit_code == 0
    assert [info.key for info in list_stores()] == two_stores[1:]
    assert "1 pixel store deleted" in foveal("cache", "clear", "--yes").stdout
    assert list_stores() == []
