"""A cfg is read by a parser that runs nothing; a weights file is the one of its cfg, or refused with its reason."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.errors import BadModel, FovealError
from foveal.files.darknet import MOST_SECTIONS, Section, parse_cfg, read_cfg, read_weights

CFG = """\
# a comment
; another one
[net]
 width = 64   # pixels
height=3 2

[convolutional]
filters=8
anchors = 1,2,  3.5,4,
activation=leaky
"""


def _cfg(text: str) -> list[Section]:
    return parse_cfg(text, "some.cfg")


def test_sections_values_and_lines_are_read_and_blanks_and_comments_mean_nothing() -> None:
    net, conv = _cfg(CFG)
    assert (net.kind, net.line, conv.kind, conv.line) == ("net", 3, "convolutional", 7)
    assert net.integer("width", 0, 1, 100) == 64
    assert net.integer("height", 0, 1, 100) == 32  # Darknet drops every blank
    assert conv.numbers("anchors", 0, 10) == (1, 2, 3.5, 4)
    assert conv.integers("mask", 0, 5) == ()
    assert conv.one_of("activation", "linear", ("leaky", "linear")) == "leaky"
    assert conv.number("absent", 0.5, 0, 1) == 0.5
    assert "filters" in conv
    assert "groups" not in conv


def test_a_file_reads_as_its_text_whatever_its_line_ends_and_encoding_of_comments(tmp_path: Path) -> None:
    path = tmp_path / "some.cfg"
    path.write_bytes(b"\xef\xbb\xbf" + CFG.replace("\n", "\r\n").replace("another", "caf\xe9").encode("cp1252"))
    assert read_cfg(path) == _cfg(CFG)


def _refused_cfg(text: str) -> str:
    with pytest.raises(BadModel) as caught:
        _cfg(text)
    return str(caught.value)


def test_what_is_no_cfg_is_refused_with_its_line() -> None:
    assert _refused_cfg("") == "some.cfg is not a Darknet cfg: there is no [section] in it."
    assert 'line 2, "width=3", is before any [section]' in _refused_cfg("\nwidth=3\n[net]")
    assert 'line 2: "hello" is neither key=value nor a [section].' in _refused_cfg("[net]\nhello")
    assert 'line 2: "=5" is neither' in _refused_cfg("[net]\n=5")
    assert 'line 1: "[net" is no [section].' in _refused_cfg("[net")
    assert 'line 1: "[]" is no [section].' in _refused_cfg("[]")
    assert len(_refused_cfg(f"[{'x' * 100_000}]")) < 150
    assert "line 1, [yolo] stands first; a Darknet cfg begins with [net]." in _refused_cfg("[yolo]")
    assert f"more than {MOST_SECTIONS} sections" in _refused_cfg("[net]\n" * (MOST_SECTIONS + 1))
    assert "\\x1b" in _refused_cfg("[net]\n\x1b[2J")
    assert "\x1b" not in _refused_cfg("[net]\n\x1b[2J")


def test_values_are_what_is_asked_for_or_refused_with_their_line() -> None:
    (net,) = _cfg("[net]\na=2\nb=x\nc=1e999\nd=1_0\ne=2.5\nf=1\nf=2\ng=3\ng=3\nh=relux\ni=" + "9" * 5000)

    def refused(call: object) -> str:
        with pytest.raises(BadModel) as caught:
            call()  # type: ignore[operator]
        return str(caught.value)

    assert refused(lambda: net.integer("a", 0, 3, 9)) == "some.cfg, line 2, [net]: a must be 3 to 9, and is 2."
    assert 'line 3, [net]: b must be a whole number, and is "x"' in refused(lambda: net.integer("b", 0, 0, 9))
    assert "c must be 0 to 9, and is inf" in refused(lambda: net.number("c", 0, 0, 9))
    assert "d must be a whole number" in refused(lambda: net.integer("d", 0, 0, 99))
    assert "e must be a whole number" in refused(lambda: net.integer("e", 0, 0, 99))
    assert "f twice with different values (lines 7 and 8)" in refused(lambda: net.integer("f", 0, 0, 9))
    assert net.integer("g", 0, 0, 9) == 3
    assert 'unknown h "relux"; did you mean "relu"?' in refused(lambda: net.one_of("h", "", ("relu", "linear")))
    assert len(refused(lambda: net.integer("i", 0, 0, 9))) < 150
    assert "b must be a number" in refused(lambda: net.numbers("b", 0, 9))


def test_a_key_that_nearly_is_one_that_counts_is_refused() -> None:
    (net,) = _cfg("[net]\nwidht=3\nlearning_rate=1")
    with pytest.raises(BadModel, match=r'line 2, \[net\] has the unknown key "widht"; did you mean "width"\?'):
        net.refuse_misspelt(("width", "height"))
    net.refuse_misspelt(("channels",))  # unlike anything: a key of training, passed over as Darknet does


@given(st.text(st.characters(codec="utf-8"), max_size=80) | st.text("[]=#;net,\n 1.-", max_size=40))
def test_any_text_is_sections_or_one_sentence(text: str) -> None:
    try:
        told = _cfg(text)[0].kind
    except BadModel as refusal:
        told = str(refusal)
    assert told in ("net", "network") or (told.startswith("some.cfg") and told.isprintable())


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_bytes(b"[net]\0")
    (tmp_path / "b.cfg").write_bytes(b"#" * (1 << 20) + b"\n")
    for name, words in (("a.cfg", "not text"), ("b.cfg", "larger than 1 MiB"), ("c.cfg", "does not exist")):
        with pytest.raises(BadModel, match=words):
            read_cfg(tmp_path / name)
    with pytest.raises(BadModel, match="is a folder"):
        read_cfg(tmp_path)


def _weights(path: Path, values: np.ndarray, version: tuple[int, int, int] = (0, 2, 5)) -> Path:
    wide = version[0] * 10 + version[1] >= 2
    seen = np.array([64], "<u8" if wide else "<u4").tobytes()
    path.write_bytes(np.array(version, "<i4").tobytes() + seen + values.astype("<f4").tobytes())
    return path


@pytest.mark.parametrize("version", [(0, 1, 0), (0, 2, 0), (0, 2, 5), (1, 0, 0)])
def test_values_begin_behind_the_header_of_each_version(tmp_path: Path, version: tuple[int, int, int]) -> None:
    values = np.linspace(-3, 5, 23, dtype=np.float32)
    read = read_weights(_weights(tmp_path / "w", values, version), 23)
    assert read.dtype == np.float32
    assert np.array_equal(read, values)


def _refused_weights(path: Path, expected: int = 23) -> str:
    with pytest.raises(BadModel) as caught:
        read_weights(path, expected)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_weights_of_another_length_are_refused_by_how_many_values(tmp_path: Path) -> None:
    path = _weights(tmp_path / "w", np.zeros(23))
    assert "is too short for this cfg by 1 value (it holds 23, the layers need 24)" in _refused_weights(path, 24)
    assert "is too long for this cfg by 3 values" in _refused_weights(path, 20)
    path.write_bytes(path.read_bytes()[:-1])
    assert "ends inside a value" in _refused_weights(path)
    for size in (0, 7, 12, 19):
        path.write_bytes(path.read_bytes()[:size])
        assert "too short to be Darknet weights" in _refused_weights(path)


def test_weights_that_are_not_finite_or_no_file_are_refused(tmp_path: Path) -> None:
    values = np.zeros(23)
    values[4] = np.nan
    assert "holds nan as value 5 of 23" in _refused_weights(_weights(tmp_path / "w", values))
    assert "does not exist" in _refused_weights(tmp_path / "none")
    assert "is a folder" in _refused_weights(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert "is not a regular file" in _refused_weights(tmp_path / "pipe")


def test_a_huge_foreign_file_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "w"
    with path.open("wb") as file:
        file.truncate(1 << 36)  # sparse
    assert "too long" in _refused_weights(path)


def test_refusals_are_foveals_own() -> None:
    assert issubclass(BadModel, FovealError)
