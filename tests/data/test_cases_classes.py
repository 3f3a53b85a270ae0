"""What people have and other tools get wrong, where there are classes: each as it was reported, and its relatives."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.data.dataset import Dataset
from foveal.data.sources import open_dataset
from foveal.data.split import score_warnings
from foveal.files.given import named_pictures
from foveal.recipe import parse_recipe


def picture(path: Path, seed: int = 0, form: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, format=form)
    return path


def classes(root: Path, *folders: str, n: int = 8) -> Path:
    for k, folder in enumerate(folders):
        for i in range(n):
            picture(root / folder / f"{i}.jpg", 1000 * k + i)
    return root


def said(dataset: Dataset, *words: str) -> bool:
    return any(all(word in note for word in words) for note in dataset.notes)


def names_in(dataset: Dataset, split: str) -> list[str]:
    return [dataset.pictures.name(int(i)) for i in dataset.indices(split)]


# 01: what systems and network drives leave behind.

LEFT = (
    "@eaDir", "#recycle", "#snapshot", "$RECYCLE.BIN", "$Recycle.Bin", "RECYCLER", "lost+found", "LOST.DIR",
    "found.000", "System Volume Information", ".Trash-1000", "__MACOSX", ".thumbnails", "@Recycle", ".AppleDouble",
    ".@__thumb", "Network Trash Folder", "Temporary Items", ".ipynb_checkpoints", "__pycache__", "node_modules",
    "@GMT-2020.01.01-00.00.00",
)  # fmt: skip


def test_01_folders_of_systems_are_no_classes_at_any_depth_and_are_counted(tmp_path):
    classes(tmp_path, "rose", "tulip", n=10)
    for k, name in enumerate(LEFT):
        picture(tmp_path / name / "x.jpg", 900 + k)
        if name != "RECYCLER":  # in small letters it may be somebody's
            picture(tmp_path / "rose" / "garden" / name.swapcase() / "x.jpg", 950 + k)
    dataset = open_dataset(tmp_path)
    assert (len(dataset), dataset.classes) == (20, ("rose", "tulip"))
    assert said(dataset, f"{2 * len(LEFT) - 1} hidden or system files and folders", "#SNAPSHOT", "more)")
    assert len(dataset.skipped) == 0
    assert len(list(named_pictures(tmp_path))) == 20


def test_01_a_class_may_be_called_as_an_old_bin_or_as_trash(tmp_path):
    assert open_dataset(classes(tmp_path, "bottle", "recycler", "Trash")).classes == ("Trash", "bottle", "recycler")
    picture(tmp_path / "recycler" / "S-1-5-21-1" / "x.jpg")
    assert open_dataset(tmp_path).classes == ("Trash", "bottle")


def test_01_boxes_and_shards_are_read_past_them(tmp_path):
    for i in range(6):
        picture(tmp_path / f"boxes/images/{i}.jpg", i)
        picture(tmp_path / f"boxes/images/@eaDir/{i}.jpg/SYNOPHOTO_THUMB_M.jpg", i)
        (tmp_path / "boxes/images/@eaDir" / f"{i}.txt").write_text("0 .5 .5 .2 .2\n")
        (tmp_path / "boxes/labels").mkdir(exist_ok=True)
        (tmp_path / f"boxes/labels/{i}.txt").write_text(f"{i % 2} .5 .5 .2 .2\n")
    boxed = open_dataset(tmp_path / "boxes")
    assert len(boxed) == 6
    assert not boxed.skipped
    assert said(boxed, "hidden or system", "@eaDir")
    (tmp_path / "shards/#recycle").mkdir(parents=True)
    for place in ("a.tar", "#recycle/b.tar"):
        with tarfile.open(tmp_path / "shards" / place, "w") as tar:
            for i in range(6):
                (tmp_path / f"{i}.cls").write_text("cd"[i % 2])
                tar.add(tmp_path / f"boxes/images/{i}.jpg", f"{i}.jpg")
                tar.add(tmp_path / f"{i}.cls", f"{i}.cls")
    shards = open_dataset(tmp_path / "shards")
    assert len(shards) == 6
    assert said(shards, "1 hidden or system file or folder", "#recycle")


# 14: copies that an export has augmented.


def augmented_set(root: Path, name: str, sources: int = 20, copies: int = 3, home: str = "{}") -> Path:
    """`name` of (class, source, copy), in a folder a class within `home`."""
    for i in range(sources):
        for j in range(copies):
            label = "ab"[i % 2]
            picture(root / home.format(label) / name.format(i, j, 100 * i + j), 100 * i + j)
    return root


@pytest.mark.parametrize(
    "name",
    [
        "x{0}_jpg.rf.{2:032x}.jpg",
        "x{0}.rf.{2:022d}.png",
        "cat_original_{0}.jpg_{2:08x}-0000-4000-8000-000000000000.jpg",
    ],
)
def test_14_a_source_stays_in_one_split(tmp_path, name):
    dataset = open_dataset(augmented_set(tmp_path, name))
    assert said(dataset, "60 pictures are augmented copies of 20 sources", "a source stays in one split")
    sides: dict[str, set[int]] = {}
    for i in range(60):
        stem = dataset.pictures.name(i).partition("_jpg.rf")[0].partition(".rf")[0].rpartition(".jpg_")
        sides.setdefault(stem[0] or stem[2], set()).add(int(dataset.splits[i]))
    assert len(sides) == 20
    assert all(len(splits) == 1 for splits in sides.values())
    assert {split for splits in sides.values() for split in splits} == {0, 1, 2}
    assert open_dataset(tmp_path, group_by=None).groups is None


def test_14_a_copy_is_known_by_the_picture_beside_it_and_numbered_pictures_are_no_copies(tmp_path):
    for i in range(12):
        for name in (f"x{i}", f"x{i}_aug_1", f"x{i}_aug_2"):
            picture(tmp_path / "with" / "ab"[i % 2] / f"{name}.jpg", 1000 * i + len(name) + ord(name[-1]))
    dataset = open_dataset(tmp_path / "with")
    assert said(dataset, "36 pictures are augmented copies of 12 sources")
    for i in range(12):
        for name in (f"IMG ({i})", f"shop_aug_{i}", f"y_{i}", f"z.rf.{i}"):
            picture(tmp_path / "without" / "ab"[i % 2] / f"{name}.jpg", 1000 * i + len(name) + ord(name[-1]))
    assert open_dataset(tmp_path / "without").groups is None


def test_14_sources_that_their_own_folders_part_are_told_and_warned_of(tmp_path):
    for split, n in (("train", 8), ("test", 3)):
        for label in "ab":
            for i in range(n):
                number = 1000 * n + 100 * ord(label) + i
                picture(tmp_path / split / label / f"x{i}_jpg.rf.{number:032x}.jpg", number)
    dataset = open_dataset(tmp_path)
    assert said(
        dataset, "6 pictures of val and test are augmented copies of sources that train has as well", "test/a/x0"
    )
    (warning,) = score_warnings(dataset, "test")
    assert "augmented copies of one source on both sides" in warning
    assert "and so are 5 more" in warning
    assert set(names_in(dataset, "test")) == {name for name in names_in(dataset, "test") if name.startswith("test/")}


def test_14_boxes_and_tables_keep_sources_together_too_and_a_group_that_is_asked_for_wins(tmp_path):
    rows = []
    for i in range(20):
        for j in range(3):
            name = f"x{i}_jpg.rf.{100 * i + j:032x}.jpg"
            picture(tmp_path / "boxes" / "images" / name, 100 * i + j)
            (tmp_path / "boxes" / "labels").mkdir(exist_ok=True)
            (tmp_path / "boxes" / "labels" / f"{name[:-4]}.txt").write_text(f"{i % 2} .5 .5 .2 .2\n")
            rows.append(f"images/{name},{'ab'[i % 2]},g{i % 7}")
    (tmp_path / "boxes" / "t.csv").write_text("path,label,film\n" + "\n".join(rows))
    for source in (tmp_path / "boxes", tmp_path / "boxes" / "t.csv"):
        dataset = open_dataset(source)
        assert said(dataset, "60 pictures are augmented copies of 20 sources")
        assert len(np.unique(dataset.groups)) == 20
    assert len(np.unique(open_dataset(tmp_path / "boxes" / "t.csv", group_by="film").groups)) == 7


# 16: train and val, and no test.


def parted(root: Path, *splits: str, n: int = 10) -> Path:
    for s, split in enumerate(splits):
        for k, label in enumerate(("ants", "bees")):
            for i in range(n):
                picture(root / split / label / f"{i}.jpg", 1000 * s + 100 * k + i)
    return root


def scored(dataset: Dataset, begins: str, n: int) -> None:
    """All that was held out is scored at the end; validation comes out of the rest."""
    assert sum(name.startswith(begins) for name in names_in(dataset, "test")) == len(names_in(dataset, "test")) == n
    assert names_in(dataset, "val")
    assert said(dataset, f"the {n} pictures of val are scored at the end")


@pytest.mark.parametrize("word", ["val", "valid", "Validation", "dev"])
def test_16_what_a_person_held_out_is_scored_at_the_end(tmp_path, word):
    scored(open_dataset(parted(tmp_path, "train", word)), word, 20)


def test_16_with_all_three_or_with_train_and_test_nothing_changes(tmp_path):
    for splits in (("train", "val", "test"), ("train", "test")):
        dataset = open_dataset(parted(tmp_path / splits[-2], *splits))
        assert not said(dataset, "scored at the end")
        assert {name.split("/")[0] for name in names_in(dataset, "test")} == {"test"}


def test_16_shards_tables_split_files_and_boxes_do_so_as_well(tmp_path):
    root = parted(tmp_path / "folders", "train", "val")
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*.jpg"))
    rows = [f"{name},{name.split('/')[1]},{name.split('/')[0]}" for name in names]
    (root / "t.csv").write_text("path,label,split\n" + "\n".join(rows))
    scored(open_dataset(root / "t.csv"), "val", 20)
    flat = classes(tmp_path / "flat", "ants", "bees", n=20)
    held = [f"{k}/{i}.jpg,{'val' if i < 5 else 'train'}" for k in ("ants", "bees") for i in range(20)]
    (tmp_path / "s.csv").write_text("path,split\n" + "\n".join(held))
    dataset = open_dataset(flat, split=tmp_path / "s.csv")
    assert set(names_in(dataset, "test")) == {row.split(",")[0] for row in held if row.endswith("val")}
    (tmp_path / "shards").mkdir()
    for split in ("train", "val"):
        with tarfile.open(tmp_path / f"shards/x-{split}-0.tar", "w") as tar:
            for i, name in enumerate(n for n in names if n.startswith(split)):
                (tmp_path / "c.cls").write_text(name.split("/")[1])
                tar.add(root / name, f"{i}.jpg")
                tar.add(tmp_path / "c.cls", f"{i}.cls")
    scored(open_dataset(tmp_path / "shards"), "x-val", 20)
    for name in names:
        label = tmp_path / "yolo" / "labels" / name.replace("/", "-").replace("-", "/", 1)
        picture(Path(str(label).replace("labels", "images")), names.index(name))
        label.parent.mkdir(parents=True, exist_ok=True)
        label.with_suffix(".txt").write_text("0 .5 .5 .2 .2\n")
    (tmp_path / "yolo" / "data.yaml").write_text("train: images/train\nval: images/val\ntest:\nnames: [ant]\n")
    scored(open_dataset(tmp_path / "yolo"), "images/val", 20)


def test_16_a_recipe_that_an_earlier_version_saved_splits_as_it_did():
    saved = '[training]\narithmetic = "fp32"\nthreads = 1\n'
    assert parse_recipe(saved).data.held_out == "val"
    assert parse_recipe('[data]\nheld_out = "test"\n' + saved).data.held_out == "test"
    assert parse_recipe("").data.held_out == "test"
