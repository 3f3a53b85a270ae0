"""`foveal train`: from pictures to a trained, calibrated, reported model."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foveal.cli import console
from foveal.cli._options import Exclude, Split, TestIf
from foveal.errors import BadRecipe, shown

if TYPE_CHECKING:
    from foveal.recipe import Recipe
    from foveal.runs import Run

__all__ = ["summary", "train"]

FLAGS = {  # short names for keys of the recipe
    "--network": "network.name",
    "--weights": "network.weights",
    "--detector": "network.detector",
    "--train": "network.train",
    "--epochs": "training.epochs",
    "--minutes": "training.minutes",
    "--size": "data.size",
    "--batch": "training.batch_size",
    "--seed": "training.seed",
    "--accuracy": "training.accuracy",
    "--task": "training.task",
    "--device": "training.device",
    "--threads": "training.threads",
    "--split": "data.split",
    "--test-if": "data.test_if",
    "--exclude": "data.exclude",
    "--unlabelled": "data.unlabelled",
    "--group-by": "data.group_by",
    "--store": "data.store",
    "--max-megapixels": "data.max_megapixels",
    "--exact": "training.arithmetic",
}
NUMBERS = {"--accuracy", "--epochs", "--minutes", "--batch", "--seed", "--threads", "--max-megapixels"}


def train(
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="A folder or file of pictures, or a name such as digits.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the run; new or empty. [runs/…-<n>]")
    ] = None,
    network: Annotated[str | None, typer.Option(metavar="NAME", help="See `foveal networks`.")] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="imagenet|FILE", help="Start from published weights, or a file's. [scratch]")
    ] = None,
    how_much: Annotated[
        str | None,
        typer.Option("--train", metavar="PART", help="With weights: head, last:K stages, all, scratch. [auto]"),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="With boxes, what stands on the network: yolo, yolov3, faster-rcnn. [yolo]"),
    ] = None,
    recipe: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML; a run's recipe.toml repeats it.")] = None,
    epochs: Annotated[str | None, typer.Option(metavar="N", help="Times that every picture is seen.")] = None,
    minutes: Annotated[
        str | None, typer.Option(metavar="M", help="Plan the training so that it ends in M minutes.")
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="S|HxW", help="Pixels a side, or height x width.")] = None,
    batch: Annotated[str | None, typer.Option(metavar="B", help="Pictures a step.")] = None,
    seed: Annotated[str | None, typer.Option(metavar="N", help="Another seed, other random draws. [0]")] = None,
    task: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="classify, localise (one object) or detect. [detect where there are boxes]"),
    ] = None,
    accuracy: Annotated[
        str | None, typer.Option(metavar="A", help="Share of answers to be right, such as 0.99; passes on the rest.")
    ] = None,
    device: Annotated[str | None, typer.Option(metavar="D", help="cpu, cuda, mps. [the best present]")] = None,
    threads: Annotated[str | None, typer.Option(metavar="N", help="Threads that compute.")] = None,
    split: Split = None,
    test_if: TestIf = None,
    exclude: Exclude = None,
    unlabelled: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", help="With boxes, pictures without annotation: leave-out, background. [leave-out]"
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            "--group-by", metavar="REGEX|COLUMN", help="What it names alike (a patient, a plant) stays in one split."
        ),
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="KIND", help="How pictures are kept: pixels, jpeg, none.")
    ] = None,
    max_megapixels: Annotated[
        str | None, typer.Option("--max-megapixels", metavar="M", help="Larger pictures are left out. [100]")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Compute in fp32; nothing faster is tried.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any key of the recipe; repeatable.")
    ] = None,
    show_loop: Annotated[bool, typer.Option("--show-loop", help="Print the loop that would run, and leave.")] = False,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped.")] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="With weights: head, last:1, all and scratch in one time budget.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a network on a folder of pictures, and report how far to trust it.

    \b
    Examples:
      foveal train flowers/                            flowers/<class>/<picture>.jpg
      foveal train flowers/ --minutes 10               the best that ten minutes can do
      foveal train mnist --network lenet5 --epochs 3
      foveal train flowers/ --weights imagenet         start from weights that know ImageNet
      foveal train flowers/ --weights imagenet --train head      seconds: the trunk stays as it is
      foveal train flowers/ --weights imagenet --compare --minutes 8     which way to start is the best one here?
      foveal train flowers/ --accuracy 0.99            answer only where 99 % of the answers are right
      foveal train scenes                              objects: boxes of ten classes, built in
      foveal train raccoons/ --network squeezenet1_1 --weights imagenet      VOC, COCO, YOLO or a table of boxes
      foveal train digits --set training.learning_rate=0.1 --set augment.preset=off
      foveal train --recipe runs/flowers-resnet18-1/recipe.toml
      foveal train --resume runs/flowers-resnet18-1
      foveal train digits --show-loop > loop.py        the training loop, to read and to run
    """
    given = {
        "--network": network,
        "--weights": weights,
        "--detector": detector,
        "--train": how_much,
        "--epochs": epochs,
        "--minutes": minutes,
        "--size": size,
        "--batch": batch,
        "--seed": seed,
        "--accuracy": accuracy,
        "--task": task,
        "--device": device,
        "--threads": threads,
        "--split": split,
        "--test-if": test_if,
        "--exclude": exclude,
        "--unlabelled": unlabelled,
        "--group-by": group_by,
        "--store": store,
        "--max-megapixels": max_megapixels,
        "--exact": "fp32" if exact else None,
    }
    changes = _changes(given, settings or [])
    if resume is not None:
        _refuse_beside_resume({"SOURCE": source, "--out": out, "--recipe": recipe})
        from foveal.files.run_folder import check_run

        check_run(resume)  # before NumPy and PyTorch are imported
        from foveal import runs

        run = runs.resume(resume, settings={key: value for key, value, _ in changes}, progress=console.progress())
    else:
        wanted, source = _recipe(recipe, changes, source)
        from foveal.training.asking import check_asked

        place = out.expanduser() if out is not None and not show_loop else None
        check_asked(wanted, source, place)  # before NumPy and PyTorch are imported
        from foveal import runs

        if compare:
            _compare(source, out, wanted, as_json)
            return
        if show_loop:
            print(runs.loop_script(source, wanted, {}), end="")
            return
        run = runs.train(source, out=out, recipe=wanted, progress=console.progress())
    _print(run, as_json)


def _compare(source: str, out: Path | None, recipe: Recipe, as_json: bool) -> None:
    from dataclasses import asdict

    from foveal.cli import _texts
    from foveal.runs.compare import compare_starts

    ways = compare_starts(source, out=out, recipe=recipe, progress=console.progress())
    if as_json:
        print(_texts.json_text([asdict(way) for way in ways]))
        return
    rows = [
        [way.train, _texts.percent(way.top1), " to ".join(map(_texts.percent, way.interval)),
         console.duration(way.seconds), f"{way.parameters:,}"]
        for way in ways
    ]  # fmt: skip
    print(_texts.table(["train", "top-1", "95 % interval", "time", "parameters trained"], rows))


def _changes(given: dict[str, Any], settings: list[str]) -> list[tuple[str, Any, str]]:
    """(key, value, what the user typed) of every flag and every --set, in that order."""
    from foveal.recipe import parse_setting

    if given["--epochs"] is not None and given["--minutes"] is not None:
        raise BadRecipe("--epochs and --minutes both say how long to train; give one of them.")
    changes = []
    for flag, value in given.items():
        if value is not None:  # the recipe knows what each key may be: numbers are read as it reads them
            key = FLAGS[flag]
            changes.append((key, parse_setting(f"{key}={value}")[1] if flag in NUMBERS else value, flag))
    return changes + [(*parse_setting(text), "--set") for text in settings]


def _recipe(file: Path | None, changes: list[tuple[str, Any, str]], source: str | None) -> tuple[Recipe, str]:
    """The recipe as the command line has it, and the source: SOURCE, else the one that the recipe names."""
    from foveal.recipe import Recipe, read_recipe

    recipe = Recipe() if file is None else read_recipe(file)
    for key, value, typed in changes:  # one by one, so that an error names the flag that it is about
        recipe = recipe.with_settings({key: value}, where=typed)
    source = source if source is not None else recipe.data.source
    if not source:
        raise BadRecipe("foveal train needs SOURCE: a folder or file of pictures, or a name such as digits.")
    return recipe, source


def _refuse_beside_resume(given: dict[str, object]) -> None:
    for name, value in given.items():
        if value is not None:
            raise BadRecipe(f"--resume goes on with the run as it was started; leave {name} out.")


def _print(run: Run, as_json: bool) -> None:
    from foveal.cli import _texts

    if as_json:
        print(_texts.json_text({"run": str(run.folder), "report": str(run.report), "metrics": run.metrics}))
        return
    for line in summary(run.metrics, run.scores.headline()):
        print(line)
    print(f"model     {shown(run.folder / 'model.safetensors')}")
    print(f"report    {shown(run.report)}")
    print(f"next      foveal predict {shown(shlex.quote(str(run.folder)))} PICTURE…")


def summary(metrics: dict[str, Any], headline: Sequence[str]) -> list[str]:
    """What came out, in few lines.

    >>> summary({"test": {"split": "test"}, "baseline": {"top1": 0.975}}, ["99.17 % of 360 pictures right"])
    ['test      99.17 % of 360 pictures right', 'baseline  97.50 % (HOG and a linear classifier)']
    """
    from foveal.cli._texts import percent

    lines = [f"{metrics['test']['split'] if number == 0 else '':9} {line}" for number, line in enumerate(headline)]
    if leak := metrics.get("leak"):
        lines.append(f"          too good: {leak} pictures held out are also in train")
    if (baseline := metrics.get("baseline") or {}).get("top1") is not None:
        lines.append(f"baseline  {percent(baseline['top1'])} (HOG and a linear classifier)")
    if seconds := metrics.get("seconds"):
        whole, training = console.duration(seconds["total"]), console.duration(seconds["train"])
        lines.append(f"time      {whole}, of which training {training}")
    return lines
