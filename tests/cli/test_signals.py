"""SIGINT and SIGTERM at any moment: a sentence, the right exit code, nothing half written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foveal.cli.main import _run
from foveal.cli.signals import Signals
from foveal.errors import BadData, Stopped, leaving
from foveal.files.durable import new_folder, write_text
from foveal.files.run_folder import begun_run, way_on

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")

# A command that gets a signal when it first imports a module: a moment that no machine is too slow or too fast for.
AT_AN_IMPORT = """
import os, sys
class Meanwhile:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Meanwhile())
sys.argv = ["foveal", *{words!r}]
from foveal.cli.main import run
run()
"""
# A command that lets nobody end it.
STUBBORN = """
import sys, time
from foveal.cli import signals
signals.GRACE_SECONDS = {grace}
ready = False
signals.Signals().heed()
while True:
    try:
        if not ready:
            ready = True
            print("ready", flush=True)
        time.sleep(9)
    except BaseException:
        pass
"""


def at_import(module: str, number: int, place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = AT_AN_IMPORT.format(module=module, number=int(number), words=list(words))
    return subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("module", "number", "name"), [("typer", signal.SIGTERM, "SIGTERM"), ("numpy", signal.SIGINT, "SIGINT")]
)
def test_a_signal_while_things_are_imported_is_told_in_a_sentence(tmp_path, module, number, name):
    done = at_import(module, number, tmp_path, "train", "digits", "--network", "mlp", "--out", "run")
    assert (done.returncode, done.stdout) == (128 + number, "")
    assert done.stderr.splitlines()[-1] == f"Stopped by {name}; nothing was saved."
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()  # nothing to go on with


def stubborn(grace: float) -> subprocess.Popen[str]:
    running = subprocess.Popen(
        [sys.executable, "-c", STUBBORN.format(grace=grace)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    return running


def test_who_has_not_ended_after_a_while_is_ended():
    running = stubborn(grace=0.2)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 143
    assert said == "Stopped by SIGTERM, in the middle of its work; everything saved before that is kept.\n"


def test_a_second_signal_ends_at_once():
    running = stubborn(grace=200)
    running.send_signal(signal.SIGINT)
    time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert (running.returncode, said) == (130, "Stopped by SIGINT, at once; everything saved before that is kept.\n")


def test_signals_are_left_alone_where_foveal_is_no_command():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert _run(["--version"], debug=False) == 0
    Signals()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def stop_in(folder: Path) -> str:
    """The sentence of a run that is stopped after it wrote its recipe."""
    write_text(folder / "recipe.toml", "")
    with pytest.raises(Stopped) as stop, leaving(lambda: way_on(folder)), begun_run(folder):
        raise Stopped("SIGTERM", 143)
    return str(stop.value)


def test_a_run_stopped_before_anything_was_trained_leaves_no_folder(tmp_path):
    new_folder(tmp_path / "run")
    assert stop_in(tmp_path / "run") == "Stopped by SIGTERM; nothing was saved."
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("trained", ["history.csv", "model.safetensors", "checkpoint/epoch-1.safetensors"])
def test_a_run_in_which_something_was_trained_says_how_to_go_on(tmp_path, trained):
    folder = tmp_path / "run"
    (folder / trained).parent.mkdir(parents=True)
    (folder / trained).touch()
    assert stop_in(folder) == f"Stopped by SIGTERM; resume with: foveal train --resume {folder}"
    assert (folder / "recipe.toml").exists()
    with pytest.raises(BadData), begun_run(folder):
        raise BadData("a refusal after the training")
    assert (folder / "recipe.toml").exists()


def test_the_inmost_tells_what_is_left():
    with pytest.raises(Stopped) as stop, leaving(lambda: "outer"), leaving(lambda: "inner"), leaving(lambda: ""):
        raise Stopped("SIGINT", 130)
    assert str(stop.value) == "Stopped by SIGINT; inner"


def test_a_stop_that_an_import_turned_into_its_own_error_is_still_one(monkeypatch, capsys):
    def fails(arguments: list[str]) -> int:
        try:
            raise Stopped("SIGTERM", 143)
        except Stopped as stop:
            raise ImportError("initialization failed") from stop

    monkeypatch.setattr("foveal.cli.app.called", fails)
    assert _run(["doctor"], debug=False) == 143
    assert capsys.readouterr().err == "Stopped by SIGTERM; nothing was saved.\n"


def test_no_half_written_file_outlives_a_stop(tmp_path, monkeypatch):
    import foveal.files.durable as durable

    def stop(descriptor: int) -> None:
        raise Stopped("SIGINT", 130)

    monkeypatch.setattr(durable, "sync", stop)
    with pytest.raises(Stopped):
        write_text(tmp_path / "a.txt", "half")
    assert list(tmp_path.iterdir()) == []
