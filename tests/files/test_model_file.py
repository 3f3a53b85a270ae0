"""Which file a model's path means, told before anything computes."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from foveal.errors import BadModel, Missing
from foveal.files.model_file import model_file


def header(path, **facts):
    """A file with the header of foveal's; its tensors are never asked for."""
    facts = {"kind": "model", "format_version": 1, "sha256": "", **facts}
    save_file({"w": np.zeros(3, np.float32)}, path, {"foveal": json.dumps(facts)})
    return path


def test_a_runs_folder_stands_for_its_model(tmp_path):
    path = header(tmp_path / "model.safetensors", task="classification")
    assert model_file(tmp_path) == model_file(path)
    assert model_file(str(tmp_path)).path == path
    assert not model_file(path).detects


def test_the_header_tells_a_detector_and_so_does_darknets_name(tmp_path):
    assert model_file(header(tmp_path / "boxes.safetensors", task="detection")).detects
    for name in ("net.cfg", "net.weights"):
        (tmp_path / name).write_bytes(b"")
    for name in ("net.cfg", "net.weights"):
        found = model_file(tmp_path / name)
        assert (found.path, found.metadata, found.detects) == (tmp_path / name, None, True)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("nowhere", BadModel, "nowhere does not exist"),
        ("empty", Missing, "empty holds no model.safetensors: the run has not finished"),
        ("half.cfg", Missing, "half.weights is not there; half.cfg needs it"),
        ("half.weights", Missing, "half.weights is not there; half.cfg needs it"),
        ("zeros.safetensors", BadModel, "zeros.safetensors is not a model file"),
        ("checkpoint.safetensors", BadModel, "is a checkpoint, not a model"),
    ],
)
def test_what_is_no_model_is_refused_in_one_sentence(tmp_path, name, error, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "half.cfg").write_text("[net]\n")
    (tmp_path / "zeros.safetensors").write_bytes(bytes(4000))
    header(tmp_path / "checkpoint.safetensors", kind="checkpoint")
    with pytest.raises(error, match=words) as caught:
        model_file(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_header_is_read_without_numpy_and_pytorch(tmp_path):
    header(tmp_path / "model.safetensors", task="detection")
    program = (
        "import sys; from foveal.files.model_file import model_file; "
        f"print(model_file({str(tmp_path)!r}).detects, sorted({{'torch', 'numpy', 'pydantic'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"
