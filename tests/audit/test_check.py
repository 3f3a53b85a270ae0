"""`foveal data check` finds what was planted, tells it, and touches nothing."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import foveal
from foveal.audit import check, checking, write_check
from foveal.audit.labels import Judge, Judgement, WrongLabel
from foveal.errors import BadData


@pytest.fixture(name="foveal")
def within_this_process(command):
    """The command, without a process of its own: what that costs is the imports."""
    return command


def scene(seed, kind):
    """(48, 64, 3): blobs on a setup; the kind gives the color."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :64]
    picture = np.full((48, 64, 3), 90.0)
    for _ in range(9):
        cy, cx, r = rng.integers(0, 48), rng.integers(0, 64), rng.integers(3, 12)
        color = rng.integers(0, 120, 3)
        color[kind] += 130
        picture[(y - cy) ** 2 + (x - cx) ** 2 < r * r] = color
    return np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A folder with one of each: what is wrong stands in the names."""
    root = tmp_path_factory.mktemp("data") / "blobs"
    for split, n in (("train", 14), ("test", 8)):
        for kind, name in enumerate(("red", "green<b>")):
            (root / split / name).mkdir(parents=True)
            for k in range(n):
                Image.fromarray(scene(1000 * kind + 100 * n + k, kind)).save(root / split / name / f"{k}.png")
    shutil.copy(root / "train/red/3.png", root / "test/red/leak.png")
    shutil.copy(root / "train/red/4.png", root / "train/green<b>/contradiction.png")
    Image.fromarray(scene(99_999, 0)).save(root / "train/red/=odd().jpg", "PNG")
    Image.open(root / "train/red/5.png").resize((128, 96)).save(root / "test/red/near.jpg", quality=60)
    (root / "train/red/broken.png").write_bytes((root / "train/red/0.png").read_bytes()[:900])
    Image.fromarray(np.full((48, 64, 3), 77, np.uint8)).save(root / "train/red/flat.png")
    return root


def state(root):
    return {
        p: (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns) for p in root.rglob("*") if p.is_file()
    }


def test_everything_planted_is_found_and_nothing_is_touched(planted):
    before = state(planted)
    found = check(planted)
    pairs = {(found.name(p.first), found.name(p.second)): p for p in found.duplicates}
    leak = pairs[("train/red/3.png", "test/red/leak.png")]
    assert leak.exact
    assert leak.across
    assert not leak.contradict
    two_labels = pairs.get(("train/green<b>/contradiction.png", "train/red/4.png"))
    assert two_labels
    assert two_labels.exact
    assert two_labels.contradict
    assert not two_labels.across
    near = pairs[("train/red/5.png", "test/red/near.jpg")]
    assert not near.exact
    assert near.across
    assert len(pairs) == 3
    assert found.duplicates[2] is two_labels
    assert [o.name for o in found.broken] == ["train/red/broken.png"]
    odd = {o.name: o.reason for o in found.odd}
    assert odd["train/red/flat.png"] == "shows one color only"
    assert odd["train/red/=odd().jpg"] == "is a PNG called .jpg"
    assert state(planted) == before


def test_page_is_offline_and_escapes_names(planted, tmp_path):
    found = check(planted)
    write_check(found, tmp_path)
    page = (tmp_path / "check.html").read_text(encoding="utf-8")
    assert "Content-Security-Policy" in page
    assert "default-src 'none'" in page
    assert not re.search(r"(?:src|href)\s*=\s*[\"'](?!data:|#)", page)
    assert "<script" not in page
    assert "green<b>" not in page
    assert "green&lt;b&gt;" in page
    assert "2 duplicates across splits" in page.replace("\u202f", " ")


def test_list_has_a_row_a_finding_and_excludes_nothing_by_itself(planted, tmp_path):
    found = check(planted)
    write_check(found, tmp_path)
    with open(tmp_path / "findings.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "finding", "detail", "label", "likely", "score", "exclude"]
    assert all(row["exclude"] == "" for row in rows)
    assert {"broken", "exact duplicate across splits", "near duplicate across splits", "exact duplicate", "odd"} <= {
        row["finding"] for row in rows
    }
    known = {p.relative_to(planted).as_posix() for p in planted.rglob("*.*")}
    assert {row["path"] for row in rows} <= known


def test_equal_files_under_two_labels_are_kept_only_where_mistakes_are_looked_for(planted):
    with pytest.raises(BadData, match="two classes"):
        foveal.open_dataset(planted, contradictions="refuse")
    left = foveal.open_dataset(planted)
    assert "train/green<b>/contradiction.png" in {row.name for row in left.skipped}
    kept = foveal.open_dataset(planted, contradictions="keep")
    assert "train/green<b>/contradiction.png" in {kept.pictures.name(i) for i in range(len(kept))}


@pytest.mark.parametrize("shape", [(12, 9, 20), (12, 20, 9, 3)])
def test_arrays_in_memory_are_looked_at_as_well(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = check((pixels, np.arange(12) % 3))
    assert len(found.dataset) == 12
    assert set(found.tiny) == set(found.dataset.classes)
    assert not found.broken


def test_folder_without_a_readable_picture_is_one_sentence(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "1.png").write_bytes(f"no picture {name}".encode())
    with pytest.raises(BadData, match="none of the 2 pictures can be read"):
        check(tmp_path / "data")


@pytest.mark.parametrize("can_tell", [True, False])
def test_page_command_list_and_json_say_the_same_of_labels(planted, foveal, monkeypatch, can_tell):
    """Probably wrong or worth a look: nothing is called the former where the judges cannot tell."""
    suspects = (WrongLabel(3, 0, 1, 0.97, can_tell), WrongLabel(5, 0, 1, 0.4, False))
    judgement = Judgement(suspects, (Judge("planes", 0.61), Judge("pictures", 0.58)), 0.62, 0.3, 0.65, can_tell)
    monkeypatch.setattr(checking, "judge", lambda *_: judgement)
    facts = json.loads(foveal("data", "check", planted, "--json").stdout)
    said = foveal("data", "check", planted).stdout.replace("\u202f", " ").replace("\u2009", " ")
    counts = {"probably wrong": int(can_tell), "worth a look": 2 - can_tell}
    assert facts["counts"]["labels_probably_wrong"] == counts["probably wrong"]
    assert facts["counts"]["labels_worth_a_look"] == counts["worth a look"]
    assert facts["judges"]["can_tell"] is can_tell
    page = Path(facts["folder"], "check.html").read_text(encoding="utf-8").replace("\u202f", " ")
    listed = [row["finding"] for row in facts["findings"]]
    for words, n in counts.items():
        label = "label" if n == 1 else "labels"
        assert listed.count(f"label {words}") == n
        assert (f"{n} {label} {words}" in said) == (n > 0)
        assert (f"{n} {label} {words}" in page) == (n > 0)
    assert ("too inaccurate here" in said) is not can_tell
    assert ("they are too inaccurate" in page) is not can_tell


def test_command_writes_a_folder_of_its_own_and_answers_in_json(planted, foveal, tmp_path):
    done = foveal("data", "check", planted, "--json")
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["folder"] == "blobs-check-1"
    assert facts["counts"]["duplicates_across_splits"] == 2
    assert {p.name for p in (tmp_path / "blobs-check-1").iterdir()} == {"check.html", "findings.csv"}


def test_refused_check_leaves_no_folder_and_a_full_folder_is_refused(planted, foveal, tmp_path):
    done = foveal("data", "check", planted, "--test-if", "(")
    assert done.exit_code == 2
    assert "not a valid regular expression" in done.stderr
    assert not list(tmp_path.glob("*-check-*"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    done = foveal("data", "check", planted, "--out", "full")
    assert done.exit_code == 2
    assert "not empty" in done.stderr


def test_a_name_without_end_is_shortened_where_it_is_shown(tmp_path):
    rng = np.random.default_rng(0)
    names = ["cat", "x" * 20_000]
    for k in range(2):
        for i in range(5):
            pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{k}{i}.png")
    rows = [f"{k}{i}.png,{names[k]}" for k in range(2) for i in range(5)]
    (tmp_path / "t.csv").write_text("path,label\n" + "\n".join(rows))
    found = check(tmp_path / "t.csv")
    (tmp_path / "out").mkdir()
    write_check(found, tmp_path / "out")
    assert "x" * 3000 not in (tmp_path / "out/check.html").read_text()
    assert found.label(9) == names[1]  # the list keeps it whole
