"""What people have and other tools get wrong, where there are classes: each as it was reported, and its relatives."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from foveal.data.dataset import Dataset
from foveal.data.sources import open_dataset
from foveal.files.given import named_pictures


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
