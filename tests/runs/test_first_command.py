"""The first command on photographs, with weights at hand: what odd pictures get, and what is said of a poor result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import foveal
from foveal.files import places
from foveal.recipe import read_recipe
from foveal.runs import Run
from foveal.training import features, start

CLASSES = ("disc", "stripes")
SEEN = 14  # pictures of each class, a fifth or so in the test


@pytest.fixture(autouse=True)
def _one_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest of the packages, so that nothing is timed."""
    monkeypatch.setattr(start, "_weights_here", lambda say: ["efficientnet_lite0"])


def photograph(kind: str, seed: int, size: tuple[int, int] = (120, 110), grey: bool = False) -> Image.Image:
    """A disc or stripes before noise."""
    rng, (height, width) = np.random.default_rng(seed), size
    y, x = np.mgrid[:height, :width]
    if kind == "disc":
        centre = rng.uniform(0.4, 0.6, 2) * (height, width)
        shape = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < (0.3 * min(size)) ** 2
    else:
        shape = (x + rng.integers(0, 12)) % 12 < 6
    pixels = np.where(shape[..., None], rng.integers(120, 250, 3), rng.integers(0, 110, 3))
    image = Image.fromarray(np.clip(pixels + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8))
    return image.convert("L") if grey else image


def folder(place: Path, counts: dict[str, int], alike: bool = False, **drawn: Any) -> Path:
    """A folder a class. Args: alike, whether the class makes no difference to what is drawn."""
    for number, (name, count) in enumerate(counts.items()):
        (place / name).mkdir(parents=True)
        for i in range(count):
            kind = CLASSES[i % 2] if alike else name
            photograph(kind, 1000 * number + i, **drawn).save(place / name / f"{i}.png")
    return place


class Said:
    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def task(self, *_: Any) -> Any:
        from foveal.progress import SILENT

        return SILENT.task(*_)

    def __contains__(self, words: str) -> bool:
        return any(words in sentence for sentence in self.sentences)


@pytest.fixture
def said() -> Said:
    return Said()


def trained(source: Path, out: Path, said: Said, **settings: Any) -> Run:
    asked = {key.replace("__", "."): value for key, value in settings.items()}
    return foveal.train(source, out=out, settings={"network.train": "head"} | asked, progress=said)


def test_a_first_command_starts_from_weights_and_says_so(tmp_path: Path, said: Said) -> None:
    source = folder(tmp_path / "p", dict.fromkeys(CLASSES, SEEN))
    run = trained(source, tmp_path / "run", said)
    assert "Starts from the pretrained weights of efficientnet_lite0" in said
    assert "--weights scratch trains from scratch" in said
    assert run.model.network_name == "efficientnet_lite0"
    assert run.metrics["test"]["top1"] > 0.9
    assert run.metrics["mend"] is None
    page = run.report.read_text(encoding="utf-8")
    assert "features that the frozen trunk computed" in page
    assert "learning_rate" not in page, "of a loop that never ran"
    assert "Drawn by" not in page
    again = foveal.train(source, out=tmp_path / "again", recipe=read_recipe(run.folder / "recipe.toml"))
    assert again.metrics["test"]["loss"] == run.metrics["test"]["loss"]


def test_few_pictures_of_one_class(tmp_path: Path, said: Said) -> None:
    """One of them: cross-validation never knows it, and says so; the head learns it all the same."""
    run = trained(folder(tmp_path / "p", {"disc": SEEN, "stripes": 1}), tmp_path / "run", said)
    assert "Only one picture shows stripes: cross-validation has no other" in said
    assert set(run.model.classes) == set(CLASSES)


def test_classes_that_are_all_alike(tmp_path: Path, said: Said) -> None:
    """Nothing to tell apart: about chance, no promise that more pictures would help much, and no confident answers."""
    run = trained(folder(tmp_path / "p", dict.fromkeys(CLASSES, SEEN), alike=True), tmp_path / "run", said)
    low, high = run.metrics["test"]["top1_interval"]
    assert low < 0.5 < high or run.metrics["test"]["top1"] < 0.5
    if run.metrics["baseline"]["top1"] > run.metrics["test"]["top1"]:
        assert run.metrics["mend"]["command"].endswith("--train all")
        assert "did better than the network" in said


def test_long_strips(tmp_path: Path, said: Said) -> None:
    source = folder(tmp_path / "p", dict.fromkeys(CLASSES, 6), size=(97, 1500))
    run = trained(source, tmp_path / "run", said)
    assert "Starts from the pretrained weights of efficientnet_lite0" in said
    assert "The network sees only the middle 6% of each picture: pictures are 97 × 1500 pixels" in said
    assert (run.model.preprocess.height, run.model.preprocess.width) == (224, 224)


def test_grey_photographs(tmp_path: Path, said: Said) -> None:
    run = trained(folder(tmp_path / "p", dict.fromkeys(CLASSES, SEEN), grey=True), tmp_path / "run", said)
    assert "first convolution summed over RGB for grey pictures" in said
    assert run.model.preprocess.channels == 1
    assert run.metrics["test"]["top1"] > 0.9


def test_no_room_in_the_cache_for_features(tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would save the next run its passes is not kept, and nothing else is different."""
    from foveal.errors import NoSpace

    source = folder(tmp_path / "p", dict.fromkeys(CLASSES, 8))

    def full(*_: Any) -> None:
        raise NoSpace("no space left on the disk")

    monkeypatch.setattr(features, "write_tensors", full)
    run = trained(source, tmp_path / "run", said)
    assert run.metrics["test"]["top1"] >= 0.5
    assert not list((places.cache_folder() / features.KIND).glob("*"))
