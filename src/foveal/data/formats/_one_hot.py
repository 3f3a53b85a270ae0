"""A column a class, holding 0 or 1: what competitions (ISIC), Roboflow's `_classes.csv` and `get_dummies` write."""

from __future__ import annotations

from foveal.data.formats import Asked, listed
from foveal.data.formats._labels import RowLabels, refused_several
from foveal.data.formats._sheets import PATH, Sheet, columns_of
from foveal.errors import BadData, shown

__all__ = ["one_hot"]

NO_CLASS = ("", "index", "unnamed: 0", "split", "subset", "group", "path", "id")  # whatever they hold
MOSTLY = 0.5  # of a column's cells that hold 0 or 1: the others are mistakes, and it is a class


def one_hot(sheet: Sheet, asked: Asked) -> RowLabels | None:
    """The labels of a table with a column a class; None where it has not two such columns.

    Where a row has two ones, pictures have several labels or none; else one, and a row of zeros cannot be used.
    Raises: BadData for a cell that is not 0 or 1 where the others are, and for two ones where one label is asked for.
    """
    paths = columns_of(sheet.header, PATH)
    if not paths or not sheet.rows:
        return None
    columns, others = _columns(sheet, paths)
    if len(columns) < (1 if asked.labels == "several" else 2):
        return None
    _refuse_other_cells(sheet, columns)
    names = [sheet.header[i] for i in columns]
    labels, reasons, doubled = list[tuple[str, ...]](), list[str](), 0
    for row, (line, values) in enumerate(sheet.rows):
        cells = [column[row] for column in columns.values()]
        ones = tuple(name for name, cell in zip(names, cells, strict=True) if cell == "1")
        if len(ones) > 1 and asked.labels == "one":
            raise refused_several(sheet, line, str(values[paths[0]]), ones)
        doubled += len(ones) > 1
        empty = next((name for name, cell in zip(names, cells, strict=True) if cell == ""), None)
        labels.append(ones if empty is None else ())
        reasons.append("" if empty is None else f'has nothing in column "{empty}"')
    several = doubled > 0 or asked.labels == "several"
    if not several:
        reasons = [reason or ("" if row else f"has no 1 in {listed(names)}")
                   for reason, row in zip(reasons, labels, strict=True)]  # fmt: skip
    return RowLabels(labels, reasons if any(reasons) else [], _notes(sheet, names, others, labels, doubled, several),
                     several)  # fmt: skip


def _columns(sheet: Sheet, paths: list[int]) -> tuple[dict[int, list[str]], list[str]]:
    """The cells of each column that is a class, and the names of the others."""
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
    return columns, others


def _notes(
    sheet: Sheet, names: list[str], others: list[str], labels: list[tuple[str, ...]], doubled: int, several: bool
) -> tuple[str, ...]:
    """What is said of the columns, and of how many labels a picture may have."""
    beside = f"; {listed(others, 8)} {'are' if len(others) > 1 else 'is'} not read" if others else ""
    note = f"{shown(sheet.path.name)} has a column a class, of 0 and 1: {listed(names, 20)}{beside}."
    if not several:
        return (note,)
    none = sum(not row for row in labels)
    return (note, f"A picture may have several labels or none: {doubled} of {len(labels)} rows have several 1s, "
                  f"{none} none.")  # fmt: skip


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
