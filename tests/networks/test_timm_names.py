"""`timm:` names are records of the zoo like any other, and say in a sentence what keeps them from being one."""

import sys

import pytest
import torch

from foveal.errors import BadRecipe, Missing
from foveal.networks import timm_names
from foveal.networks.timm_names import entry_of


@pytest.fixture(autouse=True)
def _afresh():
    entry_of.cache_clear()
    yield
    entry_of.cache_clear()


def seen(network, entry, images):
    """Shapes of the maps at the entry's stages."""
    shapes = {}
    for stage in entry.stages:
        module = network.get_submodule(stage.module)
        module.register_forward_hook(lambda m, i, out, path=stage.module: shapes.__setitem__(path, tuple(out.shape)))
    with torch.no_grad():
        network.eval()(images)
    return shapes


@pytest.mark.parametrize("word", ["resnet26", "convnext_atto", "mobilenetv3_small_050"])
def test_stages_and_classifier_are_where_the_record_says(timm, word):
    entry = entry_of(f"timm:{word}")
    network = entry.build(num_classes=7)
    shapes = seen(network, entry, torch.randn(2, 3, 96, 160))
    assert len(entry.stages) >= 4
    for stage in entry.stages:
        assert shapes[stage.module] == (2, stage.channels, 96 // stage.stride, 160 // stage.stride)
    assert network.get_submodule(entry.classifier).weight.shape[0] == 7
    assert (entry.name, entry.natural, entry.smallest) == (f"timm:{word}", 224, 32)


def test_it_is_timms_own_network(timm):
    entry = entry_of("timm:resnet26")
    torch.manual_seed(3)
    ours = entry.build(num_classes=5, in_channels=1, dropout=0.25)
    torch.manual_seed(3)
    theirs = timm.create_model("resnet26", num_classes=5, in_chans=1, drop_rate=0.25)
    assert ours.drop_rate == 0.25
    for (name, value), (other, expected) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(value, expected)


def test_published_weights_are_those_whose_address_holds_a_checksum(timm):
    entry = entry_of("timm:resnet26.bt_in1k")
    facts = timm.get_pretrained_cfg("resnet26.bt_in1k")
    assert entry.weights.url == facts.url
    assert facts.url.endswith(f"-{entry.weights.sha256}.pth")
    preprocess = entry.weights.preprocess
    assert (preprocess.mean, preprocess.std) == (facts.mean, facts.std)
    assert (preprocess.interpolation, preprocess.crop_fraction) == (facts.interpolation, facts.crop_pct)
    assert entry_of("timm:resnet26").weights == entry.weights
    assert entry_of("timm:convnext_atto").weights is None or entry_of("timm:convnext_atto").weights.sha256


def test_a_network_of_one_size_is_built_for_another_and_refuses_one_that_does_not_go(timm):
    entry = entry_of("timm:vit_tiny_patch16_224")
    assert entry.takes_size
    with torch.no_grad():
        assert entry.build(num_classes=3, size=(64, 96)).eval()(torch.randn(2, 3, 64, 96)).shape == (2, 3)
    with pytest.raises(BadRecipe, match="timm:maxvit_nano_rw_256 does not take pictures of 100x130; try --size 256"):
        entry_of("timm:maxvit_nano_rw_256").build(num_classes=3, size=(100, 130))


def test_without_memory_only_the_shapes_are_built(timm):
    with torch.device("meta"):
        network = entry_of("timm:resnet26").build(num_classes=4)
    assert all(value.is_meta for value in network.state_dict().values())


def test_looking_a_network_up_draws_nothing(timm):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    entry_of("timm:resnet26")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm:resnet27", 'did you mean "timm:resnet2'),
        ("timm:resnet26.no_such_weights", 'no such network: "timm:resnet26.no_such_weights"'),
        ("timm:", 'no such network: "timm:"'),
        ("timm:hf-hub:someone/something", "no such network"),
        ("timm:local-dir:/etc", "no such network"),
        ("timm:../resnet26", "no such network"),
        ("timm:a\x1b[31m", r"a\\x1b"),
    ],
)
def test_unknown_names_are_refused_and_nothing_is_opened(timm, name, words):
    with pytest.raises(BadRecipe) as caught:
        entry_of(name)
    assert words.replace(r"\\", "\\") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(Missing, match=r'pip install "foveal\[timm\]"'):
        entry_of("timm:resnet26")


class Broken:
    """An import that fails as torchvision's does beside another build of PyTorch."""

    def __init__(self, error):
        self.error = error

    def find_spec(self, name, path=None, target=None):
        if name == "timm":
            raise self.error
        return None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("operator torchvision::nms does not exist"), "install the torchvision that belongs to it"),
        (ImportError("No module named 'torchvision'", name="torchvision"), r"timm does not import .No module named"),
    ],
)
def test_a_timm_that_does_not_import_is_one_sentence(monkeypatch, error, words):
    for name in [name for name in sys.modules if name == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken(error), *sys.meta_path])
    with pytest.raises(Missing, match=words) as caught:
        timm_names.entry_of("timm:resnet26")
    assert "\n" not in str(caught.value)
