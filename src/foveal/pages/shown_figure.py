"""A figure that a notebook shows, whether pyplot was imported or not."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

__all__ = ["ShownFigure"]

DOTS_PER_INCH = 110


class ShownFigure(Figure):
    """As matplotlib's, which shows itself only where pyplot made it."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=DOTS_PER_INCH)
        return content.getvalue()
