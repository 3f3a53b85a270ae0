"""The setup that every test stands on: offline, one thread, its own cache and home, and no silent skips in CI."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

# Before NumPy or PyTorch is imported anywhere: they read these once.
for _threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_threads] = "1"

import offline  # tests/support, by pytest's `pythonpath`
import pytest
from hypothesis import settings

settings.register_profile("foveal", deadline=None)  # a machine that others use as well has slow moments
settings.load_profile("foveal")

STRICT = bool(os.environ.get("FOVEAL_STRICT"))
# Skips that are no shortcoming of the set-up, even under FOVEAL_STRICT: the machine or the system is another kind.
OF_THE_MACHINE = re.compile(r"CUDA|GPU|MPS|Apple|macOS|Windows|Linux|\broot\b|bf16|cores|not executed", re.IGNORECASE)
SUPPORT = Path(__file__).parent / "support"
SOURCE = Path(__file__).parents[1] / "src"


@pytest.fixture(autouse=True, scope="session")
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """HOME is a temporary folder, in this process and in every child; the network is loopback."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "USERPROFILE"):
            patch.setenv(name, str(home))
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "NO_COLOR", "FORCE_COLOR"):
            patch.delenv(name, raising=False)
        patch.setenv(offline.LOG, str(home / "connections.txt"))
        # Children read this at their start; what PYTHONPATH held stays behind it.
        paths = [str(SUPPORT), str(SOURCE), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(p for p in paths if p))
        offline.block()
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Whatever a test sets, the next one computes with one thread again."""
    yield
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Callable]:
    """Connections beyond this machine that the test, or a child of it, tried to open: none, or the test fails.

    A test that is *about* being offline carries `@pytest.mark.network`, and may ask what was tried by calling this.
    """
    log = tmp_path.parent / f"{tmp_path.name}.connections"
    monkeypatch.setenv(offline.LOG, str(log))

    def tried() -> list[str]:
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []

    yield tried
    if tried() and request.node.get_closest_marker("network") is None:
        pytest.fail(f"tried to connect to {', '.join(tried())}")


@dataclass(frozen=True)
class Finished:
    """A command that ran to its end."""

    exit_code: int
    stdout: str
    stderr: str
    seconds: float


def run_foveal(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None, stdin: str = "", timeout: float = 240
) -> Finished:
    """The command as a child process; what it prints is decoded as UTF-8."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "foveal", *map(os.fspath, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **(env or {})},
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr, time.perf_counter() - started)


@pytest.fixture
def foveal(tmp_path: Path) -> Callable[..., Finished]:
    """`foveal("train", "digits", ...)` runs the command as a child process, in the test's folder."""
    return functools.partial(run_foveal, cwd=tmp_path)


@pytest.fixture
def command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Finished]:
    """`command("train", "digits", ...)` is the same within this process, which has imported everything already."""
    from foveal.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Finished:
        capsys.readouterr()
        started = time.perf_counter()
        code = main._run([str(argument) for argument in arguments], debug=False)
        out, err = capsys.readouterr()
        return Finished(code, out, err, time.perf_counter() - started)

    return run


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """(a run's folder, what its training printed): a small network after two epochs of digits. Not to be changed."""
    place = tmp_path_factory.mktemp("digits")
    env = {"FOVEAL_CACHE": str(place / "cache")}
    words = ("train", "digits", "--network", "mlp", "--epochs", "2", "--exact", "--out", "run")
    done = run_foveal(*words, cwd=place, env=env)
    assert done.exit_code == 0, done.stderr
    return place / "run", done


@pytest.fixture(scope="session")
def torchvision() -> ModuleType:
    """torchvision as an oracle, whatever build of PyTorch is here."""
    import oracles

    return oracles.torchvision()


@pytest.fixture(scope="session")
def timm() -> ModuleType:
    """timm as an oracle."""
    import oracles

    return oracles.timm()


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """`real_data("mnist")`: that folder of real data below $FOVEAL_DATA, or a skip that says what is missing."""

    def find(name: str) -> Path:
        for place in filter(None, os.environ.get("FOVEAL_DATA", "").split(os.pathsep)):
            if (Path(place) / name).exists():
                return Path(place) / name
        pytest.skip(f"no {name} below $FOVEAL_DATA")

    return find


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    return _strictly(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    return _strictly(report)


def _strictly(report: Any) -> Any:
    """Under FOVEAL_STRICT a skip for missing data or a missing oracle is a failure: green must mean tested."""
    if not STRICT or not report.skipped or hasattr(report, "wasxfail"):
        return report
    reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not OF_THE_MACHINE.search(reason):
        report.outcome = "failed"
        report.longrepr = f"FOVEAL_STRICT is set and the test was skipped: {reason}"
    return report
