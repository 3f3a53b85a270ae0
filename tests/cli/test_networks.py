"""`foveal networks`, in this process: the list, the table, the page, the block, the comparison."""

import csv
import io
import json

import pytest

from foveal.cli.main import _run
from foveal.networks.catalogue import NETWORKS


@pytest.fixture
def answer(capsys):
    """(exit code, stdout, stderr) of `foveal networks …`."""

    def run(*words):
        capsys.readouterr()
        code = _run(["networks", *words], debug=False)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_the_list_has_every_network_once(answer):
    code, out, _ = answer()
    assert code == 0
    names = [line.split()[0] for line in out.splitlines()[1:]]
    assert names == list(NETWORKS)
    facts = json.loads(answer("--json")[1])
    assert [one["name"] for one in facts] == names
    assert next(one for one in facts if one["name"] == "resnet50")["weights"]["top1"] == 76.13


def test_a_network_is_told_layer_by_layer_with_its_totals(answer):
    code, out, _ = answer("lenet5", "--size", "32", "--channels", "3")
    assert code == 0
    assert "(5·5·3 + 1)·6 = 456" in out
    assert "multiply-adds" in out
    assert "parameters" in out.splitlines()[-4]


def test_json_holds_layers_and_totals(answer):
    table = json.loads(answer("resnet50", "--size", "224", "--json")[1])
    assert table["totals"]["parameters"] == 25_557_032
    assert table["totals"]["receptive_field"] == [427, 427]
    assert table["totals"]["multiply_adds"] == 4_089_184_256
    assert table["layers"][0]["shape"] == [64, 112, 112]


def test_csv_is_read_by_a_spreadsheet(answer):
    rows = list(csv.DictReader(io.StringIO(answer("resnet18", "--size", "64x96", "--csv")[1])))
    assert rows[0]["name"] == "conv1"
    assert rows[0]["shape"] == "64x32x48"
    assert sum(int(row["parameters"]) for row in rows) == 11_689_512


def test_a_notation_stands_where_a_name_does(answer):
    words = ("conv 25 3x3, pool 2, conv 50 3x3, pool 2, flatten, dense 10", "--size", "28", "--channels", "1")
    table = json.loads(answer(*words, "--json")[1])
    shapes = [layer["shape"] for layer in table["layers"] if layer["kind"] in ("Conv2d", "MaxPool2d")]
    assert shapes == [[25, 26, 26], [25, 13, 13], [50, 11, 11], [50, 5, 5]]
    counts = [layer["parameters"] for layer in table["layers"] if layer["kind"] == "Conv2d"]
    assert counts == [250, 11_300]


def test_the_page_is_written_whole_and_offline(answer, tmp_path):
    page = tmp_path / "net.html"
    code, out, _ = answer("squeezenet1_1", "--html", str(page))
    assert code == 0
    assert str(page) in out
    text = page.read_text(encoding="utf-8")
    assert "1\u202f235\u202f496" in text
    assert "http" not in text.replace("http-equiv", "")


def test_the_block_is_drawn(answer):
    code, out, _ = answer("resnet18", "--diagram")
    assert code == 0
    assert out.splitlines()[-1] == "Add ─ ReLU"


def test_the_comparison_has_a_line_a_network(answer):
    compared = json.loads(answer("--compare", "lenet5", "mlp", "--size", "28", "--json")[1])
    assert [one["name"] for one in compared] == ["lenet5", "mlp"]
    assert all(one["images_per_second"] > 0 for one in compared)
    assert compared[0]["parameters"] < compared[1]["parameters"]
    assert len(answer("--compare", "lenet5", "mlp", "--size", "28")[1].splitlines()) == 3


def test_weight_sharing_is_set_against_a_dense_layer(answer):
    out = answer("--why-convolve", "32x32x3", "--filters", "6", "--kernel", "5")[1]
    assert "= 456 parameters" in out
    assert "= 156)" in out
    assert "3072 × 4704 = 14,450,688" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("resnet-50",), 'no such network: "resnet-50"; did you mean "resnet50"'),
        (("resnet50", "--size", "big"), "--size must be a side or HxW in pixels"),
        (("inception_v3", "--size", "32"), "inception_v3 needs pictures of at least 75x75"),
        (("resnet18", "resnet34"), "give one network, or --compare resnet18 resnet34"),
        (("--diagram",), "name the networks to show"),
        (("--why-convolve", "32x32"), "--why-convolve 32x32: it takes HxWxC"),
        (("--why-convolve", "3x3x1", "--kernel", "5"), "does not fit"),
        (("conv 25 3x3, poool 2, flatten, dense 10",), 'did you mean "pool"'),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(answer, words, sentence):
    code, out, err = answer(*words)
    assert code == 2
    assert out == ""
    assert sentence in err
    assert "Traceback" not in err


@pytest.mark.parametrize("channels", ["0", "-1"])
def test_channels_below_one_are_refused(answer, channels):
    code, _, err = answer("resnet18", "--channels", channels)
    assert code == 2
    assert "--channels" in err


def test_a_notation_may_stand_in_a_file(answer, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("conv 4 3x5,  # wide\nflatten, dense 3", encoding="utf-8")
    table = json.loads(answer(str(file), "--size", "8", "--channels", "1", "--json")[1])
    assert table["network"].startswith("conv 4 3x5, flatten, dense 3")
    assert table["layers"][0]["shape"] == [4, 6, 4]


@pytest.mark.parametrize(
    "words",
    ["lenet5 --csv --json", "lenet5 --diagram --html x.html", "--compare lenet5 mlp --csv", "--classes 5", "--size 32"],
)
def test_what_would_not_be_shown_is_refused(answer, words):
    code, out, err = answer(*words.split())
    assert (code, out) == (2, "")
    assert "both say how" in err or "--compare prints a table" in err or "name the networks" in err
