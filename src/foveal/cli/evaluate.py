"""`foveal evaluate`: how good is a model on these pictures?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foveal.cli import console
from foveal.cli._flags import reading, reading_flags, with_flags
from foveal.cli._options import Accuracy, Precision, one_of

__all__ = ["evaluate"]

SPLITS = ("test", "val", "train", "all")


Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A run folder, or a .safetensors file.")]
Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="Labelled pictures, in any form that `foveal train` takes.")
]
On = Annotated[str, typer.Option(metavar="SPLIT", help="Which split to score: test, val, train or all.")]
Views = Annotated[str, typer.Option(metavar="KIND", help="Test-time augmentation: none, mirror, mirror+shift.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print all metrics as JSON.")]


@with_flags(reading_flags())
def evaluate(
    model: Model,
    source: Source,
    on: On = "test",
    views: Views = "none",
    accuracy: Accuracy = None,
    precision: Precision = None,
    as_json: AsJson = False,
    **given: str | None,
) -> None:
    """Score a model on labelled pictures: accuracy, calibration, per-class scores and confusions.

    \b
    Examples:
      foveal evaluate runs/digits-speednet_small-1 digits
      foveal evaluate runs/flowers-resnet18-1 more-flowers/ --on all
      foveal evaluate runs/flowers-resnet18-1 flowers --accuracy 0.99      how many pictures can it answer at 99 %?
      foveal evaluate runs/raccoon-squeezenet1_1-1 raccoon --precision 0.9   how many boxes or labels are right?
      foveal evaluate flowers.safetensors more-flowers/ --on all --json > figures.json
    """
    on = one_of("--on", on, SPLITS)
    from foveal.data.finding import check_source
    from foveal.files.model_file import model_file

    model_file(model)  # a wrong path is told before NumPy and PyTorch are imported
    check_source(source)
    from foveal import runs

    progress = console.progress()
    result = runs.evaluate(
        model, source, on=on, views=views, accuracy=accuracy, precision=precision, progress=progress, **reading(given)
    )
    if as_json:
        from foveal.files.plain_json import json_text

        print(json_text({"model": str(model), "source": source, "on": on, **result.as_dict()}))
        return
    for note in result.notes:
        progress.say(note)
    if result.skipped:
        progress.say(f"{len(result.skipped)} pictures were skipped (--json lists them).")
    print("\n".join([*result.scores.lines(on, views), *(("", *result.tried.sentences) if result.tried else ())]))
