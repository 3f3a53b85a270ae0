"""What people have and other tools get wrong, where there are classes: each as it was reported, and its relatives."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.data.convert import convert
from foveal.data.dataset import Dataset
from foveal.data.sources import open_dataset
from foveal.data.split import score_warnings, sources_across
from foveal.data.store import open_store
from foveal.errors import BadData, Missing
from foveal.files.given import named_pictures
from foveal.preprocess import Preprocess
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


def test_14_a_copy_in_another_form_has_the_same_sources(tmp_path):
    dataset = open_dataset(augmented_set(tmp_path / "in", "x0_jpg.rf.{2:032x}.jpg", sources=2, copies=9))
    assert said(dataset, "18 pictures are augmented copies of 2 sources")  # one in each class, called alike
    for form in ("folders", "csv"):
        again = open_dataset(convert(dataset, tmp_path / form, form).open)
        assert said(again, "18 pictures are augmented copies of 2 sources", "a source stays in one split")


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
    pairs = sources_across(dataset)  # those of test whose source train still has, when val has taken its own
    assert len(pairs) > 2
    assert said(
        dataset, f"; {len(pairs)} of val and test are of sources that train has", *pairs[0], "will be too optimistic."
    )
    assert not said(dataset, "a source stays in one split")
    (warning,) = score_warnings(dataset, "test")
    assert "augmented copies of one source on both sides" in warning
    assert f"and so are {len(pairs) - 1} more" in warning
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


# 13: a column a class; names without their ending.


def write(path: Path, header: str, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def labels_of(dataset: Dataset) -> dict[str, str]:
    return {dataset.pictures.name(i): dataset.classes[dataset.labels[i]] for i in range(len(dataset))}


def thirds(i: int) -> list[bool]:
    return [i % 3 == k for k in range(3)]


@pytest.mark.parametrize("cell", [lambda b: f"{float(b)}", lambda b: str(int(b)), str, lambda b: str(b).lower()])
@pytest.mark.parametrize("given", ["truth.csv", ""])
def test_13_a_column_a_class_is_read_and_names_need_no_ending(tmp_path, cell, given):
    for i in range(9):
        picture(tmp_path / f"ISIC_{i}.jpg", i)
    write(tmp_path / "truth.csv", "image,MEL,NV,BCC", *(f"ISIC_{i},{','.join(map(cell, thirds(i)))}" for i in range(9)))
    dataset = open_dataset(tmp_path / given)
    assert labels_of(dataset) == {f"ISIC_{i}.jpg": ("MEL", "NV", "BCC")[i % 3] for i in range(9)}
    assert said(dataset, "a column a class, of 0 and 1: MEL, NV, BCC.")
    assert said(dataset, "9 pictures without their ending (first: ISIC_0 is ISIC_0.jpg)")


def test_13_other_columns_are_named_and_pictures_may_lie_in_a_folder_below(tmp_path):
    for i in range(9):
        picture(tmp_path / "Training_Input" / f"v1.{i}.png", i)
    rows = [f"{i},v1.{i},{30 + i},{'mf'[i % 2]},{','.join(str(int(b)) for b in thirds(i))}" for i in range(9)]
    dataset = open_dataset(write(tmp_path / "truth.csv", ",image_id,age,sex,MEL,NV,BCC", *rows))
    assert labels_of(dataset)["Training_Input/v1.4.png"] == "NV"
    assert said(dataset, "MEL, NV, BCC; age, sex are not read")


def test_13_roboflow_has_such_a_table_in_each_split(tmp_path):
    for split in ("train", "valid", "test"):
        for i in range(8):
            picture(tmp_path / split / f"{i}.jpg", ord(split[0]) * 10 + i)
        rows = [f"{i}.jpg, {i % 2}, {1 - i % 2}" for i in range(8)]
        write(tmp_path / split / "_classes.csv", "filename, cat, dog", *rows)
    dataset = open_dataset(tmp_path)
    assert labels_of(dataset)["valid/3.jpg"] == "cat"
    for split, word in (("train", "train"), ("val", "valid"), ("test", "test")):
        assert {name.split("/")[0] for name in names_in(dataset, split)} == {word}
        assert len(names_in(dataset, split)) == 8


def test_13_two_ones_are_several_labels_and_none_is_a_row(tmp_path):
    for i in range(9):
        picture(tmp_path / f"{i}.jpg", i)
    rows = [f"{i},{i % 2},{1 - i % 2}" for i in range(8)]
    table = write(tmp_path / "t.csv", "image,cat,dog", *rows, "8,0,0")
    dataset = open_dataset(table)
    assert len(dataset) == 8
    assert ("line 10", "has no 1 in cat, dog") in {(row.name, row.reason) for row in dataset.skipped}
    write(table, "image,cat,dog", *rows, "8,1,1")
    assert open_dataset(table)[8].labels == ("cat", "dog")
    with pytest.raises(BadData, match=r"line 10: 8 has several labels \(cat, dog\), and one is asked for"):
        open_dataset(table, labels="one")
    write(table, "image,cat,dog,smoker", *(f"{row},{i % 2}" for i, row in enumerate(rows)))
    assert open_dataset(table)[1].labels == ("cat", "smoker")
    write(table, "image,cat,dog", *rows, "8,0.5,0")
    with pytest.raises(BadData, match=r'line 10: column "cat" holds "0\.5"; a column that is a class holds 0 or 1'):
        open_dataset(table)
    write(table, "image,cat,dog", *rows, "8,,1")
    assert ("line 10", 'has nothing in column "cat"') in {(r.name, r.reason) for r in open_dataset(table).skipped}
    write(table, "image,cat", *(f"{i},{i % 2}" for i in range(8)))
    with pytest.raises(BadData, match='no column "label"'):
        open_dataset(table)


def test_13_names_without_their_ending_are_found_in_every_table_and_two_of_one_stem_are_told(tmp_path):
    for i in range(12):
        picture(tmp_path / f"in/{'ab'[i % 2]}/{i}.jpg", i)
    picture(tmp_path / "in/b/3.png", 50)
    rows = [f"{i},{'ab'[i % 2]},{'ab'[i % 2]}{i // 4}" for i in range(12)]
    plain = write(tmp_path / "in/t.csv", "path,label,film", *rows)
    dataset = open_dataset(plain, group_by="film")
    assert labels_of(dataset) == {f"{'ab'[i % 2]}/{i}.jpg": "ab"[i % 2] for i in range(12) if i != 3}
    assert ("line 5", "3 may be b/3.jpg, b/3.png") in {(row.name, row.reason) for row in dataset.skipped}
    assert len(np.unique(dataset.groups)) == 6
    split = write(tmp_path / "s.csv", "path,split", "b/5,test", "4,test", "a/6.jpg,val", "3,val")
    folders = open_dataset(tmp_path / "in", split=split)
    assert names_in(folders, "test") == ["a/4.jpg", "b/5.jpg"]
    assert said(folders, "not in the data set", "3 may be b/3.jpg, b/3.png")
    left = open_dataset(tmp_path / "in", exclude=write(tmp_path / "e.csv", "path", "4", "b/5"))
    assert {row.name for row in left.skipped} >= {"a/4.jpg", "b/5.jpg"}
    boxes = write(tmp_path / "in/boxes.csv", "path,x1,y1,x2,y2,label", *(f"{i},1,1,9,9,cat" for i in range(12)))
    assert len(open_dataset(boxes)) == 11


def test_13_a_path_of_another_machine_is_the_picture_that_ends_most_like_it(tmp_path):
    for i in range(8):
        picture(tmp_path / f"train/{'ab'[i % 2]}/{i % 4 // 2}{i // 4}.jpg", i)
    rows = [f"C:\\data\\train\\{'ab'[i % 2]}\\{i % 4 // 2}{i // 4}.jpg,{'xy'[i % 2]}" for i in range(8)]
    dataset = open_dataset(write(tmp_path / "t.csv", "path,label", *rows))
    assert all(("xy"["ab".index(name.split("/")[1])] == label) for name, label in labels_of(dataset).items())
    assert said(dataset, "8 pictures where they do not lie", "is train/a/00.jpg")
    gone = open_dataset(write(tmp_path / "t.csv", "path,label", *rows, "c/00.jpg,x", "/data/q/00.jpg,x"))
    assert [row.reason for row in gone.skipped] == [
        "file c/00.jpg not found",  # not that of another folder
        "/data/q/00.jpg may be train/a/00.jpg, train/b/00.jpg",
    ]


# 15: tables among the pictures.


def image_folder(root: Path, kind: str = "csv", splits: tuple[str, ...] = ("train", "test"), n: int = 8) -> Path:
    for s, split in enumerate(splits):
        rows = [{"file_name": f"{i}.jpg", "label": ("dog", "cat")[i % 2]} for i in range(n)]
        for i in range(n):
            picture(root / split / f"{i}.jpg", 50 * s + i)
        write_rows(root / split / f"metadata.{kind}", rows)
    return root


def write_rows(path: Path, rows: list[dict]) -> None:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq = pytest.importorskip("pyarrow.parquet")
        pq.write_table(pytest.importorskip("pyarrow").Table.from_pylist(rows), path)
    else:
        write(path, ",".join(rows[0]), *(",".join(str(v) for v in row.values()) for row in rows))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_15_a_table_in_each_split_is_read(tmp_path, kind):
    dataset = open_dataset(image_folder(tmp_path, kind))
    assert (len(dataset), dataset.classes) == (16, ("cat", "dog"))
    assert labels_of(dataset)["train/3.jpg"] == "cat"
    assert set(names_in(dataset, "test")) == {f"test/{i}.jpg" for i in range(8)}
    assert dataset.origin.split_by.startswith("tables of test, train")
    alone = open_dataset(tmp_path / "train" / f"metadata.{kind}")
    assert {Path(name).name for name in labels_of(alone)} == {f"{i}.jpg" for i in range(8)}
    assert labels_of(alone)["3.jpg"] == "cat"


def test_15_one_table_for_all_with_paths_of_splits_and_whole_numbers(tmp_path):
    rows = []
    for split, n in (("train", 10), ("validation", 4), ("test", 4)):
        for i in range(n):
            picture(tmp_path / "data" / split / f"{i}.jpg", 100 * len(split) + i)
            rows.append({"file_name": f"data/{split}/{i}.jpg", "species": i % 2})
    picture(tmp_path / "data/train/more.jpg", 7)
    write_rows(tmp_path / "metadata.jsonl", rows)
    dataset = open_dataset(tmp_path)
    assert [len(dataset.indices(split)) for split in ("train", "val", "test")] == [10, 4, 4]
    assert dataset.classes == ("0", "1")
    assert said(dataset, 'Labels are those of column "species"')
    assert said(dataset, "1 picture that no row names skipped (data/train/more.jpg)")


def test_15_beside_class_folders_labels_of_the_table_win_and_a_table_without_labels_changes_nothing(tmp_path):
    classes(tmp_path, "cat", "dog")
    rows = [{"file_name": f"{label}/{i}.jpg", "label": ("x", "y")[i % 2]} for label in ("cat", "dog") for i in range(8)]
    write_rows(tmp_path / "metadata.csv", rows)
    assert open_dataset(tmp_path).classes == ("x", "y")
    assert said(open_dataset(tmp_path), "Labels are those of metadata.csv, not the names of the folders")
    write_rows(tmp_path / "metadata.csv", [{"file_name": row["file_name"], "camera": "a"} for row in rows])
    assert open_dataset(tmp_path).classes == ("cat", "dog")


def test_15_as_competitions_give_them(tmp_path):
    for i in range(12):
        picture(tmp_path / f"train_images/a{i}.jpg", i)
        picture(tmp_path / f"test_images/b{i}.jpg", 50 + i)
    (tmp_path / "notes.csv").write_text("who,when\nme,now\n")
    with pytest.raises(BadData, match="24 pictures, but not in class folders"):
        open_dataset(tmp_path)  # and not two classes, of train and of test
    write(tmp_path / "train.csv", "id,breed", *(f"a{i},{'xy'[i % 2]}" for i in range(12)))
    write(tmp_path / "sample_submission.csv", "id,x,y", *(f"b{i},0.5,0.5" for i in range(12)))
    dataset = open_dataset(tmp_path)
    assert (len(dataset), dataset.classes) == (12, ("x", "y"))
    assert said(dataset, "12 pictures that no row names skipped")
    write(tmp_path / "test.csv", "id,breed", *(f"b{i},{'xy'[i % 2]}" for i in range(12)))
    assert set(names_in(open_dataset(tmp_path), "test")) == {f"test_images/b{i}.jpg" for i in range(12)}


def test_15_a_column_of_the_tables_groups(tmp_path):
    for split in ("train", "test"):
        rows = [{"file_name": f"{i}.jpg", "label": i % 2, "film": f"{split} {i // 4}"} for i in range(12)]
        for i in range(12):
            picture(tmp_path / split / f"{i}.jpg", 100 * len(split) + i)
        write_rows(tmp_path / split / "metadata.jsonl", rows)
    dataset = open_dataset(tmp_path, group_by="film")
    assert len(np.unique(dataset.groups)) == 6
    assert said(dataset, '6 groups by column "film"')


def test_15_texts_and_what_is_no_label_are_refused_by_name(tmp_path):
    image_folder(tmp_path, splits=("train",))
    for column, value, words in (
        ("text", "a cat", "pictures with texts are not a task yet"),
        ("labels", [["a", "b"]], "holds a list of something else than labels"),
        ("labels", {"a": 1}, "holds objects, not labels"),
        ("taken", None, "another value in each row"),
    ):
        rows = [{"file_name": f"{i}.jpg", column: value or f"at {i}"} for i in range(8)]
        (tmp_path / "train/metadata.csv").unlink(missing_ok=True)
        write_rows(tmp_path / "train/metadata.jsonl", rows)
        with pytest.raises(BadData, match=words):
            open_dataset(tmp_path)
    (tmp_path / "train/metadata.jsonl").write_text("[1]\n")
    with pytest.raises(BadData, match="line 1: is no JSON object"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_15_objects_are_boxes(tmp_path, kind):
    for split in ("train", "test"):
        rows = []
        for i in range(6):
            picture(tmp_path / split / f"{i}.jpg", 10 * len(split) + i)
            boxes = [[1.0, 2.0, 5.0, 6.0], [0.0, 0.0, 16.0, 12.0]][: i % 2 + 1]
            rows.append({"file_name": f"{i}.jpg", "objects": {"bbox": boxes, "categories": [3, 7][: i % 2 + 1]}})
        write_rows(tmp_path / split / f"metadata.{kind}", rows)
    dataset = open_dataset(tmp_path)
    assert dataset.boxes is not None
    assert (len(dataset), len(dataset.boxes), dataset.classes) == (12, 18, ("3", "7"))
    assert dataset.boxes.xyxy[0].tolist() == [1, 2, 6, 8]
    assert len(dataset.indices("test")) == 6


# Pictures inside Parquet.


def parquet_set(path: Path, n: int = 12, names: list[str] | None = None, start: int = 0, **more: list) -> list[bytes]:
    """A table as Hugging Face writes them; returns the pictures' bytes."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    data = [picture(path.parent / "tmp.png", start + i).read_bytes() for i in range(n)]
    (path.parent / "tmp.png").unlink()
    images = [{"bytes": raw, "path": f"{start + i}.png" if i % 2 else None} for i, raw in enumerate(data)]
    columns = {"image": images, **(more or {"label": [i % 2 for i in range(n)]})}
    table = pa.table(columns)
    if names:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=5)
    return data


def test_parquet_pictures_are_read_as_they_are_and_named_by_the_schema(tmp_path):
    home = tmp_path / "in/data"
    data = parquet_set(home / "train-00000-of-00002.parquet", names=["zebra", "ant"])
    data += parquet_set(home / "train-00001-of-00002.parquet", names=["zebra", "ant"], start=20)
    data += parquet_set(home / "test-00000-of-00001.parquet", n=6, names=["zebra", "ant"], start=40)
    dataset = open_dataset(tmp_path / "in")
    assert (len(dataset), dataset.classes) == (30, ("zebra", "ant"))
    assert len(dataset.indices("test")) == 6
    assert sorted(dataset.pictures.content(i) for i in range(30)) == sorted(data)
    assert len({dataset.pictures.name(i) for i in range(30)}) == 30
    shuffled = dataset.take(np.random.default_rng(0).permutation(30))
    stamps = {dataset.pictures.stamp(i): dataset.pictures.content(i) for i in range(30)}
    assert all(stamps[shuffled.pictures.stamp(i)] == shuffled.pictures.content(i) for i in range(30))
    for form in ("folders", "csv", "shards"):
        written = convert(dataset, tmp_path / form, form)
        again = open_dataset(written.open)
        assert np.bincount(again.splits).tolist() == np.bincount(dataset.splits).tolist()
        assert {bytes(d) for d in again.digests} == {bytes(d) for d in dataset.digests}


def test_parquet_keeps_few_row_groups_in_memory(tmp_path, monkeypatch):
    parquet_set(tmp_path / "x.parquet", n=40)
    dataset = open_dataset(tmp_path / "x.parquet")
    monkeypatch.setattr("foveal.data.formats.parquet.KEPT_BYTES", 5000)
    for i in range(40):
        dataset.pictures.content(i)
    assert sum(kept.nbytes for kept in dataset.pictures.groups._kept.values()) < 8000


def test_parquet_labels_may_be_texts_and_rows_without_one_are_told(tmp_path):
    parquet_set(tmp_path / "x.parquet", 8, species=["cat", "dog"] * 3 + ["", None])
    dataset = open_dataset(tmp_path / "x.parquet")
    assert dataset.classes == ("cat", "dog")
    assert [row.reason for row in dataset.skipped] == ["has no label"] * 2
    parquet_set(tmp_path / "y.parquet", 8, labels=[[0, 1]] * 8)
    assert open_dataset(tmp_path / "y.parquet")[0].labels == ("0", "1")
    with pytest.raises(BadData, match="several labels a picture, and one is asked for"):
        open_dataset(tmp_path / "y.parquet", labels="one")
    parquet_set(tmp_path / "z.parquet", 8, a=[0] * 8, b=[1] * 8)
    with pytest.raises(BadData, match='needs one column "label"; a, b could be it'):
        open_dataset(tmp_path / "z.parquet")
    (tmp_path / "w.parquet").write_bytes((tmp_path / "x.parquet").read_bytes()[:-9])
    with pytest.raises(BadData, match="is not a complete Parquet file"):
        open_dataset(tmp_path / "w.parquet")


def test_parquet_that_is_damaged_anywhere_is_a_sentence_or_rows(tmp_path):
    parquet_set(tmp_path / "x.parquet", 8)
    raw, dice = (tmp_path / "x.parquet").read_bytes(), np.random.default_rng(0)
    for at in dice.integers(4, len(raw), 150).tolist():
        (tmp_path / "y.parquet").write_bytes(raw[:at] + bytes([raw[at] ^ 1 << at % 8]) + raw[at + 1 :])
        try:
            dataset = open_dataset(tmp_path / "y.parquet")
            store = open_store(dataset, Preprocess(12, 16, channels=3))
        except BadData:
            continue
        assert len(store) == len(dataset) <= 8


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(Missing, match=r'pip install "foveal\[parquet\]"'):
        open_dataset(tmp_path / "x.parquet")


# Endings that are wrong or missing.


def test_a_wrong_ending_is_told_and_the_picture_used_each_time_it_is_opened(tmp_path):
    classes(tmp_path, "cat", "dog")
    for i in range(3):
        picture(tmp_path / "cat" / f"x{i}.jpg", 50 + i, "PNG")
    picture(tmp_path / "dog" / "y.PNG", 60, "GIF")
    picture(tmp_path / "dog" / "z.JPEG", 61, "JPEG")
    for _ in range(2):  # the second time out of the cache
        dataset = open_dataset(tmp_path)
        assert said(dataset, "4 pictures have the ending of another format", "first: cat/x0.jpg is PNG")
    assert not open_store(dataset, Preprocess(12, 16, channels=3)).broken
    written = convert(dataset, tmp_path.parent / f"{tmp_path.name}-tars", "shards")
    assert said(open_dataset(written.open), "4 pictures have the ending")


def test_files_without_an_ending_are_pictures_where_they_begin_so(tmp_path):
    for i in range(20):
        picture(tmp_path / "in" / "ab"[i % 2] / f"n0{i}.jpg", i).rename(tmp_path / "in" / "ab"[i % 2] / f"n0{i}")
    (tmp_path / "in/a/README").write_text("no picture")
    (tmp_path / "in/a/.n1").write_bytes((tmp_path / "in/a/n00").read_bytes())
    dataset = open_dataset(tmp_path / "in")
    assert (len(dataset), dataset.classes) == (20, ("a", "b"))
    assert said(dataset, "20 files without an ending used: pictures by their content")
    assert said(dataset, "1 file in", "without a picture's ending")
    written = convert(dataset, tmp_path / "out", "folders")
    assert len(open_dataset(written.open)) == 20
