"""What a model's file may hold is asked before a training, by the very rules by which it is read afterwards."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from foveal.errors import BadData, BadModel, BadRecipe
from foveal.files.foreign import read_foreign
from foveal.files.model_file import KIND, model_file
from foveal.files.tensors import HEADER_MAX_BYTES, read_metadata, write_tensors
from foveal.model_files import LONGEST_NAME, MOST_CLASSES, check_keepable, check_storable, described
from foveal.preprocess import Preprocess
from foveal.recipe import Recipe
from foveal.tasks.classify import Classify
from foveal.tasks.detect import Detect
from foveal.tasks.detection_calibration import ScoreMaps
from foveal.tasks.trust import Trust


def saved(kind: str) -> bytes:
    """A picture's file."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)).save(out, kind)
    return out.getvalue()


RECIPE = Recipe().with_settings({"network.name": "lenet5"})
PLAIN = Preprocess(28, 28, channels=1, mean=(0.5,), std=(0.25,))

GOOD = {
    "the longest": ("a" * LONGEST_NAME, "b"),
    "the longest of other letters": ("\U0001f600" * LONGEST_NAME, "b"),
    "control characters": ("a\nb", "\x1b[31m"),
    "blank": (" ", "b"),
    "many": tuple(map(str, range(20_000))),
}
BAD = {
    "too long": (("a" * (LONGEST_NAME + 1), "b"), '"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…" has a name of 1,001'),
    "no name": (("", "b"), "no name"),
    "no text": (("sur\udcff", "b"), r'"sur\\xff" has a name that is no Unicode text'),
    "too many": (tuple(map(str, range(MOST_CLASSES + 1))), "100,001 classes"),
    "too large": (tuple(f"{n:0500}" for n in range(9000)), r"9,000 classes and the recipe take .* MiB"),
    "too large when escaped": (tuple(f"{n}" + "\U0001f600" * 100 for n in range(4000)), "shorter names"),
}


def metadata_of(classes):
    """As `write_model` has them."""
    return {
        "task": "classification", "network": {"name": "lenet5", "options": {}}, "classes": list(classes),
        "preprocess": PLAIN.as_dict(), "temperature": 1.0, "trust": None, "trained": {"recipe": RECIPE.to_toml()},
    }  # fmt: skip


def written_and_read(path, classes):
    """What a file with these classes says of itself."""
    write_tensors(path, {"w": torch.zeros(2)}, metadata_of(classes), KIND)
    return described(read_metadata(path, KIND), path)


@pytest.mark.parametrize("what", GOOD)
def test_what_passes_is_read_again(what, tmp_path):
    classes = GOOD[what]
    check_keepable(Classify, classes, RECIPE, "here")
    assert written_and_read(tmp_path / "m.safetensors", classes).classes == classes


@pytest.mark.parametrize("what", BAD)
def test_what_would_not_be_read_is_refused(what, tmp_path):
    classes, words = BAD[what]
    with pytest.raises(BadData, match=words) as refused:
        check_keepable(Classify, classes, RECIPE, "here")
    assert len(str(refused.value)) < 300
    with pytest.raises(BadModel):
        written_and_read(tmp_path / "m.safetensors", classes)


def test_scores_of_many_classes_are_counted_before_they_are_calibrated():
    classes = tuple(map(str, range(45_000)))
    check_keepable(Classify, classes, RECIPE, "here")
    with pytest.raises(BadData, match="45,000 classes"):
        check_keepable(Detect, classes, RECIPE, "here")
    K = 1000  # what is reckoned for a class is what its map takes at most
    worst = (-1.2345678901234567e-100,) * K
    maps = ScoreMaps(worst, worst, worst)
    assert len(str({"a": maps.a, "b": maps.b, "c": maps.c})) < 80 * K + 100


def test_a_network_of_too_long_a_name_is_refused():
    with pytest.raises(BadRecipe, match="too long for the name of a network"):
        check_keepable(Classify, ("a", "b"), RECIPE.with_settings({"network.name": "x" * 10_001}), "here")


def test_a_header_that_would_not_be_read_is_not_written(tmp_path):
    with pytest.raises(BadModel, match="cannot be written"):
        write_tensors(tmp_path / "m", {"w": torch.zeros(2)}, {"trained": "é" * (HEADER_MAX_BYTES // 6)}, KIND)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.full((2, 2), -torch.inf), 'the network\'s tensor "mask" has NaN or infinite values'),
        (torch.zeros(2, dtype=torch.complex64), 'the network\'s tensor "mask" is complex64'),
    ],
)
def test_a_module_with_a_tensor_that_no_file_holds_is_refused_before_it_is_trained(value, words):
    network = nn.Linear(2, 2)
    check_storable(network)
    network.register_buffer("mask", value)
    with pytest.raises(BadModel, match=words):
        check_storable(network)


def test_a_table_with_a_long_name_is_refused_before_a_folder_is_made(command, tmp_path):
    rows = ["path,label"]
    for number in range(8):
        Image.new("L", (8, 8), 25 * number).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{('long' * 251, 'b')[number % 2]}")
    Path(tmp_path / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    done = command("train", tmp_path / "labels.csv", "--network", "mlp", "--epochs", "1", "--out", "run")
    assert done.exit_code == 2
    assert "1,004 letters, and 1,000 are the most" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("key", ["ensemble", "network.mirror", "preprocess.gamma", "trust.bound"])
def test_what_is_not_known_here_is_refused_by_its_name(key, tmp_path):
    metadata = metadata_of(("a", "b"))
    metadata["trust"] = Trust.of(np.eye(2, dtype=np.float32), np.arange(2), 1.0, 0.0).facts()
    described(metadata, tmp_path)
    section, _, name = key.rpartition(".")
    (metadata[section] if section else metadata)[name] = 1
    with pytest.raises(BadModel, match=f'metadata "{key}" is not known here: a newer foveal wrote it'):
        described(metadata, tmp_path)
    metadata["trained"] |= {"anything": 1}  # what is told of a training is for people


FILES = {
    "PNG picture": saved("PNG"),
    "JPEG picture": saved("JPEG"),
    "GIF picture": saved("GIF"),
    "BMP picture": saved("BMP"),
    "TIFF picture": saved("TIFF"),
    "WebP picture": saved("WEBP"),
    "web page; download the file again": b"\n<!DOCTYPE html><html><body>404</body></html>",
    "Git LFS pointer; run": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n",
    "PDF document": b"%PDF-1.7\n" + bytes(100),
    "gzip file": gzip.compress(bytes(1000)),
    "JSON text": b'{"classes": ["a", "b"]}',
    "XML text": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "text": "größer, 中文\n".encode() * 100,
    "Parquet table": b"PAR1" + bytes(50) + b"PAR1",
}


@pytest.mark.parametrize("kind", FILES)
def test_another_file_is_called_what_it_is(kind, tmp_path):
    (tmp_path / "m.safetensors").write_bytes(FILES[kind])
    for read in (model_file, read_foreign):
        with pytest.raises(BadModel, match=f"m.safetensors is an? {kind}") as refused:
            read(tmp_path / "m.safetensors")
        assert "header length" not in str(refused.value)
