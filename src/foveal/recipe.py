"""Every setting of a run: one frozen, validated value. Defaults stand here and nowhere else.

A recipe is written as `recipe.toml` beside the result; `foveal train --recipe FILE` repeats it. Where a value is
"auto", the planner chooses it from the data, the network and the machine, and the recipe that the run saves holds what
was chosen. Command-line flags are short names for these keys; `--set training.learning_rate=0.1` reaches all of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from foveal.errors import BadRecipe, did_you_mean, shown

__all__ = [
    "AUTO",
    "IMAGENET",
    "SCRATCH",
    "AugmentRecipe",
    "DataRecipe",
    "NetworkRecipe",
    "Recipe",
    "TrainingRecipe",
    "parse_size",
    "parse_train",
    "parse_weights",
    "read_recipe",
]

Auto = Literal["auto"]
Count = Annotated[int, Field(ge=1, le=10**9, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]

AUTO, SCRATCH, IMAGENET = "auto", "scratch", "imagenet"  # words of network.weights; others name a file
TRAINED = ("auto", "head", "better", "all", SCRATCH)  # and last:K
SHOWN = 80  # letters of what was typed that an error repeats
RECIPE_MAX_BYTES = 1 << 20  # a recipe is a page of text; more is an accident or an attack


def parse_size(text: str) -> tuple[int, int]:
    """ "224" -> (224, 224) and "192x256" -> (192, 256): height before width, in pixels."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) not in (1, 2) or not all(p.isascii() and p.isdigit() and 1 <= int(p) <= 8192 for p in parts):
        raise ValueError(f"must be a side or HxW in pixels, such as 224 or 192x256, is {_short(text)}")
    height, width = int(parts[0]), int(parts[-1])
    return height, width


def _size(value: str) -> str:
    if value != "auto":
        parse_size(value)
    return value


def parse_weights(text: str) -> tuple[str, str]:
    """ "imagenet" -> ("imagenet", ""), and "a.pth@sha256:1f2e…" -> ("a.pth", "1f2e…"): that very file and no other."""
    source, at, checksum = text.partition("@sha256:")
    if not source or (at and not re.fullmatch("[0-9a-f]{8,64}", checksum)):
        raise ValueError(f"must be auto, scratch, imagenet or a file, @sha256:… behind it in hex, is {_short(text)}")
    return source, checksum


def parse_train(text: str) -> tuple[str, int]:
    """ "head" -> ("head", 0), "last:2" -> ("last", 2): how much of a network that starts from weights is trained."""
    word, colon, count = text.partition(":")
    if word == "last" and colon and count.isascii() and count.isdigit() and 1 <= int(count) <= 100:
        return word, int(count)
    if colon or word not in TRAINED:
        raise ValueError(f"must be one of {', '.join(TRAINED)} or last:K (K stages of the trunk), is {_short(text)}")
    return word, 0


def _train(value: str) -> str:
    parse_train(value)
    return value


def _weights(value: str) -> str:
    parse_weights(value)
    return value


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class DataRecipe(_Section):
    """Which pictures, how they are split, and how they are kept."""

    source: str = ""  # folder, file or name, as typed
    split: str = ""  # CSV of path and split; overrules the source's own
    test_if: str = ""  # regular expression on the path: these pictures are test
    exclude: str = ""  # CSV of paths to leave out
    group_by: str = "auto"  # column of the CSV source, or regular expression on the path: what no split parts; "": none
    held_out: Literal["test", "val"] = "test"  # what the source's val is where it has no test
    unlabelled: Literal["leave-out", "background"] = "leave-out"  # with boxes: pictures without annotation
    box_origin: Literal["auto", "0", "1"] = "auto"  # with boxes: what their source calls its first pixel
    white: Annotated[float, Field(gt=0, le=1e30, allow_inf_nan=False)] | Literal["auto", "by type"] = "auto"
    labels: Literal["auto", "one", "several"] = "auto"  # that a picture may have, where a table says what it shows
    label_separator: Annotated[str, Field(min_length=1, max_length=8)] = "auto"  # between labels in a cell; or "none"
    contradictions: Literal["leave-out", "refuse"] = "leave-out"  # equal pictures under two labels
    size: Annotated[str, AfterValidator(_size)] = "auto"  # "224" or "192x256", pixels
    store: Literal["auto", "pixels", "jpeg", "none"] = "auto"
    max_megapixels: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] = 100.0


class NetworkRecipe(_Section):
    """Which network, and the options that every network of the zoo has."""

    name: str = "auto"
    weights: Annotated[str, AfterValidator(_weights)] = AUTO  # SCRATCH, IMAGENET, or a file; what is started from
    train: Annotated[str, AfterValidator(_train)] = "auto"  # head, last:K, all, better, scratch: what learns
    norms: Literal["auto", "keep", "learn"] = "auto"  # with weights: what batch norms know of the pictures before
    head_decay: Positive | Auto = "auto"  # penalty of a head on frozen features; auto: by cross-validation
    detector: str = "yolo"  # what stands on the trunk where there are boxes: a name of tasks/heads
    anchors: Literal["auto", "own", "paper"] = "auto"  # of yolov3; own: k-means of the training boxes
    dropout: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | Auto = "auto"
    batch_norm: Annotated[bool, Field(strict=True)] | Auto = "auto"


class TrainingRecipe(_Section):
    """How the weights are found."""

    task: str = "auto"  # a name of tasks/registry.py; auto: boxes are detected, labels classified
    epochs: Annotated[int, Field(ge=1, le=100_000, strict=True)] | Auto = "auto"
    minutes: NotNegative = 0.0  # 0: no plan by time
    batch_size: Annotated[int, Field(ge=1, le=65_536, strict=True)] | Auto = "auto"
    optimizer: Literal["auto", "sgd", "adamw", "muon"] = "auto"
    learning_rate: Positive | Auto = "auto"  # the peak
    momentum: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | Auto = "auto"
    weight_decay: NotNegative | Auto = "auto"
    schedule: Literal["auto", "one-cycle", "cosine", "linear", "constant"] = "auto"
    warmup: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | Auto = "auto"  # share of all steps
    loss: Literal["auto", "cross-entropy", "asymmetric"] = "auto"  # of several labels a picture
    label_smoothing: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | Auto = "auto"
    ema: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | Auto = "auto"  # decay a step; 0: off
    blend: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | Auto = "auto"  # of the starting weights, kept
    soup: Annotated[int, Field(ge=1, le=20, strict=True)] | Auto = "auto"  # trainings from weights that are averaged
    clip: NotNegative | Auto = "auto"  # largest norm of all gradients; 0: off
    accuracy: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0  # that answers should have; 0: answer all
    precision: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0  # of each of several labels; 0: best F1
    early_stopping: Annotated[int, Field(ge=0, le=100_000, strict=True)] = 0  # epochs without a better loss; 0: off
    class_weights: Literal["auto", "none", "balanced"] = "auto"
    on_nan: Literal["stop", "skip"] = "stop"
    seed: Annotated[int, Field(ge=0, lt=2**63, strict=True)] = 0
    arithmetic: Literal["auto", "fp32", "fp32 channels-last", "bf16", "bf16 channels-last"] = "auto"
    optimizer_arithmetic: Literal["auto", "fp32", "bf16"] = "auto"  # of Muon's own products
    threads: Annotated[int, Field(ge=1, le=1024, strict=True)] | Auto = "auto"  # that compute
    device: str = "auto"


class AugmentRecipe(_Section):
    """What is drawn anew for each picture in each epoch. Lengths are shares of the picture's side."""

    preset: Literal["auto", "off", "mild", "strong"] = "auto"
    flip: Literal["auto", "none", "horizontal", "vertical", "both"] = "auto"
    crop: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | Auto = "auto"  # smallest share of the area kept
    zoom: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | Auto = "auto"  # 0.1: between 0.9 and 1.1 times
    translate: Share | Auto = "auto"
    rotate: Annotated[float, Field(ge=0, le=180, allow_inf_nan=False)] | Auto = "auto"  # degrees either way
    shear: Annotated[float, Field(ge=0, lt=60, allow_inf_nan=False)] | Auto = "auto"  # degrees either way
    pad_crop: Annotated[int, Field(ge=0, le=1024, strict=True)] | Auto = "auto"  # pixels padded, then cropped back
    color: Share | Auto = "auto"  # strength of brightness, contrast and saturation
    cutout: Share | Auto = "auto"  # side of the square that is hidden
    mixup: NotNegative | Auto = "auto"  # alpha of the Beta distribution; 0: off
    cutmix: NotNegative | Auto = "auto"
    mosaic: Share | Auto = "auto"  # of the pictures that become one of four; boxes only


class Recipe(_Section):
    """Every setting of a run.

    >>> recipe = foveal.Recipe().with_settings({"training.epochs": 3, "augment.flip": "none"})
    >>> recipe.training.epochs, recipe.training.optimizer
    (3, 'auto')
    """

    data: DataRecipe = DataRecipe()
    network: NetworkRecipe = NetworkRecipe()
    training: TrainingRecipe = TrainingRecipe()
    augment: AugmentRecipe = AugmentRecipe()

    def with_settings(self, settings: Mapping[str, Any], where: str = "--set") -> Recipe:
        """The recipe with some keys changed: `{"training.epochs": 3}`.

        Raises: BadRecipe that names the key and the nearest one that exists.

        >>> Recipe().with_settings({"data.size": "64"}).data.size
        '64'
        """
        tree = self.model_dump()
        for key, value in settings.items():
            section, _, name = key.partition(".")
            if section not in tree:
                flat = [f"{s}.{k}" for s, keys in tree.items() for k in keys]
                raise BadRecipe(f'{where}: unknown key "{_short(key)}"{did_you_mean(key[:SHOWN], flat + list(tree))}')
            if name not in tree[section]:
                near = (
                    did_you_mean(name[:SHOWN], tree[section]) or f" (keys of [{section}]: {', '.join(tree[section])})"
                )
                raise BadRecipe(f'{where}: unknown key "{_short(key)}"{near}')
            tree[section][name] = value
        return _validated(tree, where)

    @property
    def from_weights(self) -> bool:
        """Whether the network starts from weights rather than from chance; not while that is still open.

        >>> Recipe().with_settings({"network.weights": "imagenet"}).from_weights
        True
        """
        return parse_weights(self.network.weights)[0] not in (AUTO, SCRATCH) and self.network.train != SCRATCH

    def to_toml(self) -> str:
        """The recipe as TOML, every key written out.

        >>> Recipe().to_toml().splitlines()[0]
        '[data]'
        """
        lines: list[str] = []
        for section, keys in self.model_dump().items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {_toml(value)}" for key, value in keys.items()]
            lines.append("")
        return "\n".join(lines)


def read_recipe(path: Path) -> Recipe:
    """A recipe from a TOML file; keys that it lacks keep their defaults.

    Raises: BadRecipe with the file, the key and, where it is known, the line.
    """
    from foveal.files.safely import read_bytes

    raw = read_bytes(path, limit=RECIPE_MAX_BYTES, what="recipe", error=BadRecipe)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRecipe(f"{shown(path)} is not UTF-8 (byte {error.start}); save it as UTF-8 text.") from None
    return parse_recipe(text, shown(path))


def parse_recipe(text: str, where: str = "recipe") -> Recipe:
    """A recipe from TOML text."""
    from foveal.files.plain_toml import BadToml, parse_toml

    try:
        tree = parse_toml(text)
    except BadToml as error:
        raise BadRecipe(f"{where}{error}.") from None
    sections = Recipe.model_fields
    settings: dict[str, Any] = {}
    for section, keys in tree.items():
        line = _line_of(text, section)
        if section not in sections or not isinstance(keys, dict):
            raise BadRecipe(
                f'{where}{line}: unknown section "{_short(section)}"{did_you_mean(section[:SHOWN], sections)}'
                f" (sections: {', '.join(sections)})"
            )
        known = sections[section].annotation.model_fields  # type: ignore[union-attr]
        for key, value in keys.items():
            if key not in known:
                raise BadRecipe(
                    f'{where}{_line_of(text, key)}: unknown key "{_short(key)}"{did_you_mean(key[:SHOWN], known)}'
                )
            settings[f"{section}.{key}"] = value
    return Recipe().with_settings(_as_it_was(settings) | settings, where)


def _as_it_was(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What keys meant before they existed, for a recipe that a run of an earlier version saved.

    Such a recipe names the arithmetic and the threads that were measured. Before 0.2, Muon multiplied in bf16
    whatever the processor, pictures of more than 8 bits were scaled by their type, a val without a test was for
    validation (the test came out of train), and batch norms always took the statistics of the new pictures.
    """
    saved = settings.get("training.arithmetic", "auto") != "auto" and isinstance(settings.get("training.threads"), int)
    if not saved:
        return {}
    muon = {"training.optimizer_arithmetic": "bf16"} if settings.get("training.optimizer") == "muon" else {}
    started = {"network.norms": "learn"} if settings.get("network.weights", SCRATCH) != SCRATCH else {}
    return {"data.white": "by type", "data.held_out": "val", "network.weights": SCRATCH} | started | muon


def parse_setting(text: str) -> tuple[str, Any]:
    """`training.learning_rate=0.1` -> the key and its TOML value; a word that is no TOML value is a text."""
    key, equals, raw = text.partition("=")
    if not equals or "." not in key:
        raise BadRecipe(f'--set takes section.key=value, such as training.learning_rate=0.1; got "{_short(text)}"')
    from foveal.files.plain_toml import BadToml, parse_toml

    try:
        tree = parse_toml(f"value = {raw}")
    except BadToml:
        tree = {}
    return key.strip(), tree["value"] if len(tree) == 1 else raw.strip()  # a line of its own would be another key


def _validated(tree: Mapping[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise BadRecipe(_sentence(error, where)) from None


def _sentence(error: ValidationError, where: str) -> str:
    """One sentence for the first thing that pydantic found; what the branches of a union want is gathered."""
    first = error.errors()[0]
    same = [e for e in error.errors() if e["loc"][:2] == first["loc"][:2]]
    key = ".".join(str(part) for part in first["loc"][:2])
    wanted = " or ".join(dict.fromkeys(_wanted(e) for e in same))
    value = first["input"]
    if not isinstance(value, str):
        return f"{where}: {key} must be {wanted}, is {shown(str(value)[:60])}"
    words = [word for e in same for word in _words(e)]
    return f'{where}: {key} must be {wanted}, is "{shown(value[:60])}"{did_you_mean(value[:60], words)}'


def _words(error: Any) -> list[str]:
    """The texts that a key may be."""
    return re.findall(r"'([^']*)'", error["ctx"]["expected"]) if error["type"] == "literal_error" else []


_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "finite_number": "finite",
}
_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def _wanted(error: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in _TYPES:
        return _TYPES[kind]
    if kind == "literal_error":
        words = _words(error)
        return f'"{words[0]}"' if len(words) == 1 else "one of " + ", ".join(words)
    for bound, word in _BOUNDS.items():
        if bound in context:
            return f"{word} {context[bound]:g}"
    if kind == "value_error":
        return str(context["error"]).split(", is ")[0].removeprefix("must be ")
    return str(error["msg"])


def _short(word: str) -> str:
    """What was typed, as far as one reads it."""
    return shown(word if len(word) <= SHOWN else word[:SHOWN] + "…")


def _line_of(text: str, word: str) -> str:
    for number, line in enumerate(text.splitlines(), 1):
        if word in line.split("#")[0]:
            return f" (line {number})"
    return ""


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'
    if isinstance(value, float):
        assert math.isfinite(value)
        return repr(value)
    if isinstance(value, Sequence):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    return str(value)
