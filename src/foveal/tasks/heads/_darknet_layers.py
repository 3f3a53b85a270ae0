"""What a Darknet cfg says, worked out in whole numbers: each layer's sources, shape and count of values.

Nothing here takes memory, so a cfg that asks for a billion filters, reads a layer that is not there or joins maps of
different sizes is refused before anything is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from foveal.errors import BadModel, did_you_mean, shown
from foveal.files.darknet import Section
from foveal.tasks.heads._yolo_boxes import Priors

__all__ = ["ACTIVATIONS", "Average", "Convolution", "Layer", "Pool", "Route", "Same", "Shortcut", "Softmax"]
__all__ += ["Upsample", "input_shape", "plan"]

Shape = tuple[int, int, int]  # channels, height, width

ACTIVATIONS = ("leaky", "linear", "logistic", "mish", "relu", "swish")
MOST_CHANNELS = 1 << 16
MOST_VALUES = 1 << 29  # of all layers together, 2 GiB: the largest published one (YOLOv4-P7) has 2^28.1
MOST_ELEMENTS = 1 << 28  # of one layer's map for one picture, 1 GiB
MOST_WORK = 10**13  # multiply-adds or comparisons for one picture: YOLOv4-P7 has 3·10^11
LARGEST_SIDE = 8192  # pixels
LARGEST_WINDOW = 127


@dataclass(frozen=True)
class Convolution:
    """[convolutional]"""

    in_channels: int
    filters: int
    size: int
    stride: tuple[int, int]  # down, right
    padding: int
    groups: int
    norm: bool
    activation: str


@dataclass(frozen=True)
class Pool:
    """[maxpool]: windows begin `padding // 2` before the map, and as many follow as `padding` in all allows."""

    size: int
    stride: tuple[int, int]
    padding: int


@dataclass(frozen=True)
class Average:
    """[avgpool]: over the whole map."""


@dataclass(frozen=True)
class Upsample:
    """[upsample]: each value `stride` × `stride` times, times `scale`."""

    stride: int
    scale: float


@dataclass(frozen=True)
class Route:
    """[route]: maps joined by channel; of each, the `group`-th of `groups` equal parts."""

    groups: int
    group: int


@dataclass(frozen=True)
class Shortcut:
    """[shortcut]: the sum of equal maps."""

    activation: str


@dataclass(frozen=True)
class Softmax:
    """[softmax]: over all values of a picture."""

    temperature: float


@dataclass(frozen=True)
class Same:
    """[dropout], [cost]: nothing happens while a network answers."""

    dropout: float = 0.0


Kind = Convolution | Pool | Average | Upsample | Route | Shortcut | Softmax | Same | Priors


@dataclass(frozen=True)
class Layer:
    """One layer of the plan."""

    kind: Kind
    sources: tuple[int, ...]  # numbers of the layers that it reads; -1 is the picture
    shape: Shape  # of what it gives
    values: int = 0  # in the weights file


def input_shape(net: Section) -> Shape:
    """(channels, height, width) of the pictures that a cfg's [net] was made for."""
    for key in ("height", "width"):
        if key not in net:
            raise BadModel(f"{net.where} does not say its {key}.")
    height, width = (net.integer(key, 0, 1, LARGEST_SIDE) for key in ("height", "width"))
    return net.integer("channels", 3, 1, 4096), height, width


def plan(sections: list[Section], size: tuple[int, int] | None = None) -> tuple[Layer, ...]:
    """The layers of a cfg for pictures of `size` (height, width), or of the size that its [net] states.

    Raises: BadModel naming the line that cannot be built.
    """
    net, *rest = sections
    channels, height, width = input_shape(net)
    picture = (channels, *(size or (height, width)))
    if not rest:
        raise BadModel(f"{net.where} is followed by no layer.")
    layers: list[Layer] = []
    shapes: list[Shape] = []
    values = work = 0
    for section in rest:
        layer = _layer(section, shapes[-1] if shapes else picture, shapes)
        values, work = values + layer.values, work + _work(layer)
        if math.prod(layer.shape) > MOST_ELEMENTS or layer.shape[0] > MOST_CHANNELS:
            raise BadModel(f"{section.where} gives {_told(layer.shape)} values a picture, which is too many.")
        if values > MOST_VALUES:
            raise BadModel(f"{section.where} brings the network above {MOST_VALUES} values, which is too many.")
        if work > MOST_WORK:
            raise BadModel(f"{section.where} brings the network above 10^13 operations a picture, which is too many.")
        layers.append(layer)
        shapes.append(layer.shape)
    return tuple(layers)


def _layer(section: Section, before: Shape, shapes: list[Shape]) -> Layer:
    if section.kind not in _READERS:
        word = shown(section.kind[:40])
        near = did_you_mean(section.kind[:40], _READERS) or f"; foveal reads {', '.join(sorted(_READERS))}."
        raise BadModel(f'{section.where}: there is no layer "{word}" here{near}')
    reader, keys = _READERS[section.kind]
    section.refuse_misspelt(keys)
    return reader(section, before, shapes)


def _work(layer: Layer) -> int:
    match layer.kind:
        case Convolution(in_channels=channels, size=size, groups=groups):
            return math.prod(layer.shape) * size * size * (channels // groups)
        case Pool(size=size):
            return math.prod(layer.shape) * size * size
        case _:
            return math.prod(layer.shape) * len(layer.sources)


def _told(shape: Shape) -> str:
    return " × ".join(str(n) for n in shape)


def _strides(section: Section) -> tuple[int, int]:
    both = section.integer("stride", 1, 1, LARGEST_WINDOW)
    return section.integer("stride_y", both, 1, LARGEST_WINDOW), section.integer("stride_x", both, 1, LARGEST_WINDOW)


def _absent(section: Section, *keys: str, neutral: int = 0) -> None:
    """Refuse what would change the result and is not computed here."""
    for key in keys:
        if section.integer(key, neutral, -(1 << 31), 1 << 31) != neutral:
            raise BadModel(f"{section.where} asks for {key}, which foveal does not compute.")


def _windows(section: Section, before: Shape, size: int, stride: tuple[int, int], padding: int) -> tuple[int, int]:
    """How many windows fit on a map with `padding` more places in all, down and right."""
    _, height, width = before
    if height + padding < size or width + padding < size:
        raise BadModel(f"{section.where} has windows of {size} × {size}, larger than its map of {height} × {width}.")
    return (height + padding - size) // stride[0] + 1, (width + padding - size) // stride[1] + 1


def _convolutional(section: Section, before: Shape, shapes: list[Shape]) -> Layer:
    _absent(section, "binary", "xnor", "flipped", "antialiasing", "deform", "share_index", "assisted_excitation")
    _absent(section, "dilation", neutral=1)
    channels = before[0]
    filters = section.integer("filters", 1, 1, MOST_CHANNELS)
    groups = section.integer("groups", 1, 1, MOST_CHANNELS)
    if channels % groups or filters % groups:
        raise BadModel(
            f"{section.where}: {channels} channels and {filters} filters cannot be divided into {groups} groups."
        )
    size, stride = section.integer("size", 1, 1, LARGEST_WINDOW), _strides(section)
    same = section.integer("pad", 0, 0, LARGEST_WINDOW)  # a switch: half the window; `padding` counts
    padding = size // 2 if same else section.integer("padding", 0, 0, LARGEST_WINDOW)
    norm = bool(section.integer("batch_normalize", 0, 0, 1))
    activation = section.one_of("activation", "logistic", ACTIVATIONS)
    kind = Convolution(channels, filters, size, stride, padding, groups, norm, activation)
    values = filters * (4 if norm else 1) + filters * (channels // groups) * size * size
    shape = (filters, *_windows(section, before, size, stride, 2 * padding))
    return Layer(kind, (len(shapes) - 1,), shape, values)


def _maxpool(section: Section, before: Shape, shapes: list[Shape]) -> Layer:
    _absent(section, "maxpool_depth", "antialiasing")
    stride = _strides(section)
    size = section.integer("size", max(stride), 1, LARGEST_WINDOW)
    padding = section.integer("padding", size - 1, 0, LARGEST_WINDOW)
    if padding - padding // 2 >= size:  # a window with nothing of the map in it
        raise BadModel(f"{section.where} pads by {padding}, too much for windows of {size}.")
    shape = (before[0], *_windows(section, before, size, stride, padding))
    return Layer(Pool(size, stride, padding), (len(shapes) - 1,), shape)


def _avgpool(_: Section, before: Shape, shapes: list[Shape]) -> Layer:
    return Layer(Average(), (len(shapes) - 1,), (before[0], 1, 1))


def _upsample(section: Section, before: Shape, shapes: list[Shape]) -> Layer:
    stride = section.integer("stride", 2, 1, LARGEST_WINDOW)
    scale = section.number("scale", 1.0, -1e6, 1e6)
    return Layer(Upsample(stride, scale), (len(shapes) - 1,), (before[0], before[1] * stride, before[2] * stride))


def _others(section: Section, key: str, shapes: list[Shape]) -> tuple[int, ...]:
    """Numbers of the layers that a route or shortcut names: from 0, or backwards from itself."""
    here, named = len(shapes), section.integers(key, -MOST_CHANNELS, MOST_CHANNELS)
    if not named:
        raise BadModel(f"{section.where} does not say which layers it reads ({key}=).")
    for number in named:
        if not 0 <= (number if number >= 0 else here + number) < here:
            raise BadModel(f"{section.where} is layer {here} and reads layer {number}, which is not above it.")
    return tuple(number if number >= 0 else here + number for number in named)


def _route(section: Section, _: Shape, shapes: list[Shape]) -> Layer:
    sources = _others(section, "layers", shapes)
    groups = section.integer("groups", 1, 1, MOST_CHANNELS)
    group = section.integer("group_id", 0, 0, groups - 1)
    height, width = shapes[sources[0]][1:]
    for number in sources:
        if shapes[number][1:] != (height, width):
            told = f"{_told(shapes[sources[0]])} and {_told(shapes[number])}"
            raise BadModel(f"{section.where} joins maps that do not fit: {told} (channels, height, width).")
        if shapes[number][0] % groups:
            raise BadModel(f"{section.where}: {shapes[number][0]} channels cannot be divided into {groups} groups.")
    channels = sum(shapes[number][0] // groups for number in sources)
    return Layer(Route(groups, group), sources, (channels, height, width))


def _shortcut(section: Section, before: Shape, shapes: list[Shape]) -> Layer:
    if section.text("weights_type", "none") != "none":
        raise BadModel(f"{section.where} asks for weights_type, which foveal does not compute.")
    sources = _others(section, "from", shapes)
    for number in sources:
        if shapes[number] != before:
            told = f"{_told(before)} and {_told(shapes[number])}"
            raise BadModel(f"{section.where} adds maps that do not fit: {told} (channels, height, width).")
    activation = section.one_of("activation", "linear", ACTIVATIONS)
    return Layer(Shortcut(activation), (len(shapes) - 1, *sources), before)


def _softmax(section: Section, before: Shape, shapes: list[Shape]) -> Layer:
    _absent(section, "groups", neutral=1)
    _absent(section, "spatial", "noloss")
    if "tree" in section:
        raise BadModel(f"{section.where} asks for a tree of classes, which foveal does not compute.")
    return Layer(Softmax(section.number("temperature", 1.0, 1e-6, 1e6)), (len(shapes) - 1,), before)


def _dropout(section: Section, before: Shape, shapes: list[Shape]) -> Layer:
    return Layer(Same(section.number("probability", 0.5, 0.0, 1.0)), (len(shapes) - 1,), before)


def _cost(_: Section, before: Shape, shapes: list[Shape]) -> Layer:
    return Layer(Same(), (len(shapes) - 1,), before)


def _yolo(section: Section, before: Shape, shapes: list[Shape]) -> Layer:
    num, classes = section.integer("num", 1, 1, 1000), section.integer("classes", 20, 1, MOST_CHANNELS)
    flat = section.numbers("anchors", 0.0, 1e6)
    mask = section.integers("mask", 0, num - 1) or tuple(range(num))
    if len(flat) != 2 * num or min(flat) <= 0:
        raise BadModel(f"{section.where}: num={num} wants {2 * num} anchor sides above 0; there are {len(flat)} sides.")
    if before[0] != len(mask) * (classes + 5):
        wanted = f"{len(mask)} boxes × ({classes} classes + 5) = {len(mask) * (classes + 5)}"
        raise BadModel(f"{section.where} needs {wanted} channels, and the layer above it has {before[0]}.")
    priors = Priors(
        tuple((flat[2 * i], flat[2 * i + 1]) for i in mask),
        classes,
        section.number("scale_x_y", 1.0, 0.1, 10.0),
        bool(section.integer("new_coords", 0, 0, 1)),
    )
    return Layer(priors, (len(shapes) - 1,), before)


_Reader = Callable[[Section, Shape, list[Shape]], Layer]
_STRIDES = ("stride", "stride_x", "stride_y")
_CONVOLUTIONAL = ("filters", "size", "pad", "padding", "groups", "dilation", "batch_normalize", "activation", *_STRIDES)
_YOLO = ("anchors", "mask", "classes", "num", "scale_x_y", "new_coords")
_READERS: dict[str, tuple[_Reader, tuple[str, ...]]] = {  # section -> (what reads it, keys that decide its result)
    "convolutional": (_convolutional, _CONVOLUTIONAL),
    "maxpool": (_maxpool, ("size", "padding", *_STRIDES)),
    "avgpool": (_avgpool, ()),
    "upsample": (_upsample, ("stride", "scale")),
    "route": (_route, ("layers", "groups", "group_id")),
    "shortcut": (_shortcut, ("from", "activation")),
    "dropout": (_dropout, ("probability",)),
    "softmax": (_softmax, ("groups", "temperature")),
    "cost": (_cost, ()),
    "yolo": (_yolo, _YOLO),
}
