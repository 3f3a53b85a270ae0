"""The command line as a person meets it: each test is a child process."""

import json
import os
import subprocess
import sys
import time

import pytest

COMMANDS = ("train", "predict", "evaluate", "networks", "cache")


@pytest.mark.parametrize("command", [(), *[(name,) for name in COMMANDS]], ids=lambda c: " ".join(c) or "foveal")
def test_help_tells_what_for_and_shows_examples(foveal, command):
    done = foveal(*command, "--help")
    assert done.exit_code == 0
    assert done.stderr == ""
    assert "Usage: foveal" in done.stdout
    assert "Examples:" in done.stdout
    assert "\x1b" not in done.stdout


def test_help_lists_every_command_with_a_line(foveal):
    out = foveal("--help").stdout
    for name in COMMANDS:
        assert f"  {name} " in out


def test_no_argument_shows_the_help(foveal):
    assert foveal().stdout == foveal("--help").stdout


def test_version_is_the_packages(foveal):
    import foveal as package

    assert foveal("--version").stdout == f"foveal {package.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian", "digits"], ['no command "trian"', 'did you mean "train"?']),
        (["dance"], ['no command "dance"', "train, predict"]),
        (
            ["train", "digits", "--epoch", "3"],
            ['no option "--epoch"', 'did you mean "--epochs"?', "foveal train --help"],
        ),
        (["train", "digits", "-Q"], ["foveal train", "-Q"]),
        (["train"], ["needs SOURCE"]),
        (["train", "digits", "--epochs", "0"], ["--epochs", "at least 1", "is 0"]),
        (["train", "digits", "--epochs", "ten"], ["--epochs", "whole number", '"ten"']),
        (["train", "digits", "--epochs", "2", "--minutes", "1"], ["--epochs and --minutes"]),
        (["train", "digits", "--seed", "-1"], ["--seed", "at least 0"]),
        (["train", "digits", "--size", "huge"], ["--size", "224"]),
        (["train", "digits", "--set", "training.learning_rat=1"], ['"training.learning_rat"', '"learning_rate"']),
        (["train", "digits", "--set", "nonsense"], ["--set takes section.key=value"]),
        (["train", "digits", "--recipe", "none.toml"], ["none.toml"]),
        (["train", "digits", "--resume", "run"], ["drop SOURCE"]),
        (["predict"], ["foveal predict", "MODEL"]),
        (["predict", "model", "a.png", "--csv", "--json"], ["--csv and --json"]),
        (["predict", "model", "a.png", "-o", "nowhere/out.csv"], ["nowhere"]),
        (["predict", "model", "a.png", "--top", "0"], ["--top"]),
        (["evaluate", "model", "digits", "--on", "tset"], ['"tset"', 'did you mean "test"?']),
        (["cache", "claer"], ['"claer"', 'did you mean "clear"?']),
        (["networks", "too", "many"], ["give one network", "--compare too many"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_slip_is_answered_in_one_sentence_and_changes_nothing(foveal, tmp_path, arguments, words):
    done = foveal(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_names_from_outside_cannot_move_the_cursor(foveal):
    done = foveal("tra\x1b[31m\nin\u202e")
    assert done.exit_code == 2
    assert "\x1b" not in done.stderr
    assert "\u202e" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_name_that_is_not_utf8_is_shown_by_its_bytes(foveal):
    done = foveal(os.fsdecode(b"\xff\xfe"), env={"PYTHONUTF8": "1"})
    assert done.exit_code == 2
    assert r"\xff\xfe" in done.stderr


def test_debug_shows_the_traceback_wherever_it_stands(foveal):
    for arguments in (["--debug", "cache", "no"], ["cache", "no", "--debug"]):
        done = foveal(*arguments)
        assert done.exit_code == 2
        assert "Traceback" in done.stderr
        assert done.stderr.splitlines()[-1].startswith("foveal cache")


def test_networks_are_listed_for_people_and_for_programs(foveal):
    lines = foveal("networks").stdout.splitlines()
    facts = json.loads(foveal("networks", "--json").stdout)
    assert [line.split()[0] for line in lines[1:]] == [fact["name"] for fact in facts]
    assert {"mlp", "lenet5", "resnet18"} <= {fact["name"] for fact in facts}
    assert not any("\x1b" in line for line in lines)


def test_a_reader_who_goes_away_ends_the_command_quietly(tmp_path):
    script = f"{sys.executable} -m foveal networks | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode in (0, 141)  # 0 where the pipe took all before its reader left


def _seconds(*arguments: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def test_import_and_help_are_quick():
    """At most 0.1 s and 0.3 s beyond bare Python. The best of five counts: others use the machine as well."""
    bare = min(_seconds("-c", "pass") for _ in range(5))
    assert min(_seconds("-c", "import foveal") for _ in range(5)) < bare + 0.1
    assert min(_seconds("-m", "foveal", "--help") for _ in range(5)) < bare + 0.3


@pytest.mark.parametrize("statement", ["import foveal", "import foveal.cli.main"])
def test_nothing_heavy_is_imported_before_it_is_used(statement):
    heavy = "{'torch', 'numpy', 'PIL', 'cv2', 'sklearn', 'skimage', 'matplotlib', 'pydantic', 'rich', 'jinja2'}"
    code = f"import sys; {statement}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "words",
    [
        "train digits --out https://example.org/run",
        "train --resume https://example.org/run",
        "train digits --recipe=https://example.org/a.toml",
        "predict https://example.org/m.safetensors a.png",
        "predict m.safetensors s3://bucket/a.png",
        "evaluate m.safetensors digits --split https://example.org/a.csv",
        "data convert digits https://example.org/out --to csv",
        "networks lenet5 --html file:///tmp/page.html",
    ],
)
def test_an_address_is_refused_as_it_was_typed_wherever_a_path_is_due(command, tmp_path, words):
    done = command(*words.split())
    assert done.exit_code == 2
    typed = next(word.rpartition("=")[2] for word in words.split() if "://" in word)
    assert done.stderr == f"{typed}: foveal does not open web addresses; download the file and give its path.\n"
    assert list(tmp_path.iterdir()) == []


def test_what_libraries_say_is_heard_with_debug_alone(monkeypatch):
    import warnings

    from foveal.cli.main import _hush

    heard = list[str]()
    monkeypatch.setattr(warnings, "showwarning", lambda message, *where, **more: heard.append(str(message)))
    monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", "ERROR")
    _hush()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("divide by zero encountered", RuntimeWarning, stacklevel=1)
        warnings.warn("passed is abstained", DeprecationWarning, stacklevel=1)
    assert heard == ["passed is abstained"]
