"""Data sets with boxes written in another form: what comes back is what went in, and what a form lacks is said."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from boxed import boxes, picture, told
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foveal.data.convert import OF_BOXES, convert
from foveal.data.dataset import ArrayPictures, Boxes, Dataset, Origin
from foveal.data.sources import open_dataset
from foveal.errors import BadData
from foveal.files.pictures import read_image

WIDTH, HEIGHT = 32, 20
NAMES = st.lists(
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=6)
    .map(str.strip).filter(lambda s: s and s.isprintable() and not s.startswith(("=", "+", "-", "@", "'"))),
    min_size=1, max_size=3, unique_by=lambda s: s.casefold(),
)  # fmt: skip


@st.composite
def box(draw: st.DrawFn, K: int) -> tuple[list[float], int, bool, bool]:
    x = sorted(draw(st.lists(st.floats(0, WIDTH), min_size=2, max_size=2).filter(lambda v: abs(v[0] - v[1]) > 1e-3)))
    y = sorted(draw(st.lists(st.floats(0, HEIGHT), min_size=2, max_size=2).filter(lambda v: abs(v[0] - v[1]) > 1e-3)))
    if x[1] <= 2 and y[1] <= 2:  # a box within the first pixel could as well be one in shares, and is asked about
        x[1], y[1] = x[1] + 2, y[1] + 2
    return [x[0], y[0], x[1], y[1]], draw(st.integers(0, K - 1)), draw(st.booleans()), draw(st.booleans())


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """Pictures of noise; each class has an ordinary box in train, so that none is lost to the split."""
    import unicodedata

    classes = tuple(dict.fromkeys(unicodedata.normalize("NFC", n) for n in draw(NAMES)))
    K = len(classes)
    each = draw(st.lists(st.lists(box(K), max_size=3), min_size=2, max_size=5))
    each[0] = [([1.0, 2.0, 9.0, 5.0 + k], k, False, False) for k in range(K)]
    splits = [0, *draw(st.lists(st.integers(0, 2), min_size=len(each) - 1, max_size=len(each) - 1))]
    flat = [b for several in each for b in several]
    starts = np.concatenate([[0], np.cumsum([len(several) for several in each])]).astype(np.int64)
    N = len(each)
    all_boxes = Boxes(
        np.array([b[0] for b in flat]).reshape(-1, 4), np.array([b[1] for b in flat], np.int64), starts,
        np.tile([HEIGHT, WIDTH], (N, 1)), np.array([b[2] for b in flat], bool), np.array([b[3] for b in flat], bool),
    )  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 255, (N, HEIGHT, WIDTH, 3), np.uint8)
    pictures, origin = ArrayPictures(pixels, tuple(map(str, range(N)))), Origin("x", "memory", "arrays")
    return Dataset(pictures, all_boxes.of_largest, classes, np.array(splits, np.int8), origin, boxes=all_boxes)


def content(dataset: Dataset, crowds: bool, difficult: bool) -> dict[bytes, tuple[int, list[tuple]]]:
    """Of each picture by its pixels: split, and class, corners and marks of its boxes, sorted, each once."""
    assert dataset.boxes is not None
    found = {}
    for i in range(len(dataset)):
        at, marked = dataset.boxes.of(i), []
        for j in range(at.start, at.stop):
            if crowds or not dataset.boxes.crowd[j]:
                marks = (bool(dataset.boxes.crowd[j]), bool(dataset.boxes.difficult[j]) and difficult)
                corners = tuple(np.round(dataset.boxes.xyxy[j], 7).tolist())
                marked.append((dataset.classes[dataset.boxes.labels[j]], corners, marks))
        if marked or at.stop == at.start:  # else of crowds only, in a form that has none
            found[read_image(dataset.pictures.content(i)).tobytes()] = (int(dataset.splits[i]), sorted(set(marked)))
    return found


@pytest.fixture(scope="module")
def unhurried() -> Iterator[None]:
    """Nobody pulls the plug here: what is written need not reach the disk at once."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("sync", "fsync"):
            patch.setattr(os, name, lambda *_: None)
        yield


@pytest.mark.parametrize("form", OF_BOXES)
@given(datasets())
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.usefixtures("unhurried")
def test_what_is_written_is_read_again(form: str, dataset: Dataset) -> None:
    crowds, difficult = form in ("coco", "boxes-csv"), form in ("voc", "boxes-csv")
    with TemporaryDirectory() as place:
        done = convert(dataset, Path(place) / "out", form)  # type: ignore[arg-type]
        again = open_dataset(done.open, held_out="val")  # where hypothesis gives no test picture
        assert again.origin.format == {"voc": "Pascal VOC", "coco": "COCO JSON", "yolo": "YOLO txt",
                                       "boxes-csv": "box table"}[form]  # fmt: skip
        before, after = content(dataset, crowds, difficult), content(again, crowds, difficult)
        assert {n: c for n, (_, c) in before.items()} == {n: c for n, (_, c) in after.items()}
        decided = {n: s for n, (s, _) in before.items() if s}  # val and test stay; train may give some where they lack
        assert {n: after[n][0] for n in decided} == decided
        lost = "\n".join(done.notes)
        assert dataset.boxes is not None
        assert ("cannot mark a box around many" in lost) == (not crowds and bool(dataset.boxes.crowd.any()))
        kept = dataset.boxes.difficult[~dataset.boxes.crowd | crowds]
        assert ("as difficult" in lost) == (not difficult and bool(kept.any()))


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("form", OF_BOXES)
def test_files_stay_what_they_are_and_turned_pictures_keep_their_boxes(tmp_path, form):
    """An EXIF orientation is copied with the file, and the boxes are of what a viewer shows."""
    for number in range(1, 9):
        picture(tmp_path / f"in/{number} x.jpg", (64, 48), orientation=number)
    lines = [f"{number} x.jpg,3,4,20,30,cat,train" for number in range(1, 9)]
    (tmp_path / "in/t.csv").write_text("\n".join(["path,x1,y1,x2,y2,label,split", *lines]))
    before = open_dataset(tmp_path / "in/t.csv", held_out="val")
    done = convert(before, tmp_path / "out", form)
    after = open_dataset(done.open, held_out="val")
    assert [b for _, b in sorted(boxes(after).items())] == [[("cat", pytest.approx([3, 4, 20, 30]))]] * 8
    assert sorted(after.boxes.sizes.tolist()) == sorted(before.boxes.sizes.tolist())
    written = {path.read_bytes() for path in (tmp_path / "out").rglob("*.jpg")}
    assert written == {path.read_bytes() for path in (tmp_path / "in").rglob("*.jpg")}
    assert "clipped" not in told(after)


def test_what_train_lacks_is_written_all_the_same(tmp_path, real_data, foveal):
    """Nobody learns from it here: the split leaves some of the classes out of train."""
    done = foveal("data", "convert", real_data("coco-sample"), "out", "--to", "coco")
    assert done.exit_code == 0, done.stderr
    labels = sum(len(f.read_text().splitlines()) for f in (real_data("coco-sample") / "labels").iterdir())
    assert f"26 pictures with {labels} boxes of" in done.stdout


@pytest.mark.usefixtures("unhurried")
def test_pictures_of_one_stem_keep_apart(tmp_path):
    for name in ("a.jpg", "a.png", "classes.jpg"):
        picture(tmp_path / "in" / name)
    lines = ["a.jpg,1,1,9,9,cat,train", "a.png,2,2,9,9,dog,train", "classes.jpg,3,3,9,9,dog,train"]
    (tmp_path / "in/t.csv").write_text("\n".join(["path,x1,y1,x2,y2,label,split", *lines]))
    for form in OF_BOXES:
        done = convert(open_dataset(tmp_path / "in/t.csv"), tmp_path / form, form)
        again = open_dataset(done.open)
        assert not again.skipped
        assert sorted(b[0][1][0] for b in boxes(again).values()) == pytest.approx([1, 2, 3])


def test_boxes_and_classes_do_not_go_into_each_others_forms(tmp_path):
    with pytest.raises(BadData, match="no boxes for voc; use --to folders, csv, classes-csv, shards or idx"):
        convert(open_dataset("digits"), tmp_path / "out", "voc")
    picture(tmp_path / "in/a.jpg")
    (tmp_path / "in/t.csv").write_text("path,x1,y1,x2,y2,label\na.jpg,1,1,9,9,cat")
    with pytest.raises(BadData, match="has boxes, which folders cannot hold; use --to voc, coco, yolo or boxes-csv"):
        convert(open_dataset(tmp_path / "in/t.csv"), tmp_path / "out", "folders")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("unhurried")
def test_the_raccoons_go_round_all_forms(tmp_path, real_data):
    first = open_dataset(real_data("raccoon"), test_if=r"raccoon-\d*[05]\.")
    now, expected = first, {Path(n).stem: b for n, b in boxes(first).items()}
    for form in (*OF_BOXES, "coco"):
        now = open_dataset(convert(now, tmp_path / f"{form}-{len(list(tmp_path.iterdir()))}", form).open)
        for name, found in boxes(now).items():
            for (kind, corners), (kind_before, before) in zip(found, expected[Path(name).stem], strict=True):
                assert kind == kind_before
                assert corners == pytest.approx(before, abs=1e-9)
        assert len(now.indices("test")) == 40
