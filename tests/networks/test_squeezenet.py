"""SqueezeNet against torchvision's, against its paper, and with real weights on real pictures."""

import json

import numpy as np
import pytest
import torch
from agree import assert_agrees
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from foveal.networks import squeezenet
from foveal.networks.entry import imagenet
from foveal.networks.squeezenet import Fire, squeezenet1_0, squeezenet1_1

TABLE_1 = {  # the paper's "#parameter before pruning"
    "features.0": 14_208,
    "features.3": 11_920,
    "features.4": 12_432,
    "features.5": 45_344,
    "features.7": 49_440,
    "features.8": 104_880,
    "features.9": 111_024,
    "features.10": 188_992,
    "features.12": 197_184,
    "classifier.1": 513_000,
}
NAMES = ("squeezenet1_0", "squeezenet1_1")


def without_memory(build, **arguments):
    with torch.device("meta"):
        return build(**arguments).eval()


def multiply_adds(build):
    network = without_memory(build)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, 224, 224, device="meta"))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("name", NAMES)
def test_it_answers_as_torchvisions_with_its_weights(name, torchvision):
    torch.manual_seed(0)
    assert_agrees(getattr(squeezenet, name)(), getattr(torchvision.models, name)(), size=(64, 96))


@pytest.mark.parametrize("name", NAMES)
def test_the_record_of_its_weights_is_torchvisions(name, torchvision):
    theirs = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    ours, shown = getattr(squeezenet, name).entry.weights, theirs.transforms()
    assert (ours.url, ours.url[-12:-4]) == (theirs.url, ours.sha256)
    assert ours.top1 == theirs.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert theirs.meta["min_size"] == (getattr(squeezenet, name).entry.smallest,) * 2
    way = ours.preprocess
    assert [way.height, way.width] == 2 * shown.crop_size
    assert way.height / way.crop_fraction == shown.resize_size[0]
    assert way.interpolation == shown.interpolation.value
    assert (list(way.mean), list(way.std)) == (shown.mean, shown.std)


def test_its_parameters_are_those_of_table_1():
    network = without_memory(squeezenet1_0)
    have = {name: sum(p.numel() for p in network.get_submodule(name).parameters()) for name in TABLE_1}
    assert have == TABLE_1
    assert sum(p.numel() for p in network.parameters()) == sum(TABLE_1.values()) == 1_248_424


def test_the_smaller_one_has_1_235_496_parameters_and_2_4_times_fewer_multiply_adds():
    assert sum(p.numel() for p in without_memory(squeezenet1_1).parameters()) == 1_235_496
    assert multiply_adds(squeezenet1_0) / multiply_adds(squeezenet1_1) == pytest.approx(2.4, abs=0.06)


def test_a_fire_module_lays_wide_filters_behind_narrow_ones():
    torch.manual_seed(0)
    fire, x = Fire(5, 3, 4), torch.randn(2, 5, 6, 9)
    out, squeezed = fire(x), fire.squeeze(x).relu()
    assert out.shape == (2, 8, 6, 9)
    narrow = torch.einsum("nchw,kc->nkhw", squeezed, fire.expand1x1.weight[:, :, 0, 0])
    assert torch.allclose(out[:, :4], (narrow + fire.expand1x1.bias[:, None, None]).relu(), atol=1e-6)
    assert torch.allclose(out[:, 4:], fire.expand3x3(squeezed).relu(), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_stages_are_the_ends_before_each_stride(name):
    entry, shapes = getattr(squeezenet, name).entry, {}
    network = without_memory(entry.build)
    for path, module in network.named_modules():
        module.register_forward_hook(lambda m, i, out, path=path: shapes.update({path: out.shape}))
    network(torch.empty(1, 3, 224, 320, device="meta"))
    assert [stage.stride for stage in entry.stages] == [2, 4, 8, 16][-len(entry.stages) :]
    for stage in entry.stages:
        _, channels, height, width = shapes[stage.module]
        assert channels == stage.channels
        assert 0 <= 224 / stage.stride - height < 3
        assert 0 <= 320 / stage.stride - width < 3
    for stage in entry.stages[:-1]:
        behind = int(stage.module.removeprefix("features.")) + 1
        assert isinstance(network.features[behind], nn.MaxPool2d)
    assert isinstance(network.get_submodule(entry.block), Fire)
    assert network.get_submodule(entry.classifier).out_channels == 1000


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_side_passes_and_the_next_smaller_is_refused(name):
    build = getattr(squeezenet, name)
    network, smallest = build(num_classes=3, in_channels=1).train(), build.entry.smallest
    assert network(torch.randn(2, 1, smallest, smallest + 20)).shape == (2, 3)
    with pytest.raises(RuntimeError, match="too small"):
        network(torch.randn(2, 1, smallest - 1, smallest + 20))


def test_new_weights_are_hes_but_for_the_last_convolution():
    torch.manual_seed(0)
    network = squeezenet1_1()
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            due = 0.01 if name == "classifier.1" else (2 / fan_in) ** 0.5
            assert module.weight.std().item() == pytest.approx(due, rel=0.1)
            assert not module.bias.any()


# ------------------------------------------------------------------------------------------ with real weights


@pytest.fixture(scope="module")
def known(real_data):
    """ImageNet's classes in order, as (WordNet id, name)."""
    classes = json.loads(real_data("imagenet_classes.json").read_text(encoding="utf-8"))
    return [(entry["wnid"], entry["names"].split(",")[0]) for entry in classes]


@pytest.fixture(scope="module")
def weights(real_data):
    from safetensors.torch import load_file

    return load_file(real_data("weights/squeezenet1_1.safetensors"))


@pytest.fixture(scope="module")
def classify(known, weights):
    """Pixels (224, 224, 3) of each picture -> its five likeliest classes, as (WordNet id, name)."""
    network = without_memory(squeezenet1_1).to_empty(device="cpu")
    network.load_state_dict(weights)

    def answers(pictures):
        with torch.no_grad():
            logits = network(WAY.tensor(torch.tensor(np.stack(pictures))))
        return [[known[index] for index in row] for row in logits.topk(5).indices.tolist()]

    return answers


WAY = imagenet(224, 224, "bicubic")


def cut_at_whole_pixels(path):
    """The shorter side to 224, and the centre, where Preprocess may cut between two pixels."""
    image = Image.open(path).convert("RGB")
    width, height = (round(224 * side / min(image.size)) for side in image.size)
    left, top = (width - 224) // 2, (height - 224) // 2
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized.crop((left, top, left + 224, top + 224)))


@pytest.mark.parametrize(
    ("prepare", "right"), [(cut_at_whole_pixels, 33), (WAY.pixels, 32)], ids=["whole pixels", "Preprocess"]
)
def test_with_its_real_weights_it_is_right_on_two_of_three_samples(prepare, right, classify, real_data):
    """Half a pixel decides about the tiger cat, which is 0.16 likely and may be a wood rabbit."""
    paths = sorted(real_data("imagenet-samples").glob("*.JPEG"))
    assert len(paths) == 50
    places = [
        [wnid for wnid, _ in answer].index(path.name[:9]) if path.name[:9] in dict(answer) else None
        for path, answer in zip(paths, classify([prepare(path) for path in paths]), strict=True)
    ]
    assert (places.count(0), sum(place is not None for place in places)) == (right, 40)


def test_with_its_real_weights_it_names_what_is_on_the_pictures(classify, real_data):
    """As far as ImageNet has a word: for giraffes and riders it has none, and takes what looks nearest."""
    names = ("dog", "eagle", "giraffe", "horses", "person")
    answers = classify([WAY.pixels(real_data("pictures") / f"{name}.jpg") for name in names])
    first = {name: answer[0][1] for name, answer in zip(names, answers, strict=True)}
    assert first == {"dog": "dogsled", "eagle": "kite", "giraffe": "cheetah", "horses": "bighorn", "person": "llama"}
    breeds = [name for wnid, name in answers[0] if "n02085620" <= wnid <= "n02113978"]
    assert len(breeds) == 4
    assert "bald eagle" in dict(answers[1]).values()


def test_with_its_real_weights_it_names_what_torchvisions_names(classify, known, weights, real_data, torchvision):
    """With torchvision's own network and transforms, so that a mistake in both of ours would show."""
    theirs = torchvision.models.squeezenet1_1().eval()
    theirs.load_state_dict(weights)
    bicubic = torchvision.transforms.InterpolationMode.BICUBIC
    record = torchvision.models.get_model_weights("squeezenet1_1").IMAGENET1K_V1
    prepare = record.transforms(resize_size=224, interpolation=bicubic)
    paths = sorted(real_data("pictures").glob("*.jpg"))
    with torch.no_grad():
        logits = theirs(torch.stack([prepare(Image.open(path).convert("RGB")) for path in paths]))
    for want, answer in zip(logits.topk(5).indices.tolist(), classify([WAY.pixels(p) for p in paths]), strict=True):
        assert answer[0] == known[want[0]]
        assert len(set(answer) & {known[index] for index in want}) >= 4  # a near tie may end otherwise
