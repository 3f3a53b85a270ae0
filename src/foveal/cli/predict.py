"""`foveal predict`: what is on these pictures?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from foveal.cli import console
from foveal.cli._options import Accuracy, Precision, one_of
from foveal.errors import BadRecipe, shown
from foveal.tasks.formats import FORMATS, format_of

__all__ = ["predict"]


Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A run folder, a .safetensors file, or a Darknet .cfg.")]
Pictures = Annotated[
    list[str], typer.Argument(metavar="PICTURES…", help="Files, folders, or patterns such as '*.jpg'.")
]
Top = Annotated[int | None, typer.Option(metavar="K", min=1, help="Classifiers: number of top classes a picture. [3]")]
Format = Annotated[str | None, typer.Option("--format", metavar="NAME", help=f"Output format: {', '.join(FORMATS)}.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Same as --format csv.")]
AsJson = Annotated[bool, typer.Option("--json", help="Same as --format json.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a new file; its ending sets the format.")
]
Views = Annotated[
    str,
    typer.Option(metavar="KIND", help="Classifiers: test-time augmentation: none, mirror, mirror+shift."),
]
Score = Annotated[
    float | None,
    typer.Option(
        metavar="S", min=0, max=1, help="Detectors and multi-label models: minimum score of a box or label. [its own]"
    ),
]
Tile = Annotated[
    int,
    typer.Option(
        metavar="PIXELS", min=0, help="Detectors: predict large pictures in tiles of this many pixels a side."
    ),
]
Draw = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Detectors: save the pictures with their boxes drawn into this folder."),
]
AsCoco = Annotated[bool, typer.Option("--coco", help="Detectors: same as --format coco.")]


def predict(
    model: Model,
    pictures: Pictures,
    top: Top = None,
    named: Format = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    output: Output = None,
    views: Views = "none",
    accuracy: Accuracy = None,
    score: Score = None,
    precision: Precision = None,
    tile: Tile = 0,
    draw: Draw = None,
    as_coco: AsCoco = False,
) -> None:
    """Label pictures, or find the objects on them, with calibrated probabilities.

    \b
    Examples:
      foveal predict runs/flowers-resnet18-1 photo.jpg
      foveal predict runs/flowers-resnet18-1 holidays/ --csv > answers.csv
      foveal predict flowers.safetensors 'holidays/**/*.jpg' --top 5 -o answers.json
      foveal predict runs/flowers-resnet18-1 holidays/ --accuracy 0.99       abstain when less sure
      foveal predict runs/raccoon-squeezenet1_1-1 garden/ --draw drawn/      print the boxes, and draw them
      foveal predict runs/raccoon-squeezenet1_1-1 garden/ --precision 0.95   boxes or labels of which 95 % are right
      foveal predict yolo-fastest-1.1-xl.cfg photos/ --draw drawn/           Darknet's files: .weights and .names beside

    A picture that cannot be read becomes a row with the reason; the others are predicted. `abstained` marks answers
    below the minimum confidence of --accuracy, `unlike` pictures that differ from all training pictures.
    """
    chosen = _format(named, {"csv": as_csv, "json": as_json, "coco": as_coco}, output)
    from foveal.files.durable import check_new_file
    from foveal.files.model_file import model_file

    if output is not None:
        check_new_file(output)
    file = model_file(model)  # a wrong path is told before NumPy is imported
    from foveal.files.given import TypedPaths
    from foveal.model import VIEWS, load
    from foveal.model_files import task_of
    from foveal.runs.batch import check_batch, predict_to

    one_of("--views", views, VIEWS)
    wished = {"top": top, "accuracy": accuracy, "score": score, "precision": precision}
    asked: dict[str, Any] = {
        "views": views,
        "tile": tile,
        **{name: value for name, value in wished.items() if value is not None},
    }
    if task := task_of(file):  # told before PyTorch is imported
        check_batch(task, output, format=chosen, draw=draw, **asked)
    paths = TypedPaths(pictures)
    paths.check()
    loaded, progress = load(model), console.progress()
    done = predict_to(loaded, paths, output or sys.stdout, format=chosen, draw=draw, progress=progress, **asked)
    if promise := loaded.promise(accuracy, precision):
        progress.say(promise)
    if output is not None:
        print(f"{done.rows} rows in {shown(output)}")


def _format(named: str | None, short: dict[str, bool], output: Path | None) -> str:
    """The one that was asked for, or that the file's name asks for. Raises: BadRecipe."""
    typed = {f"--{name}": name for name, given in short.items() if given}
    typed |= {"--format": named} if named is not None else {}
    if len(typed) > 1:
        one, other, *_ = typed
        raise BadRecipe(f"{one} and {other} both say how to print; give one of them.")
    return one_of("--format", typed.popitem()[1], tuple(FORMATS)) if typed else format_of(output)
