"""Tar shards: Python's own tarfile and webdataset are the oracles; hostile members are rows."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.data.formats._tar import TarDamage, members
from foveal.data.sources import open_dataset
from foveal.errors import BadData

Members = list[tuple[str, bytes]]


def tar(path: Path, content: Members, form: int = tarfile.GNU_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as file:
        for name, data in content:
            add(file, name, data)
    return path


def add(file: tarfile.TarFile, name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(data), link
    file.addfile(info, io.BytesIO(data))


def samples(start: int, n: int, ext: str = "jpg") -> Members:
    """Pairs 0007.jpg (bytes "picture 7") and 0007.cls ("1")."""
    pairs = [
        [(f"{i:04d}.{ext}", b"picture %d" % i), (f"{i:04d}.cls", b"%d" % (i % 3))] for i in range(start, start + n)
    ]
    return [member for pair in pairs for member in pair]


def seen(dataset) -> dict[bytes, str]:
    return {dataset.pictures.content(i): dataset.classes[dataset.labels[i]] for i in range(len(dataset))}


def rows(dataset) -> dict[str, str]:
    return {s.name: s.reason for s in dataset.skipped}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_pictures_and_labels_are_found_in_place(tmp_path, form):
    for name, start in (("train-000.tar", 0), ("train-001.tar", 30), ("val-0.tar", 60), ("test-0.tar", 90)):
        tar(tmp_path / "s" / name, samples(start, 30), form)
    before = sorted(tmp_path.rglob("*"))
    dataset = open_dataset(tmp_path / "s")
    assert seen(dataset) == {b"picture %d" % i: str(i % 3) for i in range(120)}
    assert [len(dataset.indices(s)) for s in ("train", "val", "test")] == [60, 30, 30]
    assert dataset.pictures.name(0) == "test-0.tar/0090.jpg"
    assert sorted(tmp_path.rglob("*")) == before  # nothing unpacked
    assert dataset.origin.format == "tar shards"


def test_one_shard_is_a_source_and_is_split_by_content(tmp_path):
    dataset = open_dataset(tar(tmp_path / "flowers.tar", samples(0, 100, "png")))
    assert len(dataset) == 100
    assert all(len(dataset.indices(s)) for s in ("train", "val", "test"))


def test_shards_that_webdataset_writes_are_read(tmp_path):
    webdataset = pytest.importorskip("webdataset", reason="webdataset, an oracle, is not installed")
    with webdataset.TarWriter(str(tmp_path / "train.tar")) as sink:
        for i in range(30):
            sink.write({"__key__": f"sub.dir/x{i}", "jpg": b"jpeg %d" % i, "cls": i % 4, "json": {"a": 1}})
    assert seen(open_dataset(tmp_path)) == {b"jpeg %d" % i: str(i % 4) for i in range(30)}


def test_labels_may_be_names(tmp_path):
    content = [
        m for i in range(12) for m in ((f"{i}.jpg", b"p%d" % i), (f"{i}.cls", [b"cat\n", b"caf\xc3\xa9"][i % 2]))
    ]
    assert open_dataset(tar(tmp_path / "a.tar", content)).classes == ("caf\u00e9", "cat")


def test_classes_txt_names_the_numbers(tmp_path):
    tar(tmp_path / "a.tar", samples(0, 30))
    (tmp_path / "classes.txt").write_text("rose\ntulip\nlily\n")
    assert seen(open_dataset(tmp_path))[b"picture 1"] == "tulip"
    (tmp_path / "classes.txt").write_text("rose\ntulip\n")
    with pytest.raises(BadData, match="label 2, but 2 class names"):
        open_dataset(tmp_path)


def test_hostile_members_are_rows_and_touch_nothing(tmp_path):
    (tmp_path / "d").mkdir()
    with tarfile.open(tmp_path / "d" / "a.tar", "w") as file:
        for name, data in samples(0, 20):
            add(file, name, data)
        add(file, "../../e.jpg", b"x")
        add(file, "/abs.jpg", b"x")
        add(file, "link.jpg", kind=tarfile.SYMTYPE, link="/etc/passwd")
        add(file, "hard.jpg", kind=tarfile.LNKTYPE, link="0000.jpg")
        add(file, "pipe.jpg", kind=tarfile.FIFOTYPE)
        add(file, "dev.jpg", kind=tarfile.CHRTYPE)
        add(file, "folder", kind=tarfile.DIRTYPE)
        for name, data in samples(20, 10):
            add(file, name, data)
    before = sorted(tmp_path.rglob("*"))
    dataset = open_dataset(tmp_path / "d")
    assert len(dataset) == 30
    assert rows(dataset) == {
        "a.tar/../../e.jpg": "has a name that leads out of the shard",
        "a.tar//abs.jpg": "has a name that leads out of the shard",
        "a.tar/link.jpg": "is a symbolic link, not a file",
        "a.tar/hard.jpg": "is a hard link, not a file",
        "a.tar/pipe.jpg": "is a pipe, not a file",
        "a.tar/dev.jpg": "is a device, not a file",
    }
    assert sorted(tmp_path.rglob("*")) == before


def test_incomplete_and_repeated_samples_are_rows(tmp_path):
    content = [
        *samples(0, 20), ("nolabel.jpg", b"x"), ("nopicture.cls", b"1"), *samples(3, 1), ("split.jpg", b"s"),
        *samples(30, 1), ("split.cls", b"1"), ("two.jpg", b"a"), ("two.png", b"b"), ("two.cls", b"1"),
        ("empty.jpg", b"e"), ("empty.cls", b" \n"), ("big.jpg", b"e"), ("big.cls", b"1" * 5000),
        ("latin.jpg", b"e"), ("latin.cls", b"\xff"), ("other.txt", b"no sample at all"),
    ]  # fmt: skip
    dataset = open_dataset(tar(tmp_path / "a.tar", content))
    assert len(dataset) == 21
    no_label = "is no label (a number or a name, as UTF-8 text)"
    assert [(s.name, s.reason) for s in dataset.skipped] == [
        ("a.tar/nolabel", "has no label (.cls) in its sample"),
        ("a.tar/nopicture", "has no picture in its sample"),
        ("a.tar/0003.jpg", "has the key of an earlier sample of the shard"),
        ("a.tar/split", "has no label (.cls) in its sample"),
        ("a.tar/split", "has no picture in its sample"),
        ("a.tar/two", "has 2 pictures in its sample"),
        ("a.tar/empty.cls", no_label),
        ("a.tar/big.cls", no_label),
        ("a.tar/latin.cls", no_label),
    ]


def test_a_damaged_shard_is_a_row_and_the_others_go_on(tmp_path):
    whole = tar(tmp_path / "good.tar", samples(0, 30)).read_bytes()
    (tmp_path / "cut.tar").write_bytes(tar(tmp_path / "x", samples(100, 10)).read_bytes()[: 2 * 1024 + 512 + 4])
    (tmp_path / "junk.tar").write_bytes(bytes(range(1, 256)) * 40)
    (tmp_path / "empty.tar").write_bytes(b"")
    (tmp_path / "noise.tar").write_bytes(whole[:1024] + b"\xff" * 512 + whole[1536:])
    huge = tarfile.TarInfo("huge.jpg")
    huge.size = 10 << 30
    (tmp_path / "huge.tar").write_bytes(huge.tobuf(tarfile.GNU_FORMAT) + b"x" * 1024)
    dataset = open_dataset(tmp_path)
    found = rows(dataset)
    assert len(dataset) == 31  # 30 of the good shard and one of the cut one
    assert "is cut short in '0101.jpg'" in found["cut.tar"]
    assert "is damaged at byte 0" in found["junk.tar"]
    assert found["empty.tar"] == "is empty (0 bytes)"
    assert "is damaged at byte 1024" in found["noise.tar"]
    assert "is cut short in 'huge.jpg' (member of 10737418240 bytes" in found["huge.tar"]


def test_shards_without_a_usable_picture_are_refused(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(BadData, match=r"holds no usable picture \(a.tar is empty \(0 bytes\)\)"):
        open_dataset(tmp_path)


name_parts = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=40)


@given(
    st.lists(
        st.tuples(st.lists(name_parts, min_size=1, max_size=8).map("/".join), st.binary(max_size=1500)), max_size=6
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_members_lie_where_tarfile_finds_them(tmp_path_factory, content, form):
    path = tar(tmp_path_factory.mktemp("tar") / "x.tar", content, form)
    with tarfile.open(path) as file:
        expected = [(m.name, m.offset_data, m.size) for m in file]
    assert [(m.name.rstrip("/"), m.offset, m.size) for m in members(path)] == [
        (n.rstrip("/"), o, s) for n, o, s in expected
    ]


@given(st.data())
def test_a_mutant_shard_is_read_or_said_damaged_and_nothing_else(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("mutant") / "x.tar"
    raw = bytearray(
        tar(path, [*samples(0, 2), ("n" * 300 + ".jpg", b"x")], data.draw(st.sampled_from([1, 2]))).read_bytes()
    )
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        assert all(m.offset + m.size <= len(raw) or m.kind != "file" for m in members(path))
    except TarDamage as damage:
        assert "\n" not in str(damage)  # noqa: PT017 - either outcome is right
