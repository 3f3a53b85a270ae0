"""Names that are free, and the numbers that make them so."""

from __future__ import annotations

from pathlib import Path

import pytest

from foveal.files.free_names import as_word, first_free
from foveal.files.run_folder import free_folder


def test_any_text_becomes_a_word_that_can_be_a_name() -> None:
    texts = ("flowers", "timm:resnet26", "../..", "größe 2", "", "a" * 100)
    assert [as_word(text) for text in texts] == ["flowers", "timm-resnet26", "", "größe-2", "", "a" * 60]


def test_the_first_free_number_is_taken() -> None:
    assert first_free(str, {"1", "2", "4"}.__contains__) == ("3", 3)
    assert first_free(str, {"1", "2", "4"}.__contains__, start=4) == ("5", 5)


def test_a_run_is_called_by_its_pictures_and_its_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert free_folder("in/flowers/", "resnet18") == Path("runs/flowers-resnet18-1")
    Path("runs/flowers-resnet18-1").mkdir(parents=True)
    Path("runs/flowers-resnet18-3").mkdir()
    assert free_folder("in/flowers/", "resnet18") == Path("runs/flowers-resnet18-2")
    assert free_folder("/", "conv(8), pool 2") == Path("runs/data-conv-8-pool-2-1")
