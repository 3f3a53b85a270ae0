"""Darknet's files become networks that compute what OpenCV 4 computes from the same files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from found import found_in
from numpy.typing import NDArray
from PIL import Image
from record_darknet import CLASSIFIER, CLASSIFIER_LAYERS, EVERY_LAYERS, EVERY_SECTION, picture, values, weights_file
from torch import nn
from torch.nn import functional

from foveal.errors import BadModel
from foveal.files.darknet import parse_cfg
from foveal.files.places import data_folders
from foveal.tasks.answers import Detections
from foveal.tasks.heads._yolo_boxes import Priors, boxes_of, split, tensors
from foveal.tasks.heads.darknet import DarknetNetwork, load_darknet, pour

RECORDED = Path(__file__).parent / "data" / "darknet_opencv.npz"


@pytest.fixture(scope="module")
def recorded() -> dict[str, NDArray[np.float32]]:
    """What OpenCV 4 said: see record_darknet.py."""
    with np.load(RECORDED, allow_pickle=False) as file:
        return dict(file)


def _published(name: str) -> Path:
    for folder in data_folders():
        if (folder / name).exists():
            return folder / name
    pytest.skip(f"not executed: {name} is not below $FOVEAL_DATA")


def _network(cfg: str, layers: list[tuple[int, bool, int]] | None = None) -> DarknetNetwork:
    network = DarknetNetwork(parse_cfg(cfg)).eval()
    if layers:
        assert network.load(values(layers)) == network.values
    return network


def _agrees(network: DarknetNetwork, name: str, recorded: dict[str, NDArray[np.float32]]) -> None:
    images = torch.from_numpy(picture())
    with torch.no_grad():
        outputs = network(images)
    assert len(outputs) == sum(key.startswith(f"{name}/raw") for key in recorded) > 0
    for i, (output, priors) in enumerate(zip(outputs, network.priors, strict=True)):
        wanted = recorded[f"{name}/raw{i}"]
        np.testing.assert_allclose(output.numpy(), wanted, rtol=0, atol=1e-4 * max(1, np.abs(wanted).max() / 30))
        if f"{name}/boxes{i}" in recorded:
            _boxes_agree(boxes_of(split(output, priors), priors, (64, 96)), recorded[f"{name}/boxes{i}"])


def _boxes_agree(xyxy: torch.Tensor, wanted: NDArray[np.float32]) -> None:
    """OpenCV's rows: cell by cell, prior by prior, centre and sides as shares of the picture."""
    x0, y0, x1, y1 = xyxy.permute(0, 2, 3, 1, 4).reshape(-1, 4).T.double().numpy()
    shares = np.stack([(x0 + x1) / 2 / 96, (y0 + y1) / 2 / 64, (x1 - x0) / 96, (y1 - y0) / 64], axis=1)
    ordinary = (wanted[:, 2:4] < 100).all(1)  # a huge box loses its centre in float32
    assert ordinary.mean() > 0.3
    np.testing.assert_allclose(shares[ordinary], wanted[ordinary, :4], rtol=1e-4, atol=1e-4)


def test_every_section_computes_as_opencv_reads_it(recorded: dict[str, NDArray[np.float32]]) -> None:
    _agrees(_network(EVERY_SECTION, EVERY_LAYERS), "every", recorded)


def test_a_classifier_tells_the_probabilities_that_opencv_tells(recorded: dict[str, NDArray[np.float32]]) -> None:
    with torch.no_grad():
        (told,) = _network(CLASSIFIER, CLASSIFIER_LAYERS)(torch.from_numpy(picture(14, 20)))
    assert told.shape == (1, 7)
    np.testing.assert_allclose(told.numpy(), recorded["classifier"], atol=1e-5)


@pytest.mark.parametrize(("name", "count"), [("yolo-fastest-1.1", 346_062), ("yolo-fastest-1.1-xl", 923_486)])
def test_yolo_fastest_uses_every_value_and_computes_as_opencv_does(
    name: str, count: int, recorded: dict[str, NDArray[np.float32]]
) -> None:
    folder = _published("weights/yolo-fastest")
    network = load_darknet(folder / f"{name}.cfg", folder / f"{name}.weights")
    assert network.values == count == (os.path.getsize(folder / f"{name}.weights") - 20) // 4
    assert (network.channels, network.height, network.width) == (3, 320, 320)
    _agrees(network, name, recorded)


def test_yolo_fastest_sees_the_dog_the_car_and_the_bicycle() -> None:
    folder = _published("weights/yolo-fastest")
    network = load_darknet(folder / "yolo-fastest-1.1-xl.cfg", folder / "yolo-fastest-1.1-xl.weights")
    names = (folder / "coco.names").read_text().splitlines()
    with Image.open(_published("pictures/dog.jpg")) as file:
        dog = file.convert("RGB")
    assert dog.size == (768, 576)
    stretched = np.asarray(dog.resize((320, 320), Image.Resampling.BILINEAR))
    boxed = np.full((320, 320, 3), 128, np.uint8)
    boxed[40:280] = np.asarray(dog.resize((320, 240), Image.Resampling.BILINEAR))
    with torch.no_grad():
        outputs = network(torch.from_numpy(np.stack([stretched, boxed])).permute(0, 3, 1, 2).float() / 255)
    for objects, wanted in zip(
        found_in(network.tensors(outputs, (320, 320)), (320, 320)),
        [(0.89, 0.87, 0.86), (0.94, 0.87, 0.83)],
        strict=True,
    ):
        found = {names[label]: i for i, label in reversed(list(enumerate(objects.labels)))}
        assert [names[label] for label in objects.labels[:3]] == ["dog", "car", "bicycle"]
        told = [objects.scores[found[name]] for name in ("dog", "car", "bicycle")]
        np.testing.assert_allclose(told, wanted, atol=0.02)
    scale = np.array([768, 576] * 2) / 320
    dog_box, car_box = (found_in(network.tensors(outputs, (320, 320)), (320, 320))[0].xyxy[i] * scale for i in (0, 1))
    np.testing.assert_allclose(dog_box, [130, 220, 310, 540], atol=80)  # as a person would draw them
    np.testing.assert_allclose(car_box, [465, 75, 690, 170], atol=30)


def test_values_land_in_the_file_s_order() -> None:
    network = _network("[net]\nwidth=5\nheight=4\nchannels=2\n[convolutional]\nfilters=3\nbatch_normalize=1\nsize=3\n"
                       "groups=1\nactivation=linear\n[convolutional]\nfilters=2\nactivation=linear")  # fmt: skip
    flat = np.arange(1, network.values + 1, dtype=np.float32)
    assert network.load(flat) == len(flat) == 12 + 54 + 2 + 6
    (first, norm), (second, none) = (layer.pair for layer in network.layers)  # type: ignore[operator,union-attr]
    assert norm.bias.tolist() == [1, 2, 3]
    assert norm.weight.tolist() == [4, 5, 6]
    assert norm.running_mean.tolist() == [7, 8, 9]
    assert norm.running_var.tolist() == [10, 11, 12]
    assert first.weight[1, 0, 2].tolist() == [12 + 18 + 7, 12 + 18 + 8, 12 + 18 + 9]
    assert none is None
    assert second.bias.tolist() == [67, 68]
    assert second.weight[1, :, 0, 0].tolist() == [72, 73, 74]


def test_max_pooling_pads_as_darknet_does_window_by_window() -> None:
    """A slow obvious loop: windows begin padding // 2 before the map; places outside are never the largest."""
    x = torch.randn(1, 2, 7, 10, generator=torch.Generator().manual_seed(1)) - 5
    for size in range(1, 6):
        for stride in range(1, 4):
            for padding in {size - 1, 0, size // 2}:
                section = f"[maxpool]\nsize={size}\nstride={stride}\npadding={padding}"
                (told,) = _network(f"[net]\nwidth=10\nheight=7\nchannels=2\n{section}")(x)
                height, width = (7 + padding - size) // stride + 1, (10 + padding - size) // stride + 1
                assert told.shape == (1, 2, height, width)
                for r in range(height):
                    for c in range(width):
                        top, left = r * stride - padding // 2, c * stride - padding // 2
                        window = x[:, :, max(top, 0) : top + size, max(left, 0) : left + size]
                        assert torch.equal(told[:, :, r, c], window.amax((2, 3)))


def test_another_size_of_pictures_fits_or_is_refused_in_a_sentence() -> None:
    network = _network(EVERY_SECTION, EVERY_LAYERS)
    with torch.no_grad():
        first, second, _ = network(torch.zeros(2, 3, 32, 128))
        assert first.shape == (2, 14, 8, 32)
        assert second.shape == (2, 7, 4, 16)
        with pytest.raises(BadModel, match=r"\[route\] joins maps that do not fit: 6 × 10 × 24 and 4 × 9 × 24"):
            network(torch.zeros(1, 3, 36, 96))


def test_a_gradient_reaches_every_parameter() -> None:
    network = _network(EVERY_SECTION, EVERY_LAYERS).train()
    sum(output.square().mean() for output in network(torch.from_numpy(picture()))).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


# --- boxes ------------------------------------------------------------------------------------------------------------


def _slow_boxes(raw: NDArray[np.float64], priors: Priors, size: tuple[int, int]) -> list[tuple[float, ...]]:
    """Every (box, class) of (A, H, W, 5 + K), number by number."""
    said, (height, width) = [], raw.shape[1:3]
    for a, (anchor_w, anchor_h) in enumerate(priors.anchors):
        for row in range(height):
            for column in range(width):
                x, y, w, h, objectness, *classes = raw[a, row, column]
                wide, high = anchor_w * np.exp(w), anchor_h * np.exp(h)
                grown = [(1 / (1 + np.exp(-v)) - 0.5) * priors.scale_x_y + 0.5 for v in (x, y)]
                cx, cy = (grown[0] + column) * size[1] / width, (grown[1] + row) * size[0] / height
                for label, logit in enumerate(classes):
                    score = 1 / (1 + np.exp(-objectness)) / (1 + np.exp(-logit))
                    said.append((score, label, cx - wide / 2, cy - high / 2, cx + wide / 2, cy + high / 2))
    return said


def test_decoding_equals_the_slow_way() -> None:
    priors = Priors(((5.0, 9.0), (20.5, 31.0)), classes=3, scale_x_y=1.2)
    output = torch.randn(2, priors.channels, 2, 3, generator=torch.Generator().manual_seed(4))
    told = found_in(tensors([output], [priors], (64, 96)), (64, 96), score=0.3, iou=1.0)
    for one, objects in zip(output, told, strict=True):
        raw = one.double().numpy().reshape(2, 8, 2, 3).transpose(0, 2, 3, 1)
        wanted = sorted((row for row in _slow_boxes(raw, priors, (64, 96)) if row[0] > 0.3), reverse=True)
        assert len(objects) == len(wanted) > 3
        np.testing.assert_allclose(objects.scores, [row[0] for row in wanted], rtol=1e-5)
        assert objects.labels.tolist() == [row[1] for row in wanted]
        clipped = np.clip([row[2:] for row in wanted], 0, [96, 64, 96, 64])
        np.testing.assert_allclose(objects.xyxy, clipped, rtol=1e-5, atol=1e-4)


def test_doubles_go_class_by_class_and_several_maps_are_one_answer() -> None:
    priors = Priors(((8.0, 8.0),), classes=2)
    first, second = torch.full((1, 7, 2, 2), -9.0), torch.full((1, 7, 1, 1), -9.0)
    first[0, :, 0, 1] = torch.tensor([0.0, 0, 0, 0, 9, 4, 3])  # one box, both classes
    second[0, :, 0, 0] = torch.tensor([0.0, 0, 0, 0, 9, -9, 9])  # elsewhere
    first[0, :, 0, 0] = torch.tensor([9.0, 0, 0, 0, 9, 2, -9])  # half a cell from the first: its double
    (objects,) = found_in(tensors([first, second], [priors, priors], (8, 8)), (8, 8), score=0.5, iou=0.45)
    assert objects.labels.tolist() == [1, 0, 1]
    np.testing.assert_allclose(objects.xyxy, [[0, 0, 8, 8], [2, 0, 8, 6], [2, 0, 8, 6]], atol=0.01)


def test_a_picture_with_nothing_on_it_has_no_objects_and_what_is_not_finite_is_none() -> None:
    priors = Priors(((8.0, 8.0),), classes=2)
    output = torch.full((2, 7, 2, 2), -9.0)
    output[1, :, 0, 0] = torch.tensor([0.0, 0, 500, 0, 9, 9, 9])  # e^500
    output[1, :, 0, 1] = torch.tensor([0.0, 0, 0, 0, float("nan"), 9, 9])
    for objects in found_in(tensors([output], [priors], (8, 8)), (8, 8)):
        assert isinstance(objects, Detections)
        assert len(objects) == 0
        assert objects.xyxy.shape == (0, 4)
        assert objects.labels.dtype == np.int64


def test_new_coordinates_are_read_without_sigmoid_and_squared() -> None:
    priors = Priors(((10.0, 6.0),), classes=1, scale_x_y=2.0, new_coords=True)
    output = torch.tensor([0.5, 0.25, 0.5, 1.0, 0.9, 0.8]).view(1, 6, 1, 1)
    (objects,) = found_in(tensors([output], [priors], (32, 64)), (32, 64))
    centre_x, centre_y = (0.5 * 2 - 0.5) * 64, (0.25 * 2 - 0.5) * 32
    wanted = [centre_x - 5, 0, centre_x + 5, centre_y + 12]
    np.testing.assert_allclose(objects.xyxy, [wanted], atol=1e-5)
    np.testing.assert_allclose(objects.scores, [0.72], atol=1e-6)


# --- what is refused --------------------------------------------------------------------------------------------------

NET = "[net]\nwidth=96\nheight=64\n"
CONV = "[convolutional]\nfilters=14\nactivation=linear\n"
BAD = {
    "[conv0lutional]": r'line 4, \[conv0lutional\]: there is no layer "conv0lutional" here; did you mean',
    "[gru]": r'there is no layer "gru" here; foveal reads avgpool, convolutional',
    "[convolutional]\nactivation=leeky": r'line 5, .* unknown activation "leeky"; did you mean "leaky"\?',
    "[convolutional]\nfliters=4": r'unknown key "fliters"; did you mean "filters"',
    "[convolutional]\nfilters=1000000000": r"filters must be 1 to 65536, and is 1000000000",
    "[convolutional]\nfilters=0": r"filters must be 1 to",
    "[convolutional]\nsize=-3": r"size must be 1 to 127",
    "[convolutional]\nsize=99": r"windows of 99 × 99, larger than its map of 64 × 96",
    "[convolutional]\nfilters=8\ngroups=3": r"3 channels and 8 filters cannot be divided into 3 groups",
    "[convolutional]\nxnor=1": r"asks for xnor, which foveal does not compute",
    "[convolutional]\ndilation=2": r"asks for dilation",
    "[convolutional]\nfilters=65536\n" * 2: r"values a picture, which is too many",
    "[convolutional]\nfilters=65536\nsize=96\npad=1\nstride=127": r"above 536870912 values",
    "[convolutional]\nfilters=4096\n" + "[maxpool]\nsize=127\nstride=1\n" * 30: r"line 78, .* above 10\^13 operations",
    "[upsample]\nstride=127\n" * 2: r"line 4, \[upsample\] gives 3 × 8128 × 12192 values a picture",
    "[maxpool]\nsize=2\npadding=4": r"pads by 4, too much for windows of 2",
    "[route]\nlayers=-1": r"is layer 0 and reads layer -1, which is not above it",
    CONV + "[route]\nlayers=1": r"line 7, \[route\] is layer 1 and reads layer 1",
    CONV + "[route]": r"does not say which layers it reads \(layers=\)",
    CONV + "[route]\nlayers=-1\ngroups=2\ngroup_id=2": r"group_id must be 0 to 1, and is 2",
    CONV + "[route]\nlayers=-1\ngroups=3": r"14 channels cannot be divided into 3 groups",
    CONV + "[maxpool]\nstride=2\n[route]\nlayers=-1,-2": r"do not fit: 14 × 32 × 48 and 14 × 64 × 96",
    CONV + "[maxpool]\nstride=2\n[shortcut]\nfrom=-2": r"adds maps that do not fit",
    CONV + CONV + "[shortcut]\nfrom=-2\nweights_type=per_channel": r"asks for weights_type",
    CONV + "[yolo]\nclasses=2\nnum=3\nmask=0,1\nanchors=1,2,3,4": r"num=3 wants 6 anchor sides above 0; there are 4",
    CONV + "[yolo]\nclasses=2\nnum=2\nmask=0,2\nanchors=1,2,3,4": r"mask must be 0 to 1, and is 2",
    CONV + "[yolo]\nclasses=3\nnum=2\nanchors=1,2,3,4": r"needs 2 boxes × \(3 classes \+ 5\) = 16 channels, .* has 14",
    CONV + "[yolo]\nclasses=2\nnum=2\nanchors=1,2,3,0": r"anchor sides above 0",
    "[softmax]\ntree=9k.tree": r"asks for a tree of classes",
    "": r"line 1, \[net\] is followed by no layer",
}


@pytest.mark.parametrize("text", BAD)
def test_a_cfg_that_cannot_be_built_is_refused_with_its_line(text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(BadModel, match=BAD[text]) as caught:
        DarknetNetwork(parse_cfg(NET + text))
    assert time.perf_counter() - began < 2
    assert "line " in str(caught.value)


def test_a_net_without_its_size_or_with_a_hostile_one_is_refused() -> None:
    for text, words in (
        ("[net]\nwidth=96\n", "does not say its height"),
        ("[net]\nwidth=96\nheight=100000\n", "height must be 1 to 8192, and is 100000"),
        ("[net]\nwidth=96\nheight=96\nchannels=0\n", "channels must be 1 to"),
    ):
        with pytest.raises(BadModel, match=words):
            DarknetNetwork(parse_cfg(text + CONV))


def test_weights_of_another_network_are_refused_and_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "net.cfg").write_text(CLASSIFIER)
    flat = values(CLASSIFIER_LAYERS)
    path = tmp_path / "net.weights"
    path.write_bytes(weights_file(flat))
    assert not load_darknet(tmp_path / "net.cfg", path).training
    for other, words in (
        (flat[:-1], "too short for this cfg by 1 value "),
        (np.append(flat, flat[:2]), "too long .* 2 "),
    ):
        path.write_bytes(weights_file(other))
        with pytest.raises(BadModel, match=words):
            load_darknet(tmp_path / "net.cfg", path)
    path.write_bytes(weights_file(flat[::-1].copy()))
    with pytest.raises(BadModel, match=r"net\.weights: a variance of a batch norm is below 0"):
        load_darknet(tmp_path / "net.cfg", path)
    network = _network(CLASSIFIER)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for bad in (flat[:-1], flat[::-1].copy()):
        with pytest.raises(
            BadModel, match=r"need 197 values, and the weights are 196|variance of a batch norm is below 0"
        ):
            network.load(bad)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_network_without_boxes_says_so() -> None:
    network = _network(CLASSIFIER)
    with pytest.raises(BadModel, match=r"no \[yolo\] section"):
        network.tensors(network(torch.zeros(1, 3, 14, 20)), (14, 20))


def test_pouring_is_what_a_hand_would_write() -> None:
    conv, norm = nn.Conv2d(2, 3, 1, bias=False), nn.BatchNorm2d(3, eps=1e-6).eval()
    flat = np.concatenate([np.linspace(-1, 1, 9), [0.5, 1, 2], np.linspace(-2, 2, 6)]).astype(np.float32)
    pour([(conv, norm)], flat)
    x = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(2))
    bias, scale, mean, var = (torch.from_numpy(part).view(3, 1, 1) for part in np.split(flat[:12], 4))
    wanted = scale * (functional.conv2d(x, torch.from_numpy(flat[12:]).view(3, 2, 1, 1)) - mean) / var.sqrt() + bias
    torch.testing.assert_close(norm(conv(x)), wanted, rtol=1e-5, atol=1e-5)
