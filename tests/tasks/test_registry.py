"""Every task names the keys of the recipe that it reads; what it does not read is refused, and never ignored."""

from __future__ import annotations

from typing import Any

import pytest
from trainings import boxed, pictures, recipe

from foveal.errors import BadRecipe
from foveal.recipe import Recipe
from foveal.tasks.classify import Classify
from foveal.tasks.detect import Detect
from foveal.tasks.heads import HEADS
from foveal.tasks.localise import Localise
from foveal.tasks.multilabel import MultiLabel
from foveal.tasks.names import TASK_NAMES
from foveal.tasks.registry import TASKS, asked_task, check_keys, check_typed, check_words, task_of_file, unread_keys
from foveal.tasks.task import Facts, Task
from foveal.training.settle import resolved

EVERY_KEY = {f"{section}.{key}" for section, keys in Recipe().model_dump().items() for key in keys}


def set_to(**values: Any) -> Recipe:
    return Recipe().with_settings({key.replace("__", "."): value for key, value in values.items()})


def test_every_key_has_a_reader_and_every_reader_a_key() -> None:
    read = frozenset().union(*(task.keys for task in TASKS), *(entry.keys for entry in HEADS.values()))
    assert read == EVERY_KEY


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        (Detect, {"training__label_smoothing": 0.1}),
        (Detect, {"training__class_weights": "balanced"}),
        (Detect, {"training__accuracy": 0.9}),
        (Detect, {"training__blend": 0.5}),
        (Detect, {"network__head_decay": 0.1}),
        (Detect, {"augment__cutmix": 1.0}),
        (Detect, {"network__anchors": "own"}),  # the usual head has none
        (Detect, {"network__anchors": "own", "network__detector": "faster-rcnn"}),
        (Localise, {"network__detector": "yolov3"}),
        (Localise, {"network__anchors": "paper"}),
        (Localise, {"training__label_smoothing": 0.1}),
        (Classify, {"network__detector": "yolov3"}),
        (Classify, {"network__anchors": "own"}),
        (Classify, {"augment__mosaic": 0.5}),
        (Classify, {"data__unlabelled": "background"}),
    ],
)
def test_a_key_that_a_task_does_not_read_is_refused_with_the_task(task: type[Task], settings: dict[str, Any]) -> None:
    key = next(iter(settings)).replace("__", ".")
    with pytest.raises(BadRecipe, match=rf"^{key} is set, but --task {task.name} does not use it; --"):
        check_keys(task, set_to(**settings), boxes=False)


@pytest.mark.parametrize("key", ["network.head_decay", "training.blend"])
def test_what_only_a_start_from_weights_reads_is_refused_without_them(key: str) -> None:
    asked = Recipe().with_settings({key: 0.5, "network.weights": "scratch"})
    with pytest.raises(BadRecipe, match=f"^{key} is set, but is only used with pretrained weights"):
        check_keys(Classify, asked, boxes=False)
    check_keys(Classify, asked.with_settings({"network.weights": "imagenet"}), boxes=False)


def test_a_head_that_is_fitted_at_once_reads_nothing_of_the_loop() -> None:
    head = set_to(network__weights="imagenet", network__train="head")
    with pytest.raises(BadRecipe, match=r"^--epochs is for training in steps"):
        check_typed(head, {"network.train": "--train", "training.epochs": "--epochs"})
    with pytest.raises(BadRecipe, match=r"^training\.clip is for training in steps"):
        check_typed(head, {"training.clip": "--set"})
    check_typed(head, {"network.train": "--train", "training.minutes": "--minutes", "training.accuracy": "--accuracy"})
    check_typed(head.with_settings({"network.train": "last:1"}), {"training.epochs": "--epochs"})


def test_every_task_is_offered_by_its_name() -> None:
    assert list(TASK_NAMES) == [task.name for task in TASKS]


def test_what_a_source_reads_before_a_task_is_known_is_no_fault_of_the_task() -> None:
    check_keys(Classify, set_to(data__unlabelled="background"), boxes=True)
    check_keys(Detect, set_to(network__anchors="own", network__detector="yolov3"), boxes=True)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_recipe_that_a_run_saves_can_be_repeated(task: type[Task]) -> None:
    """Settled recipes have a value for every key, those that the task does not read among them."""
    facts = Facts(500, (120, 160), 3, (250, 250))
    recipe = set_to(network__name="resnet18")
    settled = resolved(task, recipe, facts, (128, 160), "cpu")
    assert unread_keys(task, settled) == []
    assert settled.training.task == task.name


def test_what_the_user_set_wins_over_the_record_and_the_record_over_the_task() -> None:
    facts = Facts(20_000, (32, 32), 3, (2000,) * 10)
    of_record = resolved(Classify, set_to(network__name="speednet"), facts, (32, 32), "cpu").training
    assert of_record.optimizer == "muon"  # the record's; the task's own is sgd
    own = resolved(Classify, set_to(network__name="speednet", training__optimizer="sgd"), facts, (32, 32), "cpu")
    assert own.training.optimizer == "sgd"
    detecting = resolved(Detect, set_to(network__name="resnet18"), facts, (32, 32), "cpu").training
    assert detecting.optimizer == "adamw"


def test_words_that_are_no_tasks_or_heads_get_the_nearest() -> None:
    with pytest.raises(BadRecipe, match='did you mean "detect"'):
        check_words(Recipe().model_copy(update={"training": Recipe().training.model_copy(update={"task": "detct"})}))
    with pytest.raises(BadRecipe, match='did you mean "yolov3"'):
        check_words(Recipe().model_copy(update={"network": Recipe().network.model_copy(update={"detector": "yolo3"})}))


def test_labels_are_classified_and_boxes_detected_unless_something_else_is_asked_for() -> None:
    assert asked_task(pictures(), recipe())[0] is Classify
    assert asked_task(boxed(), recipe())[0] is Detect
    for task in TASKS:
        found, taken = asked_task(boxed(), recipe(training__task=task.name))
        assert found is task
        assert (taken.boxes is None) == (task in (Classify, MultiLabel))
    for task in (Detect, Localise):
        with pytest.raises(BadRecipe, match=f"--task {task.name} needs boxes"):
            asked_task(pictures(), recipe(training__task=task.name))


def test_boxes_that_are_classified_are_those_of_pictures_with_an_object() -> None:
    some = boxed()
    assert some.boxes is not None
    _, taken = asked_task(some, recipe(training__task="classify"))
    assert len(taken) == int((some.boxes.counts > 0).sum()) < len(some)
    assert taken.notes[-1] == "Each picture is classified as its largest object."


def test_a_file_s_words_name_its_task() -> None:
    assert task_of_file("classification", "") is Classify
    assert task_of_file("detection", "one-object") is Localise
    assert {task_of_file("detection", name) for name in ("yolo", "yolov3", "faster-rcnn", "darknet")} == {Detect}
    assert task_of_file("counting", "") is None
