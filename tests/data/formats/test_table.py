"""Tables of path and label: which rows are used, which are told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from foveal.data.sources import open_dataset
from foveal.errors import BadData


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twelve files, a0.jpg … a11.jpg."""
    for i in range(12):
        (tmp_path / f"a{i}.jpg").write_bytes(b"%d" % i)
    return tmp_path


ROWS = [f"a{i}.jpg,{'cat' if i % 2 else 'dog'}" for i in range(12)]


def table(folder: Path, *lines: str, header: str = "path,label", raw: bytes | None = None, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(raw if raw is not None else "\n".join([header, *lines]).encode())
    return path


def rows(dataset) -> dict[str, str]:
    return {s.name: s.reason for s in dataset.skipped}


def labels(dataset) -> dict[str, str]:
    return {dataset.pictures.name(i): dataset.classes[dataset.labels[i]] for i in range(len(dataset))}


EXPECTED = {f"a{i}.jpg": "cat" if i % 2 else "dog" for i in range(12)}


@pytest.mark.parametrize(
    "header", ["path,label", "File,CLASS", "filename,target", " image , label ", "path,label,note"]
)
def test_columns_go_by_their_usual_names(folder, header):
    assert labels(open_dataset(table(folder, *ROWS, header=header))) == EXPECTED


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbfpath,label\n" + "\n".join(ROWS).encode(),
        ("path;label\r\n" + "\r\n".join(r.replace(",", ";") for r in ROWS) + "\r\n\r\n\r\n").encode(),
        ("path\tlabel\n" + "\n".join(r.replace(",", "\t") for r in ROWS)).encode(),
        ("path,label\n" + "\n".join('"{}","{}"'.format(*r.split(",")) for r in ROWS) + "\n,\n").encode(),
        ("label,path\n" + "\n".join(",".join(r.split(",")[::-1]) for r in ROWS)).encode(),
    ],
)
def test_every_usual_dress_of_a_table_is_read(folder, raw):
    assert labels(open_dataset(table(folder, raw=raw))) == EXPECTED


def test_a_quoted_comma_is_part_of_the_name(folder):
    (folder / 'a,b"c.jpg').write_bytes(b"x")
    dataset = open_dataset(table(folder, *ROWS, '"a,b""c.jpg","cat, big"'))
    assert labels(dataset)['a,b"c.jpg'] == "cat, big"


def test_a_missing_file_is_a_row_with_its_line(folder):
    dataset = open_dataset(table(folder, *ROWS[:5], "gone.jpg,cat", *ROWS[5:]))
    assert rows(dataset) == {"line 7": "file gone.jpg not found"}
    assert len(dataset) == 12
    assert any("1 of 13 rows" in note for note in dataset.notes)


def test_a_table_of_missing_files_is_refused(folder):
    with pytest.raises(BadData, match=r"names no usable picture \(line 2: file x.jpg not found\)"):
        open_dataset(table(folder, "x.jpg,cat", "y.jpg,dog"))


def test_repetitions_and_contradictions_are_rows(folder):
    dataset = open_dataset(table(folder, *ROWS, "a0.jpg,dog", "./a1.jpg,dog", "a1.jpg,cat"))
    assert rows(dataset) == {
        "line 14": "repeats line 2",
        "line 3": "contradicts line 15 about a1.jpg; both are skipped",
        "line 15": "contradicts line 3 about a1.jpg; both are skipped",
        "line 16": "contradicts line 3 about a1.jpg; both are skipped",
    }
    assert "a1.jpg" not in labels(dataset)
    assert "a0.jpg" in labels(dataset)


@pytest.mark.parametrize(
    ("header", "needle"),
    [
        ("path,lable", 'no column "label"; did you mean "lable"\\? columns are path, lable'),
        ("path", 'no column "label"'),
        ("a0.jpg,dog", 'no column "path"; columns are a0.jpg, dog'),
        ("path,label,class", '2 columns could be "label"'),
    ],
)
def test_a_header_that_lacks_a_column_is_refused(folder, header, needle):
    with pytest.raises(BadData, match=needle):
        open_dataset(table(folder, *ROWS, header=header))


@pytest.mark.parametrize(
    ("raw", "needle"),
    [
        ("path,label\na0.jpg,cat\na1.jpg,caf\u00e9".encode("cp1252"), "line 3: not UTF-8"),
        (b"path,label\na0.jpg,cat\na1\0.jpg,dog", "line 3: holds a NUL byte"),
        (b"path,label\na0.jpg,cat\n" + b"x" * 200_000 + b",dog", "line 3: a field is longer than 131072"),
        (b'path,label\na0.jpg,cat\na1.jpg,"dog\na2.jpg,dog\n', "line 3: a quote is opened and never closed"),
        (b'path,label\na0.jpg,"cat\na1.jpg,"dog"\n', "line 2: is not a valid table"),
        (b"", "is empty; it needs a header"),
        (b"\n\n", "is empty; it needs a header"),
        (
            b"path,label,split\na0.jpg,cat,tset\n",
            'line 2: split "tset" is none of train, val, test; did you mean "test"',
        ),
    ],
)
def test_a_table_that_is_none_is_refused_with_its_line(folder, raw, needle):
    with pytest.raises(BadData, match=needle):
        open_dataset(table(folder, raw=raw))


def test_labels_are_texts_and_an_empty_one_is_a_row(folder):
    written = ["1", "01", "1.0", "null", "NaN", " spaced ", "", "  ", "None", "x", "y", "z"]
    dataset = open_dataset(table(folder, *[f"a{i}.jpg,{label}" for i, label in enumerate(written)]))
    assert rows(dataset) == {"line 8": "has no label", "line 9": "has no label"}
    assert set(dataset.classes) == {"1", "01", "1.0", "null", "NaN", "spaced", "None", "x", "y", "z"}


def test_paths_are_followed_where_they_lead_and_addresses_are_not(folder):
    inner = folder / "inner"
    inner.mkdir()
    lines = [
        f"{folder}/a0.jpg,cat", "../a1.jpg,dog", "..\\a2.jpg,dog", "https://example.org/x.jpg,cat",
        "file:///etc/passwd,cat", "../inner,dog", "../a3.jpg,cat",
    ]  # fmt: skip
    dataset = open_dataset(table(inner, *lines))
    assert {os.path.normpath(inner / n) for n in labels(dataset)} == {str(folder / f"a{i}.jpg") for i in range(4)}
    found = rows(dataset)
    assert "foveal does not download" in found["line 5"]
    assert "foveal does not download" in found["line 6"]
    assert found["line 7"] == "file ../inner is a folder"


@pytest.mark.skipif(os.name != "posix", reason="Windows has no pipes in folders")
def test_a_pipe_is_a_row_and_never_waited_for(folder):
    os.mkfifo(folder / "pipe.jpg")
    dataset = open_dataset(table(folder, *ROWS, "pipe.jpg,cat"))
    assert rows(dataset) == {"line 14": "file pipe.jpg is not a regular file"}


def test_the_column_split_decides(folder):
    words = ["train", "val", "test", "valid", "validation", "Test", "", "train", "train", "training", "train", "train"]
    lines = [f"{row},{word}" for row, word in zip(ROWS, words, strict=True)]
    dataset = open_dataset(table(folder, *lines, header="path,label,split"))
    assert dataset.splits.tolist() == [0, 1, 2, 1, 1, 2, 0, 0, 0, 0, 0, 0]
    assert "column" in dataset.origin.split_by


def test_tsv_is_a_table_too(folder):
    path = table(folder, raw=("path\tlabel\n" + "\n".join(r.replace(",", "\t") for r in ROWS)).encode(), name="t.tsv")
    assert labels(open_dataset(path)) == EXPECTED
