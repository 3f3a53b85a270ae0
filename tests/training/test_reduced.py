"""What is left of a function runs as the function does, and holds nothing that is known."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from typing import Any

import pytest

from foveal.training.reduced import as_literal, reduced


class Plan:
    """Of a walk."""

    def __init__(self, way: str, most: int) -> None:
        self.way, self.most = way, most


def walk(plan: Plan, steps: list[int], watch: Any = None, lock: Any = nullcontext) -> list[int]:
    """Sums of steps."""
    _way, most = plan.way, plan.most
    out = []
    for step in steps:
        # what is far is left out
        if plan.most and step > plan.most:
            continue
        if plan.way == "up" or step < 0:
            with lock():
                out.append(step)  # kept – as it is
        else:
            watch.seen(step)

        if most > 3:
            out[-1:] = [value * most for value in out[-1:]]
        elif_ = len(out)
        watch.after(elif_)
    return out


class Watch:
    """Looks on."""

    def seen(self, step: int) -> None: ...

    def after(self, count: int) -> None: ...


WALKS = list(itertools.product(("up", "down"), (0, 2, 5)))


def left(way: str, most: int) -> str:
    known = {"plan.way": way, "plan.most": most, "_way": way, "most": most}
    return reduced(walk, known, there=("steps",), without=("watch", "lock"), result="found")


@pytest.mark.parametrize(("way", "most"), WALKS)
def test_it_does_what_the_function_does(way: str, most: int) -> None:
    steps = [3, -1, 7, 1, -2, 2]
    there: dict[str, Any] = {"steps": steps}
    exec(left(way, most), there)
    assert there["found"] == walk(Plan(way, most), steps, Watch())


@pytest.mark.parametrize(("way", "most"), WALKS)
def test_nothing_that_is_known_is_asked(way: str, most: int) -> None:
    text = left(way, most)
    assert not any(word in text for word in ("plan", "watch", "lock", '"""', "way"))
    assert ("if step > " in text) == bool(most)
    assert ("if step < 0:" in text) == (way == "down")


def test_remarks_stay_with_what_they_are_about_and_blank_lines_are_single() -> None:
    assert "  # kept – as it is\n" in left("down", 2)
    assert "    # what is far is left out\n    if step > 2:\n" in left("up", 2)
    assert "far" not in left("up", 0)
    assert "\n\n\n" not in left("down", 0)
    assert left("up", 5).startswith("out = []\nfor step in steps:\n")


def early(kind: str, rate: float, on: Any) -> Any:
    if kind == "one":
        return {"rate": rate, "much": rate > 1, "moved": on.to("here")}
    if on.ready:
        on = on.to(
            "there"
        )  # fmt: skip
    return [
        rate,
        on,
    ]  # fmt: skip


def test_what_is_returned_gets_a_name_and_nothing_follows() -> None:
    text = reduced(early, {"kind": "one", "rate": 0.5}, without=('to("here")', "to('here')"), result="made")
    assert text == 'made = {"rate": 0.5, "much": False, "moved": on}\n'


def test_an_expression_of_several_lines_keeps_its_lines() -> None:
    text = reduced(early, {"kind": "two", "rate": 0.5}, true={"on.ready": True}, result="made")
    assert text == 'on = on.to(\n    "there"\n)  # fmt: skip\nmade = [\n    0.5,\n    on,\n]  # fmt: skip\n'


@pytest.mark.parametrize(
    "value",
    [1, 0.1 + 0.2, True, None, "plain", 'with "these"', "it's", "\\n\n", (1,), ((1.5, 2), ("a",)), {"a": (1, "b")}, ()],
)
def test_literals_are_read_back(value: Any) -> None:
    assert eval(as_literal(value)) == value


def test_texts_stand_between_double_quotes_where_they_can() -> None:
    assert as_literal("it") == '"it"'
    assert as_literal('"') == "'\"'"
