"""A column a class, holding 0 or 1: what competitions (ISIC), Roboflow's `_classes.csv` and `get_dummies` write."""

from __future__ import annotations

from dataclasses import dataclass

from foveal.data.formats import listed
from foveal.data.formats._sheets import PATH, Sheet, columns_of
from foveal.errors import BadData, shown

__all__ = ["OneHot", "one_hot"]

NO_CLASS = ("", "index", "unnamed: 0", "split", "subset", "group", "path", "id")  # whatever they hold
MOSTLY = 0.5  # of a column's cells that hold 0 or 1: the others are mistakes, and it is a class


@dataclass(frozen=True)
class OneHot:
    """The label of each row."""

    labels: list[str]  # "" where there is none
    reasons: list[str]  # why; "" where there is one
    note: str


def one_hot(sheet: Sheet) -> OneHot | None:
    """The labels of a table with a column a class; None where it has not two such columns.

    Raises: BadData for a cell that is not 0 or 1 where the others are, and for a row with two ones.
    """
    paths = columns_of(sheet.header, PATH)
    if not paths or not sheet.rows:
        return None
    columns, others = dict[int, list[str]](), list[str]()
    for i, name in enumerate(sheet.header):
        if i in paths or name.lower() in NO_CLASS:
            continue
        cells = [_bit(text) for text in sheet.texts(i)]
        filled = sum(cell != "" for cell in cells)
        if filled and sum(cell in ("0", "1") for cell in cells) >= MOSTLY * filled:
            columns[i] = cells
        else:
            others.append(name)
    if len(columns) < 2:
        return None
    _refuse_other_cells(sheet, columns)
    names = [sheet.header[i] for i in columns]
    labels, reasons = list[str](), list[str]()
    for row, (line, values) in enumerate(sheet.rows):
        cells = [column[row] for column in columns.values()]
        ones = [name for name, cell in zip(names, cells, strict=True) if cell == "1"]
        if len(ones) > 1:
            raise BadData(
                f'{shown(sheet.path)}, line {line}: {shown(str(values[paths[0]]))} is both "{shown(ones[0])}" and '
                f'"{shown(ones[1])}"; pictures with several labels are not a task yet: leave one 1 in each row, and '
                f"only columns that are classes."
            )
        empty = [name for name, cell in zip(names, cells, strict=True) if cell == ""]
        labels.append(ones[0] if ones and not empty else "")
        reasons.append(f'has nothing in column "{empty[0]}"' if empty else f"has no 1 in {listed(names)}")
    beside = f"; {listed(others, 8)} {'are' if len(others) > 1 else 'is'} not read" if others else ""
    note = f"{shown(sheet.path.name)} has a column a class, of 0 and 1: {listed(names, 20)}{beside}."
    return OneHot(labels, reasons, note)


def _bit(text: str) -> str:
    """ "1" for 1.0 and True, "0" for 0.00 and false; anything else as it is."""
    if text.lower() in ("true", "false"):
        return str(int(text.lower() == "true"))
    plain = text.rstrip("0").rstrip(".") if "." in text else text
    return {"1": "1", "0": "0", "": "0" if text else ""}.get(plain, text)


def _refuse_other_cells(sheet: Sheet, columns: dict[int, list[str]]) -> None:
    for i, cells in columns.items():
        for (line, _), cell in zip(sheet.rows, cells, strict=True):
            if cell not in ("0", "1", ""):
                raise BadData(
                    f'{shown(sheet.path)}, line {line}: column "{shown(sheet.header[i])}" holds "{shown(cell)[:40]}"; '
                    f"a column that is a class holds 0 or 1 (take it out of the table if it is none)."
                )
