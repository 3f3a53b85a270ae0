"""Which picture is for training, which for validation, which for the test: decided once, by content.

Authority, highest first: `--split FILE.csv`; `--test-if REGEX`; the source's own folders, files or column; a hash of
the content. The hash places each content in [0, 1), the same for ever: below 0.1 is test, the next stretch is val. So a
picture keeps its split whatever is added later, equal pictures are never parted, and shares hold on average. With
`--group-by` the hash is the group's (`data/groups.py`), and no authority may part a group. Where somebody held out val
and no test, that is what is scored at the end, and another val comes out of train.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foveal.data._lookup import Lookup
from foveal.data.dataset import NOTHING, SPLITS, UNSPLIT, Dataset
from foveal.data.fingerprints import contents, position
from foveal.data.formats import listed, split_of
from foveal.data.formats.table import PATH, read_rows
from foveal.data.groups import AUTO, Groups, augmented, followed, groups_by, refuse_straddling, source_names
from foveal.errors import BadData, did_you_mean, shown

__all__ = ["TEST_SHARE", "decide", "duplicates_across", "score_warnings", "sources_across"]

TRAIN, VAL, TEST = range(3)
TEST_SHARE = 0.1  # of the contents, where nothing else says what is test


def decide(
    dataset: Dataset,
    *,
    split: str | Path | None = None,
    test_if: str | None = None,
    group_by: str | None = AUTO,
    held_out: Literal["test", "val"] = "test",
) -> Dataset:
    """The data set with every picture in a split; its digests must be filled.

    Args:   group_by: AUTO for copies that an export augmented, None for no groups. held_out: what val is where nobody
            named a test.
    Raises: BadData when `split`, `test_if` or `group_by` cannot be used, or the first two part a group.
    """
    auto = group_by == AUTO
    groups = augmented(dataset) if auto else None if group_by is None else groups_by(dataset, group_by)
    if test_if is not None:
        dataset = _by_pattern(dataset, test_if)
        if groups is not None and split is None and not auto:
            refuse_straddling(dataset, groups, against_test=True)
    if split is not None:
        dataset = _by_file(dataset, Path(split).expanduser())
    if groups is not None and not auto:
        refuse_straddling(dataset, groups)
    if held_out == "test":
        dataset = _scored_at_the_end(dataset)
    if groups is None:
        return _by_hash(dataset)
    dataset = replace(dataset, groups=groups.number, splits=followed(dataset, groups))
    dataset = _by_hash(dataset, groups)
    return dataset.noted(f"{groups.note}{_across(dataset)}." if auto else groups.note)


def duplicates_across(dataset: Dataset) -> tuple[tuple[str, str], ...]:
    """(name in val or test, name in train) for each picture of val and test whose content is also in train."""
    if dataset.digests is None:
        return ()
    numbers = contents(dataset.digests)
    first = {int(numbers[i]): int(i) for i in dataset.indices("train")[::-1]}
    held_out = np.flatnonzero((dataset.splits == VAL) | (dataset.splits == TEST))
    named = dataset.pictures.name
    return tuple((named(int(i)), named(first[int(numbers[i])])) for i in held_out if int(numbers[i]) in first)


def sources_across(dataset: Dataset) -> tuple[tuple[str, str], ...]:
    """(name in val or test, name in train) for each picture of val and test of whose source train has a copy as well.

    By the names that exports give to augmented copies.
    """
    names = source_names(dataset)
    first = {names[i]: i for i in dataset.indices("train")[::-1].tolist() if names[i]}
    held_out = np.flatnonzero((dataset.splits == VAL) | (dataset.splits == TEST)).tolist()
    named = dataset.pictures.name
    return tuple((named(i), named(first[names[i]])) for i in held_out if names[i] in first)


def _by_pattern(dataset: Dataset, pattern: str) -> Dataset:
    """What matches is test; what the source called test and does not match is no longer."""
    try:
        expression = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise BadData(f'--test-if "{shown(pattern)}" is not a valid regular expression ({error}).') from None
    names = dataset.pictures.name
    matched = np.fromiter((expression.search(names(i)) is not None for i in range(len(dataset))), bool, len(dataset))
    if matched.all() or not matched.any():
        raise BadData(
            f'--test-if "{shown(pattern)}" matches {"every" if matched.all() else "no"} picture; '
            f"it is searched for in paths such as {listed([names(0)])}."
        )
    splits = np.where(matched, TEST, np.where(dataset.splits == TEST, UNSPLIT, dataset.splits)).astype(np.int8)
    return _split_anew(dataset, splits, f'paths that match "{shown(pattern)}" are test', keeps=(splits == VAL).any())


def _by_file(dataset: Dataset, path: Path) -> Dataset:
    """What the table says; a picture that it does not name is left to train and the hash."""
    lookup = Lookup(dataset)
    splits = np.full(len(dataset), UNSPLIT, np.int8)
    unknown: list[str] = []
    for line, row in read_rows(path, {"path": PATH, "split": ("split", "subset", "set")}):
        number = split_of(row["split"])
        if number == UNSPLIT:
            raise BadData(
                f'{shown(path)}, line {line}: split "{shown(row["split"])}" is none of {", ".join(SPLITS)}'
                f"{did_you_mean(row['split'], SPLITS)}"
            )
        at = lookup.find(row["path"])
        if at is None:
            unknown.append(lookup.told(row["path"]))
        elif splits[at] not in (UNSPLIT, number):
            raise BadData(
                f"{shown(path)}, line {line}: {shown(row['path'])} is already in {SPLITS[splits[at]]}; keep one line."
            )
        else:
            splits[at] = number
    if (splits == UNSPLIT).all():
        known = listed([dataset.pictures.name(0)]) if len(dataset) else "nothing"
        raise BadData(
            f"{shown(path)} names no picture of the data set ({listed(unknown, 1)}); paths look like {known}."
        )
    notes = [f"{len(unknown)} of the paths in {shown(path)} are not in the data set ({listed(unknown)})."] * bool(
        unknown
    )
    if unnamed := int((splits == UNSPLIT).sum()):
        notes.append(f"{shown(path)} does not name {unnamed} of the {len(dataset)} pictures; they are for training.")
    return _split_anew(dataset, splits, f"the file {shown(path.name)}").noted(*notes)


def _scored_at_the_end(dataset: Dataset) -> Dataset:
    """The data set whose val is its test, where somebody held out pictures for val and none for a test."""
    splits, here = dataset.splits, dataset.splits == VAL
    if (splits == TEST).any() or not here.any() or here.all():
        return dataset
    how = f"{dataset.origin.split_by} (val is the test)" if dataset.origin.split_by else "val is the test"
    held = replace(dataset, splits=np.where(here, TEST, splits).astype(np.int8),
                   origin=replace(dataset.origin, split_by=how))  # fmt: skip
    return held.noted(
        f"There are train and val and no test: the {here.sum()} pictures of val are scored at the end, and validation "
        f"comes out of train (data.held_out = val leaves val as it is and takes a test out of train)."
    )


def _across(dataset: Dataset) -> str:
    """What is to be said of augmented copies: where the source's own splits part them, which."""
    pairs = sources_across(dataset)
    if not pairs:
        return "; a source stays in one split"
    a, b = (shown(name) for name in pairs[0])
    return (
        f"; {len(pairs)} of val and test are of sources that train has as well ({a} and {b}): "
        "scores will be too optimistic"
    )


def _split_anew(dataset: Dataset, splits: NDArray[np.int8], how: str, *, keeps: bool = False) -> Dataset:
    before = f"; val: {dataset.origin.split_by}" if keeps and dataset.origin.split_by else ""
    return replace(dataset, splits=splits, origin=replace(dataset.origin, split_by=how + before))


def _by_hash(dataset: Dataset, groups: Groups | None = None) -> Dataset:
    """Fill in what nothing else decided: test and val where the source has none, out of its training pictures."""
    assert dataset.digests is not None
    splits = dataset.splits.copy()
    pool = np.flatnonzero((splits == UNSPLIT) | (splits == TRAIN))
    wanted = {TEST: TEST_SHARE, VAL: dataset.val_share}
    wanted = {s: share for s, share in wanted.items() if share > 0 and not (splits == s).any()}
    splits[pool] = TRAIN
    if not len(pool) or not wanted:
        return replace(dataset, splits=splits)
    placed = position(dataset.digests[pool]) if groups is None else groups.placed[pool]
    edges = {TEST: (0.0, TEST_SHARE), VAL: (TEST_SHARE, TEST_SHARE + dataset.val_share)}
    for number in wanted:
        low, high = edges[number]
        splits[pool[(placed >= low) & (placed < high)]] = number
    edges[TRAIN] = (max(edges[s][1] for s in wanted), 1.0)
    notes = _fill(dataset, splits, pool, placed, {TRAIN: edges[TRAIN], **{s: edges[s] for s in wanted}})
    shares = ", ".join(f"{100 * share:g} % {SPLITS[s]}" for s, share in sorted(wanted.items()))
    hashed = "content hash" if groups is None else "hash of the group"
    how = f"{hashed}: {shares}" if TEST in wanted and VAL in wanted else f"{shares} of train by {hashed}"
    before = dataset.origin.split_by
    origin = replace(dataset.origin, split_by=f"{before}; {how}" if before else how)
    return replace(dataset, splits=splits, origin=origin).noted(*notes)


def _fill(
    dataset: Dataset,
    splits: NDArray[np.int8],
    pool: NDArray[np.int64],
    placed: NDArray[np.float64],
    stretches: dict[int, tuple[float, float]],
) -> list[str]:
    """Give each class a picture in each split that the hash decides, where it has enough; returns what to say.

    Taken is the content whose hash lies nearest to the split's stretch, from the split that has most. `splits` is
    changed in place; all copies of a content, or all pictures of a group, move together.
    """
    numbers, (rows, labels) = _numbers(dataset, pool), _pairs(dataset, pool)
    K = len(dataset.classes)
    counts = np.stack([np.bincount(labels[splits[pool[rows]] == s], minlength=K) for s in stretches])
    occurs = np.bincount(labels, minlength=K) > 0
    several = dataset.groups is not None or dataset.multi_hot is not None  # classes may move together
    moved: list[tuple[int, int, int]] = []  # class, split, picture
    small: list[str] = []
    for label in np.flatnonzero(occurs & (counts == 0).any(axis=0)).tolist():
        members = rows[labels == label]
        kinds, first = np.unique(numbers[members], return_index=True)
        own = members[first]  # one picture of each content
        if len(kinds) < len(stretches):
            small.append(f'"{dataset.classes[label]}" ({len(kinds)})')
        for number in (s for s in (TRAIN, TEST, VAL) if s in stretches):  # what matters most is filled first
            low, high = stretches[number]
            here = splits[pool[own]]
            if (here == number).any():
                continue
            donor = max((s for s in stretches if s != number), key=lambda s: int((here == s).sum()))
            givers, in_donor = own[here == donor], splits[pool[rows]] == donor
            if number != TRAIN:  # which may take the last one
                givers = givers if len(givers) > 1 else givers[:0]
                givers = _spared(givers, numbers, labels[in_donor], numbers[rows[in_donor]]) if several else givers
            if not len(givers):
                continue
            distance = np.maximum(np.maximum(low - placed[givers], placed[givers] - high), 0)
            taken = givers[np.argmin(distance)]
            splits[pool[numbers == numbers[taken]]] = number
            if len(kinds) > 1:
                moved.append((label, number, int(pool[taken])))
    return _told(dataset, moved, small)


def _numbers(dataset: Dataset, pool: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) equal for pictures that move together."""
    assert dataset.digests is not None
    return contents(dataset.digests[pool]) if dataset.groups is None else dataset.groups[pool]


def _pairs(dataset: Dataset, pool: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(P,) rows of the pool and (P,) a class that each shows: one pair a picture, several or none."""
    if dataset.multi_hot is not None:
        rows, labels = np.nonzero(dataset.multi_hot[pool])
        return rows, labels
    rows = np.flatnonzero(dataset.labels[pool] != NOTHING)
    return rows, dataset.labels[pool[rows]]


def _spared(
    givers: NDArray[np.int64], numbers: NDArray[np.int64], labels: NDArray[np.int64], of: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Those of the givers that are not the last of a class in their split, and their groups neither.

    Args: labels and of, the classes that are there and the group that each lies in: one may hold several classes.
    """
    pairs = np.unique(np.stack([labels, of], axis=1), axis=0)
    groups_of_class = np.bincount(pairs[:, 0])
    lone = set(pairs[groups_of_class[pairs[:, 0]] == 1, 1].tolist())
    return np.array([i for i in givers.tolist() if int(numbers[i]) not in lone], np.int64)


def _told(dataset: Dataset, moved: list[tuple[int, int, int]], small: list[str]) -> list[str]:
    notes = []
    if moved:
        each = [f'"{dataset.classes[k]}" in {SPLITS[s]} by {dataset.pictures.name(i)}' for k, s, i in moved]
        notes.append(f"The random split left a class without a picture in a split; moved there: {listed(each, 3)}.")
    if small:
        what = "different pictures" if dataset.groups is None else "groups"
        notes.append(f"Too few {what} to be in every split (train first, then test): {listed(small, 5)}.")
    return notes


def score_warnings(dataset: Dataset, on: str) -> list[str]:
    """What takes something away from the score."""
    warnings = []
    if on != "test":
        warnings.append(
            f"There are no test pictures: the score is on {on}, which were used in training, so it is too optimistic."
        )
    pairs = duplicates_across(dataset)
    if pairs:
        first, second = (shown(name) for name in pairs[0])
        rest = f", and {len(pairs) - 1} more" if len(pairs) > 1 else ""
        warnings.append(
            f"{first} and {second} are the same picture on both sides of the split{rest}: the score is too optimistic."
        )
    if pairs := sources_across(dataset):
        first, second = (shown(name) for name in pairs[0])
        rest = f", and so are {len(pairs) - 1} more" if len(pairs) > 1 else ""
        warnings.append(
            f"{first} and {second} are augmented copies of one source on both sides of the split{rest}: "
            f"the score is too good."
        )
    return warnings
