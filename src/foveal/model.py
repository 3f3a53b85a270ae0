"""`Model`: what a user carries away. Network, preprocessing, classes and calibration in one file without code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from foveal.detector import Detector
from foveal.detector_files import DetectorFacts, load_detector, read_darknet
from foveal.errors import BadModel, BadPicture, BadRecipe, FovealError, shown
from foveal.files.given import Picture, named_pictures
from foveal.files.model_file import DETECTION, KIND, model_file
from foveal.files.pictures import Encoded
from foveal.files.tensors import read_metadata, read_tensors, write_tensors
from foveal.networks.catalogue import build, find
from foveal.networks.head import CUSTOM, Taken, classifier_path, taking_features
from foveal.preprocess import VIEWS, Preprocess, Views
from foveal.progress import SILENT, Progress
from foveal.tasks.classification import Answer, Classification
from foveal.tasks.trust import BANK, Trust, TrustFacts

__all__ = [
    "CUSTOM", "VIEWS", "Model", "Outputs", "Prediction", "Views", "load", "prepared_for", "viewed", "without_trust",
]  # fmt: skip

Checked = TypeVar("Checked", "_Facts", DetectorFacts)
_BATCH_PIXELS = 3_000_000  # of input in one forward pass: bounds the memory of feature maps


@dataclass(frozen=True)
class Prediction:
    """What became of one picture: an answer, or the reason why there is none."""

    name: str
    answer: Answer | None
    reason: str = ""
    passed: bool = False  # the answer is less sure than the wished accuracy asks for: better not to rely on it
    unlike: bool = False  # the picture is unlike those of the training: nothing is known about such answers


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a network makes of N pictures."""

    logits: Tensor  # (N, K) float32 on the CPU
    features: Tensor | None = None  # (N, D) float32: what entered the classifier, of the picture as it is

    @classmethod
    def joined(cls, parts: Sequence[Outputs], K: int) -> Outputs:
        """Of several batches."""
        if not parts:
            return cls(torch.zeros(0, K))
        features = [part.features for part in parts if part.features is not None]
        return cls(torch.cat([part.logits for part in parts]), torch.cat(features) if features else None)


class _NetworkFacts(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: Annotated[str, Field(max_length=10_000)]  # a notation is its own name
    options: dict[str, float | bool]


class _Facts(BaseModel):
    """What a model file says of itself, checked before any of it is used."""

    model_config = ConfigDict(extra="forbid", strict=True)
    task: Literal["classification"]
    network: _NetworkFacts
    classes: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(min_length=1, max_length=100_000)
    ]
    preprocess: dict[str, Any]
    temperature: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
    trained: dict[str, Any]
    trust: TrustFacts | None  # not in older files


@dataclass(frozen=True, eq=False)
class Model:
    """A trained classifier."""

    network: nn.Module  # in eval mode, float32
    preprocess: Preprocess
    classes: tuple[str, ...]
    network_name: str
    options: Mapping[str, Any] = field(default_factory=dict)  # of the network's builder
    temperature: float = 1.0  # fitted on validation, or out of fold
    trained: Mapping[str, Any] = field(default_factory=dict)  # how it came to be, for people
    trust: Trust | None = None  # how far its answers carry; None where no picture was kept aside to tell

    def __post_init__(self) -> None:
        """Channels last in memory, as `Preprocess.tensor` gives pictures: a forward pass is twice as fast so."""
        self.network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def task(self) -> Classification:
        return Classification(self.classes)

    def logits(self, pixels: Tensor, views: Views = "none") -> Tensor:
        """(N, H, W, C) uint8 as `preprocess` made them -> (N, K) float32 on the CPU."""
        return self._through(pixels, views, None).logits

    def plain_outputs(self, pixels: Tensor, views: Views = "none") -> Outputs:
        """As `logits`, without features."""
        return self._through(pixels, views, None)

    def outputs(self, pixels: Tensor, views: Views = "none") -> Outputs:
        """As `logits`, with the features that tell what is unlike the training.

        Raises: BadRecipe for a network without a linear classifier, whose features nothing enters.
        """
        with taking_features(self.network, classifier_path(self.network, self.network_name)) as taken:
            return self._through(pixels, views, taken)

    def _through(self, pixels: Tensor, views: Views, taken: Taken | None) -> Outputs:
        device = next(self.network.parameters()).device
        step = max(1, _BATCH_PIXELS // (pixels.shape[1] * pixels.shape[2]))
        parts = []
        with torch.inference_mode():
            for part in torch.split(pixels, step) if len(pixels) else ():
                images, features, weighted = self.preprocess.tensor(part.to(device)), None, []
                for weight, view in viewed(images, views):
                    weighted.append(weight * self.network(view).float())
                    if taken and features is None:
                        features = taken.take().cpu()
                parts.append(Outputs(torch.stack(weighted).sum(0).cpu(), features))
        return Outputs.joined(parts, len(self.classes))

    def predict(
        self,
        pictures: Picture | Iterable[Picture],
        *,
        top: int = 5,
        views: Views = "none",
        accuracy: float | None = None,
        progress: Progress = SILENT,
    ) -> list[Prediction]:
        """Answers for paths (a folder stands for all pictures below it), file contents, uint8 arrays or PIL pictures.

        A picture that cannot be read gets a reason and no answer; the rest goes on.
        Args:   accuracy, the share of right answers that is wished for: less sure ones are marked as passed; by default
                what the model was trained for.
        Raises: Missing for a path that is not there; BadRecipe for an accuracy that the model knows nothing about.
        """
        return list(self.stream(pictures, top=top, views=views, accuracy=accuracy, progress=progress))

    def stream(
        self,
        pictures: Picture | Iterable[Picture],
        *,
        top: int = 5,
        views: Views = "none",
        accuracy: float | None = None,
        progress: Progress = SILENT,
    ) -> Iterator[Prediction]:
        """As `predict`, one after another: memory is bounded by the batch, not by the number of pictures."""
        trust = self.trust_for(accuracy)
        named = list(named_pictures(pictures))
        height, width = self.preprocess.height, self.preprocess.width
        step = max(1, min(256, _BATCH_PIXELS // (height * width)))
        with progress.task("predicting", len(named)) as advance:
            for start in range(0, len(named), step):
                part = named[start : start + step]
                yield from self._answer(part, top, views, trust)
                advance(len(part))

    def _answer(
        self, named: Sequence[tuple[str, Encoded | NDArray[np.uint8]]], top: int, views: Views, trust: Trust | None
    ) -> Iterator[Prediction]:
        pixels: dict[int, NDArray[np.uint8]] = {}
        reasons: dict[int, str] = {}
        for i, (name, source) in enumerate(named):
            try:
                pixels[i] = self.preprocess.pixels(source, name)
            except BadPicture as error:
                reasons[i] = error.reason
        found: dict[int, Prediction] = {}
        if pixels:
            batch = torch.from_numpy(np.stack(list(pixels.values())))
            out = self.outputs(batch, views) if trust and trust.familiar else self.plain_outputs(batch, views)
            answers = self.task.decode(out.logits, self.temperature, top)
            unlike = self.unlike(out)
            bound = trust.bound if trust else 0.0
            for i, answer, strange in zip(pixels, answers, unlike, strict=True):
                found[i] = Prediction(named[i][0], answer, "", answer.probability < bound, bool(strange))
        for i, (name, _) in enumerate(named):
            yield found.get(i) or Prediction(name, None, reasons[i])

    def trust_for(self, accuracy: float | None) -> Trust | None:
        """What is known of the model's answers, for another wished accuracy where one is given.

        Raises: BadRecipe where nothing is known, or the accuracy is no share.
        """
        if accuracy is None:
            return self.trust
        if not 0 <= accuracy < 1:
            raise BadRecipe(f"the wished accuracy is a share such as 0.95, got {accuracy:g}")
        if self.trust is None:
            raise BadRecipe("this model cannot tell when it is right: no picture was kept aside when it was trained.")
        return self.trust.asking(accuracy)

    def unlike(self, outputs: Outputs) -> NDArray[np.bool_]:
        """(N,) whether each picture is unlike those of the training; nowhere, where the model does not know."""
        familiar = self.trust.familiar if self.trust else None
        if familiar is None or outputs.features is None:
            return np.zeros(len(outputs.logits), bool)
        return familiar.unlike(outputs.features.numpy())

    def save(self, path: Path) -> None:
        """Write the model as one `.safetensors` file, durably."""
        state = {name: value.detach().to("cpu").contiguous() for name, value in self.network.state_dict().items()}
        facts = {
            "task": "classification",
            "network": {"name": self.network_name, "options": dict(self.options)},
            "classes": list(self.classes),
            "preprocess": self.preprocess.as_dict(),
            "temperature": self.temperature,
            "trained": dict(self.trained),
            "trust": self.trust.facts() if self.trust else None,
        }
        if self.trust and self.trust.familiar:
            state[BANK] = torch.from_numpy(self.trust.familiar.bank)
        write_tensors(path, state, facts, KIND)


def load(path: str | Path, network: nn.Module | None = None) -> Model | Detector:
    """A classifier or detector from a run's folder, a `.safetensors` file, or Darknet's `.cfg` with its `.weights`.

    Args:   network, needed where the model was trained from a network of one's own: the same class, built anew.
    Raises: Missing, or BadModel with what is wrong with the file. Nothing in the file is executed.
    """
    file = model_file(path)
    place, metadata = file.path, file.metadata
    if metadata is None:
        return read_darknet(place)
    if file.detects:
        found = _validated(DetectorFacts, metadata, place)
        return load_detector(place, found, _preprocess(found.preprocess, place))
    return _classifier(_checked(metadata, place), place, network)


def _classifier(facts: _Facts, place: Path, network: nn.Module | None) -> Model:
    preprocess = _preprocess(facts.preprocess, place)
    built = network if network is not None else _built(facts, preprocess, place)
    expected = {name: (tuple(value.shape), value.dtype) for name, value in built.state_dict().items()}
    if facts.trust and facts.trust.shape:
        expected[BANK] = (_checked_bank(facts.trust.shape, built, facts.network.name, place), torch.float16)
    tensors, metadata = read_tensors(place, KIND, expected=lambda _: expected)  # refused before a tensor is read
    if _checked(metadata, place) != facts:
        raise BadModel(f"{shown(place)} changed while it was read; try again.")
    bank = tensors.pop(BANK).numpy() if BANK in expected else None
    built.load_state_dict(tensors, strict=True, assign=True)
    return Model(
        built.eval(),
        preprocess,
        tuple(facts.classes),
        facts.network.name,
        facts.network.options,
        facts.temperature,
        facts.trained,
        facts.trust.trust(bank) if facts.trust else None,
    )


def without_trust(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a model's file that are the network's."""
    return {name: value for name, value in tensors.items() if name != BANK}


def prepared_for(path: Path) -> Preprocess | None:
    """How the pictures were prepared that a model file was trained on; None for a file that is no model of foveal's."""
    try:
        metadata = read_metadata(path, KIND)
    except BadModel:
        return None
    if metadata.get("task") == DETECTION:
        return _preprocess(_validated(DetectorFacts, metadata, path).preprocess, path)
    return _preprocess(_checked(metadata, path).preprocess, path)


def _checked(metadata: Mapping[str, Any], path: Path) -> _Facts:
    return _validated(_Facts, metadata, path)


def _validated(kind: type[Checked], metadata: Mapping[str, Any], path: Path) -> Checked:
    facts = {key: metadata.get(key) for key in kind.model_fields}
    try:
        checked = kind.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise BadModel(f'{shown(path)}: metadata "{shown(where)}": {shown(first["msg"])}.') from None
    if len(set(checked.classes)) != len(checked.classes):
        raise BadModel(f"{shown(path)}: metadata names a class twice.")
    return checked


def _checked_bank(shape: tuple[int, int], network: nn.Module, name: str, path: Path) -> tuple[int, int]:
    """(B, D) as the metadata says, if D features enter the network's classifier."""
    try:
        layer = network.get_submodule(classifier_path(network, name))
    except BadRecipe:
        layer = None
    entering = getattr(layer, "in_features", getattr(layer, "in_channels", None))
    if entering != shape[1]:
        raise BadModel(f"{shown(path)}: metadata tells of {shape[1]} features, but {entering} enter the classifier.")
    return shape


def _preprocess(written: Mapping[str, Any], path: Path) -> Preprocess:
    try:
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in written.items()}
        return Preprocess(**values)  # type: ignore[arg-type]  # checked at its birth
    except (TypeError, ValueError) as error:
        raise BadModel(f"{shown(path)}: metadata preprocess: {shown(str(error))}.") from None


def _built(facts: _Facts, preprocess: Preprocess, path: Path) -> nn.Module:
    """The network that the metadata names, looked up in the zoo, without memory for its weights."""
    if facts.network.name == CUSTOM:
        raise BadModel(
            f"{shown(path)} was trained from a network of one's own; "
            "load it as foveal.load(path, network=TheNetwork())."
        )
    try:
        find(facts.network.name)
    except BadRecipe:
        name = shown(facts.network.name[:80])
        raise BadModel(f"{shown(path)}: unknown network {name} (foveal networks lists all).") from None
    try:
        with torch.device("meta"):
            return build(
                facts.network.name,
                len(facts.classes),
                preprocess.channels,
                (preprocess.height, preprocess.width),
                facts.network.options,
            )
    except FovealError as error:
        raise BadModel(f"{shown(path)}: {error}") from None


def viewed(images: Tensor, views: Views) -> Iterator[tuple[float, Tensor]]:
    """The views of (N, C, H, W) whose logits are averaged, with their weights.

    "mirror+shift" is the six views of the CIFAR-10 speed runs: the picture, and the picture moved by a pixel up-left
    and down-right, each also mirrored; half of the weight lies on the unmoved one.
    Source: Jordan 2024, arXiv:2404.00498, section 3.7.
    """
    if views == "none":
        yield 1.0, images
        return
    shifted = [(1.0, images)]
    if views == "mirror+shift":
        height, width = images.shape[2:]
        padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
        shifted = [(0.5, images), (0.25, padded[:, :, :height, :width]), (0.25, padded[:, :, 2:, 2:])]
    for weight, view in shifted:
        yield weight / 2, view
        yield weight / 2, view.flip(-1)
