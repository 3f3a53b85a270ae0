"""`foveal evaluate`: how good is a model on these pictures?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foveal.cli import console
from foveal.cli._options import Accuracy, Exclude, Precision, Split, TestIf, one_of

if TYPE_CHECKING:
    from foveal.runs.detection_runs import DetectionEvaluation
    from foveal.runs.label_runs import Evaluation

__all__ = ["evaluate"]

SPLITS = ("test", "val", "train", "all")
CLASSES_IN_MATRIX = 20  # more do not fit a terminal; --json has them all


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run's folder, or a .safetensors file.")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Labelled pictures, as `foveal train` takes them.")],
    on: Annotated[str, typer.Option(metavar="SPLIT", help="test, val, train or all.")] = "test",
    views: Annotated[
        str, typer.Option(metavar="KIND", help="Average over views of each picture: none, mirror, mirror+shift.")
    ] = "none",
    accuracy: Accuracy = None,
    precision: Precision = None,
    split: Split = None,
    test_if: TestIf = None,
    exclude: Exclude = None,
    group_by: Annotated[
        str | None,
        typer.Option("--group-by", metavar="REGEX|COLUMN", help="As it was given to `foveal train`: the same split."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure as JSON.")] = False,
) -> None:
    """Score a model on labelled pictures: accuracy, calibration, each class, and what is taken for what.

    \b
    Examples:
      foveal evaluate runs/digits-speednet_small-1 digits
      foveal evaluate runs/flowers-resnet18-1 more-flowers/ --on all
      foveal evaluate runs/flowers-resnet18-1 flowers --accuracy 0.99      how many answers are that good?
      foveal evaluate runs/raccoon-squeezenet1_1-1 raccoon --precision 0.9   how many boxes are right, and found?
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
        model,
        source,
        on=on,
        views=views,
        split=split,
        test_if=test_if,
        exclude=exclude,
        group_by=group_by,
        accuracy=accuracy,
        precision=precision,
        progress=progress,
    )
    from foveal.runs.detection_runs import DetectionEvaluation

    scores = result.scores.as_dict()
    if isinstance(result, DetectionEvaluation):
        _print_detection(result, scores, {"model": str(model), "source": source, "on": on}, as_json)
        return
    if as_json:
        _print_json(result, scores, {"model": str(model), "source": source, "on": on, "views": views})
        return
    for note in result.notes:
        progress.say(note)
    if result.skipped:
        progress.say(f"{len(result.skipped)} pictures were left out (--json lists them).")
    print("\n".join([*figures(scores, on, views), *(("", *result.tried.sentences) if result.tried else ())]))


def _print_json(result: Evaluation, scores: dict[str, Any], asked: dict[str, str]) -> None:
    from foveal.cli import _texts

    skipped = [{"name": row.name, "reason": row.reason} for row in result.skipped]
    trust = result.tried.as_dict() if result.tried else None
    print(_texts.json_text({**asked, **scores, "trust": trust, "notes": list(result.notes), "skipped": skipped}))


def _print_detection(result: DetectionEvaluation, scores: dict[str, Any], asked: dict[str, str], as_json: bool) -> None:
    from foveal.cli import _texts

    if as_json:
        skipped = [{"name": row.name, "reason": row.reason} for row in result.skipped]
        tried = result.tried and result.tried.as_dict()
        print(_texts.json_text({**asked, **scores, "tried": tried, "notes": list(result.notes), "skipped": skipped}))
        return
    for note in result.notes:
        console.progress().say(note)
    placed = "mean_iou" in scores
    lines = localisation_figures(scores, f"{asked['on']}: ") if placed else detection_figures(scores, asked["on"])
    print("\n".join([*lines, *(("", result.tried.sentence) if result.tried else ())]))


def detection_figures(scores: dict[str, Any], on: str) -> list[str]:
    """A detector's scores as a page for a terminal."""
    from foveal.cli._texts import table

    low, high = (f"{v:.3f}" if v is not None else "–" for v in scores["ap50_interval"])
    rows = [[row["name"], _three(row["ap"]), _three(row["ap50"]), str(row["objects"])] for row in scores["classes"]]
    return [
        f"{on}: AP {_three(scores['ap'])}, AP50 {_three(scores['ap50'])} (95 % interval {low} to {high}), "
        f"AP75 {_three(scores['ap75'])}: {scores['objects']} objects on {scores['n']} pictures",
        f"best F1 {_three(scores['f1'])} at a score of {_three(scores['threshold'])}",
        "",
        table(["class", "AP", "AP50", "objects"], rows),
    ]


def localisation_figures(scores: dict[str, Any], before: str) -> list[str]:
    """Where one object a picture was placed, in few lines."""
    from foveal.cli._texts import percent

    low, high = (_three(end) for end in scores["mean_iou_interval"])
    constant = scores["constant_iou"]
    beside = f"; the same box everywhere {constant:.3f}" if constant is not None else ""
    return [
        f"{before}mean IoU {_three(scores['mean_iou'])} (95 % interval {low} to {high}{beside}) of "
        f"{scores['objects']} objects on {scores['n']} pictures",
        f"{' ' * len(before)}presence {percent(scores['presence'])}, class {percent(scores['top1'])}, placed with "
        f"an IoU of 0.5 and the class right {percent(scores['located'])}",
    ]


def _three(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def figures(scores: dict[str, Any], on: str, views: str) -> list[str]:
    """The scores as a page for a terminal."""
    from foveal.cli._texts import percent, table

    between = " to ".join(percent(share) for share in scores["top1_interval"])
    lines = [
        f"{on}: {percent(scores['top1'])} of {scores['n']} pictures right (95 % interval {between})",
        f"top-5 {percent(scores['top5'])}" if "top5" in scores else "",
        f"calibration error (ECE) {percent(scores['ece'])}, loss {scores['loss']:.4f} nats, views: {views}",
        "",
    ]
    head = ["class", "precision", "recall", "F1", "pictures"]
    names = [row["class"] for row in scores["classes"]]
    rows = [
        [row["class"], percent(row["precision"]), percent(row["recall"]), percent(row["f1"]), str(row["support"])]
        for row in scores["classes"]
    ]
    lines.append(table(head, rows))
    if len(names) <= CLASSES_IN_MATRIX:
        matrix = [[name, *map(str, counts)] for name, counts in zip(names, scores["confusion"], strict=True)]
        lines += ["", table(["truth \\ answer", *names], matrix)]
    return [line for i, line in enumerate(lines) if line or i > 2]
