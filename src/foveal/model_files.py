"""A model's file: what it says of itself, checked before any of it is used, and its network with the weights it holds.

Darknet's cfg with its weights and names is read here as well. PyTorch is imported when a network is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from foveal.errors import BadData, BadModel, BadRecipe, FovealError, did_you_mean, shown
from foveal.files.darknet import LARGEST_CFG
from foveal.files.model_file import KIND, ModelFile, darknet_files
from foveal.files.safely import in_bytes, read_bytes
from foveal.files.tensors import HEADER_MAX_BYTES, metadata_bytes, read_metadata, read_tensors, write_tensors
from foveal.networks.index import CUSTOM
from foveal.preprocess import Preprocess
from foveal.recipe import Recipe
from foveal.tasks.detect import Detect
from foveal.tasks.heads import HEADS, head_of
from foveal.tasks.heads.head import Architecture
from foveal.tasks.registry import TASKS, task_of_file
from foveal.tasks.task import Calibration, Task
from foveal.tasks.trust import BANK

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = [
    "Description",
    "check_keepable",
    "check_storable",
    "described",
    "description_of",
    "network_of",
    "read_darknet",
    "task_of",
    "with_weights",
    "write_model",
]

LARGEST_NAMES = 1 << 20  # bytes
LONGEST_NAME, MOST_CLASSES = 1000, 100_000  # letters of a class's name
A_CLASS, SPARE = 80, 1 << 18  # bytes of a header: what calibrated scores take for a class, and the rest of a file
UNKNOWN = "is not known here: a newer foveal wrote it (pip install --upgrade foveal), or something else did"
NAME_SHOWN = 40  # letters of a name that is too long

Checked = TypeVar("Checked", bound=BaseModel)
Side = Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]
Anchor = Annotated[list[Side], Field(min_length=2, max_length=2)]


class _NetworkFacts(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: Annotated[str, Field(max_length=10_000)]  # a notation is its own name; with boxes, of the trunk
    options: dict[str, float | bool]
    detector: Annotated[str, Field(max_length=100)] = ""  # of `HEADS`; "": the network's own classifier
    width: Annotated[int, Field(ge=0, le=2048)] = 0
    anchors: Annotated[list[Anchor], Field(max_length=1000)] = []  # older files have none
    frozen_norms: bool = False
    cfg: Annotated[str, Field(max_length=LARGEST_CFG)] = ""
    own: Annotated[dict[str, Annotated[float, Field(allow_inf_nan=False)]], Field(max_length=1000)] = {}


class _Facts(BaseModel):
    """What every model's file says of itself; the rest is its task's."""

    model_config = ConfigDict(extra="forbid", strict=True)
    task: Annotated[str, Field(max_length=100)]
    network: _NetworkFacts
    classes: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]],
        Field(min_length=1, max_length=MOST_CLASSES),
    ]
    preprocess: dict[str, Any]
    trained: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Description:
    """What a model is, but for its weights."""

    task: type[Task]
    architecture: Architecture
    classes: tuple[str, ...]
    preprocess: Preprocess
    calibration: Any  # as the task has it in files: `CalibrationFacts`
    trained: Mapping[str, Any]


def described(metadata: Mapping[str, Any], place: Path) -> Description:
    """The header of a model's file, checked; what is not known here is refused, for it may change what answers mean.

    Raises: BadModel with the key that is wrong, or unknown.
    """
    facts = _checked(_Facts, metadata, place)
    task = task_of_file(facts.task, facts.network.detector)
    if task is None:
        known = [task.word for task in TASKS]
        raise BadModel(f'{shown(place)}: metadata "task": no such task: "{shown(facts.task)}" (known: {known}).')
    head = facts.network.detector
    if bool(head) == task.linear or (head and head not in HEADS):
        near = did_you_mean(head, HEADS)
        raise BadModel(f'{shown(place)}: metadata "network.detector": no such head: "{shown(head)}"{near}.')
    if len(set(facts.classes)) != len(facts.classes):
        raise BadModel(f"{shown(place)}: metadata names a class twice.")
    known = _Facts.model_fields.keys() | task.facts.model_fields.keys()
    if unknown := sorted(metadata.keys() - known):
        raise BadModel(f'{shown(place)}: metadata "{shown(unknown[0][:NAME_SHOWN])}" {UNKNOWN}.')
    calibration: Any = _checked(task.facts, metadata, place)
    if not calibration.fits(len(facts.classes)):
        raise BadModel(f"{shown(place)}: its scores are calibrated for another number of classes; it is damaged.")
    return Description(
        task, _architecture(facts.network), tuple(facts.classes), _preprocess(facts.preprocess, place), calibration,
        facts.trained,
    )  # fmt: skip


def check_keepable(task: type[Task], classes: Sequence[str], recipe: Recipe, place: str) -> None:
    """What the file of a trained model is to hold, held against what is read of one, before anything is trained.

    Args:   place, of the pictures, for errors.
    Raises: BadData with the class whose name does not go; BadRecipe for settings that do not.
    """
    metadata = {
        "task": task.word, "network": {"name": recipe.network.name, "options": {}}, "classes": list(classes),
        "preprocess": {}, "trained": {"recipe": recipe.to_toml()},
    }  # fmt: skip
    try:
        _Facts.model_validate(metadata)
    except ValidationError as error:
        where = error.errors()[0]["loc"]
        if where[0] != "classes":
            raise BadRecipe(f"{recipe.network.name[:NAME_SHOWN]}… is too long for the name of a network.") from None
        raise BadData(f"{shown(place)}: {_not_kept(classes, where[1:])}.") from None
    needed = metadata_bytes(metadata) + SPARE + (0 if task.linear else A_CLASS * len(classes))
    if needed > HEADER_MAX_BYTES:
        raise BadData(
            f"{shown(place)}: the names of {len(classes):,} classes and the recipe take {in_bytes(needed)} in "
            f"the model's file, and {in_bytes(HEADER_MAX_BYTES)} are the most; give the classes shorter names."
        )


def check_storable(network: nn.Module) -> None:
    """Raises: BadModel for a module with a tensor that no model's file holds, before it is trained."""
    from foveal.files.tensors import unstorable

    for name, value in network.state_dict().items():
        if reason := unstorable(name, value):
            raise BadModel(
                f'the network\'s tensor "{shown(name[:NAME_SHOWN])}" {reason}, which a model file cannot hold.'
            )


def _not_kept(classes: Sequence[str], at: Sequence[int | str]) -> str:
    """Why no model's file holds these classes. Args: at, the one that does not go; empty where there are too many."""
    if not at:
        return f"it has {len(classes):,} classes, and a model can have at most {MOST_CLASSES:,}"
    name = classes[int(at[0])]
    if not name:
        return "a class has no name; give it one"
    if len(name) > LONGEST_NAME:
        start = shown(name[:NAME_SHOWN])
        return (
            f'the class "{start}…" has a name of {len(name):,} letters, and {LONGEST_NAME:,} are the most; shorten it'
        )
    return f'the class "{shown(name[:NAME_SHOWN])}" has a name that is no Unicode text; rename it'


def task_of(file: ModelFile) -> type[Task] | None:
    """The task that a file names, whatever else is in it; None for none that there is."""
    if file.metadata is None:
        return Detect
    network = file.metadata.get("network")
    head = network.get("detector") if isinstance(network, Mapping) else None
    return task_of_file(str(file.metadata.get("task")), str(head))


def description_of(path: Path) -> Description | None:
    """What a file says of itself; None for one that is no model of foveal's. Raises: BadModel for a damaged one."""
    try:
        metadata = read_metadata(path, KIND)
    except BadModel:
        return None
    return described(metadata, path)


def network_of(description: Description, place: Path) -> nn.Module:
    """The network that a description names, looked up in the zoo, without memory for its weights. Raises: BadModel."""
    import torch

    from foveal.networks.catalogue import build, find

    built, preprocess, K = description.architecture, description.preprocess, len(description.classes)
    size = (preprocess.height, preprocess.width)
    if built.trunk == CUSTOM:
        raise BadModel(
            f"{shown(place)} was trained from a custom network; load it as foveal.load(path, network=TheNetwork())."
        )
    try:
        if not built.kind:
            find(built.trunk)
    except BadRecipe:
        name = shown(built.trunk[:80])
        raise BadModel(f"{shown(place)}: unknown network {name} (foveal networks lists all).") from None
    try:
        with torch.device("meta"):
            if built.kind:
                return head_of(built.kind).build(built, K, preprocess.channels, size)
            return build(built.trunk, K, preprocess.channels, size, built.options)
    except FovealError as error:
        raise BadModel(f"{shown(place)}: {error}") from None


def with_weights(description: Description, place: Path, network: nn.Module) -> dict[str, NDArray[Any]]:
    """Give the network the weights of the file; returns what belongs to the calibration.

    Raises: BadModel; a file that claims other tensors than the network has is refused before one is read.
    """
    expected = {name: (tuple(value.shape), value.dtype) for name, value in network.state_dict().items()}
    besides = description.calibration.shapes()
    if BANK in besides:
        _check_features(besides[BANK][0], network, description, place)
    expected |= {name: (shape, _torch_type(kind)) for name, (shape, kind) in besides.items()}
    tensors, metadata = read_tensors(place, KIND, expected=lambda _: expected)
    again = described(metadata, place)
    if (again.task, again.architecture, again.classes, again.preprocess, again.calibration) != (
        description.task, description.architecture, description.classes, description.preprocess,
        description.calibration,
    ):  # fmt: skip
        raise BadModel(f"{shown(place)} changed while it was read; try again.")
    arrays = {name: tensors.pop(name).numpy() for name in besides}
    network.load_state_dict(tensors, strict=True, assign=True)
    return arrays


def write_model(
    path: Path,
    network: nn.Module,
    task: Task,
    architecture: Architecture,
    preprocess: Preprocess,
    calibration: Calibration,
    trained: Mapping[str, Any],
) -> None:
    """One `.safetensors` file, written durably. Raises: NoSpace, NotWritable; BadModel for what is not read again."""
    import torch

    state: dict[str, Tensor] = {k: v.detach().to("cpu").contiguous() for k, v in network.state_dict().items()}
    state |= {name: torch.from_numpy(array) for name, array in calibration.tensors().items()}
    facts = {
        "task": task.word,
        "network": _network_facts(architecture),
        "classes": list(task.classes),
        "preprocess": preprocess.as_dict(),
        **calibration.facts(),
        "trained": dict(trained),
    }
    _checked(_Facts, facts, path)  # rather than a file that nobody can read
    write_tensors(path, state, facts, KIND)


def read_darknet(path: Path) -> tuple[Description, nn.Module]:
    """The detector of a Darknet cfg, its weights and its names, which lie beside it.

    NAME.cfg and NAME.weights belong together; the classes are those of NAME.names, or of the one .names file there that
    has as many lines as the cfg has classes, or numbers. Pictures are letterboxed.

    Args:   path, of the cfg or of the weights.
    Raises: Missing or BadModel with the file that is not there or does not fit.
    """
    from foveal.tasks.heads.darknet import load_darknet

    cfg, weights = darknet_files(path)
    network = load_darknet(cfg, weights)
    if not network.priors:
        raise BadModel(
            f"{shown(cfg)} has no [yolo] section, so it finds no boxes; only detectors can be loaded this way."
        )
    text = read_bytes(cfg, limit=LARGEST_CFG, what="Darknet cfg", error=BadModel).decode("utf-8-sig", errors="replace")
    mean, std = (0.0,) * network.channels, (1.0,) * network.channels
    preprocess = Preprocess(
        network.height, network.width, network.channels, mean, std, interpolation="bilinear", whole=True
    )
    classes = _names(cfg, network.priors[0].classes)
    trained = {"source": path.name, "recipe": ""}
    plain = Detect.facts(threshold=0.25)
    return Description(Detect, Architecture("darknet", cfg=text), classes, preprocess, plain, trained), network


def _checked(kind: type[Checked], metadata: Mapping[str, Any], path: Path) -> Checked:
    facts = {key: metadata.get(key) for key in kind.model_fields}
    try:
        return kind.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        what = f" {UNKNOWN}" if first["type"] == "extra_forbidden" else f": {shown(first['msg'])}"
        raise BadModel(f'{shown(path)}: metadata "{shown(where)}"{what}.') from None


def _architecture(facts: _NetworkFacts) -> Architecture:
    anchors = tuple((width, height) for width, height in facts.anchors)
    return Architecture(facts.detector, facts.name, facts.options, facts.width, anchors, facts.frozen_norms, facts.cfg)


def _network_facts(built: Architecture) -> dict[str, Any]:
    """As files have it: a classifier's network is a name and its options."""
    plain: dict[str, Any] = {"name": built.trunk, "options": dict(built.options)}
    if not built.kind:
        return plain
    return plain | {
        "detector": built.kind, "width": built.width, "anchors": [list(anchor) for anchor in built.anchors],
        "frozen_norms": built.frozen_norms, "cfg": built.cfg, **({"own": dict(built.own)} if built.own else {}),
    }  # fmt: skip


def _preprocess(written: Mapping[str, Any], path: Path) -> Preprocess:
    if unknown := sorted(written.keys() - Preprocess.__dataclass_fields__.keys()):
        raise BadModel(f'{shown(path)}: metadata "preprocess.{shown(unknown[0][:NAME_SHOWN])}" {UNKNOWN}.')
    try:
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in written.items()}
        return Preprocess(**values)  # type: ignore[arg-type]  # checked at its birth
    except (TypeError, ValueError) as error:
        raise BadModel(f"{shown(path)}: metadata preprocess: {shown(str(error))}.") from None


def _check_features(shape: tuple[int, ...], network: nn.Module, description: Description, path: Path) -> None:
    """Raises: BadModel where (B, D) features are not those that enter the network's classifier."""
    from foveal.networks.head import classifier_path

    try:
        layer = network.get_submodule(classifier_path(network, description.architecture.trunk))
    except BadRecipe:
        layer = None
    entering = getattr(layer, "in_features", getattr(layer, "in_channels", None))
    if entering != shape[1]:
        raise BadModel(f"{shown(path)}: metadata tells of {shape[1]} features, but {entering} enter the classifier.")


def _torch_type(kind: type[np.generic]) -> torch.dtype:
    import torch

    return torch.from_numpy(np.zeros(0, kind)).dtype


def _names(cfg: Path, count: int) -> tuple[str, ...]:
    """Raises: BadModel when the file of the same name has another number of lines."""
    own = cfg.with_suffix(".names")
    if own.exists():
        names = _lines(own)
        if len(names) != count:
            raise BadModel(f"{shown(own)} has {len(names)} names, and {shown(cfg.name)} tells {count} classes.")
        return names
    others = [names for file in sorted(cfg.parent.glob("*.names")) if len(names := _lines(file)) == count]
    return others[0] if len(others) == 1 else tuple(f"class {number}" for number in range(count))


def _lines(path: Path) -> tuple[str, ...]:
    """Names of a file, a line each; those written twice get their number."""
    text = read_bytes(path, limit=LARGEST_NAMES, what="list of names", error=BadModel).decode("utf-8-sig", "replace")
    return _each_once([line.strip() for line in text.splitlines() if line.strip()])


def _each_once(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name if name not in names[:i] else f"{name} ({i})" for i, name in enumerate(names))
