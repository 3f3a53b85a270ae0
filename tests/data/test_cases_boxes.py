"""Boxes as people have them: what other tools write, and what foveal makes and says of it.

Each kind as it was met and in relatives of it: in other forms, from other tools. Numbers of a case are those of the
collection that this house keeps of such inputs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from boxed import boxes, coco, picture, rows, thing, told, voc

from foveal.data.sources import open_dataset
from foveal.errors import BadData

AT = [25.6, 19.2, 38.4, 28.8]  # of the line below, on 64 × 48
LINE = "0 .5 .5 .2 .2"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def image(number: int | str, name: str, size: tuple[int, int] = (64, 48)) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": size[0], "height": size[1]}


def note(
    number: int, on: int | str, bbox: Any = (5, 5, 20, 20), category: int | str = 1, **more: Any
) -> dict[str, Any]:
    return {"id": number, "image_id": on, "category_id": category, "bbox": bbox, **more}


def coco_of(path: Path, names: list[str], bbox: Any = (5, 5, 20, 20), **more: Any) -> Path:
    """A file with one box on each picture."""
    images = [image(i, name) for i, name in enumerate(names)]
    return write(path, coco(images, [note(i, i, bbox, **more) for i in range(len(names))], {1: "cat"}))


def xml(path: Path, *corners: float | str, name: str = "cat", filename: str = "", more: str = "") -> Path:
    return write(path, voc([thing(name, *corners)], filename=filename).replace("</annotation>", more + "</annotation>"))


def yolo(folder: Path, *lines: str, names: str = "[cat, dog]", more: str = "") -> Path:
    """A picture a line, and data.yaml."""
    for i, line in enumerate(lines):
        picture(folder / f"images/train/{i}.jpg")
        write(folder / f"labels/train/{i}.txt", line)
    write(folder / "data.yaml", f"path: .\ntrain: images/train\nval: images/train\nnames: {names}\n{more}")
    return folder


def first(dataset: Any) -> list[float]:
    """The first box of the first picture."""
    return next(iter(boxes(dataset).values()))[0][1]


def as_split(source: Path) -> Any:
    """The data set with the splits that its source tells: a val that nobody tests by stays val."""
    return open_dataset(source, held_out="val")


def splits(dataset: Any) -> dict[str, int]:
    return dict(zip(boxes(dataset), dataset.splits.tolist(), strict=True))


# 02 and 10: where a picture lies that is named elsewhere


def test_a_stray_file_does_not_win_over_the_path_as_written(tmp_path):
    picture(tmp_path / "0001.jpg", seed=1)
    for i in range(1, 9):
        picture(tmp_path / f"images/cam2/000{i}.jpg", seed=2)
    file = coco_of(tmp_path / "ann.json", [f"cam2/000{i}.jpg" for i in range(1, 9)])
    for source in (tmp_path, file):
        assert list(boxes(open_dataset(source))) == [f"images/cam2/000{i}.jpg" for i in range(1, 9)]


def test_the_longest_end_of_a_path_decides(tmp_path):
    picture(tmp_path / "0001.jpg", seed=1)
    picture(tmp_path / "raw/cam1/0001.jpg", seed=2)
    picture(tmp_path / "raw/cam2/0001.jpg", seed=3)
    coco_of(tmp_path / "ann.json", ["/srv/cam1/0001.jpg", "/srv/cam2/0001.jpg"])
    found = open_dataset(tmp_path)
    assert list(boxes(found)) == ["raw/cam1/0001.jpg", "raw/cam2/0001.jpg"]
    assert "2 pictures are not where their entries say and are found by their names" in told(found)


@pytest.mark.parametrize("name", ["0001.jpg", "/srv/elsewhere/0001.jpg", "https://a.b/0001.jpg"])
def test_a_bare_name_of_two_pictures_is_a_row_that_names_both(tmp_path, name):
    for folder in ("", "images/"):
        picture(tmp_path / f"{folder}0001.jpg", seed=len(folder))
    picture(tmp_path / "images/b.jpg")
    coco_of(tmp_path / "ann.json", [name, "b.jpg"])
    found = open_dataset(tmp_path)
    assert list(boxes(found)) == ["images/b.jpg"]
    assert "may be any of several pictures (0001.jpg, images/0001.jpg)" in rows(found)["image 0"]
    coco_of(tmp_path / "ann.json", [name])
    with pytest.raises(BadData, match="may be any of several pictures"):
        open_dataset(tmp_path)


def test_what_is_found_by_its_name_never_takes_anothers_picture(tmp_path):
    for name in ("cam1/1.jpg", "cam1/2.jpg"):
        picture(tmp_path / name)
    coco_of(tmp_path / "ann.json", ["cam2/1.jpg", "cam1/1.jpg", "cam3/2.jpg", "cam4/2.jpg"])
    with pytest.raises(BadData):
        open_dataset(
            write(tmp_path / "empty.json", coco([image(1, "cam3/2.jpg"), image(2, "cam4/2.jpg")], [], {1: "c"}))
        )
    (tmp_path / "empty.json").unlink()
    found = open_dataset(tmp_path)
    assert list(boxes(found)) == ["cam1/1.jpg"]
    assert "that is of another entry" in rows(found)["image 0"]
    assert "that is of cam4/2.jpg" in rows(found)["image 2"]


def test_label_studios_paths_are_found_inside_and_nothing_outside_is_opened(tmp_path):
    place = tmp_path / "set"
    for name in ("cb06-x.png", "x.jpg", "90fb-a.jpg", "b.jpg", "c d.jpg", "e.jpg"):
        picture(place / f"images/{name}")
    picture(tmp_path / "out.jpg")
    names = ["..\\..\\label-studio\\media\\4\\cb06-x.png", "/data/upload/1/x.jpg", "images\\1/90fb-a.jpg", "b.jpg",
             "/data/local-files/?d=some/c%20d.jpg", "D:\\e.jpg", "../out.jpg"]  # fmt: skip
    coco_of(place / "result.json", names)
    found = open_dataset(place)
    assert sorted(boxes(found)) == sorted(
        f"images/{n}" for n in ("cb06-x.png", "x.jpg", "90fb-a.jpg", "b.jpg", "c d.jpg", "e.jpg")
    )
    assert "5 pictures are not where their entries say" in told(found)
    assert "leads out of the folder" in rows(found)["image 6"]


def test_no_picture_beside_the_source_is_taken_for_one_in_it(tmp_path):
    picture(tmp_path / "out.jpg")
    picture(tmp_path / "images/other.jpg")
    picture(tmp_path / "set/in.jpg")
    file = coco_of(tmp_path / "set/ann.json", ["out.jpg", "other.jpg", "set/in.jpg"])
    for source in (tmp_path / "set", file):
        found = open_dataset(source)
        assert list(boxes(found)) == ["in.jpg"]
        assert rows(found) == {"image 0": "file out.jpg not found", "image 1": "file other.jpg not found"}


def test_a_file_of_a_split_means_the_pictures_in_the_folder_of_its_name(tmp_path):
    for split in ("train", "val"):
        picture(tmp_path / f"pictures/{split}/1.jpg", seed=len(split))
        coco_of(tmp_path / f"notes/{split}.json", ["1.jpg"])
    assert splits(as_split(tmp_path)) == {"pictures/train/1.jpg": 0, "pictures/val/1.jpg": 1}


def test_two_entries_of_one_picture_are_both_left_out_where_both_say_something(tmp_path):
    for name in "abc":
        picture(tmp_path / f"{name}.jpg")
    images = [image(1, "a.jpg"), image(2, "a.jpg"), image(3, "b.jpg"), image(4, "b.jpg"), image(5, "c.jpg")]
    notes = [note(1, 1), note(2, 2, (30, 30, 9, 9)), note(3, 4), note(4, 5)]
    write(tmp_path / "ann.json", coco(images, notes, {1: "cat"}))
    found = open_dataset(tmp_path, unlabelled="background")
    assert list(boxes(found)) == ["b.jpg", "c.jpg"]
    assert "both are skipped" in rows(found)["image 1"]
    assert "image 4, which has its annotations" in rows(found)["image 3"]


def test_paths_of_another_machine_in_tables_and_lists(tmp_path):
    for i in range(3):
        picture(tmp_path / f"t/pictures/{i}.jpg")
    lines = [f"C:\\me\\{i}.jpg,5,5,20,20,cat" for i in range(3)]
    table = write(tmp_path / "t/boxes.csv", "\n".join(["path,x1,y1,x2,y2,label", *lines]))
    found = as_split(table)
    assert list(boxes(found)) == [f"pictures/{i}.jpg" for i in range(3)]
    assert "3 pictures are not where their rows say and are found by their names (first: C:\\me\\0.jpg" in told(found)
    place = yolo(tmp_path / "y", LINE, LINE, LINE)
    (place / "data.yaml").unlink()
    write(place / "train.txt", "/home/me/set/images/train/0.jpg\n/home/me/set/images/train/1.jpg\n")
    write(place / "val.txt", "/home/me/set/images/train/2.jpg\n/home/me/set/images/train/9.jpg\n")
    found = as_split(place)
    assert splits(found)["images/train/2.jpg"] == 1
    assert "val.txt names 1 of 2 pictures that are not here" in told(found)


def test_voc_picks_among_equal_names_by_the_folder_that_it_says(tmp_path):
    for folder in ("cam1", "cam2"):
        picture(tmp_path / f"{folder}/7.jpg", seed=ord(folder[-1]))
    xml(tmp_path / "annotations/7.xml", 11, 6, 30, 26, more="<path>C:\\x\\cam2\\7.jpg</path>")
    assert list(boxes(open_dataset(tmp_path))) == ["cam2/7.jpg"]


# 03: where pixels count from


def test_voc_with_decimals_counts_from_zero_and_says_so(tmp_path):
    for i in range(3):
        picture(tmp_path / f"images/{i}.jpg")
        xml(tmp_path / f"annotations/{i}.xml", 10.5, 20.25, 30.75, 40.0)
    found = open_dataset(tmp_path)
    assert first(found) == [10.5, 20.25, 30.75, 40]
    assert "A box has decimals (box 1 of images/0.jpg): boxes are taken as they are" in told(found)
    assert "--box-origin 1" in told(found)
    one = open_dataset(tmp_path, box_origin="1")
    assert first(one) == [9.5, 19.25, 30.75, 40]
    assert "count pixels from 1, as --box-origin says" in told(one)


@pytest.mark.parametrize(
    ("corners", "origin", "expected", "says"),
    [
        ((11, 6, 30, 26), "auto", [10, 5, 30, 26], "from 1, as VOC does; --box-origin 0"),
        ((11, 6, 30, 26), "0", [11, 6, 30, 26], "from 0, as --box-origin says"),
        ((0, 6, 30, 26), "auto", [0, 6, 30, 26], "begins at 0"),
        (("11.0", "6.0", "30.0", "26.0"), "auto", [11, 6, 30, 26], "has decimals"),
        ((0.1, 0.25, 0.5, 0.75), "auto", [6.4, 12, 32, 36], "between 0 and 1: taken as shares"),
    ],
)
def test_what_is_assumed_of_voc_is_said_and_can_be_set(tmp_path, corners, origin, expected, says):
    for i in range(3):
        picture(tmp_path / f"{i}.jpg")
        xml(tmp_path / f"{i}.xml", *corners)
    found = open_dataset(tmp_path, box_origin=origin)
    assert first(found) == pytest.approx(expected)
    assert says in told(found)


def test_the_few_decimals_of_voc_itself_move_nothing(tmp_path):
    own = "<source><database>The VOC2012 Database</database></source>"
    for i in range(21):
        picture(tmp_path / f"{i}.jpg")
        xml(tmp_path / f"{i}.xml", *((11, 6, 30, 26) if i else (11.5, 6, 30, 26)), more=own)
    assert boxes(open_dataset(tmp_path))["1.jpg"] == [("cat", [10, 5, 30, 26])]


def test_the_origin_of_other_forms_can_be_set_and_is_not_ignored_where_it_moves_nothing(tmp_path):
    for i in range(2):
        picture(tmp_path / f"{i}.jpg")
    file = coco_of(tmp_path / "ann.json", ["0.jpg", "1.jpg"], (5, 6, 20, 10))
    assert first(open_dataset(file, box_origin="1")) == [4, 5, 24, 15]
    table = write(tmp_path / "t.csv", "path,x1,y1,x2,y2,label\n0.jpg,5,6,20,10,cat\n1.jpg,5,6,20,10,cat")
    assert first(open_dataset(table, box_origin="1")) == [4, 5, 20, 10]
    found = open_dataset(yolo(tmp_path / "y", LINE, LINE), box_origin="1")
    assert first(found) == pytest.approx(AT)
    assert "--box-origin 1 moves nothing" in told(found)


# 04: shares where pixels are usual

HEADS = {
    "corners": "filename,XMin,YMin,XMax,YMax,class\n{i}.jpg,0.1,0.25,0.5,0.75,cat\n",
    "open images": "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\n{i},cat,0.1,0.5,0.25,0.75,0\n",
    "sides": "path,x,y,w,h,label\n{i}.jpg,0.1,0.25,0.4,0.5,cat\n",
    "middle": "path,x_center,y_center,width,height,label\n{i}.jpg,0.3,0.5,0.4,0.5,cat\n",
    "one column": 'path,bbox_xywh,label\n{i}.jpg,"[0.1, 0.25, 0.4, 0.5]",cat\n',
    "bucket": "split,path,label,x1,y1,,,x2,y2,,\nTRAIN,gs://b/{i}.jpg,cat,0.1,0.25,,,0.5,0.75,,\n",
}


@pytest.mark.parametrize("kind", HEADS)
def test_tables_of_shares_are_known_by_all_their_boxes(tmp_path, kind):
    head, line = HEADS[kind].splitlines()
    for i in range(4):
        picture(tmp_path / f"{i}.jpg")
    found = open_dataset(write(tmp_path / "t.csv", "\n".join([head, *(line.format(i=i) for i in range(4))])))
    assert [b[0][1] for b in boxes(found).values()] == [pytest.approx([6.4, 12, 32, 36])] * 4
    assert "All 4 boxes lie between 0 and 1: taken as shares of the picture." in told(found)


def test_shares_in_coco_and_labelme(tmp_path):
    for i in range(2):
        picture(tmp_path / f"c/{i}.jpg")
        picture(tmp_path / f"l/{i}.jpg")
        drawn = {"label": "cat", "shape_type": "rectangle", "points": [[0.1, 0.25], [0.5, 0.75]]}
        write(tmp_path / f"l/{i}.json", json.dumps({"shapes": [drawn], "imagePath": "x"}))
    coco_of(tmp_path / "c/ann.json", ["0.jpg", "1.jpg"], (0.1, 0.25, 0.4, 0.5))
    for name in "cl":
        found = open_dataset(tmp_path / name)
        assert first(found) == pytest.approx([6.4, 12, 32, 36])
        assert "taken as shares of the picture" in told(found)


def test_a_set_that_mixes_pixels_and_shares_is_no_guess(tmp_path):
    for i in range(4):
        picture(tmp_path / f"{i}.jpg")
    head, share, pixels = "path,x1,y1,x2,y2,label\n", "{}.jpg,0.1,0.2,0.5,0.6,cat\n", "{}.jpg,5,5,20,20,cat\n"
    text = head + share.format(0) + "".join(pixels.format(i) for i in (1, 2, 3))
    found = open_dataset(write(tmp_path / "t.csv", text))
    assert list(boxes(found)) == ["1.jpg", "2.jpg", "3.jpg"]
    assert "lies between 0 and 1, as a share" in rows(found)["line 2"]
    text = head + share.format(0) + share.format(1) + pixels.format(2)
    with pytest.raises(BadData, match=r"2 of 3 boxes lie between 0 and 1 \(first: line 2\).*\(first: line 4\)"):
        open_dataset(write(tmp_path / "t.csv", text))
    with pytest.raises(BadData, match="one pixel or all of the picture"):
        open_dataset(write(tmp_path / "t.csv", head + "0.jpg,0,0,1,1,cat\n1.jpg,0,0,1,1,cat\n"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('path,bbox,label\n0.jpg,"[10, 12, 20, 20]",cat', "call the column bbox_xywh or bbox_xyxy"),
        ("TRAIN,gs://b/0.jpg,cat,0.1,0.2,,,0.5,0.6,,", 'has no header; write "split,path,label'),
        ("0.jpg,1,2,30,40,cat", 'write "path,x1,y1,x2,y2,label" as its first line'),
        ("filename,region_shape_attributes\n0.jpg,x", "VGG Image Annotator"),
        ('image,label\n0.jpg,"[{""rectanglelabels"":[""cat""]}]"', "Label Studio's table; export as JSON"),
    ],
)
def test_a_table_that_could_mean_two_things_is_refused_with_what_it_needs(tmp_path, text, reason):
    picture(tmp_path / "0.jpg")
    with pytest.raises(BadData, match=reason):
        open_dataset(write(tmp_path / "t.csv", text))


def test_sides_are_never_taken_for_corners(tmp_path):
    for i in range(2):
        picture(tmp_path / f"{i}.jpg")
    text = "path,x,y,width,height,label\n0.jpg,40,30,20,10,cat\n1.jpg,40,30,20,10,cat\n"
    found = open_dataset(write(tmp_path / "t.csv", text))
    assert first(found) == [40, 30, 60, 40]
    assert "x and y are taken as a box's top left corner" in told(found)
    text = "path,width,height,bbox,label\n" + "".join(f'{i}.jpg,64,48,"[40, 30, 20, 10]",cat\n' for i in range(2))
    assert first(open_dataset(write(tmp_path / "t.csv", text))) == [40, 30, 60, 40]
    text = "path,x1,y1,x2,y2,width,height,label\n" + "".join(f"{i}.jpg,1,2,30,40,64,48,cat\n" for i in range(2))
    assert first(open_dataset(write(tmp_path / "t.csv", text))) == [1, 2, 30, 40]


# 06: CVAT's exports


def cvat_yolo(folder: Path, empty: int, subset: str = "Validation") -> Path:
    for i in range(20):
        picture(folder / f"obj_train_data/{i}.jpg")
        write(folder / f"obj_train_data/{i}.txt", "" if i < empty else LINE)
    for i in range(4):
        picture(folder / f"obj_{subset}_data/v{i}.jpg")
        write(folder / f"obj_{subset}_data/v{i}.txt", LINE)
    write(folder / "obj.names", "cat\n")
    write(folder / "train.txt", "".join(f"data/obj_train_data/{i}.jpg\n" for i in range(20)))
    write(folder / f"{subset}.txt", "".join(f"data/obj_{subset}_data/v{i}.jpg\n" for i in range(4)))
    return folder


def test_cvats_lists_split_and_its_empty_files_are_told(tmp_path):
    found = as_split(cvat_yolo(tmp_path, 15))
    assert {name for name, split in splits(found).items() if split == 1} == {
        f"obj_Validation_data/v{i}.jpg" for i in range(4)
    }
    assert "15 of 20 label files are empty: CVAT's YOLO export drops polygons" in told(found)
    assert "label files are empty" not in told(as_split(cvat_yolo(tmp_path / "few", 9)))


def test_without_lists_the_folders_names_split_and_a_subset_of_another_name_is_train(tmp_path):
    place = cvat_yolo(tmp_path / "a", 0)
    for name in ("train.txt", "Validation.txt"):
        (place / name).unlink()
    assert splits(as_split(place))["obj_Validation_data/v0.jpg"] == 1
    place = cvat_yolo(tmp_path / "b", 0, "Test")
    write(place / "extra.txt", "data/obj_extra_data/9.jpg\n")
    picture(place / "obj_extra_data/9.jpg")
    write(place / "obj_extra_data/9.txt", LINE)
    found = as_split(place)
    assert splits(found)["obj_Test_data/v0.jpg"] == 2
    assert "extra.txt is named as no split: its pictures (1) are train." in told(found)


def test_half_empty_label_files_are_told_for_every_yolo_set(tmp_path):
    found = open_dataset(yolo(tmp_path, LINE, LINE, "", ""))
    assert "2 of 4 label files are empty: their pictures are taken as showing nothing (labels/train" in told(found)


def test_cvats_coco_with_subsets(tmp_path):
    for subset, number in (("Train", 1), ("Validation", 2), ("more", 3)):
        picture(tmp_path / f"images/{subset}/{number}.jpg")
        coco_of(tmp_path / f"annotations/instances_{subset}.json", [f"{number}.jpg"])
    found = as_split(tmp_path)
    assert {s for n, s in splits(found).items() if "Validation" in n} == {1}
    assert "images/more/3.jpg" in boxes(found)
    assert "instances_more.json is named as no split: its pictures are train" in told(found)


def test_cvats_voc_with_subsets(tmp_path):
    for i in range(4):
        picture(tmp_path / f"JPEGImages/{i} x.jpg")
        xml(tmp_path / f"Annotations/{i} x.xml", 10.5, 6.0, 30.0, 26.0)
    write(tmp_path / "ImageSets/Main/Train.txt", "0 x\n1 x\n")
    write(tmp_path / "ImageSets/Main/Validation.txt", '"2 x"\n')
    write(tmp_path / "ImageSets/Main/odd.txt", "3 x\n")
    write(tmp_path / "ImageSets/Main/cat_Train.txt", "0 x  1\n1 x  -1\n2 x  1\n")
    found = as_split(tmp_path)
    assert splits(found)["JPEGImages/2 x.jpg"] == 1
    assert "odd.txt is named as no split: its pictures (1) are train." in told(found)


# 07: names that YAML makes something else of

NAMES = {
    "[no, yes]": ("no", "yes"),
    "{0: off, 1: on}": ("off", "on"),
    "[010, 007]": ("010", "007"),
    "[1.10, 1.20]": ("1.10", "1.20"),
    '{"0": cat, "1": dog}': ("cat", "dog"),
    "[2020-01-01, x]": ("2020-01-01", "x"),
    "[null, ~]": ("null", "~"),
    "[1e3, 0x10]": ("1e3", "0x10"),
    "[12:30:00, .inf]": ("12:30:00", ".inf"),
    "\n- y\n- N\n": ("y", "N"),
    "\n  0: true\n  1: 'false'\n": ("true", "false"),
}


@pytest.mark.parametrize("names", NAMES)
def test_names_are_as_they_are_written(tmp_path, names):
    found = open_dataset(yolo(tmp_path, LINE, "1 .5 .5 .2 .2", names=names), unlearnt="keep")
    assert found.classes == NAMES[names]


def test_gaps_in_keys_nc_and_a_file_of_names(tmp_path):
    assert open_dataset(yolo(tmp_path / "a", LINE, LINE, names='{"0": cat, 7: dog}'), unlearnt="keep").classes == (
        "cat", "dog"
    )  # fmt: skip
    found = open_dataset(yolo(tmp_path / "b", LINE, LINE, more="nc: 3\n"))
    assert "nc is 3, but there are 2 names, which count" in told(found)
    write(tmp_path / "c/names.list", "no\nyes\n")
    assert open_dataset(yolo(tmp_path / "c", LINE, LINE, names="names.list"), unlearnt="keep").classes == ("no", "yes")
    for names in ("{01: cat}", "{-1: cat}", "[cat, ]", "[[cat]]", "{a: cat}", ""):
        if names == "[cat, ]":
            names = "['', cat]"
        with pytest.raises(BadData, match="names must be a list of class names, or numbers with a name each"):
            open_dataset(yolo(tmp_path / "d", LINE, LINE, names=names))
    with pytest.raises(BadData, match='"0" appears twice'):
        open_dataset(yolo(tmp_path / "d", LINE, LINE, names="{0: cat, 0: dog}"))


def test_splits_may_be_several_folders_and_those_of_another_machine(tmp_path):
    for folder in ("a/images", "b/images", "v/images"):
        picture(tmp_path / folder / f"{folder[0]}.jpg")
        write(tmp_path / folder.replace("images", "labels") / f"{folder[0]}.txt", LINE)
    write(tmp_path / "data.yaml", "path: /content/set\ntrain: [a/images, /content/set/b/images]\nval: ../v/images\n"
                                  "test:\nnames: [cat]\n")  # fmt: skip
    found = as_split(tmp_path)
    assert splits(found)["v/images/v.jpg"] == 1
    assert [splits(found)[f"{n}/images/{n}.jpg"] for n in "ab"].count(1) == 0


# 08: copied annotations


def test_the_file_of_the_same_stem_wins_over_a_copy_that_claims_its_picture(tmp_path):
    for name in "bcd":
        picture(tmp_path / f"images/{name}.jpg")
        xml(tmp_path / f"annotations/{name}.xml", 11, 21, 30, 40, name="dog", filename=f"{name}.jpg")
    xml(tmp_path / "annotations/a.xml", 1, 1, 30, 40, name="cat", filename="b.jpg")
    found = open_dataset(tmp_path)
    assert boxes(found) == {f"images/{n}.jpg": [("dog", [10, 20, 30, 40])] for n in "bcd"}
    assert "is of images/b.jpg by what it says, as is annotations/b.xml" in rows(found)["annotations/a.xml"]


def test_a_copy_under_its_own_pictures_name_is_told(tmp_path):
    for name in "bc":
        picture(tmp_path / f"{name}.jpg")
        xml(tmp_path / f"{name}.xml", 11, 21, 30, 40, filename="b.jpg")
    found = open_dataset(tmp_path)
    assert list(boxes(found)) == ["b.jpg", "c.jpg"]
    assert "1 annotation file names another picture than the one of its own name, which decides (c.xml)" in told(found)


def test_of_two_that_claim_one_picture_neither_is_taken(tmp_path):
    picture(tmp_path / "x.jpg")
    picture(tmp_path / "b.jpg")
    xml(tmp_path / "b.xml", 11, 21, 30, 40)
    for name in ("p", "q"):
        xml(tmp_path / f"{name}.xml", 1, 1, 30, 40, filename="x.jpg")
    found = open_dataset(tmp_path, unlabelled="background")
    assert list(boxes(found)) == ["b.jpg"]
    assert rows(found)["p.xml"] == "is of x.jpg by what it says, as is q.xml"
    assert rows(found)["x.jpg"] == "several annotation files name it"


@pytest.mark.parametrize("form", ["txt", "xml"])
def test_of_two_names_for_a_picture_the_stem_is_its_own(tmp_path, form):
    picture(tmp_path / "images/a.jpg")
    picture(tmp_path / "images/b.jpg")
    folder = tmp_path / ("labels" if form == "txt" else "annotations")
    for name, x in (("a", 11), ("a.jpg", 1), ("b", 11)):
        if form == "txt":
            write(folder / f"{name}.txt", LINE if x == 11 else "0 .1 .1 .1 .1")
        else:
            xml(folder / f"{name}.xml", x, 21, 30, 40)
    found = open_dataset(tmp_path)
    assert boxes(found)["images/a.jpg"] == boxes(found)["images/b.jpg"]
    assert f"as is {folder.name}/a.{form}" in rows(found)[f"{folder.name}/a.jpg.{form}"]


# 09: YOLO's lines

ROUND = {
    "savetxt": ("1.000000000000000000e+00 5.0e-01 5.0e-01 2.0e-01 2.0e-01", AT, ""),
    "float": ("1.0 .5 .5 .2 .2", AT, ""),
    "score": ("1 .5 .5 .2 .2 .87", AT, "3 scores behind boxes ignored (first: labels/train/0.txt line 1)"),
    "polygon": ("1 .1 .1 .4 .1 .4 .5 .1 .5", [6.4, 4.8, 25.6, 24], "3 polygons taken as the boxes round them"),
    "triangle": ("1 .1 .1 .4 .1 .4 .5", [6.4, 4.8, 25.6, 24], "3 polygons taken"),
    "scored polygon": ("1 .1 .1 .4 .1 .4 .5 .1 .5 .9", [6.4, 4.8, 25.6, 24], "3 scores behind boxes ignored"),
    "small and turned": ("1 .5 .5 .55 .5 .55 .55 .5 .55", [32, 24, 35.2, 26.4], "3 polygons taken"),
    "pose": ("1 .5 .5 .2 .2 .4 .4 2 .6 .6 2", AT, "3 lines of key points taken as their boxes"),
    "plain pose": ("1 .5 .5 .2 .2 .4 .4 .6 .6 .5 .45", AT, "3 lines of key points taken as their boxes"),
    "small polygon": ("1 .5 .5 .6 .5 .65 .6 .55 .7 .45 .6", [28.8, 24, 41.6, 33.6], "3 polygons taken"),
    "thin and turned": ("1 .5 .5 .5 .52 .7 .52 .7 .5", [32, 24, 44.8, 24.96], "3 polygons taken"),
    "found pose": ("1 .5 .5 .2 .2 .4 .4 .93 .6 .6 .71", AT, "3 lines of key points taken as their boxes"),
    "unseen": ("1 .5 .5 .2 .2 .4 .4 2 0 0 0", AT, "3 lines of key points taken as their boxes"),
}


@pytest.mark.parametrize("kind", ROUND)
def test_what_other_tools_write_in_a_line(tmp_path, kind):
    line, expected, says = ROUND[kind]
    found = open_dataset(yolo(tmp_path, line, line, line))
    assert found.classes == ("dog",)
    assert [b[0][1] for b in boxes(found).values()] == [pytest.approx(expected)] * 3
    assert says in told(found)
    assert not found.skipped


def test_key_points_are_as_data_yaml_says(tmp_path):
    line = "0 .5 .5 .2 .2 .4 .4 .9 .9"  # a point outside its box
    found = open_dataset(yolo(tmp_path / "a", line, line, LINE, more="kpt_shape: [2, 2]\n"))
    assert [b[0][1] for b in boxes(found).values()] == [pytest.approx(AT)] * 3
    found = open_dataset(yolo(tmp_path / "b", line, LINE, "0 .5 .5 .2 .2 .1", more="kpt_shape: [17, 3]\n"))
    assert "has 9 columns" in rows(found)["labels/train/0.txt line 1"]
    with pytest.raises(BadData, match="kpt_shape must be"):
        open_dataset(yolo(tmp_path / "c", LINE, LINE, more="kpt_shape: [a, 2]\n"))


def test_lines_that_may_be_either_are_refused_until_somebody_says_it(tmp_path):
    line = "0 .5 .5 .8 .5 .9 .7 .7 .7 .5 .7"
    with pytest.raises(BadData, match="lines of 11 columns may be of key points or of polygons"):
        open_dataset(yolo(tmp_path, line, line))
    found = open_dataset(yolo(tmp_path, line, line, more="kpt_shape: [0, 2]\n"))
    assert first(found) == pytest.approx([32, 24, 57.6, 33.6])
    found = open_dataset(yolo(tmp_path, line, line, more="kpt_shape: [3, 2]\n"))
    assert first(found) == pytest.approx([6.4, 12, 57.6, 36])


def test_a_class_that_is_no_whole_number_is_refused_with_its_line(tmp_path):
    half = "1.5 .5 .5 .2 .2"
    with pytest.raises(BadData, match=r"labels/train/0\.txt line 1: class 1\.5 is no whole number"):
        open_dataset(yolo(tmp_path / "a", half, half))
    found = open_dataset(yolo(tmp_path / "b", LINE, f"{LINE}\n{half}", "0 .5 .5 .2 .2 17"))
    assert "class 1.5 is no whole number" in rows(found)["labels/train/1.txt line 2"]
    assert "17 is no score between 0 and 1" in rows(found)["labels/train/2.txt line 1"]


# 11: masks without boxes, ids as they are written

SQUARE = [[10, 10, 40, 10, 40, 30, 10, 30]]
RUNS = {"size": [48, 64], "counts": [10 * 48 + 10, *([20, 28] * 29), 20, 48 * 64 - (10 * 48 + 10) - 48 * 29 - 20]}


def packed(counts: list[int]) -> str:
    """As COCO compresses runs: the slow and obvious way."""
    text = ""
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            group = value & 31
            value >>= 5
            more = value != (-1 if group & 16 else 0)
            text += chr(48 + (group | 32 if more else group))
    return text


MASKS = {
    "polygon": SQUARE,
    "flat polygon": SQUARE[0],
    "pairs": [[[10, 10], [40, 10], [40, 30], [10, 30]]],
    "two polygons": [[10, 10, 20, 10, 20, 20], [30, 20, 40, 30, 39, 29]],
    "runs": RUNS,
    "packed runs": {"size": [48, 64], "counts": packed(RUNS["counts"])},  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("bbox", [None, (), (0, 0, 0, 0)])
def test_a_mask_without_a_box_gets_the_box_round_it(tmp_path, kind, bbox):
    for i in range(3):
        picture(tmp_path / f"images/{i}.jpg")
    images = [image(str(i), f"{i}.jpg") for i in range(3)]
    notes = [note(i, str(i), bbox, "1", segmentation=MASKS[kind]) for i in range(3)]
    content = {"images": images, "annotations": notes, "categories": [{"id": "1", "name": "cat"}]}
    write(tmp_path / "ann.json", json.dumps(content))
    found = open_dataset(tmp_path)
    assert list(boxes(found).values()) == [[("cat", [10, 10, 40, 30])]] * 3
    assert f"3 {'masks' if 'runs' in kind else 'polygons'} without boxes taken as the boxes round them" in told(found)


BAD_RUNS = {
    "too short": [1, 2, 3],
    "too long": [1] * 999_999,
    "negative": [-5, 48 * 64 + 5],
    "huge": [10**30],
    "words": ["a"],
    "endless text": "o" * 40,
    "other text": "\x00é",
    "empty": [48 * 64],
    "none": [],
}


@pytest.mark.parametrize("kind", BAD_RUNS)
@pytest.mark.parametrize("crowd", [0, 1])
def test_runs_that_do_not_fit_are_a_row(tmp_path, kind, crowd):
    for i in range(2):
        picture(tmp_path / f"{i}.jpg")
    mask = {"size": [48, 64], "counts": BAD_RUNS[kind]}
    notes = [note(0, 0), note(1, 1), note(2, 1, None, segmentation=mask, iscrowd=crowd)]
    write(tmp_path / "ann.json", coco([image(0, "0.jpg"), image(1, "1.jpg")], notes, {1: "cat"}))
    found = open_dataset(tmp_path)
    assert rows(found)["annotation 2 of 1.jpg"] in (
        "the runs of its mask do not fit the mask's size",
        "its mask is empty",
    )
    assert len(found.boxes) == 2


def test_a_mask_of_another_size_and_a_numeric_id_for_a_text_are_rows(tmp_path):
    for i in range(2):
        picture(tmp_path / f"{i}.jpg")
    small = {"size": [4, 4], "counts": [4, 12]}
    notes = [note(0, "0"), note(1, "1"), note(2, "1", None, segmentation=small), note(3, 1)]
    write(tmp_path / "ann.json", coco([image("0", "0.jpg"), image("1", "1.jpg")], notes, {1: "cat"}))
    found = open_dataset(tmp_path)
    assert rows(found) == {
        "annotation 2 of 1.jpg": "its mask has 4 × 4 pixels, its picture 64 × 48",
        "annotation 3": "no picture with id 1",
    }


def test_annotations_that_miss_their_pictures_leave_no_examples_of_nothing(tmp_path):
    for i in range(2):
        picture(tmp_path / f"{i}.jpg")
    images = [image(0, "0.jpg"), image(1, "1.jpg")]
    write(tmp_path / "ann.json", coco(images, [note(0, 0), note(1, "1")], {1: "cat"}))
    found = open_dataset(tmp_path)
    assert list(boxes(found)) == ["0.jpg"]
    assert rows(found)["1.jpg"] == "none of its boxes can be used"
    write(tmp_path / "ann.json", coco(images, [note(0, "a"), note(1, "b")], {1: "cat"}))
    with pytest.raises(BadData, match="annotation 0: no picture with id 'a'"):
        open_dataset(tmp_path)


def test_two_forms_in_one_folder_are_told(tmp_path):
    place = yolo(tmp_path, LINE, LINE)
    for i in range(2):
        drawn = {"label": "cat", "shape_type": "rectangle", "points": [[1, 2], [5, 7]]}
        write(place / f"images/train/{i}.json", json.dumps({"shapes": [drawn], "imagePath": f"{i}.jpg"}))
    found = open_dataset(place)
    assert found.origin.format == "YOLO txt"
    assert "It is read as YOLO txt; labelme is here as well and is not." in told(found)


def test_lists_are_splits_as_darknet_says(tmp_path):
    place = yolo(tmp_path, LINE, LINE, LINE)
    (place / "data.yaml").unlink()
    write(place / "train.txt", "x/0.jpg\nx/1.jpg\n")
    write(place / "5k.txt", "x/2.jpg\n")
    write(place / "obj.data", "classes = 1\ntrain = data/train.txt\nvalid = data/5k.txt\n")
    assert splits(as_split(place))["images/train/2.jpg"] == 1


# 12: files named after the whole picture


def test_label_files_may_be_named_after_the_whole_picture(tmp_path):
    for i in range(3):
        picture(tmp_path / f"tree/images/{i}.jpg")
        write(tmp_path / f"tree/labels/{i}.jpg.txt", LINE)
        picture(tmp_path / f"flat/{i}.jpg")
        write(tmp_path / f"flat/{i}.jpg.txt", LINE)
        picture(tmp_path / f"voc/{i}.jpg")
        xml(tmp_path / f"voc/{i}.jpg.xml", 11, 6, 30, 26)
        picture(tmp_path / f"both/images/{i}.jpg")
        picture(tmp_path / f"both/images/{i}.png")
        for ending in ("jpg", "png"):
            write(tmp_path / f"both/labels/{i}.{ending}.txt", LINE)
    for name, n in (("tree", 3), ("flat", 3), ("voc", 3), ("both", 6)):
        found = open_dataset(tmp_path / name)
        assert (len(found), len(found.boxes), found.skipped) == (n, n, ())


# masks that are pictures, and Roboflow's folders


@pytest.mark.parametrize(
    ("pictures", "masks"),
    [
        ("images/{}.jpg", "masks/{}.png"),
        ("images/train/{}.jpg", "labels/train/{}.png"),
        ("JPEGImages/{}.jpg", "SegmentationClass/{}.png"),
        ("train/images/{}.jpg", "train/masks/{}_mask.png"),
        ("{}.jpg", "{}_mask.png"),
        ("SegmentationObject/{}.png", "SegmentationClass/{}.png"),
    ],
)
def test_masks_as_pictures_are_refused_with_the_way_out(tmp_path, pictures, masks):
    for i in range(4):
        picture(tmp_path / pictures.format(i))
        picture(tmp_path / masks.format(i), seed=1)
    with pytest.raises(BadData, match=r"holds masks as pictures.*COCO JSON"):
        open_dataset(tmp_path)


def test_classes_that_are_called_masks_are_classes(tmp_path):
    for name in ("mask", "no_mask", "label"):
        for i in range(3):
            picture(tmp_path / name / f"{i}.jpg", seed=len(name))
    assert open_dataset(tmp_path).classes == ("label", "mask", "no_mask")


def test_roboflows_folders_and_its_class_that_nothing_is_of(tmp_path):
    for split, number in (("train", 0), ("valid", 1), ("test", 2)):
        name = f"x{number}_jpg.rf.{number:032x}.jpg"
        picture(tmp_path / split / name)
        content = json.loads(coco([image(0, name)], [note(0, 0)], {0: "animals", 1: "cat"}))
        write(tmp_path / split / "_annotations.coco.json", json.dumps(content))
    found = open_dataset(tmp_path)
    assert sorted(splits(found).values()) == [0, 1, 2]
    assert found.classes == ("cat",)
    assert "class animals has no box in train and is skipped" in told(found)


# the commands


def test_the_commands_say_what_was_assumed_and_take_the_setting(tmp_path, command):
    for i in range(6):
        picture(tmp_path / f"set/{i}.jpg")
        xml(tmp_path / f"set/{i}.xml", 10.5, 6.25, 30, 26)
    done = command("data", "convert", "set", "out", "--to", "boxes-csv")
    assert done.exit_code == 0, done.stderr
    assert "A box has decimals" in done.stdout + done.stderr
    assert ",10.5,6.25,30" in (tmp_path / "out/boxes.csv").read_text()
    done = command("data", "convert", "set", "one", "--to", "boxes-csv", "--box-origin", "1")
    assert ",9.5,5.25,30" in (tmp_path / "one/boxes.csv").read_text()
    assert "count pixels from 1, as --box-origin says" in done.stdout + done.stderr
    done = command("data", "check", "set", "--box-origin", "0", "--out", "check")
    assert done.exit_code == 0, done.stderr
    assert "count pixels from 0, as --box-origin says" in (tmp_path / "check/check.html").read_text()


def test_a_command_refuses_masks_and_mixed_units_in_one_sentence(tmp_path, command):
    for i in range(2):
        picture(tmp_path / f"m/images/{i}.jpg")
        picture(tmp_path / f"m/masks/{i}.png")
        picture(tmp_path / f"t/{i}.jpg")
    write(tmp_path / "t/t.csv", "path,x1,y1,x2,y2,label\n0.jpg,.1,.1,.5,.5,cat\n1.jpg,1,1,5,5,cat\n")
    for words in (("data", "check", "m"), ("train", "t/t.csv"), ("data", "convert", "m", "o", "--to", "yolo")):
        done = command(*words)
        assert done.exit_code == 2
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_copy_in_voc_is_read_as_it_was_written(tmp_path):
    from foveal.data.convert import convert

    for k, corners in enumerate(((1, 2, 30, 40), (1.5, 2, 30, 40), (3, 2, 4, 40))):  # whole, a fraction, one pixel wide
        for i in range(2):
            picture(tmp_path / f"{k}/{i}.jpg")
        lines = [f"{i}.jpg,{','.join(map(str, corners))},cat" for i in range(2)]
        table = write(tmp_path / f"{k}/t.csv", "\n".join(["path,x1,y1,x2,y2,label", *lines]))
        copy = convert(open_dataset(table), tmp_path / f"voc{k}", "voc")
        assert first(open_dataset(copy.open)) == list(corners)


def test_a_table_of_boxes_in_each_split_s_folder(tmp_path: Path) -> None:
    """Roboflow's `_annotations.csv`."""
    header = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    for s, split in enumerate(("train", "valid", "test")):
        for i in range(3):
            picture(tmp_path / f"{split}/{split}{i}.jpg", seed=10 * s + i)
        rows = "".join(f"{split}{i}.jpg,64,48,cat,{i},6,20,22\n" for i in range(2))
        bad = f"{split}0.jpg,64,48,cat,9,6,9,22\n"
        (tmp_path / f"{split}/_annotations.csv").write_text(header + rows + bad)
    found = open_dataset(tmp_path)
    names = [found.pictures.name(i) for i in found.indices("val")]
    assert names == ["valid/valid0.jpg", "valid/valid1.jpg"]
    assert found.boxes is not None
    assert found.boxes.xyxy[found.boxes.of(int(found.indices("test")[1]))].tolist() == [[1, 6, 20, 22]]
    assert ("valid/_annotations.csv line 4", "zero area") in [(row.name, row.reason) for row in found.skipped]
    assert ("test/test2.jpg", "has no annotation") in [(row.name, row.reason) for row in found.skipped]
    assert len(open_dataset(tmp_path, unlabelled="background")) == 9
    with pytest.raises(BadData, match="column"):
        open_dataset(tmp_path, group_by="nothing-here")


def test_a_drive_s_thumbnails_are_counted_where_a_yaml_is_given(tmp_path: Path) -> None:
    for i in range(4):
        picture(tmp_path / f"images/{i}.jpg", seed=i)
        picture(tmp_path / f"images/@eaDir/{i}.jpg/SYNOPHOTO_THUMB_M.jpg", seed=i)
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / f"labels/{i}.txt").write_text("0 .5 .5 .2 .2\n")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat]\n")
    for source in (tmp_path, tmp_path / "data.yaml"):
        found = open_dataset(source)
        assert len(found) == 4
        assert sum("ignored (@eaDir)" in note for note in found.notes) == 1
