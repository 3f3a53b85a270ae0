from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from foveal.data.dataset import Origin
from foveal.errors import NotWritable
from foveal.ops.statistics import calibration_bins, softmax
from foveal.recipe import Recipe
from foveal.report.page import render_report, write_report
from foveal.report.story import Mistake, Story
from foveal.tasks.classification import Classification
from foveal.tasks.trust import Trust
from foveal.training.baseline import Baseline
from foveal.training.curve import fit_curve

VOID = {"meta", "img", "br"}
HOSTILE = (
    "<script>alert(1)</script>",
    "a\"b'c & <b>d</b>",
    "\x1b[31mred",
    "\u202egnp.exe",
    "=cmd()",
    "$\\frac{x$",
    "{{ 7 * 7 }}",
    "line\nbreak\x00\ufffe",
    "\udcff\udcfe",
    "猫 और 🐈",
    "]]>--></style>",
    "#1d6fb0 url(#x)",
)


def _story(classes=("ant", "bee", "cat"), n=120, skill=3.0, side=(12, 12, 3), **more) -> Story:
    rng = np.random.default_rng(0)
    K = len(classes)
    labels = np.arange(n) % K
    logits = rng.normal(size=(n, K)) + skill * np.eye(K)[labels]
    p, scores = softmax(logits), Classification(tuple(classes)).score(logits, labels)
    wrong = np.flatnonzero(p.argmax(1) != labels)[:24]
    pictures = rng.integers(0, 256, (max(n, 48), *side), dtype=np.uint8)
    row = {"train_loss": 1.0, "train_top1": 0.5, "val_loss": 1.1, "val_top1": 0.4, "learning_rate": 0.1, "seconds": 1.0}
    told = {
        "name": "garden-lenet5-1",
        "task": "classification",
        "origin": Origin("garden", "/data/garden", "class folders", "folders train/ and test/"),
        "counts": {s: np.bincount(labels, minlength=K) for s in ("train", "val", "test")},
        "classes": tuple(classes),
        "recipe_toml": Recipe().to_toml(),
        "machine": {"processor": "2 cores", "torch": "2.13.0"},
        "arithmetic": {"chosen": "fp32", "timings": [{"arithmetic": "fp32", "images_per_second": 900.0}]},
        "history": [row | {"epoch": e, "val_top1": 0.4 + e / 10} for e in range(1, 4)],
        "metrics": {"test": {"split": "test"}, "seconds": {"train": 75.2, "total": 90.0}},
        "scores": scores,
        "calibration": calibration_bins(p, labels),
        "mistakes": [
            Mistake(f"p{i}.png", pictures[i], classes[labels[i]], classes[p[i].argmax()], p[i].max()) for i in wrong
        ],
        "originals": pictures[:6],
        "augmented": pictures[6:48],
        "augment_words": "mild: flip horizontal",
        "filters": rng.normal(size=(16, side[2], 5, 5)).astype(np.float32),
        "baseline": Baseline("HOG + linear", 0.5, (0.4, 0.6), 100, n, 1.0, ""),
        "sizes": {"parameters": 61706, "bytes": 250_000},
    }
    return Story(**(told | more))


class _Reader(HTMLParser):
    """Text, images and balance of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text, self.tags = "", []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def of(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def html() -> str:
    return render_report(_story())


@pytest.fixture(scope="module")
def page(html) -> _Reader:
    return _Reader(html)


def test_the_answer_stands_first_with_its_interval_and_the_baseline(page):
    story = _story()
    text = " ".join(page.text.replace("\u202f", " ").split())
    assert f"Right on {story.scores.right} of 120 test pictures" in text
    low, high = story.scores.top1_interval
    assert f"between {100 * low:.1f} % and {100 * high:.1f} % of pictures like these" in text
    assert f"HOG + linear: 50.0 % → {100 - 100 * story.scores.top1:.1f} %" in text
    assert text.index("Right on") < text.index("Where it was wrong") < text.index("The recipe")


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


def test_the_same_story_gives_the_same_page(html):
    assert render_report(_story()) == html


def test_hostile_names_come_out_as_text():
    rng = np.random.default_rng(1)
    mistakes = [Mistake(name, rng.integers(0, 256, (8, 8, 1), dtype=np.uint8), name, name, 0.9) for name in HOSTILE]
    everywhere = " ".join(HOSTILE)
    story = _story(
        classes=HOSTILE,
        mistakes=mistakes,
        name=everywhere,
        origin=Origin(everywhere, everywhere, everywhere, everywhere),
        machine={everywhere: everywhere},
        notes=[everywhere],
        warnings=[everywhere],
        augment_words=everywhere,
        views_scores={everywhere: 0.7},
        recipe_toml=f'[data]\nsource = "{everywhere}"\n',
        baseline=Baseline("HOG + linear", 0.5, (0.4, 0.6), 100, 120, 1.0, everywhere),
    )
    html = render_report(story)
    reader = _Reader(html)
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
    page = _Reader(render_report(_story(tried=tried, promise=trust.promise)))
    assert "surest half" in page.text
    assert trust.promise in page.text
    assert "passes on the rest" in page.text


def test_a_warning_marks_the_score(html):
    assert "Read this score with care" not in html
    marked = _Reader(render_report(_story(warnings=["12 pictures of test are also in train."])))
    assert len(marked.of("sup")) == 1
    assert "12 pictures of test are also in train." in marked.text


def test_a_score_on_validation_is_not_called_test():
    text = render_report(_story(metrics={"test": {"split": "val"}}))
    assert "validation pictures" in text
    assert "test pictures." not in text


@pytest.mark.parametrize("K", [2, 5, 27, 101, 400])
def test_the_page_stays_small_and_whole_with_many_classes(K):
    html = render_report(_story([f"class number {k}" for k in range(K)], n=4 * K + 20, skill=2.0))
    assert len(html.encode()) < 2_000_000
    assert ("first five" in html) == (K > 5)
    assert "class number 1" in html


def test_large_photographs_stay_below_two_megabytes():
    assert len(render_report(_story(n=300, skill=0.0, side=(224, 320, 3))).encode()) < 2_000_000


@pytest.mark.parametrize(
    "less",
    [
        {"baseline": None},
        {"history": []},
        {"history": [{"epoch": 1, "train_loss": 2.0, "train_top1": None, "val_loss": None, "val_top1": float("nan")}]},
        {"mistakes": [], "originals": None, "augmented": None, "filters": None},
        {"metrics": {}, "arithmetic": {}, "machine": {}, "sizes": {}, "counts": {}},
        {"skill": 50.0},
        {"skill": -50.0},
        {"n": 1},
        {"filters": np.zeros((3, 7, 3, 3), np.float32)},
    ],
)
def test_what_a_run_lacks_is_left_out(less):
    reader = _Reader(render_report(_story(**less)))
    assert reader.open == []
    assert not re.search(r"\b(nan|None|undefined)\b", reader.text)


def test_a_perfect_score_still_has_an_interval():
    text = render_report(_story(skill=50.0)).replace("\u202f", " ")
    assert "100.0 %" in text
    assert "every one of the 120 test pictures" in text
    assert "between 96.9 % and 100.0 %" in text


def test_the_file_is_written_as_it_was_rendered(tmp_path, html):
    write_report(_story(), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == html


def test_a_place_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(NotWritable):
        write_report(_story(), tmp_path / "gone" / "report.html")


def test_importing_the_page_loads_no_plotting():
    heavy = "('matplotlib', 'jinja2', 'sklearn', 'torch')"
    code = f"import sys, foveal.report.page; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_story_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="classes"):
        _story(scores=_story(("a", "b")).scores)
    with pytest.raises(ValueError, match="whole number"):
        _story(augmented=np.zeros((5, 12, 12, 3), np.uint8))


def test_a_start_from_weights_tells_its_reason_and_its_learning_curve():
    curve = fit_curve(np.array([20, 40, 80, 160]), np.array([[0.5, 0.52], [0.4, 0.42], [0.33, 0.31], [0.26, 0.27]]))
    html = render_report(_story(transfer="341 pictures are few & near: the head first.", learning_curve=curve))
    assert "341 pictures are few &amp; near: the head first." in html
    assert curve.sentence in html
    assert "training pictures" in html
    assert curve.sentence not in render_report(_story())
