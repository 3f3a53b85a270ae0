"""VGG against torchvision's, and against the tables of its paper."""

import pytest
import torch
from agree import assert_agrees
from torch import nn

from foveal.networks import vgg

COUNTS = {  # of all parameters, 1000 classes
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840,
    "vgg13_bn": 133_053_736,
    "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
}
MILLIONS = {"vgg11": 133, "vgg13": 133, "vgg16": 138, "vgg19": 144}  # [table 2]


def without_memory(build, **arguments):
    with torch.device("meta"):
        return build(**arguments).eval()


def awake(network):
    """Random weights through which a signal keeps its size."""
    network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return network


def test_it_answers_as_torchvisions_with_its_weights(torchvision):
    torch.manual_seed(0)
    theirs = awake(without_memory(torchvision.models.vgg11_bn))
    ours = without_memory(vgg.vgg11_bn).to_empty(device="cpu")
    assert_agrees(ours, theirs, size=(48, 80))


@pytest.mark.parametrize("name", COUNTS)
def test_its_trunk_answers_as_torchvisions(name, torchvision):
    """All of them, but without the hundred million weights of the dense layers, which are alike."""
    torch.manual_seed(0)

    def trunk(network):
        return nn.Sequential(network.features, nn.AdaptiveAvgPool2d(1), nn.Flatten())

    theirs = awake(trunk(without_memory(getattr(torchvision.models, name))))
    ours = trunk(without_memory(getattr(vgg, name))).to_empty(device="cpu")
    assert_agrees(ours, theirs, size=(32, 80))


@pytest.mark.parametrize("name", COUNTS)
def test_its_layers_are_torchvisions(name, torchvision):
    """Each at its place: names and shapes of the state dict, kinds and settings of the rest."""
    ours, theirs = without_memory(getattr(vgg, name)), without_memory(getattr(torchvision.models, name))
    assert {n: v.shape for n, v in ours.state_dict().items()} == {n: v.shape for n, v in theirs.state_dict().items()}
    for part in ("features", "classifier"):
        pairs = zip(getattr(ours, part), getattr(theirs, part), strict=True)
        assert all(str(mine) == str(other).replace("inplace=True", "") for mine, other in pairs)


@pytest.mark.parametrize("name", COUNTS)
def test_the_record_of_its_weights_is_torchvisions(name, torchvision):
    theirs = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    ours, shown = getattr(vgg, name).entry.weights, theirs.transforms()
    assert (ours.url, ours.url[-12:-4]) == (theirs.url, ours.sha256)
    assert ours.top1 == theirs.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert theirs.meta["min_size"] == (getattr(vgg, name).entry.smallest,) * 2
    way = ours.preprocess
    assert [way.height, way.width] == 2 * shown.crop_size
    assert way.height / way.crop_fraction == shown.resize_size[0]
    assert way.interpolation == shown.interpolation.value
    assert (list(way.mean), list(way.std)) == (shown.mean, shown.std)


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_it_has_as_many_parameters_as_its_line_says(name, count):
    network = without_memory(getattr(vgg, name))
    assert sum(p.numel() for p in network.parameters()) == count
    assert round(count / 1e6) == MILLIONS[name.removesuffix("_bn")]


@pytest.mark.parametrize("name", COUNTS)
def test_its_name_counts_the_layers_with_weights(name):
    layers = [m for m in without_memory(getattr(vgg, name)).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == int(name.removeprefix("vgg").removesuffix("_bn"))


@pytest.mark.parametrize("name", COUNTS)
def test_every_convolution_is_3_by_3_and_has_a_norm_where_the_name_says_so(name):
    layers = list(without_memory(getattr(vgg, name)).features)
    for layer, behind in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, nn.Conv2d):
            assert (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (1, 1))
            assert isinstance(behind, nn.BatchNorm2d if name.endswith("_bn") else nn.ReLU)


@pytest.mark.parametrize("name", COUNTS)
def test_stages_are_the_last_maps_before_each_stride(name):
    network, entry, shapes = without_memory(getattr(vgg, name)), getattr(vgg, name).entry, {}
    for index, layer in enumerate(network.features):
        layer.register_forward_hook(lambda m, i, out, index=index: shapes.update({f"features.{index}": out.shape}))
    network(torch.empty(1, 3, 96, 160, device="meta"))
    assert [stage.stride for stage in entry.stages] == [2, 4, 8, 16, 32]
    for stage in entry.stages:
        assert shapes[stage.module] == (1, stage.channels, 96 // stage.stride, 160 // stage.stride)
    for stage in entry.stages[:-1]:
        index = int(stage.module.removeprefix("features."))
        assert isinstance(network.features[index], nn.ReLU)
        assert isinstance(network.features[index + 1], nn.MaxPool2d)
    assert entry.stages[-1].module == f"features.{len(network.features) - 1}"


def test_at_224_the_adaptive_pooling_changes_nothing():
    network = without_memory(vgg.vgg16)
    assert network.features(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 512, 7, 7)
    x = torch.randn(2, 5, 7, 7)
    assert torch.equal(network.avgpool(x), x)


def test_new_weights_are_hes_in_convolutions_and_of_deviation_a_hundredth_in_dense_layers():
    torch.manual_seed(0)
    network = vgg.vgg11_bn(num_classes=10)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.std().item() == pytest.approx((2 / (9 * module.out_channels)) ** 0.5, rel=0.05)
        elif isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.05)
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert not module.bias.any()


@pytest.mark.parametrize("name", ["vgg11", "vgg19_bn"])
def test_the_smallest_side_passes_and_the_next_smaller_is_refused(name):
    build = getattr(vgg, name)
    network = without_memory(build, num_classes=3, in_channels=1).train()
    smallest = build.entry.smallest
    assert network(torch.empty(2, 1, smallest, smallest + 45, device="meta")).shape == (2, 3)
    with pytest.raises(RuntimeError, match="too small"):
        network(torch.empty(2, 1, smallest - 1, smallest + 45, device="meta"))


def test_dropout_is_the_one_asked_for():
    network = without_memory(vgg.vgg11, dropout=0.25)
    assert {n: m.p for n, m in network.named_modules() if isinstance(m, nn.Dropout)} == {
        "classifier.2": 0.25,
        "classifier.5": 0.25,
    }
