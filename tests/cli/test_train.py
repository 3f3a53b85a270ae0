"""`foveal train` and `foveal evaluate`, from the command line to the files and back."""

import json
import os
import signal
import subprocess
import sys
import tomllib

import pytest

from foveal.cli._elsewhere import ELSEWHERE
from foveal.cli.train import _recipe, summary
from foveal.recipe import Recipe

LONG = ("training.minutes", 2.0, "--minutes")


@pytest.fixture(name="foveal")
def within_this_process(command):
    """The command, without a process of its own: what that costs is the imports."""
    return command


def test_training_ends_with_the_result_and_what_to_type_next(digits_run):
    folder, done = digits_run
    assert done.stdout.splitlines()[0].startswith("test      ")
    assert "on 360 pictures (95 % interval" in done.stdout
    for word in ("baseline", "run/model.safetensors", "run/report.html", "foveal predict run"):
        assert word in done.stdout
    assert (folder / "report.html").exists()
    assert "\x1b" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_recipe_beside_the_result_holds_what_was_typed(digits_run):
    recipe = tomllib.loads((digits_run[0] / "recipe.toml").read_text())
    assert recipe["network"]["name"] == "mlp"
    assert recipe["training"]["epochs"] == 2
    assert recipe["data"]["source"] == "digits"


def test_evaluate_gives_the_figures_of_the_report(foveal, digits_run):
    folder, _ = digits_run
    told = json.loads((folder / "metrics.json").read_text())["test"]
    scored = json.loads(foveal("evaluate", folder, "digits", "--json").stdout)
    assert scored["n"] == told["n"] == 360
    assert scored["top1"] == pytest.approx(told["top1"])
    assert scored["loss"] == pytest.approx(told["loss"], rel=1e-4)
    assert (scored["on"], scored["views"]) == ("test", "none")


def test_evaluate_prints_a_page_with_every_class_and_what_is_taken_for_what(foveal, digits_run):
    done = foveal("evaluate", digits_run[0], "digits", "--views", "mirror")
    assert done.exit_code == 0, done.stderr
    assert "on 360 pictures" in done.stdout
    assert "views: mirror" in done.stdout
    matrix = done.stdout.split("truth \\ answer")[1].split("\n\n")[0].splitlines()[1:]
    assert sum(int(count) for line in matrix for count in line.split()[1:]) == 360


def test_json_names_the_run_and_holds_the_metrics(foveal, tmp_path):
    done = foveal(
        "train", "digits", "--network", "mlp", "--epochs", "1", "--exact", "--json", "--set", "augment.preset=off"
    )
    result = json.loads(done.stdout)
    assert result["metrics"]["test"]["n"] == 360
    folder = tmp_path / result["run"]
    assert json.loads((folder / "metrics.json").read_text())["test"]["top1"] == result["metrics"]["test"]["top1"]
    assert tomllib.loads((folder / "recipe.toml").read_text())["augment"]["preset"] == "off"


def test_show_loop_prints_a_program_and_trains_nothing(foveal, tmp_path):
    done = foveal("train", "digits", "--network", "mlp", "--epochs", "1", "--exact", "--show-loop")
    assert done.exit_code == 0, done.stderr
    compile(done.stdout, "loop.py", "exec")
    assert "optimizer.step()" in done.stdout
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere/"], ["nowhere"]),
        (["digitz"], ["digitz", 'did you mean "digits"?']),
        (["digits", "--network", "resnet-18"], ['"resnet-18"', 'did you mean "resnet18"?']),
        (["digits", "--device", "cuda:9"], ["cuda:9"]),
        (["."], ["no"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(foveal, tmp_path, arguments, words):
    done = foveal("train", *arguments)
    assert done.exit_code == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--set training.epochs=3 --minutes 2", "--epochs and --minutes both say how long"),
        ("--compare --weights imagenet --epochs 3", "drop training.epochs"),
        ("--compare --weights imagenet --train head", "drop network.train"),
        ("--set training.blend=0.5", "is only used with pretrained weights"),
        ("--detector yolov3", "--task classify does not use it"),
    ],
)
def test_what_nothing_would_read_is_refused(foveal, tmp_path, arguments, words):
    done = foveal("train", "digits", *arguments.split())
    assert done.exit_code == 2
    assert words in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--lr", "--set training.learning_rate=…"),
        ("--learning-rate", "--set training.learning_rate=…"),
        ("--training.lr", "--set training.learning_rate=…"),
        ("--optimiser", "--set training.optimizer=…"),
        ("--dropout", "--set network.dropout=…"),
        ("--weight-decay", "--set training.weight_decay=…"),
        ("--patience", "--set training.early_stopping=…"),
        ("--imgsz", "--size"),
        ("--batch-size", "--batch"),
        ("--epoch", "--epochs"),
        ("--data-dir", "SOURCE"),
    ],
)
def test_an_option_of_another_tool_is_told_by_its_name_here(foveal, typed, meant):
    done = foveal("train", "digits", typed, "1")
    assert done.exit_code == 2
    assert done.stderr == f'foveal train: no option "{typed}"; did you mean "{meant}"? (foveal train --help)\n'


def test_every_name_of_another_tool_is_a_key():
    for section, _, key in (name.partition(".") for name in ELSEWHERE.values()):
        assert hasattr(getattr(Recipe(), section), key)


def test_of_how_long_the_file_and_the_command_say_the_command_wins(tmp_path):
    saved = tmp_path / "recipe.toml"
    planned = {"training.minutes": 5.0, "training.epochs": 12}
    saved.write_text(Recipe().with_settings(planned | {"data.source": "digits"}).to_toml(), encoding="utf-8")
    as_it_was, shorter = (_recipe(saved, changes, None)[0].training for changes in ([], [LONG]))
    assert (as_it_was.minutes, as_it_was.epochs) == (5.0, 12)
    assert (shorter.minutes, shorter.epochs) == (2.0, "auto")
    counted = _recipe(saved, [("training.epochs", 3, "--epochs")], None)[0].training
    assert (counted.minutes, counted.epochs) == (0.0, 3)


def test_a_folder_in_use_is_left_alone(foveal, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("done")
    done = foveal("train", "digits", "--out", "mine")
    assert done.exit_code == 2
    assert "mine" in done.stderr
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_score_that_a_leak_makes_too_good_is_marked():
    metrics = {"test": {"n": 10, "top1": 1.0}, "leak": 3}
    assert any("too optimistic: 3" in line for line in summary(metrics, []))
    assert not any("too optimistic" in line for line in summary({**metrics, "leak": 0}, []))


@pytest.mark.skipif(os.name != "posix", reason="signals as Linux and macOS have them")
@pytest.mark.parametrize(("stop", "code"), [(signal.SIGTERM, 143)])  # SIGINT: tests/test_runs.py
def test_a_signal_ends_the_training_with_its_own_code_and_the_way_on(tmp_path, stop, code):
    words = ["train", "digits", "--network", "mlp", "--epochs", "5000", "--exact", "--out", "run"]
    child = subprocess.Popen(
        [sys.executable, "-m", "foveal", *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        for line in child.stderr:
            if line.startswith("epoch 1"):
                child.send_signal(stop)
                break
        rest, out = child.stderr.read(), child.stdout.read()
    assert child.returncode == code
    assert "foveal train --resume run" in rest.splitlines()[-1]
    assert "Traceback" not in rest
    assert out == ""
