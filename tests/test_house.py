"""The house as the files draw it: nobody imports in a circle, not for types and not inside a function either."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"
DOOR = "foveal"  # lifts names from every floor, when they are asked for
TORCH_FREE = (
    "foveal.model",
    "foveal.model_files",
    "foveal.engines",
    "foveal.preprocess",
    "foveal.tasks.answers",
    "foveal.tasks.registry",
    "foveal.tasks.formats",
    "foveal.tasks.heads",
    "foveal.runs",
    "foveal.runs.batch",
)


def modules() -> dict[str, Path]:
    found = {}
    for file in sorted((SOURCE / "foveal").rglob("*.py")):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported(file: Path, known: dict[str, Path]) -> set[str]:
    """Every module of ours that a file names in an import, wherever it stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (inner & known.keys()) or {node.module}
    return names & known.keys()


def test_no_files_import_each_other() -> None:
    known = modules()
    graph = {name: imported(file, known) - {DOOR, name} for name, file in known.items() if name != DOOR}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as circle:
        raise AssertionError(" -> ".join(circle.args[1])) from None


def test_what_answers_without_pytorch_imports_without_it() -> None:
    """An exported model needs answers, model files and preprocessing, and no PyTorch."""
    names = "; ".join(f"import {name}" for name in TORCH_FREE)
    code = f"import sys; {names}; print([name for name in ('torch', 'matplotlib') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
