"""What the process may use of the machine, and how its threads wait."""

import os
import subprocess
import sys

import pytest

from foveal import machine
from foveal.machine import WAITING, cores_allowed, cpu_quota, instruction_class, memory, prepare_threads


def groups(tmp_path, membership, **files):
    """A tree of control groups: {"a__cpu.max": "50000 100000"} is a/cpu.max."""
    (tmp_path / "membership").write_text(membership)
    for name, content in files.items():
        file = tmp_path.joinpath("tree", *name.split("__"))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return cpu_quota(tmp_path / "tree", tmp_path / "membership")


def test_a_container_with_half_a_core_has_half_a_core(tmp_path):
    assert groups(tmp_path, "0::/box\n", **{"box__cpu.max": "50000 100000\n"}) == 0.5


def test_a_group_has_no_more_than_the_groups_around_it(tmp_path):
    files = {"a__b__cpu.max": "max 100000\n", "a__cpu.max": "150000 100000\n", "cpu.max": "max 100000"}
    assert groups(tmp_path, "0::/a/b\n", **files) == 1.5


def test_version_one_says_it_in_two_files(tmp_path):
    files = {"cpu__box__cpu.cfs_quota_us": "200000\n", "cpu__box__cpu.cfs_period_us": "100000\n"}
    assert groups(tmp_path, "4:memory:/other\n3:cpu,cpuacct:/box\n", **files) == 2.0
    files = {"cpu__box__cpu.cfs_quota_us": "-1\n", "cpu__box__cpu.cfs_period_us": "100000\n"}
    assert groups(tmp_path, "3:cpu,cpuacct:/box\n", **files) is None


@pytest.mark.parametrize("odd", ["", "max", "a b", "0 0", "5", "\0\0", "1 2 3"])
def test_an_odd_group_grants_everything(tmp_path, odd):
    assert groups(tmp_path, "0::/box\n", **{"box__cpu.max": odd}) is None


def test_no_groups_at_all(tmp_path):
    assert cpu_quota(tmp_path / "nothing", tmp_path / "nowhere") is None


@pytest.mark.parametrize(("quota", "cores"), [(None, 4), (0.5, 1), (0.2, 1), (1.4, 1), (1.5, 2), (3.0, 3), (64.0, 4)])
def test_cores_are_what_the_quota_pays_for(monkeypatch, quota, cores):
    monkeypatch.setattr(machine, "cpu_quota", lambda: quota)
    monkeypatch.setattr(machine, "_cores_in_sight", lambda: 4)
    assert cores_allowed() == cores


def test_threads_that_wait_sleep():
    environment = {"HOME": "/home/me"}
    prepare_threads(environment)
    assert WAITING.items() <= environment.items()


@pytest.mark.parametrize("name", WAITING)
def test_what_the_user_says_about_waiting_stays_and_nothing_overrules_it(name):
    environment = {name: "mine"}
    prepare_threads(environment)
    assert {key: value for key, value in environment.items() if key in WAITING} == {name: "mine"}


def test_a_quota_limits_the_threads_unless_the_user_does(monkeypatch):
    monkeypatch.setattr(machine, "cpu_quota", lambda: 0.5)
    monkeypatch.setattr(machine, "_cores_in_sight", lambda: 4)
    environment = {}
    prepare_threads(environment)
    assert environment["OMP_NUM_THREADS"] == "1"
    for name in machine.THREADS_SET_BY:
        environment = {name: "3"}
        prepare_threads(environment)
        assert [environment.get(key) for key in machine.THREADS_SET_BY if key in environment] == ["3"]


def test_without_a_quota_openmp_counts_the_cores_itself(monkeypatch):
    monkeypatch.setattr(machine, "cpu_quota", lambda: None)
    environment = {}
    prepare_threads(environment)
    assert "OMP_NUM_THREADS" not in environment


@pytest.mark.skipif(sys.platform != "linux", reason="libgomp's own display is looked at on Linux")
@pytest.mark.parametrize(("own", "seen"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "active"}, "ACTIVE")])
def test_openmp_reads_what_the_command_has_set(tmp_path, own, seen):
    """Set in Python before PyTorch is imported, the variables reach its runtime, which says so itself."""
    told = "import sys; sys.argv = ['foveal', 'doctor', '--json']\nfrom foveal.cli.main import run\nrun()"
    kept = {key: value for key, value in os.environ.items() if key not in WAITING}
    done = subprocess.run(
        [sys.executable, "-c", told], env={**kept, **own, "OMP_DISPLAY_ENV": "verbose"}, capture_output=True, text=True,
        cwd=tmp_path, timeout=120, check=False,
    )  # fmt: skip
    assert f"OMP_WAIT_POLICY = '{seen}'" in done.stderr


def test_the_class_of_a_processor():
    assert instruction_class(frozenset({"avx2", "fma"})) == "AVX2"
    assert instruction_class(frozenset({"avx2", "avx512f"})) == "AVX-512"
    assert instruction_class(frozenset({"avx2", "avx512f", "avx512_bf16", "amx_bf16"})) == "AVX-512 with AMX"
    assert instruction_class(frozenset({"sse2"})) == "unknown"


def test_memory_is_told_or_not_known(monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:  2000 kB\nMemFree: 1 kB\nMemAvailable:  500 kB\n")
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "groups")
    assert memory() == (2_048_000, 512_000)
    (tmp_path / "groups").mkdir()
    (tmp_path / "groups" / "memory.max").write_text("1000000\n")
    (tmp_path / "groups" / "memory.current").write_text("900000\n")
    assert memory() == (1_000_000, 100_000)
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "nothing")
    assert memory() is None
