"""`foveal data check`: is this data set fit to learn from?"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foveal.cli import console
from foveal.cli._flags import FLAGS, reading, reading_flags, white_of, with_flags
from foveal.errors import shown
from foveal.files.plain_table import counted

if TYPE_CHECKING:
    from foveal.audit.findings import Findings

__all__ = ["check"]

WRITTEN = ("check.html", "findings.csv")

Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="Labelled pictures, in any form that `foveal train` takes.")
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder for the page and the list. [SOURCE-check-<n>]")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")]


@with_flags({flag: FLAGS[flag] for flag in (*reading_flags(), "--white") if flag != "--contradictions"})
def check(
    source: Source,
    out: Out = None,
    as_json: AsJson = False,
    **given: str | None,
) -> None:
    """Look for wrong labels, duplicates, broken files and outliers; your files are not changed.

    \b
    Examples:
      foveal data check flowers/                    flowers-check-1/check.html and findings.csv
      foveal data check mnist --out mnist-check
      foveal data check flowers/ --test-if "^2024"  copies between those pictures and the others
      foveal data check flowers/ --json             for a program

    Write yes in the column "exclude" of findings.csv for each picture to leave out, then:
      foveal train flowers/ --exclude flowers-check-1/findings.csv
    """
    from foveal.data.finding import check_source
    from foveal.files.durable import new_folder

    check_source(source)  # a wrong path is told before NumPy and PyTorch are imported
    folder = out if out is not None else _free_folder(source)
    new = not os.path.exists(folder)
    new_folder(folder)
    try:
        from foveal.audit.checking import check as look

        found = look(source, white=white_of(given.pop("--white")), **reading(given), progress=console.progress())
        from foveal.audit.page import write_check

        write_check(found, folder)
    except BaseException:
        for name in WRITTEN:  # half a check is none
            with contextlib.suppress(OSError):
                (folder / name).unlink()
        if new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    _tell(found, folder, as_json)


def _tell(found: Findings, folder: Path, as_json: bool) -> None:
    from foveal.audit.page import answer

    if as_json:
        from foveal.cli import _texts

        print(_texts.json_text({"folder": str(folder), **found.as_dict()}))
        return
    for note in found.dataset.notes:
        console.progress().say(note)
    said = answer(found)
    pictures, classes = counted(len(found.dataset), "picture"), counted(len(found.dataset.classes), "class", "classes")
    print(f"{pictures} in {classes}"
          f"{':' if said else '; no problems were found.'}")  # fmt: skip
    for what, why in said:
        print(f"  {what} - {why}")
    for word, name in zip(("page", "list"), WRITTEN, strict=True):
        print(f"{word:9} {shown(folder / name)}")


def _free_folder(source: str) -> Path:
    """<source>-check-<n> in the working folder, the next free number."""
    from foveal.files.free_names import as_word, first_free

    word = f"{as_word(Path(source).name) or 'data'}-check"
    name, _ = first_free(lambda number: f"{word}-{number}", lambda name: Path(name).exists())
    return Path(name)
