"""One contract for every network of the zoo."""

import inspect
import re

import pytest
import torch

from foveal.errors import BadRecipe
from foveal.networks.catalogue import NETWORKS, build, catalogue
from foveal.networks.entry import Entry
from foveal.networks.lenet import lenet5

STATED = {  # what each builder's line in its file says
    "mlp": 669_706,
    "lenet5": 61_706,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "speednet": 1_972_792,
    "speednet_small": 290_216,
}


def natural(entry: Entry, classes: int = 7, channels: int = 3):
    """The network at a side it is made for, or at the smallest where that is large."""
    side = entry.natural if entry.natural <= 64 else 64
    torch.manual_seed(0)
    network = build(entry.name, classes, channels, (side, side + 4))
    return network, torch.randn(4, channels, side, side + 4)


def with_statistics(network, images):
    """Norms that have seen a batch, so that logits have a sensible size."""
    network.train()
    with torch.no_grad():
        network(images)
    return network.eval()


@pytest.fixture(params=sorted(NETWORKS))
def entry(request):
    return NETWORKS[request.param]


def test_the_parameter_count_is_the_stated_one(entry):
    network = entry.build()
    count = sum(p.numel() for p in network.parameters())
    assert count == STATED[entry.name]
    source = inspect.getsource(inspect.getmodule(entry.build))
    line = next(part for part in source.split("@network(") if f"def {entry.name}(" in part)
    assert f"{count:,}".replace(",", " ") in re.findall(r"# ([\d ]+?) parameters", line)


def test_logits_are_finite_for_each_class(entry):
    network, images = natural(entry)
    with torch.no_grad():
        logits = with_statistics(network, images)(images)
    assert logits.shape == (4, 7)
    assert torch.isfinite(logits).all()


def test_every_learning_parameter_gets_a_gradient(entry):
    network, images = natural(entry)
    network.train()(images).square().sum().backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad and not name.endswith("conv1.weight"):
            assert parameter.grad is not None, name
    assert network.get_submodule(entry.classifier).weight.grad.abs().sum() > 0


def test_a_picture_alone_scores_as_in_its_batch(entry):
    network, images = natural(entry)
    with_statistics(network, images)
    with torch.no_grad():
        together, alone = network(images), torch.cat([network(x[None]) for x in images])
    assert (together - alone).norm() <= 1e-5 * together.norm()


def test_saved_and_loaded_it_answers_the_same_bits(entry):
    network, images = natural(entry)
    other = build(entry.name, 7, 3, tuple(images.shape[2:]))
    other.load_state_dict(with_statistics(network, images).state_dict())
    with torch.no_grad():
        assert torch.equal(network(images), other.eval()(images))


def test_stages_are_where_the_record_says(entry):
    network, images = natural(entry)
    seen = {}
    for stage in entry.stages:
        module = network.get_submodule(stage.module)
        module.register_forward_hook(lambda m, i, out, s=stage: seen.__setitem__(s.module, out.shape))
    with torch.no_grad():
        network.eval()(images)
    for stage in entry.stages:
        shape = seen[stage.module]
        assert shape[1] == stage.channels
        if len(shape) == 4:
            expected = [side / stage.stride for side in images.shape[2:]]
            assert all(abs(have - want) < 3 for have, want in zip(shape[2:], expected, strict=True))


def test_height_and_width_are_not_swapped(entry):
    network, images = natural(entry)
    with_statistics(network, images)
    with torch.no_grad():
        upright, lying = network(images), network(images.transpose(2, 3)) if not entry.takes_size else None
    if lying is not None:
        assert (upright - lying).norm() > 1e-3 * upright.norm()


def test_below_its_smallest_side_a_network_is_refused_with_what_would_do(entry):
    if entry.smallest > 1:
        with pytest.raises(BadRecipe, match=f"{entry.name} needs pictures of at least {entry.smallest}x"):
            build(entry.name, 10, 3, (entry.smallest - 1, 64))
    build(entry.name, 10, 3, (max(entry.smallest, 1), entry.smallest))


def test_options_are_the_ones_of_the_record(entry):
    known = inspect.signature(entry.build).parameters
    assert [o for o in ("dropout", "batch_norm") if o in known] == list(entry.options)
    with pytest.raises(BadRecipe, match="has no option"):
        build(entry.name, 10, 3, (64, 64), {"groups": 2})


def test_a_name_taken_twice_raises():
    with pytest.raises(ValueError, match="two networks are called lenet5"):
        catalogue(lenet5, lenet5)


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(BadRecipe, match='no such network: "resnet-18"; did you mean "resnet18"'):
        build("resnet-18", 10, 3, (224, 224))


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_resnets_answer_as_torchvisions_with_its_weights(name, torchvision):
    torch.manual_seed(1)
    theirs = getattr(torchvision.models, name)()
    images = torch.randn(2, 3, 80, 96)
    with_statistics(theirs, images)
    ours = NETWORKS[name].build()
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        want, got = theirs.eval()(images), ours.eval()(images)
    assert 0.1 < want.abs().max() < 100
    assert (got - want).norm() <= 1e-5 * want.norm()


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
