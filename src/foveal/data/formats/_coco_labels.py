"""COCO whose annotations have a category and no box: labels of pictures, several or none."""

from __future__ import annotations

import numpy as np

from foveal.data.dataset import Dataset, FilePictures, Origin, Skipped, multi_hot_of, rarest
from foveal.data.formats import Asked, listed
from foveal.data.formats._found import Found
from foveal.errors import BadData, shown

__all__ = ["labelled"]


def labelled(found: Found, asked: Asked, origin: Origin, classes: tuple[str, ...]) -> Dataset:
    """The data set of pictures whose annotations say what they show, and not where.

    One label a picture where each has just one; else several, and a picture without annotation shows none of them.
    Raises: BadData where one label is asked for and a picture has several.
    """
    position = {name: k for k, name in enumerate(classes)}
    on, labels = [label.on for label in found.labels], [position[label.name] for label in found.labels]
    multi_hot = multi_hot_of(on, labels, (len(found.paths), len(classes)))
    counts = multi_hot.sum(1)
    if asked.labels == "one" and (counts > 1).any():
        first = int(np.argmax(counts > 1))
        names = listed([classes[k] for k in np.flatnonzero(multi_hot[first])])
        raise BadData(
            f"{shown(origin.place)}: {shown(found.paths[first])} has several labels ({names}), and one is asked for; "
            "leave --labels one out."
        )
    told, rows = found.told()
    notes = [*told, "Its annotations have categories and no boxes: they are labels of the pictures."]
    splits = np.array(found.splits, np.int8)
    pictures = FilePictures(found.root, tuple(found.paths))
    if asked.labels == "several" or (asked.labels == "auto" and (counts != 1).any()):
        if none := int((counts == 0).sum()):
            notes.append(f"{none} picture{'s' * (none > 1)} without annotation: none of the labels.")
        several = Dataset(pictures, rarest(multi_hot), classes, splits, origin, multi_hot=multi_hot)
        return several.noted(*notes, skipped=rows)
    kept = np.flatnonzero(counts == 1).astype(np.int64)
    rows += [Skipped(found.paths[i], "has no annotation") for i in np.flatnonzero(counts == 0)]
    one = Dataset(pictures.take(kept), multi_hot[kept].argmax(1).astype(np.int64), classes, splits[kept], origin)
    return one.noted(*notes, skipped=rows)
