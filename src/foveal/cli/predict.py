"""`foveal predict`: what is on these pictures?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foveal.cli import console
from foveal.cli._options import Accuracy, Precision, one_of
from foveal.errors import BadData, BadRecipe, NotWritable, shown

if TYPE_CHECKING:
    from foveal.detector import Found
    from foveal.files.given import TypedPaths
    from foveal.model import Prediction

__all__ = ["predict"]

REASONS_SHOWN = 20


def predict(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A run's folder, a .safetensors file, or a Darknet .cfg.")
    ],
    pictures: Annotated[
        list[str], typer.Argument(metavar="PICTURES…", help="Files, folders, patterns such as '*.jpg'.")
    ],
    top: Annotated[int, typer.Option(metavar="K", min=1, help="How many answers a picture.")] = 3,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to a new file; its name tells the format."),
    ] = None,
    views: Annotated[
        str, typer.Option(metavar="KIND", help="Average over views of each picture: none, mirror, mirror+shift.")
    ] = "none",
    accuracy: Accuracy = None,
    score: Annotated[
        float | None, typer.Option(metavar="S", min=0, max=1, help="Detectors: least score that is told. [its own]")
    ] = None,
    precision: Precision = None,
    tile: Annotated[
        int, typer.Option(metavar="PIXELS", min=0, help="Detectors: look at large pictures piece by piece.")
    ] = 0,
    draw: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Detectors: write the pictures with their boxes there.")
    ] = None,
    as_coco: Annotated[bool, typer.Option("--coco", help="Detectors: print a COCO results file.")] = False,
) -> None:
    """Tell what is on pictures, with calibrated probabilities; of a detector, where.

    \b
    Examples:
      foveal predict runs/flowers-resnet18-1 photo.jpg
      foveal predict runs/flowers-resnet18-1 holidays/ --csv > answers.csv
      foveal predict flowers.safetensors 'holidays/**/*.jpg' --top 5 -o answers.json
      foveal predict runs/flowers-resnet18-1 holidays/ --accuracy 0.99       pass on what is not that sure
      foveal predict runs/raccoon-squeezenet1_1-1 garden/ --draw drawn/      boxes, written and drawn
      foveal predict runs/raccoon-squeezenet1_1-1 garden/ --precision 0.95   only boxes that are mostly right
      foveal predict yolo-fastest-1.1-xl.cfg photos/ --draw drawn/           Darknet's files: .weights and .names beside

    A picture that cannot be used becomes a row with its reason, and the rest goes on. `passed` marks answers that are
    less sure than the wished accuracy asks for, `unlike` pictures unlike those of the training.
    """
    kind = _kind(as_csv, as_json, output) if not as_coco else "coco"
    if output is not None:
        _check_writable(output)
    from foveal.files.model_file import model_file

    detects = model_file(model).detects
    _check_options(detects, accuracy, score, precision, tile, draw, as_coco)
    from foveal.files.given import TypedPaths
    from foveal.preprocess import VIEWS

    chosen = one_of("--views", views, VIEWS)
    files = TypedPaths(pictures)
    files.check()
    if detects:
        _predict_objects(model, files, score, precision, tile, draw, kind, output)
        return
    from foveal.model import Model, load

    loaded = load(model)
    assert isinstance(loaded, Model)
    trust = loaded.trust_for(accuracy)
    answers = loaded.predict(files, top=top, views=chosen, accuracy=accuracy, progress=console.progress())
    _tell_unused(answers)
    if trust and trust.promise:
        console.progress().say(trust.promise)
    _write(_as_text(answers, top, kind), output, len(answers))


def _check_options(
    detects: bool,
    accuracy: float | None,
    score: float | None,
    precision: float | None,
    tile: int,
    draw: Path | None,
    as_coco: bool,
) -> None:
    """Raises: BadRecipe for options that the model has no use for, or that contradict each other; NotWritable."""
    if not detects:
        asked = {
            "--score": score,
            "--precision": precision,
            "--tile": tile or None,
            "--draw": draw,
            "--coco": as_coco or None,
        }
        _refuse(asked, "is for detectors, and this model is a classifier")
        return
    _refuse({"--accuracy": accuracy}, "is for classifiers; a detector has --score")
    if precision is not None and score is not None:
        raise BadRecipe("--score and --precision both say which boxes are told; give one of them.")
    if draw is not None:
        from foveal.cli._objects import check_drawn

        check_drawn(draw)


def _predict_objects(
    model: Path,
    files: TypedPaths,
    score: float | None,
    precision: float | None,
    tile: int,
    draw: Path | None,
    kind: str,
    output: Path | None,
) -> None:
    from foveal.cli import _objects
    from foveal.detector import Detector
    from foveal.model import load

    loaded = load(model)
    assert isinstance(loaded, Detector)
    if precision is not None:
        score = loaded.score_for(precision)
        assert loaded.trust is not None
        console.progress().say(loaded.trust.promise(precision))
    found = loaded.stream(files, score=score, tile=tile, progress=console.progress())
    told = list(found if draw is None else _objects.drawn_into(draw, found, loaded.classes))
    _tell_unused(told)
    text = _objects.objects_text(told, loaded.classes, kind)
    _write(text, output, sum(len(a.objects) if a.objects is not None else 1 for a in told))


def _write(text: str, output: Path | None, rows: int) -> None:
    from foveal.files.durable import write_text

    if output is None:
        print(text, end="" if text.endswith("\n") else "\n")
    else:
        write_text(output, text)
        print(f"{rows} rows in {shown(output)}")


def _refuse(given: Mapping[str, object], why: str) -> None:
    for option, value in given.items():
        if value is not None:
            raise BadRecipe(f"{option} {why}.")


def _kind(as_csv: bool, as_json: bool, output: Path | None) -> str:
    if as_csv and as_json:
        raise BadRecipe("--csv and --json both say how to print; give one of them.")
    suffix = output.suffix.lower() if output else ""
    if as_csv or (suffix == ".csv" and not as_json):
        return "csv"
    return "json" if as_json or suffix == ".json" else "table"


def _tell_unused(answers: Sequence[Prediction | Found]) -> None:
    """Say how many pictures could not be used. Raises BadData when none could."""
    unused = [a for a in answers if a.reason]
    if not unused:
        return
    progress = console.progress()
    for row in unused[:REASONS_SHOWN]:
        progress.say(f"left out: {shown(row.name)} {row.reason}")
    if len(unused) > REASONS_SHOWN:
        progress.say(f"and {len(unused) - REASONS_SHOWN} more; their rows say why.")
    if len(unused) == len(answers):
        raise BadData(f"no usable picture among the {len(answers)} that were given.")
    progress.say(f"{len(unused)} of {len(answers)} pictures could not be used.")


def _as_text(answers: Sequence[Prediction], top: int, kind: str) -> str:
    from foveal.cli import _texts
    from foveal.files.spreadsheet import csv_text

    if kind == "json":
        return _texts.json_text([_fact(a) for a in answers]) + "\n"
    if kind == "csv":
        others = [f"{word}_{rank}" for rank in range(2, top + 1) for word in ("label", "probability")]
        head = ["picture", "label", "probability", *others, "passed", "unlike", "reason"]
        return csv_text(head, [_row(a, top) for a in answers])
    remarks = [_remark(a) for a in answers]
    head = ["picture", "answer", "probability", "runners-up", *(["remark"] if any(remarks) else [])]
    rows = [_line(a) + ([remark] if any(remarks) else []) for a, remark in zip(answers, remarks, strict=True)]
    return _texts.table(head, rows)


def _remark(row: Prediction) -> str:
    told = [words for words, holds in (("not sure enough", row.passed), ("unlike the training", row.unlike)) if holds]
    return ", ".join(told)


def _fact(row: Prediction) -> dict[str, Any]:
    if row.answer is None:
        return {"picture": row.name, "label": None, "reason": row.reason}
    ranked = [(row.answer.label, row.answer.probability), *row.answer.runners_up]
    top = [{"label": label, "probability": probability} for label, probability in ranked]
    return {"picture": row.name, **top[0], "runners_up": top[1:], "passed": row.passed, "unlike": row.unlike}


def _row(row: Prediction, top: int) -> list[object]:
    ranked = [] if row.answer is None else [(row.answer.label, row.answer.probability), *row.answer.runners_up]
    cells = [cell for label, probability in ranked[:top] for cell in (label, f"{probability:.6f}")]
    marks = ["yes" if mark else "" for mark in (row.passed, row.unlike)]
    return [row.name, *cells, *[""] * (2 * top - len(cells)), *marks, row.reason or ""]


def _line(row: Prediction) -> list[str]:
    from foveal.cli._texts import percent

    if row.answer is None:
        return [row.name, "–", "–", row.reason or ""]
    others = ", ".join(f"{label} {percent(probability)}" for label, probability in row.answer.runners_up)
    label = f"({row.answer.label}?)" if row.passed else row.answer.label
    return [row.name, label, percent(row.answer.probability), others]


def _check_writable(output: Path) -> None:
    if output.exists() or output.is_symlink():
        raise NotWritable(f"{shown(output)} exists, and foveal overwrites nothing; choose another name.")
    if not output.parent.is_dir():
        raise NotWritable(f"{shown(output)} cannot be written: there is no folder {shown(output.parent)}.")
