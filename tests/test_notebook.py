"""The notebook of the docs runs, shows tables and pictures, and floods no cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("pandas")

FILE = Path(__file__).parents[1] / "docs" / "first_steps.ipynb"
MOST_LINES = 60


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The cells that compute, with what came out."""
    place = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOVEAL_CACHE", str(place / "cache"))
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        notebook = nbformat.read(FILE, as_version=4)
        nbclient.NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(place)}}).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def cell_of(ran: list[Any], words: str) -> Any:
    (cell,) = [cell for cell in ran if words in cell.source]
    return cell


def kinds(cell: Any) -> set[str]:
    return {kind for output in cell.outputs for kind in output.get("data", {})}


def test_it_is_stored_without_outputs():
    notebook = nbformat.read(FILE, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) >= 6
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_training_leaves_one_short_output(ran):
    (output,) = cell_of(ran, "foveal.train(").outputs
    lines = output["data"]["text/plain"].splitlines()
    assert len(lines) < MOST_LINES
    assert sum(line.startswith("epoch ") for line in lines) == 3
    assert "progress" not in output["data"]["text/html"]  # no bar is left behind


def test_tables_and_pictures_are_shown(ran):
    (run,) = [cell for cell in ran if cell.source == "run"]
    for cell, words in (
        (run, "report.html"),
        (cell_of(ran, ".predict(pictures[10])"), "data:image/png"),
        (cell_of(ran, ".to_pandas()"), "probability"),
        (cell_of(ran, "foveal.evaluate("), "recall"),
    ):
        (shown,) = [output["data"] for output in cell.outputs if "data" in output]
        assert words in shown["text/html"]
        assert len(shown["text/plain"].splitlines()) < MOST_LINES
    assert "image/png" in kinds(cell_of(ran, "run.plot()"))
    for cell in ran:
        written = sum(len(output.get("text", "").splitlines()) for output in cell.outputs)
        assert written < MOST_LINES
        assert all(output.output_type != "error" for output in cell.outputs)
