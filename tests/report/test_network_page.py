"""The page of a network: boxes to scale, connections that are there, rows for all, nothing from outside."""

import math
import re
from html.parser import HTMLParser

import pytest

from foveal.networks.catalogue import table_of
from foveal.pages.render import render
from foveal.report.network_page import network_page, picture


class Rows(HTMLParser):
    """Cells of the table's body."""

    def __init__(self):
        super().__init__()
        self.rows, self.inside = [], False

    def handle_starttag(self, tag, attributes):
        self.inside = tag == "td"
        if tag == "tr":
            self.rows.append([])
        elif tag == "td":
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def googlenet():
    return table_of("googlenet", (224, 160))


def test_every_layer_has_its_row(googlenet):
    reader = Rows()
    reader.feed(render(network_page("googlenet", "a paper", googlenet)))
    rows = [row for row in reader.rows if len(row) == 10]
    assert [row[0] for row in rows] == [layer.name for layer in googlenet.layers]
    assert rows[0][2] == "64×112×80"


def test_boxes_grow_with_the_root_of_map_and_channels(googlenet):
    drawn = {googlenet.layers[box.number].name: box for box in picture(googlenet.layers).boxes}
    first, later = drawn["conv1.conv"], drawn["inception4a.branch1.conv"]
    assert math.isclose(first.height / later.height, math.sqrt(112 / 14))
    assert math.isclose(first.width / later.width, math.sqrt(64 / 192))


def test_branches_run_side_by_side_between_what_they_share(googlenet):
    boxes = {googlenet.layers[box.number].name: box for box in picture(googlenet.layers).boxes}
    branches = [box for name, box in boxes.items() if re.fullmatch(r"inception3a\.branch\d(\.0)?\.conv", name)]
    assert len({box.x + box.width / 2 for box in branches}) < len(branches)
    for one in branches:
        for other in branches:
            apart = one is other or one.y + one.height <= other.y or other.y + other.height <= one.y
            assert apart or abs(one.x - other.x) > one.width


def test_a_box_lies_right_of_all_that_it_takes(googlenet):
    drawing = picture(googlenet.layers)
    for line in drawing.lines:
        x0, x1 = (float(value) for value in re.match(r"M(\S+) .* (\S+) \S+$", line).groups())
        assert x0 < x1
    assert all(box.x >= 0 and box.x + box.width <= drawing.width for box in drawing.boxes)
    assert all(box.y >= 0 and box.y + box.height <= drawing.height for box in drawing.boxes)


def test_names_from_outside_cannot_become_markup(googlenet):
    page = render(network_page("<script>alert(1)</script>", "a\x1b[31m & b", googlenet))
    assert "<script" not in page
    assert "\x1b" not in page
    assert "default-src 'none'" in page
    assert "u202f" not in page
