"""The report of a classifier, drawn from a run that never ran."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from reading import HOSTILE, Reader
from torch import nn

from foveal.data.dataset import Origin
from foveal.errors import NotWritable
from foveal.pages.render import render
from foveal.recipe import Recipe
from foveal.report.finished import FinishedRun, page_of, write_report
from foveal.tasks.classification_scores import score_labels
from foveal.tasks.classify import Classify
from foveal.tasks.trust import Trust
from foveal.training.baseline import Baseline
from foveal.training.curve import fit_curve
from foveal.training.train_state import Epoch

HISTORY = [Epoch(e, 1.0, 0.5, 1.1, 0.4 + e / 10, 0.1, 900.0, 1.0) for e in range(1, 4)]
PARTS = ("zoom", "translate", "rotate", "shear", "color", "cutout", "mixup", "cutmix", "mosaic")
OFF = {f"augment.{part}": 0.0 for part in PARTS}
OFF |= {"augment.preset": "mild", "augment.flip": "horizontal", "augment.crop": 1.0, "augment.pad_crop": 0}
METRICS = {
    "parameters": {"all": 61706},
    "seconds": {"train": 75.2, "total": 90.0},
    "arithmetic": {"chosen": "fp32"},
    "pictures": {"train": 120, "val": 120, "test": 120},
    "left_out": 0,
    "machine": {"processor": "2 cores", "torch": "2.13.0"},
}


def finished(
    classes=("ant", "bee", "cat"), n=120, skill=3.0, side=(12, 12, 3), name="garden-lenet5-1", names=None,
    origin=None, notes=(), transfer=None, history=HISTORY, network=None, trust=None, source="garden", **more
) -> FinishedRun:  # fmt: skip
    """A run with n pictures a split, all three the same."""
    rng = np.random.default_rng(0)
    K = len(classes)
    labels = np.arange(n) % K
    logits = rng.normal(size=(n, K)) + skill * np.eye(K)[labels]
    pictures = rng.integers(0, 256, (n, *side), dtype=np.uint8)
    names = names or [f"p{i}.png" for i in range(n)]
    every = np.arange(n)
    dataset = SimpleNamespace(
        classes=tuple(classes), labels=labels, notes=notes, skipped=(),
        pictures=SimpleNamespace(name=lambda i: names[i % len(names)]),
        origin=origin or Origin("garden", "/data/garden", "class folders", "folders train/ and test/"),
    )  # fmt: skip
    setup = SimpleNamespace(
        dataset=dataset, splits={"train": every, "val": every, "test": every}, transfer=transfer,
        head_alone=False,
        store=SimpleNamespace(rows=lambda chosen: pictures[chosen]),
        batches=SimpleNamespace(shown=lambda epoch, chosen: pictures[chosen]),
        recipe=Recipe().with_settings({"data.source": source, **OFF}),
        measured=SimpleNamespace(images_per_second={"fp32": 900.0}), arithmetic=SimpleNamespace(name="fp32"),
    )  # fmt: skip
    model = SimpleNamespace(network=network or nn.Conv2d(side[2], 16, 5), temperature=1.0, trust=trust, task=Classify)
    told = {
        "scores": score_labels(logits, labels, classes),
        "metrics": METRICS,
        "warnings": (),
        "baseline": Baseline("HOG + linear", 0.5, (0.4, 0.6), 100, n, 1.0, ""),
    } | more
    torch.manual_seed(0)
    fitted = SimpleNamespace(history=list(history))
    return FinishedRun(name, setup, fitted, model, told.pop("on", "test"), logits, file_bytes=250_000, **told)


def rendered(**more) -> str:
    torch.manual_seed(0)
    return render(page_of(finished(**more), "classify"))


@pytest.fixture(scope="module")
def html() -> str:
    return rendered()


@pytest.fixture(scope="module")
def page(html) -> Reader:
    return Reader(html)


def test_the_answer_stands_first_with_its_interval_and_the_baseline(page):
    scores = finished().scores
    text = " ".join(page.text.replace("\u202f", " ").split())
    assert f"Correct on {scores.right} of 120 test pictures" in text
    low, high = scores.top1_interval
    assert f"interval of the accuracy: {100 * low:.1f} % to {100 * high:.1f} %" in text
    assert f"HOG + linear: 50.0 % → {100 - 100 * scores.top1:.1f} %" in text
    assert text.index("Correct on") < text.index("Mistakes") < text.index("The recipe")


def test_the_page_is_well_formed_and_names_are_unique(page):
    assert page.open == []
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = {a["href"][1:] for tag, a in page.tags if tag == "use"}
    assert links <= set(ids)


def test_nothing_is_fetched_from_anywhere(html, page):
    html = re.sub(r"data:image/\w+;base64,[\w+/=]+", "data:", html)
    assert not re.search(r"https?:|//\w|@import|\bsrc=\"(?!data:)|<link|<iframe", html)
    assert all(a["src"].startswith("data:image/") for a in page.of("img"))
    (policy,) = [a["content"] for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2]


def test_every_picture_and_chart_has_words(page):
    assert all(a.get("alt") for a in page.of("img"))
    charts = list(page.of("svg"))
    assert len(charts) == 6
    assert all(a["role"] == "img" and a["aria-label"] for a in charts)


def test_charts_take_the_inks_of_the_readers_scheme(page):
    used = " ".join(a.get("style", "") for _, a in page.tags)
    assert "var(--accent)" in used
    assert not re.search(r"#1d6fb0|#1c2430", used)


def test_the_same_run_gives_the_same_page(html):
    assert rendered() == html


def test_hostile_names_come_out_as_text():
    everywhere = " ".join(HOSTILE)
    html = rendered(
        classes=HOSTILE,
        skill=0.5,
        name=everywhere,
        names=HOSTILE,
        origin=Origin(everywhere, everywhere, everywhere, everywhere),
        metrics=METRICS | {"machine": {everywhere: everywhere}},
        notes=[everywhere],
        warnings=[everywhere],
        source=everywhere.encode("ascii", "replace").decode().replace("\x00", ""),
        baseline=Baseline("HOG + linear", 0.5, (0.4, 0.6), 100, 120, 1.0, everywhere),
    )
    reader = Reader(html)
    assert reader.open == []
    assert len(reader.of("script")) == 1
    assert "alert(1)" not in html.partition("<script>")[2]
    assert not set(html) & {"\x1b", "\u202e", "\x00", "\ufffe"}
    html.encode("utf-8")
    for needle in ("<script>alert(1)</script>", "\\x1b[31mred", "\\u202egnp.exe", "=cmd()", "{{ 7 * 7 }}", "猫"):
        assert needle in reader.text


def test_the_page_tells_how_far_the_answers_carry() -> None:
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=(200, 3)) + 2 * np.eye(3)[np.arange(200) % 3]).astype(np.float32)
    trust = Trust.of(logits, np.arange(200) % 3, 1.0, 0.9)
    tried = trust.tried(logits, np.arange(200) % 3, 1.0, np.zeros(200, bool))
    page = Reader(rendered(tried=tried, trust=trust))
    assert "most confident half" in page.text
    assert trust.promise in page.text
    assert "abstains on the rest" in page.text


def test_a_warning_marks_the_score(html):
    assert "Read this score with care" not in html
    marked = Reader(rendered(warnings=["12 pictures of test are also in train."]))
    assert len(marked.of("sup")) == 1
    assert "12 pictures of test are also in train." in marked.text


def test_a_score_on_validation_is_not_called_test():
    text = rendered(on="val")
    assert "validation pictures" in text
    assert "test pictures." not in text


@pytest.mark.parametrize("K", [2, 5, 27, 101, 400])
def test_the_page_stays_small_and_whole_with_many_classes(K):
    html = rendered(classes=[f"class number {k}" for k in range(K)], n=4 * K + 20, skill=2.0)
    assert len(html.encode()) < 2_000_000
    assert ("Top-5 accuracy" in html) == (K > 5)
    assert "class number 1" in html


def test_large_photographs_stay_below_two_megabytes():
    assert len(rendered(n=300, skill=0.0, side=(224, 320, 3)).encode()) < 2_000_000


@pytest.mark.parametrize(
    "less",
    [
        {"baseline": None},
        {"history": []},
        {"history": [Epoch(1, 2.0, float("nan"), float("nan"), float("nan"), 0.1, 9.0, 1.0)]},
        {"network": nn.Flatten()},
        {"network": nn.Conv2d(7, 3, 3)},
        {"skill": 50.0},
        {"skill": -50.0},
        {"n": 1},
    ],
)
def test_what_a_run_lacks_is_left_out(less):
    reader = Reader(rendered(**less))
    assert reader.open == []
    assert not re.search(r"\b(nan|None|undefined)\b", reader.text)


def test_a_perfect_score_still_has_an_interval():
    text = rendered(skill=50.0).replace("\u202f", " ")
    assert "100.0 %" in text
    assert "all 120 test pictures" in text
    assert "96.9 % to 100.0 %" in text


def test_the_file_is_written_as_it_was_rendered(tmp_path, html):
    write_report(finished(), "classify", tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == html


def test_a_place_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(NotWritable):
        write_report(finished(), "classify", tmp_path / "gone" / "report.html")


def test_importing_what_writes_reports_loads_no_plotting():
    heavy = "('matplotlib', 'jinja2', 'sklearn', 'torch')"
    code = f"import sys, foveal.report.finished; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_start_from_weights_tells_its_reason_and_its_learning_curve():
    curve = fit_curve(np.array([20, 40, 80, 160]), np.array([[0.5, 0.52], [0.4, 0.42], [0.33, 0.31], [0.26, 0.27]]))
    html = rendered(transfer=SimpleNamespace(reason="341 pictures are few & near: the head first.", curve=curve))
    assert "341 pictures are few &amp; near: the head first." in html
    assert curve.sentence in html
    assert "training pictures" in html
    assert curve.sentence not in rendered()
