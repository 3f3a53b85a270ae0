"""The built-in data set: 1797 handwritten digits of 8 × 8 pixels, embedded in scikit-learn.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI 1998 (its test part).
"""

from __future__ import annotations

import numpy as np

from foveal.data.dataset import UNSPLIT, ArrayPictures, Dataset, Origin
from foveal.data.formats import Asked, numbered_labels

__all__ = ["read_digits"]

LEVELS = 16  # each pixel counts the dark ones of a 4 x 4 block
TEST_EVERY = 5  # pictures 0, 5, 10, …: 360 of 1797


def read_digits(asked: Asked) -> Dataset:
    """(1797, 8, 8) grey pictures of ten digits; every fifth is test, and val is left to the hash."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    pixels = np.rint(loaded.images * (255 / LEVELS)).astype(np.uint8)
    splits = np.full(len(pixels), UNSPLIT, np.int8)
    splits[::TEST_EVERY] = 2
    classes = asked.classes or tuple(str(digit) for digit in range(10))
    labels, classes = numbered_labels(loaded.target.astype(np.int64), classes, "digits")
    names = tuple(f"digits[{i}]" for i in range(len(pixels)))
    origin = Origin(asked.source, "built in", "digits", "every fifth is test")
    return Dataset(ArrayPictures(pixels, names), labels, classes, splits, origin)
