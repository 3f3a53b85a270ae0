"""The index says what the catalogue says, without PyTorch."""

import subprocess
import sys

import pytest

from foveal.errors import BadRecipe
from foveal.networks import catalogue
from foveal.networks.catalogue import NETWORKS
from foveal.networks.facts import check_size, facts_of
from foveal.networks.index import FILE, INDEX, Facts, check_name, full_name, index_text

NOTATION = "conv 8 3x3, pool 2, flatten, dense classes"


def test_the_index_holds_what_the_catalogue_holds():
    assert FILE.read_text(encoding="utf-8") == index_text(NETWORKS), "run make networks"
    assert {name: Facts.of(entry) for name, entry in NETWORKS.items()} == INDEX
    assert list(INDEX) == list(NETWORKS)


@pytest.mark.parametrize("name", ["resnet18", NOTATION])
def test_facts_are_the_records(name):
    assert facts_of(name) == Facts.of(catalogue.find(name))
    assert full_name(name) == catalogue.find(name).name


@pytest.mark.parametrize("name", ["resnet-18", "", "conv", "cnov 8 3x3, pool 2", "conv 8 3y3, pool 2", "x" * 5000])
def test_the_index_and_the_catalogue_refuse_a_name_in_the_same_words(name):
    with pytest.raises(BadRecipe) as here:
        check_name(name)
    with pytest.raises(BadRecipe) as there:
        catalogue.find(name)
    assert str(here.value) == str(there.value)


def test_a_name_that_stands_in_a_file_is_read_from_it(tmp_path):
    (tmp_path / "net.txt").write_text("conv 8 3x3,  pool 2x2\n# a comment\n")
    assert full_name(str(tmp_path / "net.txt")) == "conv 8 3x3, pool 2"


def test_a_size_too_small_names_what_would_do():
    check_size("resnet18", (32, 40))
    with pytest.raises(BadRecipe) as caught:
        check_size("googlenet_2014", (30, 300))
    assert str(caught.value) == (
        "googlenet_2014 needs pictures of at least 31x31, 79x79 to train with its auxiliary classifier; got 30x300; "
        "try --size 224, or --network lenet5 or nin or resnet20."
    )


def test_names_and_sizes_are_refused_without_pytorch_and_numpy():
    program = """
import sys
from foveal.errors import BadRecipe
from foveal.networks.facts import check_size
from foveal.networks.index import check_name
for refused in (lambda: check_name("resnet-18"), lambda: check_name("cnov 8, pool 2"),
                lambda: check_size("resnet18", (16, 16))):
    try:
        refused()
    except BadRecipe as error:
        print(error)
print(sorted({"torch", "numpy", "pydantic"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert lines[-1] == "[]"
