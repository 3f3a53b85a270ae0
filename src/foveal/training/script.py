"""`foveal train --show-loop`: the very loop that would run, with the recipe's values in it, as a script to run."""

from __future__ import annotations

import inspect
import re

from foveal.recipe import Recipe
from foveal.training import loop
from foveal.training.planner import Plan

__all__ = ["as_script"]

_HEAD = '''"""The training loop of `foveal train {source}`, with its recipe's values. Running it gives the same weights.

This is foveal's own loop (foveal/training/loop.py); change what you like.
"""

from pathlib import Path

'''

_TAIL = '''

RECIPE = """
{recipe}"""


class Quiet:
    """No checkpoints; one line printed an epoch."""

    def after_step(self, state, steps):
        pass

    def after_epoch(self, state):
        row = state.history[-1]
        print(f"epoch {{row.epoch}}: loss {{row.train_loss:.4f}}, validation {{row.val_loss:.4f}}")


def main():
    recipe = parse_recipe(RECIPE)
    dataset = open_dataset(recipe.data.source, **reading_of(recipe.data))
    task, dataset = asked_task(dataset, recipe)
    with threads_used(int(recipe.training.threads)):
        setup = set_up(task, dataset, recipe)
        state = setup.begun()
        train_epochs(state, setup, Quiet())
        calibrated(setup, state).save(Path("model.safetensors"))


if __name__ == "__main__":
    main()
'''

_NEEDED = """from foveal.data.sources import open_dataset, reading_of
from foveal.recipe import parse_recipe
from foveal.tasks.registry import asked_task
from foveal.training.arithmetic import threads_used
from foveal.training.calibrate import calibrated
from foveal.training.setup import set_up
"""


def as_script(recipe: Recipe) -> str:
    """The loop's own source, every `plan.…` replaced by its value. The recipe must be settled and measured."""
    source = inspect.getsource(loop)
    imports, code = source.split("__all__ = ", 1)
    imports = imports.split('"""', 2)[2].replace("from __future__ import annotations\n", "").lstrip()
    code = code.split("\n", 1)[1]
    name = re.sub(r'["\\\n]', "", recipe.data.source)
    values = vars(Plan.of(recipe))
    code = re.sub(r"\bplan\.(\w+)", lambda found: _literal(found, values), code)
    toml = recipe.to_toml().replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    code = code.replace("  # type: ignore[no-untyped-call]", "")
    return _HEAD.format(source=name) + imports.rstrip() + "\n" + _NEEDED + code + _TAIL.format(recipe=toml)


def _literal(found: re.Match[str], values: dict[str, object]) -> str:
    value = values[found[1]]
    return repr(value) if isinstance(value, int | float | str) else found[0]
