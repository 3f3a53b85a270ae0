"""Pictures with several labels or none, in every way that people write them down."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.data.convert import convert
from foveal.data.sources import open_dataset
from foveal.errors import BadData

WORDS = ("cat", "dog", "hat")
TRUTH = [("cat",), ("cat", "dog"), (), ("hat",), ("dog", "hat"), ("cat", "dog", "hat"), ("dog",), ("cat", "hat")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight pictures, a.png to h.png."""
    for i in range(len(TRUTH)):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 9, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{'abcdefgh'[i]}.png")
    return tmp_path


def written(folder: Path, name: str, header: str, cells: list[str]) -> Path:
    rows = [f"{letter}.png,{cell}" for letter, cell in zip("abcdefgh", cells, strict=True)]
    (folder / name).write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return folder / name


def shown(dataset) -> dict[str, tuple[str, ...]]:
    return {sample.name.rpartition("/")[2][0]: sample.labels for sample in dataset}


EXPECTED = dict(zip("abcdefgh", TRUTH, strict=True))


@pytest.mark.parametrize("mark", [";", "|", " ; ", ","])
def test_a_column_with_a_separator_is_read_as_several_and_an_empty_cell_as_none(folder, mark):
    table = written(folder, "t.csv", "path,labels", [f'"{mark.join(labels)}"' for labels in TRUTH])
    dataset = open_dataset(table)
    assert dataset.classes == WORDS
    assert shown(dataset) == EXPECTED
    assert dataset.multi_hot.sum(0).tolist() == [4, 4, 4]
    assert any("1 empty cell: picture with none of the labels" in note for note in dataset.notes)


def test_separators_are_guessed_for_plurals_alone_and_can_be_said(folder):
    cells = ["; ".join(labels) or "none" for labels in TRUTH]
    table = written(folder, "t.csv", "path,label", cells)
    single = open_dataset(table, min_classes=1)
    assert single.multi_hot is None
    assert any('hold ";" and are read as one label each' in note for note in single.notes)
    several = open_dataset(table, labels="several")
    assert shown(several) == {k: v or ("none",) for k, v in EXPECTED.items()}
    table = written(folder, "t.csv", "path,label", ["/".join(labels) for labels in TRUTH])
    assert shown(open_dataset(table, label_separator="/")) == EXPECTED
    table = written(folder, "t.csv", "path,labels", [f'"{", ".join(labels) or "none"}"' for labels in TRUTH])
    assert open_dataset(table, label_separator="none", min_classes=1).multi_hot is None


def test_a_label_that_holds_the_separator_stands_in_quotes(folder):
    cells = ['"""black; white"";cat"', '"""black; white"""', "cat", "", "cat", "dog", "dog;cat", "dog"]
    dataset = open_dataset(written(folder, "t.csv", "path,labels", cells))
    assert dataset.classes == ("black; white", "cat", "dog")
    assert dataset[0].labels == ("black; white", "cat")
    assert dataset[1].labels == ("black; white",)


def test_two_separators_that_may_both_be_meant_are_asked_about(folder):
    cells = ["cat|dog", "cat;dog", "hat", "cat", "dog", "hat", "dog", "cat"]
    table = written(folder, "t.csv", "path,labels", cells)
    with pytest.raises(BadData, match=r'holds ";" and "\|"; say which one separates labels: --label-separator'):
        open_dataset(table)
    assert open_dataset(table, label_separator="|")[0].labels == ("cat", "dog")
    mixed = ["cat, grey; dog", "cat, grey; hat", "dog", "hat", "dog", "hat; dog", "dog", "dog"]
    dataset = open_dataset(written(folder, "t.csv", "path,labels", [f'"{cell}"' for cell in mixed]))
    assert dataset.classes == ("cat, grey", "dog", "hat")  # a comma is only ever where a semicolon is


def test_words_with_spaces_between_and_lists_as_pandas_writes_them(folder):
    tags = ["haze primary", "clear primary", "haze water", "clear", "haze", "primary water", "water clear", "haze"]
    dataset = open_dataset(written(folder, "t.csv", "image_name,tags", tags))
    assert dataset.classes == ("clear", "haze", "primary", "water")
    assert dataset[5].labels == ("primary", "water")
    names = ["New York", "New Jersey", "York", "Ohio", "Old Town", "New York", "Ohio", "Ohio"]
    assert open_dataset(written(folder, "t.csv", "path,labels", names)).multi_hot is None
    cells = [f'"{list(labels)}"' for labels in TRUTH]
    assert shown(open_dataset(written(folder, "t.csv", "path,labels", cells))) == EXPECTED


def test_columns_of_zeros_and_ones_have_several_where_a_row_has_two(folder):
    cells = [",".join(str(int(word in labels)) for word in WORDS) for labels in TRUTH]
    dataset = open_dataset(written(folder, "t.csv", "image,cat,dog,hat", cells))
    assert shown(dataset) == EXPECTED
    assert any("4 of 8 rows have several 1s, 1 none" in note for note in dataset.notes)
    cells[3] = "0,0.3,1"
    with pytest.raises(BadData, match=r'line 5: column "dog" holds "0\.3"; a column that is a class holds 0 or 1'):
        open_dataset(written(folder, "t.csv", "image,cat,dog,hat", cells))
    lone = [str(int("cat" in labels)) for labels in TRUTH]
    dataset = open_dataset(written(folder, "t.csv", "image,cat", lone), labels="several")
    assert dataset.classes == ("cat",)
    assert dataset.multi_hot[:, 0].tolist() == [bool(int(cell)) for cell in lone]


def test_tables_of_roboflow_and_lists_of_json_lines(folder, tmp_path):
    for split in ("train", "valid", "test"):
        home = folder / "set" / split
        home.mkdir(parents=True)
        for letter in "abcdefgh":
            picture = np.array(Image.open(folder / f"{letter}.png")) // (1 + len(split) % 3)
            Image.fromarray(picture).save(home / f"{letter}.png")
        rows = [f"{k}.png, {', '.join(str(int(w in v)) for w in WORDS)}" for k, v in EXPECTED.items()]
        (home / "_classes.csv").write_text("\n".join(["filename, cat, dog, hat", *rows]))
    dataset = open_dataset(folder / "set")
    assert len(dataset) == 24
    for split in ("train", "val", "test"):
        assert dataset.counts(split).tolist() == [4, 4, 4]
    for home in (folder / "set").iterdir():
        (home / "_classes.csv").unlink()
        rows = [json.dumps({"file_name": f"{k}.png", "labels": list(v)}) for k, v in EXPECTED.items()]
        (home / "metadata.jsonl").write_text("\n".join(rows))
    assert shown(open_dataset(folder / "set")) == EXPECTED


def test_two_tables_that_disagree_leave_the_picture_out_and_name_both(folder):
    first = written(folder, "train.csv", "path,labels", [";".join(labels) for labels in TRUTH])
    (folder / "metadata").mkdir()
    second = folder / "metadata.csv"
    rows = first.read_text().splitlines()
    second.write_text("\n".join(["file_name,labels", *rows[1:], "a.png,dog", "b.png,dog;cat"]))
    first.unlink()
    dataset = open_dataset(folder)
    reasons = {row.name: row.reason for row in dataset.skipped}
    assert reasons["line 10"].startswith("contradicts line 2 about a.png; both are skipped")
    assert reasons["line 2"].startswith("contradicts line 10")
    assert reasons["line 11"] == "repeats line 3"  # the order of labels means nothing
    assert "a" not in shown(dataset)


def coco(folder: Path, truth, **more) -> Path:
    images = [{"id": i, "file_name": f"{'abcdefgh'[i]}.png", "width": 9, "height": 8} for i in range(len(truth))]
    notes = [{"image_id": i, "category_id": WORDS.index(word), **more} for i, row in enumerate(truth) for word in row]
    notes = [{"id": n, **note} for n, note in enumerate(notes, 1)]
    content = {
        "images": images,
        "annotations": notes,
        "categories": [{"id": k, "name": w} for k, w in enumerate(WORDS)],
    }
    (folder / "labels.json").write_text(json.dumps(content))
    return folder / "labels.json"


def test_coco_without_boxes_is_labels(folder):
    dataset = open_dataset(coco(folder, TRUTH))
    assert dataset.boxes is None
    assert shown(dataset) == EXPECTED
    assert open_dataset(coco(folder, TRUTH, bbox=[]))[1].labels == ("cat", "dog")
    with pytest.raises(BadData, match=r"has several labels \(cat, dog\), and one is asked for"):
        open_dataset(coco(folder, TRUTH), labels="one")
    single = open_dataset(coco(folder, [(WORDS[i % 3],) for i in range(8)]))
    assert single.multi_hot is None
    assert single[4].label == "dog"


def test_a_label_of_no_category_is_a_row_and_a_box_among_labels_makes_them_boxes_that_lack_one(folder):
    file = coco(folder, TRUTH)
    content = json.loads(file.read_text())
    content["annotations"].append({"id": 99, "image_id": 0, "category_id": 77})
    file.write_text(json.dumps(content))
    dataset = open_dataset(file)
    assert ("annotation 99 of a.png", "no category with id 77") in {(row.name, row.reason) for row in dataset.skipped}
    assert any("1 box skipped (annotation 99 of a.png: no category with id 77)" in note for note in dataset.notes)
    content["annotations"][0]["bbox"] = [1, 1, 4, 4]
    file.write_text(json.dumps(content))
    boxed = open_dataset(file)
    assert boxed.boxes is not None
    assert {row.reason for row in boxed.skipped} >= {"has no bbox", "no category with id 77"}


@pytest.mark.parametrize("form", ["csv", "classes-csv", "coco"])
def test_several_labels_come_back_from_every_form_that_holds_them(folder, tmp_path, form):
    cells = [";".join(labels) for labels in TRUTH]
    source = open_dataset(written(folder, "t.csv", "path,labels", cells))
    copy = convert(source, tmp_path / "copy", form)
    again = open_dataset(copy.open)
    assert again.classes == source.classes
    assert shown(again) == EXPECTED
    assert sorted(again.splits.tolist()) == sorted(source.splits.tolist())


def test_names_that_hold_separators_and_quotes_come_back(folder, tmp_path):
    odd = ['a;b"c', "path", "x, y", "plain"]
    lists = [[odd[i % 4], odd[(i + 1) % 4]] if i % 2 else [odd[i % 4]] for i in range(8)]
    rows = [json.dumps({"file_name": f"{'abcdefgh'[i]}.png", "labels": row}) for i, row in enumerate(lists)]
    (folder / "metadata.jsonl").write_text("\n".join(rows))
    source = open_dataset(folder / "metadata.jsonl")
    for form in ("csv", "classes-csv", "coco"):
        again = open_dataset(convert(source, tmp_path / form, form).open)
        if form != "classes-csv":  # "path" would be the pictures' column
            assert shown(again) == shown(source)
        assert again.multi_hot.sum() == source.multi_hot.sum()


def test_forms_of_one_label_refuse_several(folder, tmp_path):
    source = open_dataset(written(folder, "t.csv", "path,labels", [";".join(labels) for labels in TRUTH]))
    with pytest.raises(BadData, match="several labels a picture, which folders cannot hold; use --to csv, classes-csv"):
        convert(source, tmp_path / "copy", "folders")


def test_a_label_on_one_picture_is_trained_on_and_no_split_takes_another_labels_last_one(folder):
    rng = np.random.default_rng(0)
    names = [f"{i}.png" for i in range(60)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(folder / name)
    rows = [[f"l{rng.integers(4)}", *([f"rare{i % 3}"] * (i % 20 < 3))] for i in range(60)]
    rows[7].append("lone")
    content = "\n".join(
        ["path,labels", *(f"{n},{';'.join(dict.fromkeys(r))}" for n, r in zip(names, rows, strict=True))]
    )
    (folder / "t.csv").write_text(content)
    dataset = open_dataset(folder / "t.csv")
    for split in ("train", "val", "test"):
        counts = dict(zip(dataset.classes, dataset.counts(split).tolist(), strict=True))
        assert counts.pop("lone") == (split == "train")
        assert all(counts.values()), (split, counts)
    assert any('"lone" (1)' in note for note in dataset.notes)


def test_a_label_that_train_lacks_is_left_out_and_its_pictures_stay(folder):
    cells = [f"{';'.join(labels)},{'test' if i > 4 else 'train'}" for i, labels in enumerate(TRUTH)]
    cells[0] = "cat,train"
    cells[7] = "cat;new,test"
    table = written(folder, "t.csv", "path,labels,split", cells)
    dataset = open_dataset(table)
    assert dataset.classes == WORDS
    assert shown(dataset)["h"] == ("cat",)
    assert any("label new is on no picture of train and is left out" in note for note in dataset.notes)


def test_equal_pictures_with_other_labels_are_left_out(folder):
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes())
    dataset = open_dataset(written(folder, "t.csv", "path,labels", [";".join(labels) for labels in TRUTH]))
    reasons = {row.name: row.reason for row in dataset.skipped}
    assert reasons["a.png"] == 'is labelled "cat", and the same as b.png ("cat", "dog")'
    kept = open_dataset(folder / "t.csv", contradictions="keep")
    assert len(kept) == 8


def arrays(n: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 8, 9), dtype=np.uint8)


def test_arrays_have_several_labels_as_a_table_of_bits_or_as_lists():
    bits = np.array([[word in labels for word in WORDS] for labels in TRUTH])
    for y in (bits, bits.astype(float), bits.astype(int).tolist()):
        dataset = open_dataset((arrays(), y), classes=WORDS)
        assert [sample.labels for sample in dataset] == TRUTH
    assert open_dataset((arrays(), bits)).classes == ("0", "1", "2")
    for y in ([list(labels) for labels in TRUTH], [set(labels) for labels in TRUTH]):
        assert [sample.labels for sample in open_dataset((arrays(), y))] == TRUTH
    one_hot = open_dataset((arrays(), np.eye(3)[np.arange(8) % 3]), classes=WORDS)
    assert one_hot.multi_hot is None
    assert one_hot[4].label == "dog"
    assert open_dataset((arrays(), np.eye(3)[np.arange(8) % 3]), labels="several").multi_hot is not None


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.full((8, 3), 0.3), r"labels of shape \(8, 3\) say with 0 and 1 which of 3 a picture has"),
        (np.zeros((7, 3)), r"8 pictures but labels of shape \(7, 3\); it must be \(8,\), or \(8, K\)"),
        (np.zeros((8, 3, 1)), r"labels of shape \(8, 3, 1\)"),
        (np.zeros((8, 0)), r"labels of shape \(8, 0\)"),
        ([["cat"]] * 7 + ["dog"], r"y\[7\] is no list of labels such as"),
        ([["cat", 3]] * 8, r"y\[0\] is no list of labels such as"),
        ([[]] * 8, "no picture has a label"),
        ([["cat", "dog"]] * 7, "8 pictures but labels of shape"),
    ],
)
def test_arrays_of_labels_that_do_not_go_are_one_sentence(y, words):
    with pytest.raises(BadData, match=words) as caught:
        open_dataset((arrays(), y))
    assert str(caught.value).count(". ") == 0
    with pytest.raises(BadData, match="3 columns of labels, but 2 class names"):
        open_dataset((arrays(), np.ones((8, 3))), classes=("a", "b"))
