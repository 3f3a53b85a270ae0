"""Whatever paths, names, settings and folders tell is answered before PyTorch is imported: that alone takes seconds."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file


def model(path, **facts):
    """A file with the header of a model; nothing is read beyond it before PyTorch is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"kind": "model", "format_version": 1, "sha256": "", **facts}
    save_file({"w": np.zeros(3, np.float32)}, path, {"foveal": json.dumps(facts)})


def picture(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(value).integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """flowers/ with two classes, what is wrong in one way each, and a `torch` that must not be imported."""
    place = tmp_path_factory.mktemp("place")
    for i in range(12):
        picture(place / "flowers" / "ab"[i % 2] / f"{i}.png", i)
        picture(place / "single" / "cat" / f"{i}.png", 100 + i)
    (place / "empty").mkdir()
    (place / "link").symlink_to("nowhere")
    (place / "file.txt").write_text("I am a file")
    (place / "w.pth").write_bytes(b"?")
    (place / "zeros.safetensors").write_bytes(bytes(4000))
    model(place / "run" / "model.safetensors", task="classification")
    model(place / "boxes" / "model.safetensors", task="detection")
    (place / "half.cfg").write_text("[net]\n")
    (place / "slip.toml").write_text("[network]\nname = 'lenet-5'\n")
    (place / "net.txt").write_text("conv 8 3x3, poll 2")
    (place / "fake").mkdir()
    (place / "fake" / "torch.py").write_text("raise AssertionError('PyTorch was imported')\n")
    return place


REFUSED = {
    # what the command line itself tells
    "train nowhere/": ['"nowhere/"', "no such file, folder or data set"],
    "train flower": ['did you mean "flowers"?'],
    "train link": ["link", "points to nothing"],
    "train https://example.org/flowers": ["does not open web addresses"],
    "train --resume nowhere": ["nowhere is not a run folder"],
    "train --resume empty": ["empty is not a run folder"],
    "train flowers --recipe none.toml": ["recipe none.toml does not exist"],
    "train flowers --recipe slip.toml": ['"lenet-5"', 'did you mean "lenet5"?'],
    "train flowers --network resnet-18": ['no such network: "resnet-18"', 'did you mean "resnet18"?'],
    "train flowers --network conv(8)": ["line 1, column"],
    "train flowers --network net.txt": ["net.txt, line 1", 'did you mean "pool"?'],
    "train flowers --weights none.pth": ["--weights none.pth: no such file"],
    "train flowers --weights imagenet --network lenet5": ["no published weights for lenet5", "resnet18"],
    "train flowers --train head": ["--train head needs weights"],
    "train flowers --split none.csv": ["table none.csv does not exist"],
    "train flowers --exclude none.csv": ["table none.csv does not exist"],
    "train flowers --device gpu": ['no such device: "gpu"'],
    "train flowers --task clasify": ["auto, classify, multilabel, localise, detect", 'did you mean "classify"?'],
    "train flowers --detector yolo-v3": ["yolo, yolov3, faster-rcnn", 'did you mean "yolov3"?'],
    "train flowers --detector darknet": ["yolo, yolov3, faster-rcnn"],  # it comes out of files alone
    "train flowers --out flowers": ["flowers exists and is not empty"],
    "train flowers --out flowers/run": ["lies inside the pictures' folder"],
    "train flowers --out file.txt": ["file.txt exists and is not a folder"],
    "train flowers --out file.txt/run": ["cannot write to file.txt/run"],
    # what the folder tells
    "train empty": ["empty", "no picture"],
    "train single": ["a classifier needs two classes", '"cat"'],
    "train flowers --task detect": ["--task detect needs boxes"],
    "train flowers --network resnet18 --size 16": ["resnet18 needs pictures of at least 32x32; got 16x16"],
    "train flowers --network auto --size 8": ["at least 16x16"],
    "train flowers --weights w.pth --size 64": ["--weights w.pth needs --network"],
    "train flowers --show-loop --network resnet18 --size 16": ["at least 32x32"],
    # models and pictures
    "predict nowhere x.jpg": ["nowhere does not exist"],
    "predict empty x.jpg": ["empty holds no model.safetensors"],
    "predict zeros.safetensors x.jpg": ["zeros.safetensors is not a model file"],
    "predict half.cfg x.jpg": ["half.weights is not there"],
    "predict run none.jpg": ["none.jpg does not exist"],
    "predict run *.tiff": ['no file matches "*.tiff"'],
    "predict run empty": ["empty holds no picture"],
    "predict run flowers --views many": ["--views must be none, mirror or mirror+shift"],
    "predict run flowers --tile 100": ["--tile is for detectors"],
    "predict run flowers -o file.txt": ["file.txt already exists"],
    "predict boxes flowers --accuracy 0.9": ["--accuracy is for classifiers"],
    "predict boxes flowers --score 0.5 --precision 0.9": ["--score and --precision both"],
    "predict boxes flowers --draw flowers": ["flowers is not empty"],
    "evaluate nowhere flowers": ["nowhere does not exist"],
    "evaluate run nowhere": ['"nowhere": no such file'],
    "evaluate run flowers --precision 0.9": ["--precision is for detectors and multi-label models"],
    "evaluate run empty": ["no picture"],
    # data and networks
    "data check nowhere": ['"nowhere": no such file'],
    "data check empty": ["no picture"],
    "data convert nowhere out --to csv": ['"nowhere": no such file'],
    "networks resnet-18": ['did you mean "resnet18"?'],
    "networks resnet18 --size 16": ["at least 32x32"],
    "networks --compare resnet18 resnet-18": ['did you mean "resnet18"?'],
    "cache claer": ['did you mean "clear"?'],
}


# Commands one after another, as `foveal` runs them, in one process in which importing PyTorch is a fault: each is still
# proven, since an import that failed is tried anew, and a process for each would take a minute.
PROGRAM = """
import contextlib, io, json, sys
from foveal.cli.main import _run
answers = {}
for words in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = _run(words.split(" "), debug=False)
    answers[words] = code, out.getvalue(), err.getvalue()
print(json.dumps(answers))
"""
TRAINED = "train flowers --out new"


@pytest.fixture(scope="module")
def answers(place):
    """(exit code, stdout, stderr) of each command line."""
    before = sorted(place.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=place,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(place / "fake"), os.environ["PYTHONPATH"]])},
        input=json.dumps([*REFUSED, TRAINED]),
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(place.rglob("*")) == before, "nothing was changed"
    return json.loads(done.stdout)


@pytest.mark.parametrize("words", REFUSED)
def test_refused_without_pytorch(words, answers):
    code, out, err = answers[words]
    assert "PyTorch was imported" not in err
    assert code == 2, err
    for needle in REFUSED[words]:
        assert needle in err
    assert len(err.splitlines()) == 1, err
    assert out == ""


def test_a_training_would_have_imported_it(answers):
    code, _, err = answers[TRAINED]
    assert code == 1
    assert "PyTorch was imported" in err


def test_a_wrong_path_is_answered_at_once(place):
    """0.4 s on two free cores; the best of six counts, and others use the machine as well."""

    def seconds(*words):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "foveal", *words], cwd=place, check=False, capture_output=True)
        return time.perf_counter() - started

    assert min(seconds("train", "nowhere/") for _ in range(6)) < 1.2
    assert min(seconds("predict", "nowhere", "x.jpg") for _ in range(3)) < 1.2
