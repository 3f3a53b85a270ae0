"""`foveal train --show-loop`: a training on one page, to read and to run. Running it gives the same weights.

The loop and the optimiser are foveal's own source, reduced to what runs with the recipe's values. What stands before
them is what `set_up` and `Setup.begun` do in this training, and what was found there by looking at the pictures (the
network's classes, mean and deviation, prior boxes, a head's penalty) stands as its value.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from typing import Any

from foveal.data.on_device import DeviceBatches
from foveal.data.sources import open_dataset
from foveal.networks.catalogue import find
from foveal.networks.head import has_bias
from foveal.recipe import Recipe, parse_size, parse_train
from foveal.tasks.registry import reading_for
from foveal.training import loop, optimisers, parts
from foveal.training.features import ARITHMETIC
from foveal.training.reduced import as_literal, reduced
from foveal.training.setup import SIGHT_OF, TRUNK_RATE, Setup
from foveal.training.started import NORMS
from foveal.training.unfreezing import trunk_of

__all__ = ["as_script"]

WIDTH = 120  # columns

_PARTS = re.compile("[^@]{1,80}|@[^@]{0,80}")  # of a text too long for a line: a file, and its checksum

_TITLE = '''"""`foveal train {source}` on one page: running it gives the same weights, to the bit.
The loop is foveal's own (foveal/training/loop.py) with the recipe's values in it. Change what you like."""
'''

_OTHERS = (  # in the order of the page
    {"deepcopy": "from copy import deepcopy", "Path": "from pathlib import Path"},
    {"np": "import numpy as np", "torch": "import torch"},
)


def as_script(setup: Setup) -> str:
    """The training of a set-up as Python. It must have a loop, a network of the catalogue and a source with a name."""
    blocks = [_settings(setup), _data(setup), _network(setup), _learning(setup), _loop(setup)]
    body = "\n".join(line for block in blocks for line in (*block, "")).rstrip()
    imports = "\n".join(_imports(body, type(setup.task)))
    name = re.sub(r'["\\\n]', "", setup.recipe.data.source)
    return f"{_TITLE.format(source=name[-40:])}\n{imports}\n\n{body}\n"


def _settings(setup: Setup) -> Iterator[str]:
    """What differs from the defaults."""
    usual, settings = Recipe(), list[str]()
    for section, keys in setup.recipe:
        before = getattr(usual, section)
        changed = [(key, value) for key, value in keys if value != getattr(before, key)]
        if pieces := [piece for key, value in changed for piece in _pieces(value, f"{key}=")]:
            start = "\n" if section in ("training", "augment") else ""
            settings += _nested(f"{start}{section}=dict", pieces)
    yield from _call("recipe = Recipe", settings)
    yield f"torch.set_num_threads({setup.recipe.training.threads})"


def _data(setup: Setup) -> Iterator[str]:
    usual = inspect.signature(open_dataset).parameters
    reading = [(key, value) for key, value in reading_for(setup.recipe).items() if value != usual[key].default]
    pieces = [piece for key, value in reading for piece in _pieces(value, f"{key}=")]
    opened = _nested("open_dataset", [*_pieces(setup.recipe.data.source), *pieces])
    yield from _call(f"dataset = {type(setup.task).__name__}.takes", [*opened, "recipe,"])
    yield from _call("preprocess = Preprocess", _arguments(setup.preprocess))
    kind = setup.recipe.data.store
    kept = "" if kind == "auto" else f", {as_literal(kind)}"
    yield f"store = open_store(dataset, preprocess{kept})  # their pixels, (N, H, W, C) uint8"
    if setup.store.broken:
        sound = "np.setdiff1d(dataset.indices(split), [index for index, _ in store.broken])"
        yield f'train, val = ({sound} for split in ("train", "val"))'
    else:
        yield 'train, val = dataset.indices("train"), dataset.indices("val")'


def _network(setup: Setup) -> Iterator[str]:
    """The network, its weights, what it has to see or learn before the first step, and its task."""
    recipe, built, K = setup.recipe, setup.architecture, len(setup.dataset.classes)
    size = parse_size(recipe.data.size)
    shape = [f"{K},", f"{setup.preprocess.channels},", f"{as_literal(size)},"]
    yield f"torch.manual_seed({recipe.training.seed})  # of the first weights"
    if built.kind:
        yield from _call("architecture = Architecture", _arguments(built))
        yield f"network = head_of({as_literal(built.kind)}).build(architecture, {' '.join(shape)[:-1]})"
    else:
        options = _pieces(built.options) if built.options else []
        yield from _call("network = build", [*_pieces(built.trunk), *shape, *options])
    if setup.start:
        carrier = "network" if trunk_of(setup.network) is None else "network.trunk.network"
        yield f"start = initial_weights({carrier}, recipe)"
    elif setup.task.linear and find(recipe.network.name).prepare:
        yield f"sight = torch.from_numpy(store.rows(train[evenly(len(train), {SIGHT_OF})]))"
        yield f"find({as_literal(built.trunk)}).prepare(network, preprocess.tensor(sight))"
    task = type(setup.task).__name__
    yield f"task = {task}.of(dataset, train, recipe, network, {as_literal(size)})  # what outputs mean"
    if setup.transfer:
        yield from _head(setup)
    yield "batches = task.batches(store, dataset, train, recipe, preprocess, 0)  # drawn anew in each epoch"
    if isinstance(setup.batches, DeviceBatches):
        yield f"batches = DeviceBatches.upload(batches, {as_literal(setup.arithmetic.device)})"


def _head(setup: Setup) -> Iterator[str]:
    """The head that is fitted on frozen features, with the penalty that was chosen."""
    transfer, K, device = setup.transfer, len(setup.dataset.classes), setup.arithmetic.device
    assert transfer is not None
    path = as_literal(transfer.path)
    on = "" if device == "cpu" else f", {as_literal(device)}"
    yield "pictures = np.union1d(train, val)  # whose features are computed; the head learns from those of train"
    trunk = ["network,", f"{path},", "preprocess,", "store,", "dataset.digests,",
             f"Arithmetic({as_literal(ARITHMETIC)}{on}),", "recipe.augment,"]  # fmt: skip
    yield from _call("trunk = Trunk", trunk)
    yield f"features = trunk.views(pictures, {transfer.views})[:, np.isin(pictures, train)]"
    balanced = setup.recipe.training.class_weights == "balanced"
    weights = f"balancing(task.truth(dataset, train), {K})" if balanced else "None"
    bias = has_bias(setup.network, transfer.path)
    head = f"fitted_head(features, task.truth(dataset, train), {K}, {transfer.chosen.decay}, {weights}, {bias}),"
    scale = [] if transfer.scale == 1 else [f"{transfer.scale},"]
    yield from _call("put_head", ["network,", f"{path},", head, *scale])


def _learning(setup: Setup) -> Iterator[str]:
    """What learns and how fast: as `Setup.begun`."""
    recipe, t, way = setup.recipe, setup.recipe.training, setup.arithmetic
    yield from _call("arithmetic = Arithmetic", _arguments(way))
    if setup.transfer or (way.name, way.device) != ("fp32", "cpu"):
        yield "network = arithmetic.network(network)"
    frozen = []
    if setup.start and parse_train(recipe.network.train)[0] in ("last", "head"):
        frozen.append(f"freeze(network, recipe.network.name, {as_literal(recipe.network.train)})")
    if recipe.network.norms == "keep" and any(isinstance(module, NORMS) for module in setup.network.modules()):
        frozen.append("norms_in(network)")
    if frozen:
        yield f"frozen = {' + '.join(frozen)}"
    known = {"rate": float(t.learning_rate), "decay": float(t.weight_decay), "momentum": float(t.momentum)}
    known |= {f"recipe.{key}": value for key, value in t}
    yield from reduced(optimisers.make_optimizer, known, result="optimizer").splitlines()
    if setup.transfer:
        yield f"slow_down(optimizer, rates(network, recipe.network.name, {as_literal(setup.transfer.path)}))"
    elif setup.start and trunk_of(setup.network) is not None:
        yield f"slow_down(optimizer, {{id(parameter): {TRUNK_RATE} for parameter in network.trunk.parameters()}})"
    averaged = [f"averaged=Averaged(network, {t.ema}),"] if t.ema else []
    origin = [f"origin=Origin(network, {t.blend}),"] if t.blend else []
    kept = ["frozen=frozen,"] if frozen else []
    yield from _call("state = TrainState", ["network,", "optimizer,", *averaged, *origin, *kept])
    built = ["architecture,"] if setup.architecture.kind else _nested("Architecture", _arguments(setup.architecture))
    yield from _call("setup = Setup", [
        "dataset,", "store,", '{"train": train, "val": val},', "preprocess,", "recipe,", *built, "network,",
        "batches,", "task,", "arithmetic,", "given(arithmetic.name),", *(["start,"] if setup.start else []),
    ])  # fmt: skip


def _loop(setup: Setup) -> Iterator[str]:
    """The loop, a line an epoch, and the model."""
    way, held_out = setup.arithmetic, len(setup.splits["val"])
    early = setup.plan.early_stopping if held_out else 0  # validation is what it goes by
    known = {f"plan.{key}": value for key, value in vars(setup.plan).items()} | {"plan.early_stopping": early}
    known |= {"state.epoch": 0, "state.step": 0}  # as each epoch begins that was not stopped in its middle
    without = {"watch"}
    if way.format == "fp32":
        without.add("arithmetic.autocast")
    if way.device == "cpu":
        without.add("to(arithmetic.device)")
    there = ("plan", "batches", "task", "preprocess", "arithmetic", "network", "optimizer")
    true = {"state.averaged": bool(setup.recipe.training.ema)}
    if early:
        yield "best = state"
    yield from reduced(loop.train_epochs, known, true=true, there=there, without=without).splitlines()
    if early:
        yield "    best = deepcopy(state) if state.best_epoch == state.epoch else best  # what is used in the end"
    told = ", validation {val_loss:.4f}" if held_out else ""
    yield f'    print(f"epoch {{state.epoch}}: loss {{state.history[-1].train_loss:.4f}}{told}")'
    yield f'calibrated(setup, {"best" if early else "state"}).save(Path("model.safetensors"))'


def _imports(body: str, task: type) -> Iterator[str]:
    """Of the names that some code uses."""
    used = {node.id for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Name)}
    for floor in _OTHERS:
        lines = [line for name, line in floor.items() if name in used]
        yield from (*lines, *([""] if lines else []))
    yield f"from {task.__module__} import {task.__name__}"
    yield from _call("from foveal.training.parts import ", [f"{name}," for name in parts.__all__ if name in used])


def _arguments(value: Any) -> list[str]:
    """Of a dataclass, those that are not what they are by default; by position as far as no other lies between."""
    out: list[str] = []
    named = False
    for one in fields(value):
        own = getattr(value, one.name)
        usual = one.default if one.default_factory is MISSING else one.default_factory()
        if own == usual:
            named = True
        else:
            out += _pieces(own, f"{one.name}=" if named else "")
    return out


def _pieces(value: Any, start: str = "") -> list[str]:
    """An argument with its comma, in pieces between which a line may end."""
    if isinstance(value, str) and len(value) > 80:
        parts = [as_literal(part) for part in _PARTS.findall(value)]
    elif isinstance(value, tuple) and len(value) > 1 and isinstance(value[0], tuple):
        parts = [f"{as_literal(one)}," for one in value]
        parts[0], parts[-1] = f"({parts[0]}", f"{parts[-1][:-1]})"
    else:
        parts = [as_literal(value)]
    return [start + parts[0], *parts[1:-1], parts[-1] + ","] if len(parts) > 1 else [f"{start}{parts[0]},"]


def _nested(callee: str, pieces: Sequence[str]) -> list[str]:
    """A call as an argument."""
    first, *others = pieces
    own = [f"{callee}({first}", *others]
    return [*own[:-1], own[-1].removesuffix(",") + "),"]


def _call(callee: str, pieces: Sequence[str]) -> list[str]:
    """A call, or an import, in as few lines as it needs.

    Args: pieces, arguments as of `_pieces`; where one begins with a line break, so does a line.
    """
    lines = [f"{callee}("]
    for piece in pieces:
        space = "" if lines[-1][-1] == "(" else " "
        if piece[0] == "\n" or len(lines[-1]) + len(space) + len(piece) > WIDTH:
            lines.append(f"    {piece.lstrip()}")
        else:
            lines[-1] += space + piece
    lines[-1] = lines[-1].removesuffix(",") + ")"
    return lines
