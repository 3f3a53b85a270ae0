"""A network whose answer is no number: said, and never taken for a picture on which there is nothing."""

from __future__ import annotations

import numpy as np
import pytest

from foveal.errors import NotFinite
from foveal.tasks.boxed import check_finite


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_said(value: float) -> None:
    arrays = {"scores": np.array([[0.5, value]], np.float32), "boxes": np.zeros((1, 4), np.float32)}
    check_finite(arrays, "boxes")
    with pytest.raises(NotFinite, match=r"not finite \(NaN or infinity\); its weights or its input are damaged"):
        check_finite(arrays, "boxes", "scores")
