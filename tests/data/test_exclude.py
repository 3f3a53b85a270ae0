"""`--exclude FILE.csv`: what was looked at and is not wanted is left out, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from foveal.data.sources import open_dataset
from foveal.errors import BadData


def fill(root: Path) -> Path:
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for i in range(30):
            (root / label / f"{i}.jpg").write_bytes(f"{label}{i}".encode())
    return root


def names(dataset) -> set[str]:
    return {dataset.pictures.name(i) for i in range(len(dataset))}


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_only_rows_that_say_yes_are_left_out_and_the_rest_keep_their_splits(tmp_path):
    root = fill(tmp_path / "data")
    said = [("a/0.jpg", "yes"), ("a/1.jpg", ""), (f"{root}/b/2.jpg", "X"), (r"b\3.jpg", "True"), ("b/4.jpg", "no")]
    file = table(tmp_path / "e.csv", "path,score,exclude\n" + "".join(f"{p},0.5,{word}\n" for p, word in said))
    before, after = open_dataset(root), open_dataset(root, exclude=file)
    gone = {"a/0.jpg", "b/2.jpg", "b/3.jpg"}
    assert names(before) - names(after) == gone == {row.name for row in after.skipped}
    assert all("e.csv" in row.reason for row in after.skipped)
    split = {before.pictures.name(i): before.splits[i] for i in range(len(before))}
    assert (
        sum(split[after.pictures.name(i)] != after.splits[i] for i in range(len(after))) <= 1
    )  # the fill may move one


def test_without_the_column_every_row_counts(tmp_path):
    root = fill(tmp_path / "data")
    assert len(open_dataset(root, exclude=table(tmp_path / "e.csv", "file\na/0.jpg\nb/1.jpg\n"))) == 58


def test_equal_pictures_in_two_classes_can_be_mended_by_excluding_one(tmp_path):
    import numpy as np
    from PIL import Image

    root = fill(tmp_path / "data")
    for label in "ab":
        Image.fromarray(np.full((9, 12), 7, np.uint8)).save(root / label / "same.png")
    assert len(open_dataset(root)) == 60
    with pytest.raises(BadData, match="two classes"):
        open_dataset(root, contradictions="refuse")
    assert len(open_dataset(root, exclude=table(tmp_path / "e.csv", "path\nb/same.png\n"))) == 61


def test_a_name_that_foveal_escaped_for_a_spreadsheet_is_found(tmp_path):
    from foveal.files.spreadsheet import csv_text

    root = tmp_path / "data"
    fill(root)
    (root / "=a").mkdir()
    for i in range(9):
        (root / "=a" / f"x\n{i}.jpg").write_bytes(b"f%d" % i)
    file = table(tmp_path / "e.csv", csv_text(["path"], [["=a/x\n3.jpg"]]))
    assert {row.name for row in open_dataset(root, exclude=file).skipped} == {"=a/x\n3.jpg"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path\na/99.jpg\n", 'names no picture of the data set.*did you mean "a/9.jpg"'),
        ("path\nzzzzzzzz\n", "paths look like a/0.jpg"),
        ("path,exclude\na/1.jpg,maybe\n", 'line 2: exclude is "maybe"; write yes'),
        ("name\na/1.jpg\n", 'no column "path"'),
        ("path\n" + "".join(f"{k}/{i}.jpg\n" for k in "ab" for i in range(30)), "excludes every picture"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path, text, sentence):
    with pytest.raises(BadData, match=sentence) as error:
        open_dataset(fill(tmp_path / "data"), exclude=table(tmp_path / "e.csv", text))
    assert "\n" not in str(error.value)


def test_some_unknown_paths_are_a_note(tmp_path):
    dataset = open_dataset(fill(tmp_path / "data"), exclude=table(tmp_path / "e.csv", "path\na/1.jpg\nq/1.jpg\n"))
    assert len(dataset) == 59
    assert any("1 of the paths" in note and "q/1.jpg" in note for note in dataset.notes)
