"""How well pictures are told apart: figures of a split with their intervals, and the temperature that calibrates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveal.errors import BadData, NotFinite
from foveal.files.plain_table import percent, table
from foveal.files.tables import Table
from foveal.ops.statistics import (
    confusion_matrix,
    expected_calibration_error,
    negative_log_likelihood,
    precision_recall_f1,
    softmax,
    wilson_interval,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Scores", "finite_logits", "fit_temperature", "score_labels"]

CLASSES_IN_MATRIX = 20  # more do not fit a terminal; --json has them all
TOP5_FROM = 6  # classes: with five or fewer, the truth is always among the first five
BY_CHANCE = 1.0  # nats, of all pictures together, that a temperature is worth where it is worth nothing
COLDEST, HOTTEST = 0.05, 20.0  # temperatures beyond these say that validation is too small or too odd to calibrate on

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scores:
    """How well a split was answered. Figures of a class are NaN where they are not defined (null in JSON)."""

    n: int
    top1: float
    top1_interval: tuple[float, float]  # 95 %, Wilson
    top5: float | None  # from 6 classes on
    ece: float
    loss: float  # nats
    confusion: NDArray[np.int64]  # (K, K), truth in rows
    precision: Floats  # (K,)
    recall: Floats  # (K,)
    f1: Floats  # (K,)
    support: NDArray[np.int64]  # (K,) pictures of the class
    classes: tuple[str, ...]

    @property
    def right(self) -> int:
        """Pictures whose first answer was right."""
        return int(np.trace(self.confusion))

    def headline(self) -> list[str]:
        """How many are right."""
        low, high = self.top1_interval
        return [f"accuracy {percent(self.top1)} on {self.n} pictures (95 % interval {percent(low)} to {percent(high)})"]

    def table(self) -> Table:
        """Of each class: pictures, and precision, recall (the share of them that is right) and F1 in [0, 1]."""
        figures = zip(self.classes, self.support, self.precision, self.recall, self.f1, strict=True)
        values = tuple((name, int(n), float(p), float(r), float(f)) for name, n, p, r, f in figures)
        return Table(("class", "pictures", "precision", "recall", "f1"), values)

    def lines(self, on: str, views: str = "none") -> list[str]:
        """A page for a terminal: the headline, each class, what is taken for what."""
        lines = [
            f"{on}: {self.headline()[0]}",
            *([] if self.top5 is None else [f"top-5 {percent(self.top5)}"]),
            f"calibration error (ECE) {percent(self.ece)}, loss {self.loss:.4f} nats, views: {views}",
            "",
        ]
        shares = zip(self.classes, self.precision, self.recall, self.f1, self.support, strict=True)
        rows = [[name, percent(p), percent(r), percent(f), str(n)] for name, p, r, f, n in shares]
        lines.append(table(["class", "precision", "recall", "F1", "pictures"], rows))
        if len(self.classes) <= CLASSES_IN_MATRIX:
            matrix = [[name, *map(str, row)] for name, row in zip(self.classes, self.confusion, strict=True)]
            lines += ["", table(["truth \\ answer", *self.classes], matrix)]
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        figures = zip(self.classes, self.precision, self.recall, self.f1, self.support, strict=True)
        return {
            "n": self.n,
            "top1": self.top1,
            "top1_interval": list(self.top1_interval),
            **({} if self.top5 is None else {"top5": self.top5}),
            "ece": self.ece,
            "loss": self.loss,
            "classes": [
                {"class": name, "precision": _plain(p), "recall": _plain(r), "f1": _plain(f), "support": int(s)}
                for name, p, r, f, s in figures
            ],
            "confusion": self.confusion.tolist(),
        }


def score_labels(logits: NDArray[Any], labels: ArrayLike, classes: Sequence[str], temperature: float = 1.0) -> Scores:
    """(N, K) logits and (N,) class indices of a whole split -> its figures.

    Raises: BadData when there is nothing to score; NotFinite when a logit is infinite or NaN.
    """
    z, y = finite_logits(logits, len(classes)) / temperature, np.asarray(labels, dtype=np.int64)
    n, K = z.shape
    if n == 0:
        raise BadData("There is no picture to score; choose a split that has some.")
    confusion = confusion_matrix(y, z.argmax(axis=1), K)
    precision, recall, f1 = precision_recall_f1(confusion)
    right = int(np.trace(confusion))
    return Scores(
        n=n,
        top1=right / n,
        top1_interval=wilson_interval(right, n),
        top5=_share_in_top(z, y, 5) if K >= TOP5_FROM else None,
        ece=expected_calibration_error(softmax(z), y),
        loss=negative_log_likelihood(z, y),
        confusion=confusion,
        precision=precision,
        recall=recall,
        f1=f1,
        support=confusion.sum(axis=1),
        classes=tuple(classes),
    )


def finite_logits(logits: NDArray[Any], classes: int) -> Floats:
    """(N, K) float64, checked. Raises: NotFinite when one is infinite or NaN."""
    z = _float64(logits)
    if z.ndim != 2 or z.shape[1] != classes:
        raise ValueError(f"expected (N, {classes}) logits, got {z.shape}")
    if not np.isfinite(z).all():
        raise NotFinite("The network's output is not finite (NaN or infinity); its weights or its input are damaged.")
    return z


def fit_temperature(logits: Tensor | NDArray[Any], labels: ArrayLike) -> float:
    """The T in softmax(logits / T) whose probabilities fit the labels best: above 1 when the network is too sure.

    Minimises the mean negative log-likelihood over β = 1/T, in which it is convex, by Newton steps kept inside a
    shrinking bracket. The truth's target is (n + 1) / (n + 2) and not 1, as in Platt's scaling: on a validation set
    without a mistake the plain likelihood would have T fall without end, and every answer claim 100 %. T is returned
    only where it explains the labels better than one more number would by chance: by a nat in all [Akaike 1974, "A new
    look at the statistical model identification"].

    Args:     logits (N, K), labels (N,) class indices, of pictures that were not trained on.
    Returns:  T in [0.05, 20]; 1.0 when there is nothing to fit on or to gain.
    Raises:   NotFinite when a logit is infinite or NaN.
    Source:   Guo et al. 2017, arXiv:1706.04599, section 4.2; Platt 1999, Probabilistic outputs for SVMs, section 2.2.
    """
    z, y = _float64(logits), np.asarray(labels, dtype=np.int64)
    if not np.isfinite(z).all():
        raise NotFinite("The network's output for a validation picture is not finite (NaN or infinity).")
    n, K = z.shape
    if n == 0 or K < 2:
        return 1.0
    z = z - z.max(axis=1, keepdims=True)  # no probability changes, and exp(β z) cannot overflow
    truth = z[np.arange(n), y]
    doubt = 1 / (n + 2)
    wanted = ((1 - doubt) * truth + doubt * (z.sum(axis=1) - truth) / (K - 1)).mean()  # mean of Σₖ targetₖ zₖ
    temperature = 1 / _newton(z, wanted, low=1 / HOTTEST, high=1 / COLDEST)
    gained = n * (negative_log_likelihood(z, y) - negative_log_likelihood(z / temperature, y))
    return temperature if gained > BY_CHANCE else 1.0


def _newton(z: Floats, wanted: float, low: float, high: float, steps: int = 60) -> float:
    """The β in [low, high] at which the mean of Σₖ pₖ(β z) zₖ is `wanted`: there a convex function has no slope."""
    beta = 1.0
    for _ in range(steps):
        p = softmax(beta * z)
        mean = (p * z).sum(axis=1)
        slope = float(mean.mean() - wanted)
        curvature = float(((p * z * z).sum(axis=1) - mean**2).mean())
        low, high = (low, beta) if slope > 0 else (beta, high)
        step = beta - slope / curvature if curvature > 0 else math.inf
        following = step if low < step < high else math.sqrt(low * high)  # outside: halve the bracket, in log β
        if abs(following - beta) <= 1e-7 * beta:
            return following
        beta = following
    return beta


def _share_in_top(z: Floats, labels: NDArray[np.int64], top: int) -> float:
    """The share of rows whose true class is among the `top` highest; among equals the earlier class ranks first."""
    truth = z[np.arange(len(z)), labels][:, None]
    earlier = np.arange(z.shape[1])[None, :] < labels[:, None]
    rank = ((z > truth) | ((z == truth) & earlier)).sum(axis=1)
    return float((rank < top).mean())


def _float64(values: Tensor | NDArray[Any] | Sequence[Any]) -> Floats:
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
