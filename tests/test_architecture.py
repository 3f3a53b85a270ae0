"""The page about the house draws the floors that import-linter holds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "foveal"
CONTRACTS = {
    contract["name"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
}
HOUSE, TRAINING = "Each floor stands on the floors below it", "The loop knows nothing of what stands around it"


def drawn(number: int) -> list[list[str]]:
    """The parts on each floor of a drawing of the page: what stands before two blanks."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = re.findall(r"^```text\n(.*?)^```$", page.split("## The floors")[1], re.MULTILINE | re.DOTALL)[number]
    return [re.split(r"  +", line)[0].split(" | ") for line in block.splitlines()]


def held(contract: str) -> list[list[str]]:
    """The same of the contract, without the parts that are only planned: those in brackets that are not there."""
    floors = [re.findall(r"[(]?\w+[)]?", floor) for floor in CONTRACTS[contract]["layers"]]
    there = [[part.strip("()") for part in floor if part[0] != "(" or exists(part.strip("()"))] for floor in floors]
    return [floor for floor in there if floor]


def exists(part: str) -> bool:
    return (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").exists()


@pytest.mark.parametrize(("number", "contract"), [(0, HOUSE), (1, TRAINING)])
def test_the_floors_that_are_drawn_are_those_that_are_held(number, contract):
    assert drawn(number) == held(contract)


@pytest.mark.parametrize(("contract", "folder"), [(HOUSE, PACKAGE), (TRAINING, PACKAGE / "training")])
def test_every_part_of_the_package_stands_on_a_floor(contract, folder):
    parts = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    assert parts - {"__init__"} == {part for floor in held(contract) for part in floor}
    assert CONTRACTS[contract]["exhaustive"]


def test_every_file_that_the_page_names_exists():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$|<!--.*?-->", "", page, flags=re.MULTILINE | re.DOTALL)
    named = re.findall(r"`([\w.]+/[\w./]*(?:\.py|\.json|/|\b))`", prose)
    assert len(named) > 15
    for name in named:
        assert any((place / name).exists() for place in (ROOT, PACKAGE, PACKAGE.parent)), name


def test_every_function_that_the_page_names_exists():
    """`data.store.open_store`: a module of foveal, and a name in it."""
    from importlib import import_module

    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    modules = "data|engines|ops|report|runs|tasks|training"
    named = set(re.findall(rf"`(?:foveal\.)?((?:{modules})(?:\.\w+)+)`", page)) - {"report.html"}
    assert len(named) > 10
    for name in named:
        module, _, thing = name.rpartition(".")
        assert hasattr(import_module(f"foveal.{module}"), thing), name
