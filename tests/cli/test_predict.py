"""`foveal predict`: pictures in, rows out, whatever lies among them."""

import csv
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.model import classifier
from foveal.networks import catalogue
from foveal.preprocess import Preprocess
from foveal.tasks.formats import FORMATS, Format, Writer

CLASSES = ("cat", "=dog()", "owl")


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A LeNet-5 that has learnt nothing: its answers are certain to be the same twice, and that is enough here."""
    torch.manual_seed(0)
    network = catalogue.build("lenet5", 3, 1, (32, 32))
    preprocess = Preprocess(height=32, width=32, channels=1, mean=(0.5,), std=(0.5,))
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    classifier(network, preprocess, CLASSES, "lenet5").save(path)
    return path


@pytest.fixture
def pictures(tmp_path):
    """Three good pictures, of which one has an odd name, and a broken one."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png", "-x,\u202e.png"):
        Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    return folder


def test_a_model_that_cannot_tell_refuses_a_wished_accuracy(command, model_file, pictures):
    done = command("predict", model_file, "pictures", "--accuracy", "0.9")
    assert done.exit_code == 2
    assert "no pictures were held out" in done.stderr


def test_answers_that_are_not_sure_enough_are_marked(command, digits_run, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(tmp_path / "noise.png")
    asked = ("predict", digits_run[0], "noise.png", "--accuracy", "0.995")
    row = json.loads(command(*asked, "--json").stdout)[0]
    assert row["abstained"]
    assert row["unlike"] in (True, False)
    table = command(*asked)
    assert "abstained" in table.stdout
    assert f"({row['label']}?)" in table.stdout
    assert "99.5 %" in table.stderr


def test_a_folder_becomes_a_table_with_the_broken_one_as_a_row(foveal, model_file, pictures):
    done = foveal("predict", model_file, "pictures")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    assert lines[0].split() == ["picture", "answer", "probability", "runners-up"]
    assert sum("broken.jpg" in line for line in lines) == 1
    assert "1 of 4 pictures could not be used" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "\u202e" not in done.stdout + done.stderr


def test_json_is_for_programs_and_probabilities_add_up(command, model_file, pictures):
    done = command("predict", model_file, "pictures", "--json", "--top", "3")
    rows = json.loads(done.stdout)
    good = [row for row in rows if row["label"] is not None]
    assert len(good) == 3
    for row in good:
        shares = [row["probability"], *(other["probability"] for other in row["runners_up"])]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert shares == sorted(shares, reverse=True)
    assert [row["reason"] for row in rows if row["label"] is None] != [""]


def test_csv_opens_as_text_in_a_spreadsheet(command, model_file, pictures):
    done = command("predict", model_file, "pictures", "--csv", "--top", "2")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert list(rows[0]) == [
        "picture",
        "label",
        "probability",
        "label_2",
        "probability_2",
        "abstained",
        "unlike",
        "reason",
    ]
    assert len(rows) == 4
    cells = [cell for row in rows for cell in row.values()]
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    assert any(cell == "'=dog()" for cell in cells)


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_a_file_gets_what_its_name_says_and_is_never_overwritten(command, model_file, pictures, tmp_path, suffix):
    printed = command("predict", model_file, "pictures", f"--{suffix}").stdout
    done = command("predict", model_file, "pictures", "-o", f"out.{suffix}")
    assert done.exit_code == 0
    assert "4 rows" in done.stdout
    assert (tmp_path / f"out.{suffix}").read_text() == printed
    again = command("predict", model_file, "pictures", "-o", f"out.{suffix}")
    assert again.exit_code == 2
    assert "exists" in again.stderr
    assert (tmp_path / f"out.{suffix}").read_text() == printed


def test_formats_have_a_long_name_and_some_a_short_one(command, model_file, pictures):
    for name in ("csv", "json"):
        assert command("predict", model_file, "pictures", "--format", name).stdout == (
            command("predict", model_file, "pictures", f"--{name}").stdout
        )
    wrong = command("predict", model_file, "pictures", "--format", "jsno")
    assert wrong.exit_code == 2
    assert 'did you mean "json"?' in wrong.stderr
    both = command("predict", model_file, "pictures", "--format", "json", "--csv")
    assert "--csv and --format both" in both.stderr
    assert "coco is for detectors" in command("predict", model_file, "pictures", "--coco").stderr
    for name in FORMATS:
        assert name in command("predict", "--help").stdout


class Names(Writer):
    """A toy format: the name of each picture."""

    def add(self, prediction):
        self.out.write(f"{prediction.name}\n")
        return 1


def test_a_format_is_a_file_and_a_line(command, model_file, pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "toy_format", SimpleNamespace(Writer=Names))
    monkeypatch.setitem(FORMATS, "names", Format("toy_format", ".names"))
    printed = command("predict", model_file, "pictures/[ab].png", "--format", "names").stdout
    assert printed == "pictures/a.png\npictures/b.png\n"
    assert "2 rows in out.names" in command("predict", model_file, "pictures/[ab].png", "-o", "out.names").stdout
    assert (tmp_path / "out.names").read_text() == printed


def test_patterns_that_no_shell_expanded_are_expanded(command, model_file, pictures):
    done = command("predict", model_file, "pictures/[ab].png", "--json")
    assert [row["picture"] for row in json.loads(done.stdout)] == ["pictures/a.png", "pictures/b.png"]
    none = command("predict", model_file, "pictures/*.webp")
    assert none.exit_code == 2
    assert "*.webp" in none.stderr


def test_nothing_usable_is_refused_with_the_reason(command, model_file, pictures):
    done = command("predict", model_file, "pictures/broken.jpg")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "broken.jpg" in done.stderr
    assert "no usable picture" in done.stderr


def test_what_is_no_model_is_refused_in_a_sentence(command, pictures, tmp_path):
    (tmp_path / "no.safetensors").write_bytes(b"\x80\x04K\x01.")
    for model, word in (("no.safetensors", "no.safetensors"), ("nowhere", "nowhere"), ("pictures", "pictures")):
        done = command("predict", model, "pictures/a.png")
        assert done.exit_code == 2
        assert len(done.stderr.splitlines()) == 1
        assert word in done.stderr


def test_views_are_known_by_name(command, model_file, pictures):
    plain, mirrored = (
        json.loads(command("predict", model_file, "pictures/a.png", "--json", "--views", views).stdout)[0]
        for views in ("none", "mirror")
    )
    assert plain["picture"] == mirrored["picture"]
    assert plain["probability"] != mirrored["probability"]
    wrong = command("predict", model_file, "pictures/a.png", "--views", "miror")
    assert wrong.exit_code == 2
    assert 'did you mean "mirror"?' in wrong.stderr


def counting(opening, opened):
    """The same function, which writes down what it is given."""

    def count(path, *more):
        opened.append(str(path))
        return opening(path, *more)

    return count


def test_each_file_is_opened_once_drawn_or_not(command, tmp_path, monkeypatch):
    from foveal.files import headers, pictures

    opened = []
    for module, name in ((pictures, "read_all"), (headers, "open_regular")):
        theirs = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda path, *more, theirs=theirs: opened.append(str(path)) or theirs(path, *more)
        )
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    detector = Path(__file__).parents[1] / "earlier" / "0.1" / "darknet.cfg"
    done = command(
        "predict", detector, *sorted(tmp_path.glob("*.png")), "--draw", tmp_path / "drawn", "--csv", "--score", "0"
    )
    assert done.exit_code == 0, done.stderr
    assert sorted(opened) == sorted(str(tmp_path / f"{number}.png") for number in range(3))
    assert len(list((tmp_path / "drawn").iterdir())) == 3
