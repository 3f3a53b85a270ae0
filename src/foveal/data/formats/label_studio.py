"""Label Studio's JSON: a list of tasks, each with a picture's address and the results of whoever labelled it.

Source: labelstud.io/guide/export, "JSON" and "JSON-MIN". Coordinates are per cents of the picture; a rectangle turns
about its first corner. Pictures are found below the folder by the end of their address: it was the server's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from foveal.data.dataset import Dataset, Origin
from foveal.data.formats import Asked, Format, Place, listed
from foveal.data.formats._boxes import dataset_of
from foveal.data.formats._found import Found
from foveal.data.formats._found_pictures import Finder, plain_path
from foveal.data.formats._json import read_json
from foveal.data.formats._masks import round_points
from foveal.data.formats._pairs import folders_said, split_by_folders
from foveal.data.formats._shapes import Corners, add_shape, flat_points, is_number, rotated, round_ellipse
from foveal.errors import BadData, shown
from foveal.files.pictures import is_picture_name
from foveal.files.safely import Unreadable, open_regular

__all__ = ["FORMAT", "is_of_tasks"]

JSON_MAX_BYTES = 1 << 30
PEEKED_BYTES = 1 << 16
FILES_MAX = 100  # more are a file a picture
TYPES = {"rectanglelabels": "", "polygonlabels": "polygon", "ellipselabels": "ellipse"}
NO_BOX = {"brushlabels": "a mask of a brush: export as COCO", "keypointlabels": "a point, which has no area"}
OWN_KEYS = ("id", "annotations", "completions", "predictions", "created_at", "updated_at", "annotator", "annotation_id")
Entry = Mapping[str, Any]


def _read(place: Place, asked: Asked) -> Dataset:
    root = place.path.parent if place.is_file else place.path
    file = place.path if place.is_file else root / _only(place)
    pictures = [path for path in (Place(root) if place.is_file else place).files if is_picture_name(path)]
    tasks = [_entry(task) for task in read_json(file, JSON_MAX_BYTES, "Label Studio file")]
    _refuse_classes(file, tasks)
    found = Found(root, lambda path, number: f"result {number} of {path}", shares=True)
    taken, unlabelled = dict[str, str](), list[str]()
    for name, task, picture in _pictures(found, tasks, pictures):
        if taken.setdefault(picture, name) != name:
            found.skip("annotation", name, f"is of {picture}, as is {taken[picture]}")
        elif (results := _results(found, name, task)) is None:
            unlabelled.append(picture)
        else:
            _take(found, picture, results)
    found.unlabelled([(path, split_by_folders(path)) for path in unlabelled], asked, "nobody has labelled it")
    if not place.is_file:
        rest = [path for path in pictures if path not in taken]
        found.unlabelled([(path, split_by_folders(path)) for path in rest], asked, "is in no task")
    return dataset_of(found, asked, Origin(asked.source, str(place.path), "Label Studio", folders_said(found.splits)))


def _pictures(found: Found, tasks: Sequence[Entry], pictures: list[str]) -> Iterator[tuple[str, Entry, str]]:
    """Name and picture of each task that has one."""
    everything = set(pictures)
    finder = Finder(lambda: pictures, lambda path: path in everything, str(found.root))
    addresses = [_address(task) for task in tasks]
    matches = finder.all_of([address for address in addresses if address])
    for number, (task, address) in enumerate(zip(tasks, addresses, strict=True), 1):
        name = f"task {shown(str(task.get('id', number)))[:40]}"
        match = matches.get(address)
        if match is None or match.path is None:
            found.skip("without picture", name, match.reason if match else "names no picture")
            continue
        yield name, task, match.path


def _address(task: Entry) -> str:
    """Where a task's picture lay: the value of its data that is called as a picture, else the only text."""
    data = _entry(task.get("data")) or {key: value for key, value in task.items() if key not in OWN_KEYS}
    texts = [value for value in data.values() if isinstance(value, str) and value.strip()]
    named = [text for text in texts if is_picture_name(plain_path(text))]
    return next(iter(named or (texts if len(texts) == 1 else [])), "")


def _results(found: Found, name: str, task: Entry) -> list[Entry] | None:
    """What was drawn on a task's picture; None where nobody has looked at it."""
    if "annotations" not in task and "completions" not in task:  # JSON-MIN: lists of results, called as the tool was
        lists = [value for value in task.values() if isinstance(value, list) and any(map(_type, map(_entry, value)))]
        return [_entry(result) for several in lists for result in several] if lists else None
    written = task.get("annotations") or task.get("completions")
    several = [_entry(one) for one in written] if isinstance(written, list) else []
    several = [one for one in several if one.get("was_cancelled") is not True and isinstance(one.get("result"), list)]
    if not several:
        return None
    true = [one for one in several if one.get("ground_truth") is True]
    if len(several) > 1 and len(true) != 1:
        found.assume("task has several annotations, of which the last is taken",
                     "tasks have several annotations, of which the last is taken", name)  # fmt: skip
    chosen = true[0] if len(true) == 1 else max(several, key=lambda one: str(one.get("updated_at") or ""))
    return [_entry(result) for result in chosen["result"]]


def _take(found: Found, picture: str, results: list[Entry]) -> None:
    """Add a picture with what was drawn on it."""
    sides = [result.get(key) for result in results[:1] for key in ("original_width", "original_height")]
    width, height = (side if isinstance(side, int) and side > 0 else 0 for side in sides or (0, 0))
    on = found.add_picture(picture, split_by_folders(picture), (width, height))
    labels = {result.get("id"): _labels(result) for result in results if _type(result) == "labels"}
    for number, result in enumerate(results, 1):
        kind, value = _type(result), _entry(result.get("value") or result)
        if kind in ("choices", "textarea", "labels", "rating", "taxonomy", "relation", ""):
            if kind in ("choices", "taxonomy"):
                found.assume("choice is not read", "choices are not read", found.where(picture, number))
            continue
        names = _labels(result) or labels.get(result.get("id"), [])
        drawn = kind if kind.endswith("labels") else f"{kind}labels"
        if len(names) != 1:
            found.lose(on, number, f"has {len(names)} labels, not one")
        elif result.get("image_rotation"):
            found.lose(on, number, "is drawn on a picture that was turned in the tool; save it turned")
        else:
            corners = _corners(drawn, value, width, height)
            turned = "rotated box" if drawn == "rectanglelabels" and value.get("rotation") else TYPES.get(drawn, "")
            add_shape(found, on, number, turned, corners, names[0])


def _corners(kind: str, value: Entry, width: int, height: int) -> Corners | str:
    """The box round a result as shares of the picture, or what is wrong with it."""
    if kind not in TYPES:
        return f"is {NO_BOX.get(kind, f'a {shown(kind)[:40]}, which foveal does not read')}"
    turn = value.get("rotation") or 0
    if turn and not (width and height):
        return "is turned, and its original_width and original_height are not told"
    w, h = width or 1, height or 1
    if kind == "polygonlabels":
        flat = flat_points(value.get("points"))
        if flat is None or len(flat) < 6:
            return "its polygon is not three points or more"
        return _scaled(round_points(flat), 100, 100)
    keys = ("x", "y", "width", "height") if kind == "rectanglelabels" else ("x", "y", "radiusX", "radiusY")
    numbers = [value.get(key) for key in keys]
    if not all(map(is_number, [*numbers, turn])):
        return f"needs {', '.join(keys)} as numbers"
    x, y, a, b = (float(number or 0) for number in numbers)
    x, y, a, b = x * w / 100, y * h / 100, a * w / 100, b * h / 100  # pixels, in which a turn keeps its angles
    if a < 0 or b < 0:
        return "width or height below zero"
    if kind == "ellipselabels":
        return _scaled(round_ellipse(x, y, a, b, float(turn)), w, h)
    return _scaled(rotated((x, y, x + a, y + b), float(turn), (x, y)), w, h)


def _scaled(corners: Corners, width: float, height: float) -> Corners:
    x1, y1, x2, y2 = corners
    return x1 / width, y1 / height, x2 / width, y2 / height


def _type(result: Entry) -> str:
    """What a result is of: JSON-MIN leaves it to the key that holds the labels."""
    kind = result.get("type")
    if isinstance(kind, str):
        return kind.lower()
    return next((key for key in result if key in TYPES or key in NO_BOX or key == "choices"), "")


def _labels(result: Entry) -> list[str]:
    value = _entry(result.get("value") or result)
    names = value.get(_type(result)) or value.get("labels")
    return [str(name).strip() for name in names if str(name).strip()] if isinstance(names, list) else []


def _refuse_classes(file: Path, tasks: Sequence[Entry]) -> None:
    """Raises: BadData where all results are choices: classes of whole pictures."""
    kinds = set[str]()
    for task in tasks:
        written = task.get("annotations") or task.get("completions")
        annotations = [_entry(one) for one in written] if isinstance(written, list) else []
        results = [one["result"] for one in annotations if isinstance(one.get("result"), list)]
        kinds |= {_type(_entry(result)) for several in results for result in several}
        if isinstance(task.get("choice"), str):
            kinds.add("choices")
    if kinds and kinds <= {"choices"}:
        raise BadData(f"{shown(file)} holds choices, a class a picture, and no boxes; write them as a table of "
                      f"path,label and give that.")  # fmt: skip


def _entry(value: Any) -> Entry:
    return value if isinstance(value, dict) else {}


def _only(place: Place) -> str:
    files = _candidates(place)
    if len(files) > 1:
        raise BadData(f"{shown(place.path)} holds {len(files)} files of Label Studio ({listed(files)}); give one.")
    return files[0]


def _candidates(place: Place) -> list[str]:
    return [file for file in place.files if file.lower().endswith(".json") and is_of_tasks(place.path / file)]


def is_of_tasks(path: Path) -> bool:
    """Whether a file begins with a list of tasks."""
    try:
        with open_regular(path) as file:
            head = file.read(PEEKED_BYTES).lstrip(b"\xef\xbb\xbf \r\n\t")
    except (Unreadable, OSError):
        return False
    marks = (b'"annotations"', b'"completions"', b'"rectanglelabels"', b'"polygonlabels"', b'"choice"')
    return head[:1] == b"[" and (b'"id"' in head or b'"data"' in head) and any(mark in head for mark in marks)


def _detect(place: Place) -> bool:
    if place.is_file:
        return place.path.suffix.lower() == ".json" and is_of_tasks(place.path)
    files = [file for file in place.files if file.lower().endswith(".json")]
    return place.has_pictures and len(files) <= FILES_MAX and bool(_candidates(place))


FORMAT = Format("Label Studio", _detect, _read)
