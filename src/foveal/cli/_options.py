"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

import typer

from foveal.errors import BadRecipe, did_you_mean, shown

__all__ = ["Accuracy", "Precision", "one_of"]

Accuracy = Annotated[
    float | None,
    typer.Option(metavar="A", help="Classifiers: target accuracy, such as 0.99; abstains when less sure."),
]

Precision = Annotated[
    float | None,
    typer.Option(metavar="P", min=0, max=1, help="Detectors and multi-label models: target precision, such as 0.9."),
]

Word = TypeVar("Word", bound=str)


def one_of(option: str, typed: str, known: Sequence[Word]) -> Word:
    """The known word that was typed. Raises BadRecipe that lists them."""
    for word in known:
        if word == typed:
            return word
    words = f"{', '.join(known[:-1])} or {known[-1]}"
    raise BadRecipe(f'{option} must be {words}, is "{shown(typed)}"{did_you_mean(typed, known)}')
