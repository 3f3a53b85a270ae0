"""When an answer should not be taken at its word: the model is not sure enough, or has seen nothing like the picture.

Both bounds were set on pictures that the model had not learnt from, and are kept with it. Distances are those of
features: 1 − cosine to the `rank`-th most alike picture of the training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from foveal.ops.draws import evenly
from foveal.ops.rejection import RiskCoverage, conformal_bound, nearest_distances, risk_coverage
from foveal.ops.statistics import softmax, wilson_interval

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BANK", "MOST_KEPT", "Familiar", "FamiliarFacts", "Tried", "Trust", "TrustFacts", "sureness"]

BANK = "trust.bank"  # the tensor in a model's file
MOST_POINTS = 200  # of the curve that a model keeps
MOST_KEPT = 1000  # pictures of the training whose features a model keeps
FALSE_ALARMS = 0.02  # share of pictures like those of the training that may be called unlike them
RANK = 3  # the third nearest: one odd picture in the training vouches for nothing

Floats = NDArray[np.float64]


def sureness(logits: Tensor | NDArray[Any], temperature: float) -> Floats:
    """(N,) calibrated probability of each answer."""
    z = np.asarray(logits, dtype=np.float64)
    best: Floats = softmax(z / temperature).max(axis=1)
    return best


@dataclass(frozen=True, eq=False)
class Familiar:
    """What the pictures of the training look like to the network."""

    bank: NDArray[np.float16]  # (B, D) features of some of them, of length one
    bound: float  # a distance above it is unlike them
    rate: float  # share of pictures like them that lie beyond it
    pictures: int  # that the bound was set on

    @classmethod
    def of(cls, train: NDArray[np.float32], held_out: NDArray[np.float32] | None) -> Familiar | None:
        """From features (N, D) of the training pictures, and (n, D) of others of their kind.

        Without the others each training picture is compared with the rest, which is right where the network has not
        learnt from them. None where there is too little to compare with.
        """
        bank = train[evenly(len(train), MOST_KEPT)]
        rows = bank if held_out is None else held_out
        if len(bank) <= RANK or not len(rows):
            return None
        distances = nearest_distances(rows, bank, RANK, apart=held_out is None).astype(np.float64)
        bound, rate = conformal_bound(distances, FALSE_ALARMS)
        unit = bank / np.maximum(np.linalg.norm(bank, axis=1, keepdims=True), 1e-12)
        return cls(unit.astype(np.float16), bound, rate, len(rows))

    def unlike(self, features: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(N,) whether each picture lies further from the training's than the bound; features (N, D)."""
        far: NDArray[np.bool_] = nearest_distances(features, self.bank.astype(np.float32), RANK) > self.bound
        return far

    def facts(self) -> dict[str, Any]:
        """For a model's metadata."""
        return {"bound": self.bound, "rate": self.rate, "pictures": self.pictures, "bank": list(self.bank.shape)}


@dataclass(frozen=True, eq=False)
class Trust:
    """How far a model's answers carry."""

    curve: RiskCoverage  # of pictures that it has not learnt from
    accuracy: float = 0.0  # that answers should have; 0: every picture is answered
    familiar: Familiar | None = None

    @classmethod
    def of(cls, logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float, accuracy: float) -> Trust:
        """From (n, K) logits of pictures that were not learnt from."""
        right = logits.argmax(1) == labels
        return cls(risk_coverage(sureness(logits, temperature), right).thinned(MOST_POINTS), accuracy)

    def asking(self, accuracy: float | None) -> Trust:
        """The same, for another wished accuracy."""
        return self if accuracy is None else replace(self, accuracy=accuracy)

    @property
    def bound(self) -> float:
        """The least probability that is answered; infinite where the wished accuracy is out of reach."""
        return self.curve.bound_for(self.accuracy) if self.accuracy else 0.0

    @property
    def promise(self) -> str:
        """In one sentence what the bound does; nothing where every picture is answered."""
        if not self.accuracy:
            return ""
        wished = f"{100 * self.accuracy:g} %"
        at = np.flatnonzero(self.curve.bounds >= self.bound)
        if not len(at):
            return (
                f"No minimum confidence reaches an accuracy of {wished} on the {self.curve.n} held-out pictures, so it "
                "always abstains; give a lower --accuracy, or train on more pictures."
            )
        answered, right = int(self.curve.answered[at[-1]]), int(self.curve.right[at[-1]])
        return (
            f"Target accuracy {wished}: minimum confidence {self.bound:.3f}. It answers {answered / self.curve.n:.0%} "
            f"of {self.curve.n} held-out pictures, {right} of these {answered} correctly, and abstains on the rest."
        )

    def tried(
        self, logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float, unlike: NDArray[np.bool_]
    ) -> Tried:
        """How the bounds do on other pictures: (N, K) logits, (N,) labels, (N,) what is unlike the training."""
        sure, right = sureness(logits, temperature), logits.argmax(1) == labels
        given = sure >= self.bound
        familiar = self.familiar
        return Tried(
            self.accuracy, self.bound, len(sure), int(given.sum()), int(right[given].sum()), risk_coverage(sure, right),
            int(unlike.sum()) if familiar else None, int(right[unlike].sum()), familiar.rate if familiar else None,
        )  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """For a model's metadata, and metrics.json."""
        points = zip(self.curve.bounds.tolist(), self.curve.answered.tolist(), self.curve.right.tolist(), strict=True)
        known = self.familiar
        return {
            "accuracy": self.accuracy,
            "curve": [list(point) for point in points],
            "familiar": known and known.facts(),
        }


@dataclass(frozen=True, eq=False)
class Tried:
    """What became of a model's bounds on labelled pictures."""

    accuracy: float  # wished for; 0: every picture is answered
    bound: float  # least probability that is answered
    n: int
    answered: int
    right: int  # of the answered
    curve: RiskCoverage  # of these pictures
    unlike: int | None  # pictures called unlike the training; None where the model cannot tell
    unlike_right: int  # of these, answered rightly all the same
    rate: float | None  # share of them that was to be expected of pictures like the training's

    def as_dict(self) -> dict[str, Any]:
        """Plain values for metrics.json."""
        wished = {
            "accuracy": self.accuracy,
            "bound": self.bound if np.isfinite(self.bound) else None,
            "answered": self.answered / self.n,
            "right": self.right / self.answered if self.answered else None,
            "right_interval": list(wilson_interval(self.right, self.answered)) if self.answered else None,
        }
        unlike = {"pictures": self.unlike, "right": self.unlike_right, "expected_rate": self.rate}
        return {
            "n": self.n,
            "wished": wished if self.accuracy else None,
            "unlike": unlike if self.unlike is not None else None,
            "area": self.curve.area,
        }

    @property
    def sentences(self) -> tuple[str, ...]:
        """What happened, for people."""
        told = []
        if self.accuracy and self.answered:
            told.append(
                f"Target accuracy {100 * self.accuracy:g} %: it answers {self.answered} of {self.n} pictures "
                f"({self.answered / self.n:.0%}), {self.right} of them correctly ({self.right / self.answered:.2%}), "
                "and abstains on the rest."
            )
        elif self.accuracy:
            told.append(f"Target accuracy {100 * self.accuracy:g} %: it abstains on all {self.n} pictures.")
        if self.unlike is not None and self.rate is not None:
            told.append(
                f"{self.unlike} of {self.n} pictures are marked as unlike the training pictures "
                f"({self.unlike / self.n:.1%}; expected of pictures like them: {self.rate:.1%})."
            )
        return tuple(told)


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**12)]


class FamiliarFacts(BaseModel):
    """What a model's file says of it, checked."""

    model_config = ConfigDict(extra="forbid", strict=True)
    bound: Annotated[float, Field(ge=-1, le=3, allow_inf_nan=False)]
    rate: Share
    pictures: Count
    bank: Annotated[list[Annotated[int, Field(ge=1, le=1_000_000)]], Field(min_length=2, max_length=2)]

    @property
    def shape(self) -> tuple[int, int]:
        """(B, D) of the features that must be in the file."""
        return self.bank[0], self.bank[1]

    def familiar(self, bank: NDArray[np.float16] | None) -> Familiar | None:
        """With the tensor that the file holds."""
        return None if bank is None else Familiar(bank, self.bound, self.rate, self.pictures)


class TrustFacts(BaseModel):
    """What a model's file says of it, checked."""

    model_config = ConfigDict(extra="forbid", strict=True)
    accuracy: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
    curve: Annotated[
        list[
            Annotated[
                list[Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]], Field(min_length=3, max_length=3)
            ]
        ],
        Field(max_length=10_000),
    ]
    familiar: FamiliarFacts | None

    @property
    def shape(self) -> tuple[int, int] | None:
        """(B, D) of the features that must be in the file."""
        return self.familiar.shape if self.familiar else None

    def trust(self, bank: NDArray[np.float16] | None) -> Trust:
        """With the tensor that the file holds."""
        table = np.array(self.curve, np.float64).reshape(-1, 3)
        curve = RiskCoverage(table[:, 0], table[:, 1].astype(np.int64), table[:, 2].astype(np.int64))
        return Trust(curve, self.accuracy, self.familiar.familiar(bank) if self.familiar else None)
