"""YOLO's label files, and what stands beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
from boxed import HEIGHT, WIDTH, boxes, picture, rows, told

from foveal.data.sources import open_dataset
from foveal.errors import BadData

GOOD = "0 0.5 0.5 0.25 0.5"
AT = [24, 12, 40, 36]  # of GOOD, on 64 × 48


def tree(folder: Path, names: str = "cat\ndog\n", **labels: str | bytes | None) -> Path:
    """`images/` and `labels/`, and classes.txt; None: no label file."""
    for name, text in labels.items():
        picture(folder / f"images/{name}.jpg")
        (folder / "labels").mkdir(exist_ok=True)
        if text is not None:
            (folder / f"labels/{name}.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    if names:
        (folder / "classes.txt").write_text(names)
    return folder


def test_shares_of_the_picture_become_its_pixels(tmp_path):
    found = open_dataset(tree(tmp_path, a=GOOD + "\n1 0.25 0.75 0.5 0.5\n", b=GOOD))
    assert boxes(found)["images/a.jpg"] == [("cat", AT), ("dog", [0, 24, 32, 48])]
    assert found.origin.format == "YOLO txt"
    assert not found.skipped


@pytest.mark.parametrize("orientation", range(1, 9))
def test_shares_are_of_the_picture_as_it_is_shown(tmp_path, orientation):
    tree(tmp_path, a=GOOD, b=GOOD)
    picture(tmp_path / "images/a.jpg", orientation=orientation)
    height, width = (WIDTH, HEIGHT) if orientation >= 5 else (HEIGHT, WIDTH)
    found = open_dataset(tmp_path)
    assert found.boxes.sizes[0].tolist() == [height, width]
    assert boxes(found)["images/a.jpg"] == [("cat", [0.375 * width, 0.25 * height, 0.625 * width, 0.75 * height])]


def test_labels_may_lie_beside_the_pictures_and_numbers_are_names_where_none_are_given(tmp_path):
    for name in "abc":
        picture(tmp_path / f"{name}.jpg")
        (tmp_path / f"{name}.txt").write_text("7 0.5 0.5 0.25 0.5\n10 0.5 0.5 0.5 0.5")
    (tmp_path / "README.txt").write_text("what this is")
    found = open_dataset(tmp_path)
    assert found.classes == ("7", "10")
    assert not found.skipped
    named = open_dataset(tmp_path, classes=[f"class{i}" for i in range(11)])
    assert named.classes == ("class7", "class10")


def test_an_empty_file_says_that_nothing_is_there_and_a_missing_one_says_nothing(tmp_path):
    tree(tmp_path, a=GOOD, b="", c=None, d="\n \n", e=GOOD)
    found = open_dataset(tmp_path)
    assert boxes(found) == {f"images/{n}.jpg": [("cat", AT)] if n in "ae" else [] for n in "abde"}
    assert rows(found) == {"images/c.jpg": "has no label file"}
    assert boxes(open_dataset(tmp_path, unlabelled="background"))["images/c.jpg"] == []


LINES = {
    "four": ("0 0.5 0.5 0.2", "has 4 columns"),
    "seven": ("0 0.5 0.5 0.2 0.2 0.3 0.3", "has 7 columns"),
    "class": ("2 0.5 0.5 0.2 0.2", "class 2, but classes are 0–1"),
    "fraction": ("1.5 0.5 0.5 0.2 0.2", "class 1.5 is no whole number"),
    "below": ("-1 0.5 0.5 0.2 0.2", "class -1 is no whole number"),
    "large": ("0 1.5 0.5 0.2 0.2", "1.5 is not a share between 0 and 1"),
    "negative": ("0 0.5 -0.1 0.2 0.2", "-0.1 is not a share"),
    "nan": ("0 nan 0.5 0.2 0.2", "nan is not a number"),
    "twice": (GOOD, "repeats line 1"),
    "flat": ("0 0.5 0.5 0 0.2", "zero area"),
    "digits": ("0 0.5 0.5 0.2 0.٢", "is not a number"),
}


@pytest.mark.parametrize("kind", LINES)
def test_a_line_that_cannot_be_used_is_a_row(tmp_path, kind):
    line, reason = LINES[kind]
    found = open_dataset(tree(tmp_path, a=f"{GOOD}\n{line}\n", b=GOOD))
    assert reason in rows(found)["labels/a.txt line 2"]
    assert boxes(found) == {name: [("cat", AT)] for name in ("images/a.jpg", "images/b.jpg")}


def test_a_picture_whose_lines_are_all_bad_is_no_example_of_nothing(tmp_path):
    found = open_dataset(tree(tmp_path, a="9 0.5 0.5 0.2 0.2", b=GOOD), unlabelled="background")
    assert rows(found)["images/a.jpg"] == "none of its boxes can be used"
    assert list(boxes(found)) == ["images/b.jpg"]


def test_a_hair_over_the_edge_is_clipped_and_told(tmp_path):
    found = open_dataset(tree(tmp_path, a="0 0.5002 0.5 1.0004 1", b=GOOD))
    assert boxes(found)["images/a.jpg"] == [("cat", [0, 0, WIDTH, HEIGHT])]
    assert "1 box clipped to the picture (first: labels/a.txt line 1)" in told(found)


def test_a_byte_order_mark_is_no_class(tmp_path):
    assert not open_dataset(tree(tmp_path, a=b"\xef\xbb\xbf" + GOOD.encode(), b=GOOD)).skipped


def test_a_file_that_is_no_text_is_a_row(tmp_path):
    found = open_dataset(tree(tmp_path, a=b"\xff\xfe\x00\x01", b=GOOD), unlabelled="background")
    assert rows(found)["labels/a.txt"] == "is not UTF-8"
    assert list(boxes(found)) == ["images/b.jpg"]


YAML = "path: ../elsewhere\ntrain: images/train\nval: images/val\ntest:\nnc: 2\nnames: {0: cat, 3: dog}\n"


def test_data_yaml_names_classes_with_gaps_and_splits(tmp_path):
    for split in ("train", "val"):
        for name in "ab":
            picture(tmp_path / f"images/{split}/{name}.jpg", seed=len(split))
            (tmp_path / f"labels/{split}").mkdir(parents=True, exist_ok=True)
            (tmp_path / f"labels/{split}/{name}.txt").write_text("3 0.5 0.5 0.25 0.5\n0 0.5 0.5 0.5 0.5")
    (tmp_path / "data.yaml").write_text(YAML)
    for source in (tmp_path, tmp_path / "data.yaml"):
        found = open_dataset(source, held_out="val")
        assert found.classes == ("cat", "dog")
        assert [b[0] for b in boxes(found)["images/val/a.jpg"]] == ["dog", "cat"]
        names = [found.pictures.name(i) for i in range(len(found))]
        assert {n for n, s in zip(names, found.splits, strict=True) if s == 1} == {
            "images/val/a.jpg",
            "images/val/b.jpg",
        }
        assert "data.yaml" in found.origin.split_by


def test_lists_of_pictures_split_as_well(tmp_path):
    tree(tmp_path, names="", a=GOOD, b=GOOD, c=GOOD)
    (tmp_path / "train.txt").write_text("./images/a.jpg\n./images/b.jpg\n")
    (tmp_path / "test.txt").write_text("images/c.jpg\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\ntest: test.txt\nnames: [cat]\n")
    found = open_dataset(tmp_path)
    assert dict(zip(boxes(found), found.splits.tolist(), strict=True))["images/c.jpg"] == 2


def test_folders_that_data_yaml_names_from_elsewhere_are_found_where_the_archive_unpacked(tmp_path):
    """Exports often say ../train/images of what lies beside data.yaml."""
    for split in ("train", "valid", "test"):
        picture(tmp_path / f"{split}/images/a.jpg", seed=len(split))
        (tmp_path / f"{split}/labels").mkdir()
        (tmp_path / f"{split}/labels/a.txt").write_text(GOOD)
    (tmp_path / "README.dataset.txt").write_text("0 1 2 3 4")
    lines = ["train: ../train/images", "val: ../valid/images", "test: ../test/images", "nc: 1", "names: ['cat']"]
    (tmp_path / "data.yaml").write_text("\n".join(lines))
    found = open_dataset(tmp_path)
    assert dict(zip(boxes(found), found.splits.tolist(), strict=True)) == {
        "test/images/a.jpg": 2, "train/images/a.jpg": 0, "valid/images/a.jpg": 1
    }  # fmt: skip
    assert not found.skipped
    assert "data.yaml" in found.origin.split_by


@pytest.mark.parametrize(
    ("yaml", "reason"),
    [
        ("names: !!python/object/new:os.system [touch canary]", "YAML tag"),
        ("names: !!python/name:os.system", "YAML tag"),
        ("a: &a [x,x,x,x]\nb: &b [*a,*a,*a]\nnames: [*b]", "YAML reference"),
        ("names: [cat", "is not valid YAML"),
        ("names: " + "[" * 5000 + "]" * 5000, "too deeply nested"),
        ("names: 7", "names must be a list"),
        ("names: [cat, cat]", 'two classes are called "cat"'),
        ("x: " + "y" * 300_000, "larger than"),
    ],
)
def test_a_yaml_file_that_is_more_than_values_is_refused(tmp_path, yaml, reason):
    tree(tmp_path, names="", a=GOOD, b=GOOD)
    (tmp_path / "data.yaml").write_text(yaml)
    with pytest.raises(BadData, match=reason):
        open_dataset(tmp_path)


def test_a_download_script_is_not_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree(tmp_path, names="", a=GOOD, b=GOOD)
    (tmp_path / "data.yaml").write_text("names: [cat]\ndownload: |\n  import os\n  open('canary', 'w')\n")
    assert len(open_dataset(tmp_path)) == 2
    assert not (tmp_path / "canary").exists()


def test_class_folders_with_texts_beside_their_pictures_are_class_folders(tmp_path):
    for name in ("cat", "dog"):
        for i in range(3):
            picture(tmp_path / name / f"{i}.jpg", seed=ord(name[0]))
            (tmp_path / name / f"{i}.txt").write_text("a photograph of an animal")
    assert open_dataset(tmp_path).origin.format == "class folders"


def test_the_sample_of_coco_is_read_whole(real_data):
    found = open_dataset(real_data("coco-sample"))
    assert (len(found), found.boxes.counts.min() >= 0) == (26, True)
    assert not found.skipped
    assert "clipped" not in told(found)
    names = (real_data("coco.names")).read_text().split("\n")[:80]
    assert "person" in open_dataset(real_data("coco-sample"), classes=names).classes
