"""One contract for every network of the zoo."""

import collections
import copy
import inspect
import re
import subprocess
import sys

import pytest
import torch
from agree import with_statistics
from torch.utils._pytree import tree_leaves

from foveal.errors import BadRecipe
from foveal.networks.catalogue import NETWORKS, build, catalogue
from foveal.networks.entry import WithAuxiliary
from foveal.networks.lenet import lenet5
from foveal.tasks.classify import Classify

COUNTS = {  # as published or derived; the source of each builder states its own as well
    "alexnet": 61_100_840,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "nin": 966_986,
    "googlenet": 13_004_888,
    "inception_v3": 27_161_264,
    "inception_v4": 42_679_816,
    "inception_resnet_v2": 55_843_464,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "densenet121": 7_978_856,
    "efficientnet_b0": 5_288_548,
    "efficientnet_lite0": 4_652_008,
    "squeezenet1_1": 1_235_496,
    "darknet53": 41_609_928,
    "lenet5_1998": 60_000,
}
WITHOUT_AUXILIARY = {"googlenet": 6_624_904, "inception_v3": 23_834_568}
CLASSES = 7


class Tried:
    """A network of the zoo with random weights, whose norms have seen a batch, and pictures for it."""

    def __init__(self, entry):
        self.entry = entry
        side = max(entry.smallest, 32)
        self.size = (side, side + 4)
        torch.manual_seed(0)
        self.network = build(entry.name, CLASSES, 3, self.size)
        self.images = torch.randn(3, 3, *self.size)
        with_statistics(self.network, self.images)

    def logits(self, images):
        with torch.no_grad():
            return self.network.eval()(images)


@pytest.fixture(params=sorted(NETWORKS), scope="module")
def tried(request):
    """Built once for all tests of a network: the largest take a second."""
    return Tried(NETWORKS[request.param])


@pytest.mark.parametrize("entry", NETWORKS.values(), ids=lambda entry: entry.name)
def test_the_parameter_count_is_the_stated_one(entry):
    with torch.device("meta"):
        network = entry.build()
    count = sum(p.numel() for p in network.parameters() if p.requires_grad or entry.name != "lenet5_1998")
    source = inspect.getsource(inspect.getmodule(entry.build))
    line = next(part for part in source.split(f"def {entry.name}(")[1:]).split('"""')[0]
    assert f"{count:,}".replace(",", " ") in re.findall(r"# ([\d ]+?) (?:trainable )?parameters", line)
    assert COUNTS.get(entry.name, count) == count


@pytest.mark.parametrize(("name", "count"), WITHOUT_AUXILIARY.items())
def test_without_auxiliary_classifiers_there_are_fewer(name, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in NETWORKS[name].build(aux=False).parameters()) == count


def test_logits_are_finite_and_each_class_has_one(tried):
    logits = tried.logits(tried.images)
    assert logits.shape == (3, CLASSES)
    assert torch.isfinite(logits).all()


def test_every_learning_parameter_gets_a_gradient(tried):
    tried.network.train()
    outputs = tree_leaves(tried.network(tried.images))
    sum(logits.square().sum() for logits in outputs if isinstance(logits, torch.Tensor)).backward()
    missing = [name for name, p in tried.network.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
    classifier = list(tried.network.get_submodule(tried.entry.classifier).parameters())
    assert not classifier or any(p.grad is not None and p.grad.abs().sum() > 0 for p in classifier)
    tried.network.zero_grad(set_to_none=True)
    with_statistics(tried.network, tried.images)


def test_a_picture_alone_scores_as_in_its_batch(tried):
    network, images = copy.deepcopy(tried.network).double().eval(), tried.images.double()
    with torch.no_grad():  # in float64: deep ones with the statistics of three pictures amplify what rounding does
        together, alone = network(images), torch.cat([network(x[None]) for x in images])
    assert (together - alone).norm() <= 1e-5 * together.norm()


def test_saved_and_loaded_it_answers_the_same_bits(tried):
    torch.manual_seed(1)
    other = build(tried.entry.name, CLASSES, 3, tried.size)
    other.load_state_dict(tried.network.state_dict())
    with torch.no_grad():
        assert torch.equal(tried.logits(tried.images), other.eval()(tried.images))


def test_stages_are_where_the_record_says(tried):
    seen = {}
    handles = [
        tried.network.get_submodule(stage.module).register_forward_hook(
            lambda m, i, out, s=stage: seen.__setitem__(s.module, out.shape)
        )
        for stage in tried.entry.stages
    ]
    tried.logits(tried.images)
    for handle in handles:
        handle.remove()
    assert tried.entry.stages
    for stage in tried.entry.stages:
        shape = seen[stage.module]
        assert shape[1] == stage.channels
        if len(shape) == 4:
            expected = [side / stage.stride for side in tried.size]
            assert all(abs(have - want) < 4 for have, want in zip(shape[2:], expected, strict=True))


def test_height_and_width_are_not_swapped(tried):
    upright = tried.logits(tried.images)
    try:
        lying = tried.logits(tried.images.transpose(2, 3))
    except RuntimeError:
        assert tried.entry.takes_size  # its dense layers are for one size
    else:
        assert (upright - lying).norm() > 1e-5 * upright.norm()


def test_no_module_answers_twice_or_in_place(tried):
    """So that any of them can be observed, and explained, by itself."""
    calls = collections.Counter()
    handles = [
        module.register_forward_hook(lambda m, i, out, n=name: calls.update([n]))
        for name, module in tried.network.named_modules()
        if not any(module.children())
    ]
    tried.logits(tried.images[:1])
    for handle in handles:
        handle.remove()
    assert max(calls.values()) == 1
    assert not any(getattr(module, "inplace", False) for module in tried.network.modules())


def test_the_block_to_draw_is_there(tried):
    if tried.entry.block:
        tried.network.get_submodule(tried.entry.block)


@pytest.mark.parametrize("entry", NETWORKS.values(), ids=lambda entry: entry.name)
def test_below_its_smallest_side_a_network_is_refused_with_what_would_do(entry):
    if entry.smallest > 1:
        with pytest.raises(BadRecipe, match=f"{entry.name} needs pictures of at least {entry.smallest}x") as error:
            build(entry.name, 10, 3, (entry.smallest - 1, 64))
        assert f"try --size {entry.natural}" in str(error.value)
    with torch.device("meta"):
        build(entry.name, 10, 3, (max(entry.smallest, 1), entry.smallest))(
            torch.empty(2, 3, entry.smallest, entry.smallest)
        )


def test_the_refusal_names_what_auxiliary_classifiers_need_and_what_fits():
    needs = "inception_v3 needs pictures of at least 75x75, 299x299 to train with its auxiliary classifier"
    with pytest.raises(BadRecipe, match=f"{needs}; got 32x32; try --size 299, or --network "):
        build("inception_v3", 10, 3, (32, 32))
    assert build("inception_v3", 10, 3, (75, 75)).training


def test_training_adds_the_losses_of_auxiliary_classifiers():
    logits, beside, labels = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    task = Classify(("a", "b", "c"))
    both = task.loss(WithAuxiliary(logits, (beside, beside), 0.3), labels)
    assert torch.allclose(both, task.loss(logits, labels) + 0.3 * 2 * task.loss(beside, labels))


@pytest.mark.parametrize("entry", NETWORKS.values(), ids=lambda entry: entry.name)
def test_options_are_the_ones_of_the_record(entry):
    known = inspect.signature(entry.build).parameters
    assert [o for o in ("dropout", "batch_norm") if o in known] == list(entry.options)
    with pytest.raises(BadRecipe, match="has no option"):
        build(entry.name, 10, 3, (max(64, entry.smallest),) * 2, {"groups": 2})


def test_a_name_taken_twice_raises():
    with pytest.raises(ValueError, match="two networks are called lenet5"):
        catalogue(lenet5, lenet5)


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(BadRecipe, match='no such network: "resnet-18"; did you mean "resnet18"'):
        build("resnet-18", 10, 3, (224, 224))


def test_whitening_makes_patches_uncorrelated():
    torch.manual_seed(0)
    smooth = torch.nn.functional.avg_pool2d(torch.randn(200, 3, 34, 34), 3, 1)
    network = NETWORKS["speednet"].build()
    NETWORKS["speednet"].prepare(network, smooth)
    with torch.no_grad():
        out = torch.nn.functional.conv2d(smooth, network.whiten.weight)[:, :12]
    flat = out.transpose(0, 1).reshape(12, -1)
    covariance = flat @ flat.T / flat.shape[1]
    assert (covariance - torch.diag(torch.diag(covariance))).abs().max() < 1e-3
    assert torch.diag(covariance).max() < 1.01
    assert torch.equal(network.whiten.weight[12:], -network.whiten.weight[:12])


def test_building_by_name_imports_no_other_library_of_networks():
    program = """
import sys
from foveal.networks.catalogue import NETWORKS, build
for name in ("resnet18", "inception_v4", "efficientnet_b0", "conv 4 3x3, flatten, dense 2"):
    build(name, 2, 3, (96, 96))
print([name for name in ("torchvision", "timm") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
