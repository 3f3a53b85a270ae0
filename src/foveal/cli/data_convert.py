"""`foveal data convert`: the same pictures, labels and splits in another form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foveal.cli import console
from foveal.cli._flags import reading, reading_flags, with_flags
from foveal.cli._options import one_of
from foveal.errors import BadRecipe, shown

if TYPE_CHECKING:
    from foveal.data.convert import Form, Written

__all__ = ["convert"]

FORMS: tuple[Form, ...] = ("folders", "csv", "classes-csv", "shards", "idx", "voc", "coco", "yolo", "boxes-csv")


Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="Labelled pictures, in any form that `foveal train` takes.")
]
Out = Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the copy; new or empty.")]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="FORM",
        help="Format: folders, csv, classes-csv, shards or idx; several labels: csv, classes-csv, coco; "
        "boxes: voc, coco, yolo, boxes-csv.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")]


@with_flags(reading_flags())
def convert(
    source: Source,
    out: Out,
    to: To = None,
    as_json: AsJson = False,
    **given: str | None,
) -> None:
    """Convert a data set to another format, in a new folder: same pictures, labels and splits.

    \b
    Examples:
      foveal data convert mnist mnist-folders/ --to folders     <split>/<class>/<picture>
      foveal data convert flowers/ flowers-csv/ --to csv        one folder of pictures, and table.csv
      foveal data convert flowers/ flowers-tar/ --to shards     WebDataset .tar files
      foveal data convert digits digits-idx/ --to idx           grey pictures of one size, as MNIST ships them
      foveal data convert raccoons/ raccoons-yolo/ --to yolo    boxes: as voc, coco, yolo or boxes-csv have them

      foveal data convert films.csv films/ --to classes-csv     several labels a picture: csv, classes-csv or coco

    Files are copied byte for byte; pictures that are not files (idx, CIFAR, arrays) become PNG, which is lossless.
    """
    if to is None:
        raise BadRecipe(f"foveal data convert needs --to FORMAT: {', '.join(FORMS[:-1])} or {FORMS[-1]}.")
    form = one_of("--to", to, FORMS)
    from foveal.data.finding import check_source

    check_source(source)  # a wrong path is told before NumPy is imported
    from foveal.data.convert import convert as write
    from foveal.data.sources import open_dataset

    progress = console.progress()
    dataset = open_dataset(source, **reading(given), min_classes=1, unlearnt="keep", progress=progress)
    for note in dataset.notes:
        progress.say(note)
    _tell(write(dataset, out, form, progress), source, as_json)


def _tell(written: Written, source: str, as_json: bool) -> None:
    if as_json:
        from foveal.cli import _texts

        print(_texts.json_text({"source": source, **written.as_dict()}))
        return
    for note in written.notes:
        console.progress().say(note)
    counts = ", ".join(f"{n} {name}" for name, n in written.splits.items() if n)
    boxes = "" if written.boxes is None else f" with {written.boxes} boxes"
    pictures = f"{sum(written.splits.values())} pictures{boxes}"
    print(f"{pictures} of {len(written.classes)} classes ({counts}): {shown(written.open)}")
