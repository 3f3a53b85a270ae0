"""One object a picture: which one of several, where it lies, and whose pictures it takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from trainings import boxed, pictures, recipe

from foveal.data.dataset import Boxes, Dataset
from foveal.errors import BadRecipe
from foveal.preprocess import Preprocess
from foveal.tasks.boxed import BoxCalibration
from foveal.tasks.localise import Localise
from foveal.tasks.task import Ask, Facts

ASKED = recipe(training__task="localise")


def with_several() -> Dataset:
    """The first picture has three objects, the second none, the third one, the fourth a crowd and an object."""
    some = boxed().take(np.arange(4))
    xyxy = np.array(
        [[0, 0, 4, 4], [5, 5, 25, 15], [0, 0, 5, 6], [3, 3, 9, 9], [0, 0, 40, 30], [1, 2, 3, 4]], np.float64
    )
    crowd = np.array([False, False, False, False, True, False])
    boxes = Boxes(
        xyxy, np.array([0, 1, 0, 1, 0, 1]), np.array([0, 3, 3, 4, 6]), np.tile([[32, 48]], (4, 1)), crowd, crowd * False
    )
    return replace(some, boxes=boxes, labels=boxes.of_largest)


def test_of_several_objects_the_largest_stays_and_it_is_said() -> None:
    taken = Localise.takes(with_several(), ASKED)
    assert taken is not None
    assert taken.boxes is not None
    assert taken.boxes.xyxy.tolist() == [[5, 5, 25, 15], [3, 3, 9, 9], [1, 2, 3, 4]]
    assert taken.boxes.labels.tolist() == [1, 1, 1]
    assert taken.boxes.starts.tolist() == [0, 1, 1, 2, 3]
    assert taken.notes[-1] == "On 2 pictures with several objects, the largest is localised."


def test_single_objects_are_taken_as_they_are_and_labels_are_refused() -> None:
    some = boxed()
    assert Localise.takes(some, ASKED) is some
    assert Localise.takes(some, recipe()) is None  # nobody asked
    with pytest.raises(BadRecipe, match=r"--task localise needs boxes; memory \(arrays\) has labels only"):
        Localise.takes(pictures(), ASKED)


def test_there_are_no_mosaics_unless_they_are_asked_for() -> None:
    facts = Facts(20, (32, 48), 3, (10, 10))
    assert Localise.augmentation(recipe(augment__preset="strong"), (32, 48), facts).mosaic == 0.0
    assert Localise.augmentation(recipe(augment__mosaic=0.4), (32, 48), facts).mosaic == 0.4


def test_an_answer_is_of_the_likeliest_class_in_the_pictures_own_pixels_from_a_presence_on() -> None:
    """A picture of 100 rows and 50 columns fits into 32 x 64 as 32 x 16, 24 columns from the left: 3.125 to one."""
    arrays = {
        "presence": np.array([0.5, 0.4]), "boxes": np.array([[26.0, 4, 34, 20], [26, 4, 34, 20]]),
        "classes": np.array([[0.2, 0.8], [0.9, 0.1]]),
    }  # fmt: skip
    task, preprocess = Localise(("blue", "red"), "one-object", (32, 64)), Preprocess(32, 64, whole=True)
    sizes = [(100, 50), (100, 50)]
    first, second = task.answers(arrays, sizes, preprocess, task.uncalibrated(), Ask())
    np.testing.assert_allclose(first.xyxy, [np.array([2, 4, 10, 20]) * 3.125])
    assert (first.labels.tolist(), first.scores.tolist(), first.classes) == ([1], [0.5], ("blue", "red"))
    assert len(second) == 0
    _, second = task.answers(arrays, sizes, preprocess, BoxCalibration(), Ask(score=0.4))
    assert second.labels.tolist() == [0]
