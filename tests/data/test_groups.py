"""Groups: whoever decides, what belongs together is never parted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.data.sources import open_dataset
from foveal.errors import BadData

PATIENT = r"(p\d+)_"


def fill(root: Path, patients: range, each: int = 3, deep: str = "") -> Path:
    """Two classes; patient p has pictures in both."""
    for p in patients:
        for i in range(each):
            folder = root / deep / "ab"[(p + i) % 2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"p{p}_{i}.jpg").write_bytes(f"{p} {i}".encode())
    return root


def by_patient(dataset) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for i in range(len(dataset)):
        found.setdefault(dataset.pictures.name(i).split("/")[-1].split("_")[0], set()).add(int(dataset.splits[i]))
    return found


def test_no_group_straddles_and_the_shares_hold(tmp_path):
    dataset = open_dataset(fill(tmp_path, range(400)), group_by=PATIENT)
    of = by_patient(dataset)
    assert len(of) == 400
    assert all(len(splits) == 1 for splits in of.values())
    for split, share in ((0, 0.8), (1, 0.1), (2, 0.1)):
        assert abs(sum(splits == {split} for splits in of.values()) / 400 - share) < 0.05
    assert dataset.origin.split_by == "hash of the group: 10 % val, 10 % test"
    parted = by_patient(open_dataset(tmp_path))
    assert any(len(splits) > 1 for splits in parted.values())  # the test can fail


def test_groups_stand_on_the_data_set_and_go_with_take(tmp_path):
    dataset = open_dataset(fill(tmp_path, range(40)), group_by=PATIENT)
    names = [dataset.pictures.name(i).split("/")[-1].split("_")[0] for i in range(len(dataset))]
    pairs = set(zip(names, dataset.groups.tolist(), strict=True))
    assert len(pairs) == len(set(names)) == len({group for _, group in pairs}) == 40
    some = np.array([7, 3, 50], np.int64)
    assert (dataset.take(some).groups == dataset.groups[some]).all()
    assert open_dataset(tmp_path).groups is None


def test_a_group_keeps_its_split_when_it_and_others_grow(tmp_path):
    before = by_patient(open_dataset(fill(tmp_path, range(100)), group_by=PATIENT))
    after = by_patient(open_dataset(fill(tmp_path, range(150), each=6), group_by=PATIENT))
    assert {p: after[p] for p in before} == before


def test_a_column_of_the_table_names_the_groups_before_any_pattern(tmp_path):
    fill(tmp_path, range(60))
    rows = [f"{k}/p{p}_{i}.jpg,{k},g{p // 3}" for p in range(60) for i in range(3) for k in ["ab"[(p + i) % 2]]]
    (tmp_path / "t.csv").write_text("path,label,Patient\n" + "\n".join(rows) + "\n", encoding="utf-8")
    dataset = open_dataset(tmp_path / "t.csv", group_by="patient")
    assert len(np.unique(dataset.groups)) == 20
    assert all(len(set(dataset.splits[dataset.groups == g].tolist())) == 1 for g in np.unique(dataset.groups))
    assert len(np.unique(open_dataset(tmp_path / "t.csv", group_by=PATIENT).groups)) == 60


def test_pictures_that_match_nothing_are_groups_of_their_own_and_split_as_ever(tmp_path):
    fill(tmp_path, range(50))
    for i in range(50):
        (tmp_path / "a" / f"lone{i}.jpg").write_bytes(b"lone %d" % i)
    plain, dataset = open_dataset(tmp_path), open_dataset(tmp_path, group_by=PATIENT)
    lone = [i for i in range(len(dataset)) if "lone" in dataset.pictures.name(i)]
    assert len(set(dataset.groups[lone].tolist())) == 50
    assert (plain.splits[lone] == dataset.splits[lone]).all()
    assert any("50 pictures in none" in note for note in dataset.notes)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 15)), min_size=1, max_size=40))
def test_groups_with_equal_pictures_are_joined_as_a_slow_search_joins_them(pairs):
    from foveal.data.groups import _joined

    named, content = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    sets: list[set[int]] = []
    for group in sorted(set(named.tolist())):
        held = set(content[named == group].tolist())
        for other in [s for s in sets if s & held]:
            held |= other
            sets.remove(other)
        sets.append(held)
    expected = [next(k for k, s in enumerate(sets) if c in s) for c in content.tolist()]
    got = _joined(named, content).tolist()
    assert all(
        (a == b) == (c == d) for a, c in zip(got, expected, strict=True) for b, d in zip(got, expected, strict=True)
    )


def test_equal_pictures_in_two_groups_join_them(tmp_path):
    fill(tmp_path, range(60))
    for p in range(0, 60, 2):  # p and p + 1 share a picture of class b
        for q in (p, p + 1):
            (tmp_path / "b" / f"p{q}_same.jpg").write_bytes(b"same %d" % p)
    dataset = open_dataset(tmp_path, group_by=PATIENT)
    of = by_patient(dataset)
    assert all(of[f"p{p}"] == of[f"p{p + 1}"] and len(of[f"p{p}"]) == 1 for p in range(0, 60, 2))
    assert any("30 joined" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("(", "is not a valid regular expression"),
        ("film", "matches no picture"),
        ("x*", "matches no picture"),
        (r"\.jpg", "puts every picture into one group"),
    ],
)
def test_a_pattern_that_cannot_group_is_refused(tmp_path, pattern, sentence):
    with pytest.raises(BadData, match=sentence) as error:
        open_dataset(fill(tmp_path, range(9)), group_by=pattern)
    assert "a/p0_0.jpg" in str(error.value)


def test_a_group_that_the_source_or_the_user_parts_is_named(tmp_path):
    fill(tmp_path / "two", range(20), deep="train")
    fill(tmp_path / "two", range(19, 24), deep="test")
    for path in (tmp_path / "two" / "test").rglob("p19_*"):
        path.write_bytes(path.read_bytes() + b"other")
    with pytest.raises(BadData, match=r'group "p19" lies in .*train.*test'):
        open_dataset(tmp_path / "two", group_by=PATIENT)
    fill(tmp_path / "one", range(20))
    with pytest.raises(BadData, match=r'group "p\d+" lies in'):
        open_dataset(tmp_path / "one", group_by=PATIENT, test_if=r"_1\.jpg")
    whole = open_dataset(tmp_path / "one", group_by=PATIENT, test_if=r"p1\d_")
    assert {p for p, s in by_patient(whole).items() if s == {2}} == {f"p{p}" for p in range(10, 20)}
    (tmp_path / "s.csv").write_text("path,split\na/p0_0.jpg,test\nb/p1_0.jpg,val\n", encoding="utf-8")
    some = by_patient(open_dataset(tmp_path / "one", group_by=PATIENT, split=tmp_path / "s.csv"))
    assert some["p0"] == {2}
    assert some["p1"] == {1}
    assert all(len(s) == 1 for s in some.values())


def test_filling_a_split_moves_whole_groups_and_takes_no_class_its_last(tmp_path):
    for seed in range(20):
        root = fill(tmp_path / str(seed), range(seed * 10, seed * 10 + 5))
        dataset = open_dataset(root, group_by=PATIENT)
        assert all(len(splits) == 1 for splits in by_patient(dataset).values())
        assert (dataset.counts("train") > 0).all()
