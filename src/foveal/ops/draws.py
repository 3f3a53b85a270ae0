"""Chance as a function: every random number of a run is computed from (seed, epoch, sample), never drawn from a state.

So the pictures of an epoch are the same whoever loads them, in whatever order; a resumed run has nothing to restore.
The generator is the finaliser of SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators",
figure 16) used as a counter-based hash.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["batch_generator", "evenly", "shuffled", "step_seed", "uniforms"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _keys(seed: int, epoch: int, samples: NDArray[np.integer]) -> NDArray[np.uint64]:
    state = _mix(np.array([seed], np.uint64) + _GOLDEN)
    state = _mix(state + _GOLDEN * np.array([epoch + 1], np.uint64))
    return _mix(state + _GOLDEN * (np.asarray(samples).astype(np.uint64) + np.uint64(1)))


def uniforms(seed: int, epoch: int, samples: NDArray[np.integer], draws: int) -> NDArray[np.float64]:
    """(n, draws) numbers in [0, 1): row i depends on (seed, epoch, samples[i]) alone.

    Args: seed and epoch, whole numbers from 0; samples (n,) whole numbers from 0; draws, how many each.
    """
    keys = _keys(seed, epoch, samples)[:, None]
    counter = np.arange(1, draws + 1, dtype=np.uint64)[None, :]
    bits = _mix(keys + _GOLDEN * counter)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def shuffled(seed: int, epoch: int, samples: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) the samples in the order of this epoch. Leaving one out does not disturb the order of the others."""
    return samples[np.argsort(_keys(seed, epoch, samples), kind="stable")]


def step_seed(seed: int, step: int) -> int:
    """The seed for what torch itself draws in one training step (dropout), below 2⁶³."""
    return int(_keys(seed, 0x5EED, np.array([step]))[0] >> np.uint64(1))


def batch_generator(seed: int, epoch: int, step: int) -> np.random.Generator:
    """A generator for what belongs to a whole batch (mixup's share), the same wherever a run is resumed."""
    return np.random.Generator(np.random.Philox(key=int(_keys(seed, epoch, np.array([step]))[0])))


def evenly(n: int, most: int) -> NDArray[np.int64]:
    """At most so many of n, evenly: (k,) ascending indices, the first and the last among them; no chance is in it."""
    return np.unique(np.linspace(0, n - 1, min(most, n)).astype(np.int64)) if n else np.zeros(0, np.int64)
