"""What the benchmarks share: arguments, the machine, ratios, results as JSON and as a table."""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = [
    "RESULTS", "Measure", "Result", "all_for_training", "data_set", "figures", "inside", "markdown", "parser",
    "percent", "say", "scratch",
]  # fmt: skip

RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True)
class Measure:
    """One line of what was to be reached."""

    measure: str
    seen: str
    target: str = ""
    met: bool | None = None  # None: reported, not promised


@dataclass
class Result:
    """What one benchmark found."""

    name: str
    about: str  # one sentence: what was measured on what
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)  # every single timing, for who doubts a median

    def finish(self, arguments: argparse.Namespace) -> None:
        """Print the tables and write the JSON."""
        facts = {
            "benchmark": self.name, "quick": arguments.quick, "command": _command(), "machine": machine(),
            **{key: value for key, value in asdict(self).items() if key != "name"},
        }  # fmt: skip
        print(markdown(facts))
        out: Path = arguments.out or RESULTS / f"{self.name}{'.quick' if arguments.quick else ''}.json"
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        say(f"written: {out.name}")


def markdown(facts: dict[str, Any]) -> str:
    """A result as README.md shows it."""
    where = facts["machine"]
    lines = [
        facts["about"], "", f"`{facts['command']}`", "",
        f"{where['processor']}, {where['cores']} cores, {where['instructions']}; {where['system']}; "
        + ", ".join(f"{name} {version}" for name, version in where["versions"].items())
        + f"; load when it began {where['load']}.",
        "", *stream_table(facts["columns"], facts["rows"]),
    ]  # fmt: skip
    if facts["measures"]:
        verdict = {True: "reached", False: "**missed**", None: ""}
        rows = [[m["measure"], m["seen"], m["target"], verdict[m["met"]]] for m in facts["measures"]]
        lines += ["", *stream_table(["measure", "seen", "wanted", ""], rows)]
    if facts["quick"]:
        lines += ["", "*A smoke run: these figures mean nothing.*"]
    return "\n".join(lines) + "\n"


def stream_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def parser(about: str | None) -> argparse.ArgumentParser:
    """Arguments that every benchmark has."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="a smoke run: once and small, figures mean nothing")
    made.add_argument("--out", type=Path, metavar="FILE", help="where the JSON goes [benchmarks/results/<name>.json]")
    made.add_argument("--work", type=Path, metavar="DIR", help="a folder for temporary files [the system's]")
    return made


def say(text: str) -> None:
    """To stderr: tables alone go to stdout."""
    print(text, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """Processor, versions, and how busy the machine is."""
    from foveal.machine import machine as computing

    known = computing()
    versions = {"Python": platform.python_version(), "torch": known["torch"]}
    for name in ("foveal", "numpy", "pillow", "opencv-python-headless"):
        versions[name] = metadata.version(name)
    return {
        **{key: known[key] for key in ("processor", "cores", "system")},
        "instructions": known["instructions"] + _bf16_units(),
        "versions": versions,
        "load": _LOAD,
    }


def _bf16_units() -> str:
    """What the processor has for bf16, which torch's own name for it does not tell."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split())
    except OSError:
        return ""
    return "".join(f" + {unit}" for unit in ("avx512_bf16", "amx_bf16") if unit in flags)


def _load() -> str:
    try:
        return f"{os.getloadavg()[0]:.1f}"
    except (OSError, AttributeError):
        return "unknown"


_LOAD = _load()


def _command() -> str:
    """The command line without this machine's paths."""
    shown = ["PATH" if os.sep in word else word for word in sys.argv[1:]]
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *shown])


def figures(values: Sequence[float], unit: str = "", digits: int = 2) -> str:
    """`2.31 s (2.24–2.37)`: the median and the spread."""
    if not values:
        return "–"
    middle, low, high = statistics.median(values), min(values), max(values)
    gap = f" {unit}" if unit not in ("", "×") else unit
    return f"{middle:.{digits}f}{gap} ({low:.{digits}f}–{high:.{digits}f})"


def percent(share: float, digits: int = 2) -> str:
    """
    >>> percent(0.9365)
    '93.65 %'
    """
    return f"{100 * share:.{digits}f} %"


@contextmanager
def scratch(arguments: argparse.Namespace) -> Iterator[Path]:
    """A folder that goes when the benchmark ends; foveal's cache lies in it, so that nothing found there helps."""
    if arguments.work:
        arguments.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="foveal-benchmark-", dir=arguments.work) as name:
        before = os.environ.get("FOVEAL_CACHE")
        os.environ["FOVEAL_CACHE"] = str(Path(name) / "cache")
        try:
            yield Path(name)
        finally:
            if before is None:
                del os.environ["FOVEAL_CACHE"]
            else:
                os.environ["FOVEAL_CACHE"] = before


def data_set(name: str, given: Path | None = None) -> Path:
    """The folder of a data set: as given, else by its name below $FOVEAL_DATA."""
    places = [given] if given else [Path(p) / name for p in os.environ.get("FOVEAL_DATA", "").split(os.pathsep) if p]
    for place in places:
        if place.is_dir():
            return place
    raise SystemExit(f"{name} is not here: set FOVEAL_DATA to the folder that holds it, or give --data DIR.")


def all_for_training(source: Path, target: Path, most_a_class: int | None = None) -> tuple[Path, Path]:
    """Class folders with train/ and test/ as one folder a class, of links; every picture is there to train on.

    Returns: the folder (for ImageFolder), and a table beside it of path, label and split (for foveal), all "train".
        Since foveal fills splits that are empty out of train, one more link is there for each of val and test.
    """
    folder, rows, counts = target / "pictures", [], Counter[str]()
    for picture in sorted(source.glob("*/*/*.jpg")):
        label = picture.parent.name
        counts[label] += 1
        if most_a_class is None or counts[label] <= most_a_class:
            name = f"{picture.parent.parent.name}-{picture.name}"
            rows.append((_linked(picture, folder / label / name), label, "train"))
    for (picture, label, _), split in zip(rows[:2], ("val", "test"), strict=True):
        rows.append((_linked(picture, target / "held-out" / split / picture.name), label, split))
    with open(target / "pictures.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "split"])
        table.writerows((path.relative_to(target).as_posix(), label, split) for path, label, split in rows)
    return folder, target / "pictures.csv"


def inside(folder: Path) -> list[Path]:
    """Every picture of a folder of class folders."""
    return sorted(folder.glob("*/*.jpg"))


def _linked(source: Path, link: Path) -> Path:
    """The link, made with its folder; a copy on a file system without links."""
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        link.symlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, link)
    return link
