"""Published weights: where a network's file lies, and how its tensors come into the network.

Some come as ordinary Python packages: an installed one is found by its list of files and never imported, and its file
is held against the record's checksum. A file that the user has put below FOVEAL_DATA is taken as it is and named with
its checksum; what is fetched is held against the record's. Nothing that does not fit is passed over in silence: names
that a file lacks, has too many of or in another shape are one sentence, and the two things that may differ (the
classifier's number of classes, the number of colour channels) are told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from foveal.errors import BadModel, FovealError, Missing, shown
from foveal.files.download import download
from foveal.files.places import cache_folder, data_folders
from foveal.files.safely import Unreadable, open_regular
from foveal.networks.entry import Entry, Published
from foveal.networks.index import without_weights
from foveal.networks.packages import in_package, install
from foveal.progress import SILENT, Progress

__all__ = ["Found", "Lying", "find_published", "fit_weights", "load_published", "looked_at", "lying_here", "published"]

FOLDER = "weights"  # below each of FOVEAL_DATA's folders, and below the cache
NAMED = 3  # of the names that do not fit; the others are counted


@dataclass(frozen=True)
class Found:
    """A file of weights."""

    path: Path
    sha256: str  # of all its bytes, in hex
    package: str = ""  # that it is part of, with its version


@dataclass(frozen=True)
class Lying:
    """Where on this machine a network's published weights lie."""

    path: Path
    where: str  # "package", "data" (below FOVEAL_DATA) or "cache"


def find_published(entry: Entry, progress: Progress = SILENT) -> Found:
    """The file of a network's published weights: an installed package's, else the user's own copy, else downloaded.

    The user's own is looked for as `<name>.safetensors`, `<name>.pth` or what the record calls it, in the folder
    `weights` below each of FOVEAL_DATA's; what was downloaded before is in the cache.

    Raises: BadRecipe when nobody published any; BadModel when the package holds something else; Missing when no file is
            here and none can be downloaded; BadData when what came is not what was published; NoSpace, NotWritable.
    """
    record = published(entry)
    if record.package is not None and (inside := in_package(record.package)) is not None:
        return _as_published(*inside, record)
    names = _file_names(entry, record)
    place = _first_file(data_folders(), names)
    if place is not None:
        return looked_at(place)
    own = f"no {names[0]} or {names[-1]} lies in a folder {FOLDER} below one of FOVEAL_DATA's"
    way_out = "put it there, or give --weights FILE."
    if not record.url:
        assert record.package is not None
        raise Missing(
            f"the weights of {shown(entry.name)} are the package {record.package.name}, which is not installed, and "
            f"{own}; {install(record.package)}, {way_out}"
        )
    home = cache_folder() / FOLDER / names[-1]
    try:
        download(record.url, home, sha256=record.sha256, progress=progress)
    except Missing as missing:
        raise Missing(f"{missing}, and {own}; {way_out}") from None
    return looked_at(home)


def lying_here(entry: Entry) -> Lying | None:
    """The file of a network's published weights that is on this machine; quick: no file is opened, nothing is fetched.

    None also where a package is installed that `find_published` would refuse for its version or its list of files.
    """
    record, names = published(entry), _file_names(entry, published(entry))
    try:
        if record.package is not None and (inside := in_package(record.package)) is not None:
            return Lying(inside[0], "package")
    except BadModel:
        return None
    if (place := _first_file(data_folders(), names)) is not None:
        return Lying(place, "data")
    with suppress(FovealError):
        if record.url and (place := _first_file([cache_folder()], names)) is not None:
            return Lying(place, "cache")
    return None


def _as_published(path: Path, version: str, record: Published) -> Found:
    """A package's file. Raises: BadModel when it is not the one that was published."""
    assert record.package is not None
    found, name = looked_at(path), record.package.name
    if found.sha256 != record.sha256:
        raise BadModel(
            f"{shown(path)} of the package {name} {version} is not the file that was published (its sha256 is "
            f"{found.sha256[:12]}, not {record.sha256[:12]}); {install(record.package, version)}, "
            "or give --weights FILE."
        )
    return replace(found, package=f"{name} {version}")


def _file_names(entry: Entry, record: Published) -> tuple[str, ...]:
    """What the file may be called; what the record calls it comes last."""
    plain = entry.name.replace(":", "-")
    return f"{plain}.safetensors", f"{plain}.pth", record.file


def _first_file(folders: Iterable[Path], names: Sequence[str]) -> Path | None:
    places = (folder / FOLDER / name for folder in folders for name in names)
    return next((place for place in places if place.is_file()), None)


def looked_at(path: Path) -> Found:
    """A file with its checksum. Raises: BadModel when it cannot be read."""
    try:
        with open_regular(path) as file:
            return Found(path, hashlib.file_digest(file, "sha256").hexdigest())  # type: ignore[arg-type]
    except Unreadable as error:
        reason = "does not exist" if error.reason == "is gone" else error.reason
        raise BadModel(f"{shown(path)} {reason}.") from None
    except OSError as error:
        raise BadModel(f"{shown(path)} cannot be read ({(error.strerror or '').lower()}).") from None


def published(entry: Entry) -> Published:
    """A network's record of published weights. Raises: BadRecipe with the names of those that have one."""
    if entry.weights is not None:
        return entry.weights
    raise without_weights(entry.name)


def load_published(network: nn.Module, entry: Entry, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Put a network's published tensors, as its file names them, into it; what was done besides, in words.

    Raises: BadModel when they are not the network's.
    """
    source = entry.weights.source if entry.weights else entry.name
    return fit_weights(network, tensors, source=source, entry=entry)


def fit_weights(
    network: nn.Module, tensors: Mapping[str, Tensor], *, source: str, entry: Entry | None = None
) -> tuple[str, ...]:
    """Put tensors into a network, as float32 whatever they were stored in; what was done besides, in words.

    Args:   source, how the sentence calls them; entry, the network's record: says what its published file calls its
            tensors, and which is the classifier. Without it (a network of one's own) all must fit as they are.
    Raises: BadModel that names what is missing, what belongs to no layer and what has another shape; the network is
            then as it was.
    """
    if entry is not None and entry.weights is not None and entry.weights.rename is not None:
        tensors = entry.weights.rename(dict(tensors))
    wanted: dict[str, Tensor] = network.state_dict()
    given, notes = _without_auxiliary(dict(tensors), wanted, entry)
    notes += _fit_first_convolution(network, given, wanted)
    notes += _leave_classifier(given, wanted, entry)
    if misfits := _misfits(given, wanted):
        called = f"network {shown(entry.name)}" if entry else "the network"
        raise BadModel(f"{shown(source)} does not fit {called}: {misfits}; give the network that it was saved from.")
    network.load_state_dict(wanted | {name: value.to(wanted[name].dtype) for name, value in given.items()})
    return tuple(notes)


def _without_auxiliary(
    given: dict[str, Tensor], wanted: Mapping[str, Tensor], entry: Entry | None
) -> tuple[dict[str, Tensor], list[str]]:
    """A network built without its auxiliary classifiers does not miss them; one that has them may start them anew."""
    ours, theirs = ({name for name in names if _is_auxiliary(name)} for names in (wanted, given))
    if entry is None or not entry.auxiliary or bool(ours) == bool(theirs):
        return given, []
    if theirs:
        left = {name: value for name, value in given.items() if name not in theirs}
        return left, ["auxiliary classifiers dropped"]
    return given | {name: wanted[name] for name in ours}, ["auxiliary classifiers new"]


def _is_auxiliary(name: str) -> bool:
    return name.lower().startswith("aux")  # aux1 (GoogLeNet), AuxLogits (Inception v3)


def _fit_first_convolution(network: nn.Module, given: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """Filters for RGB on grey pictures, or the other way round, so that a grey picture gets the same answer.

    R = G = B in a grey picture, so its response is that of the three filters' sum; and a grey filter spread over three
    channels in thirds sums up to itself. A fourth band gets the mean of the three, and all get a bit less weight: four
    equal bands get the answer of three.
    """
    name = next((f"{path}.weight" for path, m in network.named_modules() if isinstance(m, nn.Conv2d)), "")
    if name not in given or name not in wanted or given[name].ndim != 4:
        return []
    have, want = given[name].shape[1], wanted[name].shape[1]
    if have == 3 and want == 1:
        given[name] = given[name].float().sum(1, keepdim=True)
        return ["first convolution summed over RGB for grey pictures"]
    if have == 1 and want == 3:
        given[name] = given[name].float().expand(-1, 3, -1, -1) / 3
        return ["first convolution spread from grey over RGB"]
    if have == 3 and want == 4:
        rgb = given[name].float()
        given[name] = torch.cat([rgb, rgb.mean(1, keepdim=True)], 1) * (3 / 4)
        return ["first convolution inflated from RGB to four bands"]
    return []


def _leave_classifier(given: dict[str, Tensor], wanted: Mapping[str, Tensor], entry: Entry | None) -> list[str]:
    """Where the number of classes differs, the classifier (and each auxiliary one's last layer) starts anew."""
    if entry is None:
        return []
    weight = f"{entry.classifier}.weight"
    if weight not in given or weight not in wanted or not _other_classes(given[weight], wanted[weight]):
        return []
    have, want = given[weight].shape[0], wanted[weight].shape[0]
    for name, value in wanted.items():
        last = name in (weight, f"{entry.classifier}.bias") or (entry.auxiliary and _is_auxiliary(name))
        if last and name in given and _other_classes(given[name], value) and len(given[name]) == have:
            given[name] = value
    return [f"classifier of {have} classes replaced by a new one of {want}"]


def _other_classes(have: Tensor, want: Tensor) -> bool:
    return have.ndim == want.ndim > 0 and have.shape[1:] == want.shape[1:] and have.shape[0] != want.shape[0]


def _misfits(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """What does not fit, in words; nothing where all does. Counters of batches, which old files lack, may miss."""
    missing = [name for name in wanted if name not in given and not name.endswith("num_batches_tracked")]
    extra = [name for name in given if name not in wanted]
    both = [name for name in wanted if name in given]
    other = [
        f"{name} {tuple(given[name].shape)} for {tuple(wanted[name].shape)}"
        for name in both
        if given[name].shape != wanted[name].shape
    ]
    whole = [
        f"{name} {str(given[name].dtype).removeprefix('torch.')}"
        for name in both
        if wanted[name].is_floating_point() and not given[name].is_floating_point()
    ]
    found = {"missing": missing, "of no layer": extra, "of another shape": other, "of whole numbers": whole}
    return "; ".join(f"{len(names)} {what} ({_first(names)})" for what, names in found.items() if names)


def _first(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(shown(name[:100]) for name in names[:NAMED]) + more
