"""One label a picture: softmax, cross-entropy, calibrated probabilities, and figures with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveal.errors import BadData, NotFinite
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

    from foveal.networks.entry import WithAuxiliary

__all__ = ["Answer", "Classification", "Scores", "balanced_weights", "fit_temperature"]

TOP5_FROM = 6  # classes: with five or fewer, the truth is always among the first five
COLDEST, HOTTEST = 0.05, 20.0  # temperatures beyond these say that validation is too small or too odd to calibrate on

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answer:
    """What one picture is taken for."""

    label: str
    probability: float  # calibrated, in [0, 1]
    runners_up: tuple[tuple[str, float], ...] = ()  # the next best, descending


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


@dataclass(frozen=True, eq=False)
class Classification:
    """One of K classes a picture; the network gives (N, K) logits."""

    classes: tuple[str, ...]
    label_smoothing: float = 0.0  # the share of the target that is spread over all classes
    class_weights: Tensor | None = None  # (K,) float32

    def encode(self, labels: ArrayLike) -> Tensor:
        """(N,) class indices -> (N,) int64."""
        import torch

        return torch.from_numpy(np.array(labels, dtype=np.int64))

    def loss(self, outputs: Tensor | WithAuxiliary, targets: Tensor) -> Tensor:
        """Cross-entropy, a scalar in float32; auxiliary classifiers add theirs with their weight.

        Args:     outputs (N, K) logits of any float type; targets (N,) int64, or (N, K) float32 whose rows sum to 1
                  (mixup).
        Source:   label smoothing: Szegedy et al. 2015, arXiv:1512.00567, section 7; auxiliary classifiers: Szegedy et
                  al. 2014, arXiv:1409.4842, section 5.
        """
        if isinstance(outputs, tuple):
            beside = [self._cross_entropy(logits, targets) for logits in outputs.auxiliary]
            return self._cross_entropy(outputs.logits, targets) + outputs.weight * sum(beside)
        return self._cross_entropy(outputs, targets)

    def right(self, outputs: Tensor | WithAuxiliary, targets: Tensor) -> float:
        """How many of N pictures were answered rightly; of mixed ones their shares."""
        guesses = (outputs.logits if isinstance(outputs, tuple) else outputs).detach().argmax(1)
        if targets.ndim == 1:
            return float((guesses == targets).sum())
        return float(targets.gather(1, guesses[:, None]).sum())

    def _cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        from torch.nn.functional import cross_entropy

        logits = logits.float()  # bf16 has 8 bits of mantissa: differences of near-equal logits would be lost
        weights = None if self.class_weights is None else self.class_weights.to(logits.device, logits.dtype)
        smoothing = self.label_smoothing
        if targets.ndim == 1 or weights is None:
            return cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing)
        # PyTorch divides index targets by their summed weight but soft ones by N; here both by the weight, so that a
        # one-hot row costs what its index costs.
        total = cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing, reduction="sum")
        return total / (targets.to(weights.dtype) @ weights).sum()

    def decode(self, logits: Tensor | NDArray[Any], temperature: float = 1.0, top: int = 5) -> list[Answer]:
        """(N, K) logits -> N answers, each with at most `top` classes (itself included), the likeliest first.

        Raises: NotFinite when a logit is infinite or NaN.
        """
        probabilities = softmax(self._finite(logits) / temperature)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : max(1, top)]  # stable: equals in class order
        ranked = [
            [(self.classes[k], float(row[k])) for k in best] for row, best in zip(probabilities, order, strict=True)
        ]
        return [Answer(best[0][0], best[0][1], tuple(best[1:])) for best in ranked]

    def score(self, logits: Tensor | NDArray[Any], labels: ArrayLike, temperature: float = 1.0) -> Scores:
        """(N, K) logits and (N,) class indices of a whole split -> its figures.

        Raises: BadData when there is nothing to score; NotFinite when a logit is infinite or NaN.
        """
        z, y = self._finite(logits) / temperature, np.asarray(labels, dtype=np.int64)
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
            classes=self.classes,
        )

    def _finite(self, logits: Tensor | NDArray[Any]) -> Floats:
        """(N, K) float64 on the CPU, checked."""
        z = _float64(logits)
        if z.ndim != 2 or z.shape[1] != len(self.classes):
            raise ValueError(f"expected (N, {len(self.classes)}) logits, got {z.shape}")
        if not np.isfinite(z).all():
            raise NotFinite(
                "The network answered with a value that is not finite; its weights or its input are damaged."
            )
        return z


def fit_temperature(logits: Tensor | NDArray[Any], labels: ArrayLike) -> float:
    """The T in softmax(logits / T) whose probabilities fit the labels best: above 1 when the network is too sure.

    Minimises the mean negative log-likelihood over β = 1/T, in which it is convex, by Newton steps kept inside a
    shrinking bracket. The truth's target is (n + 1) / (n + 2) and not 1, as in Platt's scaling: on a validation set
    without a mistake the plain likelihood would have T fall without end, and every answer claim 100 %. T is returned
    only where the plain likelihood is better than at 1 as well.

    Args:     logits (N, K), labels (N,) class indices, of pictures that were not trained on.
    Returns:  T in [0.05, 20]; 1.0 when there is nothing to fit on or to gain.
    Raises:   NotFinite when a logit is infinite or NaN.
    Source:   Guo et al. 2017, arXiv:1706.04599, section 4.2; Platt 1999, Probabilistic outputs for SVMs, section 2.2.
    """
    z, y = _float64(logits), np.asarray(labels, dtype=np.int64)
    if not np.isfinite(z).all():
        raise NotFinite("The network answered a validation picture with a value that is not finite.")
    n, K = z.shape
    if n == 0 or K < 2:
        return 1.0
    z = z - z.max(axis=1, keepdims=True)  # no probability changes, and exp(β z) cannot overflow
    truth = z[np.arange(n), y]
    doubt = 1 / (n + 2)
    wanted = ((1 - doubt) * truth + doubt * (z.sum(axis=1) - truth) / (K - 1)).mean()  # mean of Σₖ targetₖ zₖ
    temperature = 1 / _newton(z, wanted, low=1 / HOTTEST, high=1 / COLDEST)
    better = negative_log_likelihood(z / temperature, y) < negative_log_likelihood(z, y)
    return temperature if better else 1.0


def balanced_weights(counts: ArrayLike) -> Tensor:
    """(K,) training pictures of each class -> (K,) float32 weights under which every class counts the same.

    wₖ = N / (K · nₖ) over the K classes that have pictures (the mean weight of a picture is 1); 1 for a class without.
    Source: King and Zeng 2001, Political Analysis 9:137–163.
    """
    import torch

    n = np.asarray(counts, dtype=np.float64)
    present = n > 0
    weights = np.ones_like(n)
    weights[present] = n.sum() / (present.sum() * n[present])
    return torch.from_numpy(weights.astype(np.float32))


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
