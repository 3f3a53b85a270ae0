"""Published weights: found where a person put them, fetched with their checksum, and put in only where they fit."""

import hashlib
import json
import os
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import safetensors.torch
import torch

from foveal.errors import BadData, BadModel, BadRecipe, Missing
from foveal.files.foreign import read_foreign
from foveal.model import classifier
from foveal.networks.catalogue import NETWORKS, build
from foveal.networks.entry import Published, imagenet
from foveal.networks.weights import find_published, fit_weights, load_published, looked_at, published

RESNET, LENET = NETWORKS["resnet18"], NETWORKS["lenet5"]


def weighed(name="lenet5", classes=10, channels=3, size=(32, 40)):
    return build(name, classes, channels, size)


def state(name="lenet5", seed=0, **options):
    """A state dict with nothing at its starting value."""
    generator = torch.Generator().manual_seed(seed)
    found = weighed(name, **options).state_dict()
    return {
        name: torch.rand(value.shape, generator=generator) if value.is_floating_point() else torch.tensor(5)
        for name, value in found.items()
    }


def same(network, expected):
    found = network.state_dict()
    return all(torch.equal(found[name], value) for name, value in expected.items())


# Where the file lies.


@pytest.fixture
def server(tmp_path):
    (tmp_path / "www").mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "www"))) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield tmp_path / "www", f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def record(folder, address, tensors, entry=LENET):
    """An entry whose weights the server holds, under a name with the first digits of their checksum."""
    raw = safetensors.torch.save(tensors)
    digits = hashlib.sha256(raw).hexdigest()[:8]
    (folder / f"net-{digits}.pth").write_bytes(raw)
    return replace(entry, weights=Published(f"{address}/net-{digits}.pth", digits, imagenet(), 50.0, "a test"))


def test_weights_are_downloaded_once_and_found_in_the_cache_again(server, monkeypatch, tmp_path):
    monkeypatch.delenv("FOVEAL_DATA", raising=False)
    folder, address = server
    entry = record(folder, address, state())
    found = find_published(entry)
    assert found.path.name == entry.weights.url.rpartition("/")[2]
    assert found.sha256 == hashlib.sha256(found.path.read_bytes()).hexdigest()
    for file in folder.iterdir():
        file.unlink()
    assert find_published(entry) == found
    network = weighed()
    assert load_published(network, entry, read_foreign(found.path)) == ()
    assert same(network, state())


def test_one_that_is_not_what_was_published_is_refused(server, monkeypatch):
    monkeypatch.delenv("FOVEAL_DATA", raising=False)
    entry = record(*server, state())
    entry = replace(entry, weights=replace(entry.weights, sha256="0" * 8))
    with pytest.raises(BadData, match="its checksum differs"):
        find_published(entry)


@pytest.mark.parametrize("name", ["lenet5.safetensors", "lenet5.pth", "net-12345678.pth"])
def test_a_file_that_a_person_put_there_is_taken_as_it_is(tmp_path, monkeypatch, name):
    mine = tmp_path / "second" / "weights" / name
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"whatever")
    monkeypatch.setenv("FOVEAL_DATA", f"{tmp_path / 'first'}{os.pathsep}{tmp_path / 'second'}")
    entry = replace(LENET, weights=Published("http://127.0.0.1:9/net-12345678.pth", "1" * 8, imagenet(), 50.0, "x"))
    found = find_published(entry)
    assert (found.path, found.sha256) == (mine, hashlib.sha256(b"whatever").hexdigest())


def test_without_a_network_the_sentence_says_where_to_put_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("FOVEAL_DATA", str(tmp_path))
    entry = replace(LENET, weights=Published("http://127.0.0.1:9/net-12345678.pth", "1" * 8, imagenet(), 50.0, "x"))
    with pytest.raises(Missing, match=r"cannot be downloaded .*no lenet5.safetensors or net-12345678.pth") as caught:
        find_published(entry)
    assert "FOVEAL_DATA" in str(caught.value)
    assert str(caught.value).endswith("--weights FILE.")


def test_a_network_without_published_weights_names_those_that_have_some(monkeypatch):
    with pytest.raises(BadRecipe, match=r"there are no published weights for lenet5; .*resnet18, .* have some"):
        find_published(LENET)
    assert published(RESNET) is RESNET.weights


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(BadModel, match="does not exist"):
        looked_at(tmp_path / "nothing")
    with pytest.raises(BadModel, match="is a folder"):
        looked_at(tmp_path)


# Into the network.


def test_half_precision_comes_in_as_float32():
    network, given = weighed(), state()
    halves = {name: v.half() if v.is_floating_point() else v for name, v in given.items()}
    assert fit_weights(network, halves, source="a.pth", entry=LENET) == ()
    assert same(network, {name: v.to(given[name].dtype) for name, v in halves.items()})
    assert network.get_submodule(LENET.classifier).weight.dtype == torch.float32


def test_names_are_those_of_the_record():
    given = {f"old.{name}": value for name, value in state().items()}

    def rename(tensors):
        return {name.removeprefix("old."): value for name, value in tensors.items()}

    network = weighed()
    theirs = Published("http://127.0.0.1:9/a.pth", "", imagenet(), 0.0, "x", rename=rename)
    load_published(network, replace(LENET, weights=theirs), given)
    assert same(network, state())


def test_what_does_not_fit_is_one_sentence_with_three_names_of_each_and_the_network_stays(tmp_path):
    given = state("resnet18", size=(32, 40))
    lost = [name for name in given if name.startswith("layer1.") and name.endswith("weight")]
    for name in lost:
        del given[name]
    given |= {f"extra{i}\x1b": torch.ones(1) for i in range(2)}
    given["layer2.0.conv1.weight"] = torch.ones(128, 64, 1, 1)
    given["layer2.0.conv2.weight"] = torch.ones(128, 128, 3, 3, dtype=torch.int8)
    network = weighed("resnet18", size=(32, 40))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(BadModel) as caught:
        fit_weights(network, given, source="a\n.pth", entry=RESNET)
    sentence = str(caught.value)
    assert sentence.startswith("a\\n.pth does not fit network resnet18: 8 missing (")
    assert f"({', '.join(lost[:3])} and 5 more)" in sentence
    assert "2 of no layer (extra0\\x1b, extra1\\x1b)" in sentence
    assert "1 of another shape (layer2.0.conv1.weight (128, 64, 1, 1) for (128, 64, 3, 3))" in sentence
    assert "1 of whole numbers (layer2.0.conv2.weight int8)" in sentence
    assert same(network, before)


def test_counters_that_old_files_lack_may_miss():
    given = {n: v for n, v in state("resnet18", size=(32, 40)).items() if not n.endswith("num_batches_tracked")}
    network = weighed("resnet18", size=(32, 40))
    assert fit_weights(network, given, source="a", entry=RESNET) == ()
    assert same(network, given)


def test_another_number_of_classes_gets_a_new_classifier_and_keeps_the_trunk():
    given = state("resnet18", classes=1000, size=(32, 40))
    network = weighed("resnet18", classes=7, size=(32, 40))
    new = {name: value.clone() for name, value in network.state_dict().items() if name.startswith("fc.")}
    notes = fit_weights(network, given, source="a", entry=RESNET)
    assert notes == ("classifier of 1000 classes replaced by a new one of 7",)
    assert same(network, {n: v for n, v in given.items() if not n.startswith("fc.")} | new)


def test_a_classifier_that_reads_other_features_is_no_matter_of_classes():
    given = state("resnet18", classes=1000, size=(32, 40)) | {"fc.weight": torch.ones(1000, 2048)}
    with pytest.raises(BadModel, match=r"fc.weight \(1000, 2048\) for \(7, 512\)"):
        fit_weights(weighed("resnet18", classes=7, size=(32, 40)), given, source="a", entry=RESNET)


def test_without_a_record_everything_must_fit():
    with pytest.raises(BadModel, match="does not fit the network: 2 of another shape"):
        fit_weights(torch.nn.Linear(3, 4), torch.nn.Linear(3, 5).state_dict(), source="a")
    network, given = torch.nn.Linear(3, 4), torch.nn.Linear(3, 4).state_dict()
    assert fit_weights(network, given, source="a") == ()
    assert same(network, given)


@pytest.mark.parametrize(("has", "wants", "words"), [(3, 1, "summed over RGB"), (1, 3, "spread from grey")])
def test_a_grey_picture_answers_the_same_with_the_other_number_of_channels(has, wants, words):
    torch.manual_seed(0)
    theirs, ours = (weighed("resnet18", 5, channels, (32, 40)).eval() for channels in (has, wants))
    (note,) = fit_weights(ours, theirs.state_dict(), source="a", entry=RESNET)
    assert words in note
    grey = torch.randn(2, 1, 48, 64)
    with torch.no_grad():
        expected, answer = theirs(grey.expand(-1, has, -1, -1)), ours(grey.expand(-1, wants, -1, -1))
    assert (answer - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_classifiers_may_be_left_out_and_start_anew(name):
    """Shapes are enough here: with them, the file's; without, the network's; and for other classes."""
    entry = NETWORKS[name]

    def made(classes, aux):
        with torch.device("meta"):
            network = entry.build(num_classes=classes, aux=aux)
        return network.to_empty(device="cpu")

    def zeros(network):
        return {name: torch.zeros_like(value) for name, value in network.state_dict().items()}

    with_aux = zeros(made(1000, aux=True))
    small = {name: value for name, value in with_aux.items() if not name.lower().startswith("aux")}
    assert fit_weights(made(1000, aux=False), with_aux, source="a", entry=entry) == ("auxiliary classifiers dropped",)
    assert fit_weights(made(1000, aux=True), small, source="a", entry=entry) == ("auxiliary classifiers new",)
    fewer = made(6, aux=True)
    last = [name for name, value in fewer.state_dict().items() if len(value.shape) and value.shape[0] == 6]
    assert len(last) > 2
    notes = fit_weights(fewer, with_aux, source="a", entry=entry)
    assert notes == ("classifier of 1000 classes replaced by a new one of 6",)
    assert all((value == 0).all() for name, value in fewer.state_dict().items() if name not in last)


def test_real_weights_tell_the_classes_of_real_pictures(real_data):
    """40 of 50 within five, as the page of the data says; at first place one fewer, for test_squeezenet.py's reason."""
    entry = NETWORKS["squeezenet1_1"]
    found = find_published(entry)
    assert found.path == real_data("weights") / "squeezenet1_1.safetensors"
    network = entry.build()
    assert load_published(network, entry, read_foreign(found.path)) == ()
    classes = tuple(row["wnid"] for row in json.loads(real_data("imagenet_classes.json").read_text()))
    model = classifier(network, imagenet(224, 224, "bicubic"), classes, entry.name)
    answers = {Path(p.name).name[:9]: p.answer for p in model.predict(real_data("imagenet-samples"), top=5)}
    assert len(answers) == 50
    assert sum(truth == answer.label for truth, answer in answers.items()) == 32
    five = [{answer.label, *(label for label, _ in answer.runners_up)} for answer in answers.values()]
    assert sum(truth in names for truth, names in zip(answers, five, strict=True)) == 40


def test_a_fourth_band_leaves_the_answer_of_four_equal_bands_as_it_was():
    torch.manual_seed(0)
    rgb, bands = build("resnet18", 5, 3, (32, 48)).eval(), build("resnet18", 5, 4, (32, 48)).eval()
    (note,) = fit_weights(bands, dict(rgb.state_dict()), source="x", entry=NETWORKS["resnet18"])
    assert "four bands" in note
    one = torch.randn(2, 1, 32, 48)
    with torch.inference_mode():
        assert torch.allclose(bands(one.expand(-1, 4, -1, -1)), rgb(one.expand(-1, 3, -1, -1)), atol=1e-4)
