"""From whatever the user calls a data set to a `Dataset`: what is this folder, file, name or pair of arrays?

A new format is a file in `formats/` and a line in `FORMATS`; a new name is a record in `names.py`.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from foveal.data._unlearnt import without_unlearnt
from foveal.data.contradictions import one_label_each
from foveal.data.dataset import NOTHING, Dataset
from foveal.data.exclude import excluding
from foveal.data.finding import BUILT_IN, existing, named_place
from foveal.data.fingerprints import KINDS, prints
from foveal.data.formats import (
    Asked,
    Format,
    Place,
    arrays,
    box_table,
    cifar,
    coco,
    cvat,
    digits,
    folders,
    idx,
    label_studio,
    labelme,
    listed,
    mask_pictures,
    metadata,
    parquet,
    scenes,
    shards,
    table,
    voc,
    yolo_txt,
)
from foveal.data.groups import AUTO
from foveal.data.names import NAMED, NamedSet, canonical, fetched
from foveal.data.split import decide
from foveal.errors import BadData, check_kind, shown
from foveal.progress import SILENT, Progress

if TYPE_CHECKING:
    from foveal.recipe import DataRecipe

__all__ = ["FORMATS", "Reading", "open_dataset", "reading_of"]

BOXED = (coco.FORMAT, voc.FORMAT, yolo_txt.FORMAT, cvat.FORMAT, labelme.FORMAT, label_studio.FORMAT)  # of a folder
FORMATS: tuple[Format, ...] = (  # asked in this order; the last one takes any folder
    box_table.FORMAT,
    table.FORMAT,
    idx.FORMAT,
    cifar.BINARY,
    cifar.PYTHON,
    shards.FORMAT,
    parquet.FORMAT,
    *BOXED,
    metadata.FORMAT,
    mask_pictures.FORMAT,
    folders.FORMAT,
)
ENDINGS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".gif": "GIF", ".bmp": "BMP",
    ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WebP", ".heic": "HEIF", ".heif": "HEIF", ".avif": "AVIF",
}  # fmt: skip
NUMBERED = (idx.FORMAT, cifar.BINARY)  # labels without names, where the source is one of those that have some
MADE_HERE = dict(zip(BUILT_IN, (digits.read_digits, scenes.read_scenes), strict=True))


class Reading(TypedDict, total=False):
    """How a source is to be read and split: what `open_dataset` takes, and every command that opens one."""

    split: str | Path | None
    test_if: str | None
    exclude: str | Path | None
    group_by: str | None
    unlabelled: Literal["leave-out", "background"]
    box_origin: Literal["auto", "0", "1"]
    contradictions: Literal["leave-out", "refuse", "keep"]
    held_out: Literal["test", "val"]
    labels: Literal["auto", "one", "several"]
    label_separator: str


def reading_of(recipe: DataRecipe) -> Reading:
    """What a recipe says of it."""
    return {
        "split": recipe.split or None,
        "test_if": recipe.test_if or None,
        "exclude": recipe.exclude or None,
        "group_by": recipe.group_by or None,
        "unlabelled": recipe.unlabelled,
        "box_origin": recipe.box_origin,
        "contradictions": recipe.contradictions,
        "held_out": recipe.held_out,
        "labels": recipe.labels,
        "label_separator": recipe.label_separator,
    }


def open_dataset(
    source: str | Path | tuple[Any, Any],
    *,
    split: str | Path | None = None,
    test_if: str | None = None,
    exclude: str | Path | None = None,
    group_by: str | None = AUTO,
    held_out: Literal["test", "val"] = "test",
    classes: Sequence[str] | None = None,
    min_classes: int = 2,
    contradictions: Literal["leave-out", "refuse", "keep"] = "leave-out",
    unlabelled: Literal["leave-out", "background"] = "leave-out",
    box_origin: Literal["auto", "0", "1"] = "auto",
    labels: Literal["auto", "one", "several"] = "auto",
    label_separator: str = "auto",
    unlearnt: Literal["leave-out", "keep"] = "leave-out",
    progress: Progress = SILENT,
) -> Dataset:
    """The pictures, labels, classes and splits of a source.

    Args:    source: a folder (class folders, idx, CIFAR, tar shards, boxes as Pascal VOC, COCO, YOLO, labelme, CVAT or
             Label Studio have them), a CSV of path and label or of path, x1, y1, x2, y2 and label, a .json of COCO or
             Label Studio, a .xml of CVAT, a YOLO .yaml, a .tar, a name (`digits`, `scenes`, `mnist`, `fashion-mnist`,
             `cifar10`, `cifar100`, or any folder below one of FOVEAL_DATA's), or arrays `(X, y)`.
             split: a CSV of path and split. test_if: a regular expression; paths that match are test.
             exclude: a CSV of paths to leave out. group_by: a column of the CSV source, or a regular expression on the
             path; what it names alike is never parted by a split. AUTO: augmented copies of one source; None: nothing.
             held_out: what a source's val is where it has no test.
             classes: names of numbered labels, or the order of named ones. min_classes: fewer are refused; with boxes
             or several labels one is always enough.
             contradictions: what becomes of equal files under two labels: rows, a refusal of the whole set, or
             nothing, for who looks for mistakes.
             unlabelled: what becomes of pictures without annotation, where others have boxes: rows, or examples of
             nothing. box_origin: what the source calls the first pixel, where boxes are written in pixels.
             labels: that a picture may have; "auto": as its table has them. label_separator: between several of a cell.
             unlearnt: what becomes of classes that train lacks; who only writes them elsewhere keeps them.
    Returns: a Dataset with every split decided, digests filled, and notes to print.
    Raises:  Missing when there is no such source; BadData when it cannot be learnt from.

    >>> foveal.open_dataset("digits")
    <Dataset digits: digits, 1797 pictures of 10 classes (1309 train, 128 val, 360 test)>
    """
    named = _named(classes, split, exclude)
    dataset = _read(source, Asked(_word(source), named, progress, unlabelled, box_origin, labels, label_separator))
    dataset = _in_order(dataset, named)
    _enough_classes(dataset, min_classes)
    if exclude is not None:  # before anything is said of pictures that nobody wants
        dataset = excluding(dataset, exclude)
    dataset = _with_digests(dataset, progress)
    if contradictions != "keep":
        dataset = one_label_each(dataset, contradictions)
    dataset = decide(dataset, split=split, test_if=test_if, group_by=group_by, held_out=held_out)
    if unlearnt == "leave-out":
        dataset = without_unlearnt(dataset)
    _enough_classes(dataset, min_classes)
    return dataset


def _word(source: str | Path | tuple[Any, Any]) -> str:
    return "(X, y)" if isinstance(source, tuple) else str(source)


def _named(classes: Sequence[str] | None, split: Any, exclude: Any) -> tuple[str, ...] | None:
    """Names of classes as they are compared. Raises: BadData for none, for one twice, and for what is no path."""
    for what, file in (("split", split), ("exclude", exclude)):
        check_kind(file, str | Path | None, f"{what} is a str or Path", BadData)
    check_kind(classes, Iterable | None, "classes are names", BadData)
    if classes is None:
        return None
    named = tuple(unicodedata.normalize("NFC", str(name)) for name in classes)
    if len(set(named)) != len(named) or not named:
        raise BadData(f"class names must be given and differ; got {listed(named, 8) or 'none'}.")
    return named


def _read(source: str | Path | tuple[Any, Any], asked: Asked) -> Dataset:
    if isinstance(source, tuple):
        if len(source) != 2:
            raise BadData(f"a data set in memory is a pair (X, y); got {len(source)} values.")
        return arrays.read_arrays(*source, asked)
    check_kind(source, str | Path, "a data set is a folder, a file, a name, or a pair (X, y)", BadData)
    word = asked.source
    if path := existing(word):
        dataset = _read_place(path, asked)
        if canonical(word) in NAMED or word in BUILT_IN:
            return dataset.noted(
                f'"{shown(word)}" is read as the path {shown(path)}, not as the built-in data set of that name.'
            )
        return dataset
    if word in BUILT_IN:
        return MADE_HERE[word](asked)
    return _read_named(word, asked)


def _read_named(word: str, asked: Asked) -> Dataset:
    name, path = named_place(word)
    if path is None:
        path = fetched(name, asked.progress)
    dataset = _read_place(Path(os.path.abspath(path)), asked, NAMED.get(name))
    return replace(dataset, val_share=NAMED[name].val_share) if name in NAMED else dataset


def _read_place(path: Path, asked: Asked, record: NamedSet | None = None) -> Dataset:
    """The data set at a path; `record` tells the official names where a format has numbers only."""
    place = Place(path)
    for form in FORMATS:
        if form.detect(place):
            official = record is not None and asked.classes is None and form in NUMBERED
            found = form.read(place, replace(asked, classes=record.classes) if record and official else asked)
            return found.noted(*place.ignored, *_other_boxes(place, form))
    raise BadData(
        f"{shown(path)} is not a data set that foveal reads: give a folder with a folder a class, a .csv of path and "
        f"label, a .tar of WebDataset, or the folder that holds idx or CIFAR files."
    )


def _other_boxes(place: Place, form: Format) -> list[str]:
    """What is said of boxes that lie in a folder in other forms than the one that is read."""
    others = [other.name for other in BOXED if form in BOXED and other is not form and other.detect(place)]
    return [f"It is read as {form.name}; {' and '.join(others)} is here as well and is not."] if others else []


def _in_order(dataset: Dataset, classes: tuple[str, ...] | None) -> Dataset:
    """The data set with the classes that were asked for, in their order.

    Raises: BadData for a class that was not, and for no picture at all.
    """
    if not len(dataset):
        raise BadData(f"{shown(dataset.origin.place)} holds no picture.")
    if classes is None or dataset.classes == classes:
        return dataset
    position = {name: i for i, name in enumerate(classes)}
    if unknown := [name for name in dataset.classes if name not in position]:
        raise BadData(
            f'{shown(dataset.origin.place)}: class "{shown(unknown[0])}" is none of the classes asked for '
            f"({listed(classes, 5)})."
        )
    new = np.array([position[name] for name in dataset.classes], np.int64)
    boxes = None if dataset.boxes is None else replace(dataset.boxes, labels=new[dataset.boxes.labels])
    labels = np.append(new, NOTHING)[dataset.labels]  # NOTHING is -1: the last
    multi_hot = dataset.multi_hot
    if multi_hot is not None:
        multi_hot = np.zeros((len(dataset), len(classes)), bool)
        multi_hot[:, new] = dataset.multi_hot
    return replace(dataset, labels=labels, classes=classes, boxes=boxes, multi_hot=multi_hot)


def _with_digests(dataset: Dataset, progress: Progress) -> Dataset:
    """With the content hash of each picture, and a note on endings of other formats."""
    found, kinds = prints(dataset.pictures, progress)
    return replace(dataset, digests=found).noted(*_wrong_endings(dataset, kinds))


def _wrong_endings(dataset: Dataset, kinds: NDArray[np.uint8]) -> list[str]:
    """What is to be said of pictures whose names end as those of another format do: they are told by content."""
    wrong, expected = list[tuple[str, str]](), dict[str, int]()  # the kind of each ending as it is written; 0: any
    for i in np.flatnonzero(kinds).tolist():
        name = dataset.pictures.name(i)
        ending = name[name.rfind(".") :]
        if (kind := expected.get(ending)) is None:
            kind = expected[ending] = KINDS.index(ENDINGS.get(ending.lower(), ""))
        if kind not in (0, kinds[i]):
            wrong.append((name, KINDS[kinds[i]]))
    if not wrong:
        return []
    (first, what), several = wrong[0], len(wrong) > 1
    have, they = (
        ("pictures have", "are read by their content") if several else ("picture has", "is read by its content")
    )
    return [f"{len(wrong)} {have} the ending of another format and {they} (first: {shown(first)} is {what})."]


def _enough_classes(dataset: Dataset, least: int) -> None:
    if dataset.boxes is not None and len(dataset.boxes):
        return
    found = [dataset.classes[k] for k in np.unique(dataset.labels[dataset.labels != NOTHING])]
    if dataset.multi_hot is not None:
        found, least = [dataset.classes[k] for k in np.flatnonzero(dataset.multi_hot.any(0))], 1
    if len(found) < least:
        inside = ", ".join(f'"{shown(name)}"' for name in found) or "none"
        who, least = ("a detector needs", 1) if dataset.boxes is not None else ("a classifier needs", least)
        if dataset.multi_hot is not None:
            raise BadData(f"{shown(dataset.origin.place)}: no picture has a label; give some of them one.")
        wanted = {1: "one class", 2: "two classes"}.get(least, f"{least} classes")
        raise BadData(f"{shown(dataset.origin.place)}: {who} {wanted}, found {len(found) or 'none'}"
                      f"{': ' + inside if found else ''}.".replace("found 1:", "found one:"))  # fmt: skip
