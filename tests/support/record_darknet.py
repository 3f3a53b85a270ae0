"""Records what OpenCV 4 computes from Darknet's files, for `test_darknet.py`; OpenCV 5 cannot read them any more.

In an environment of its own (`pip install "opencv-python-headless<5" numpy`), with the folder of Yolo-Fastest's files:

    python tests/support/record_darknet.py FOLDER tests/tasks/data

Each network gets the picture of `picture()`, and what reaches its [yolo] sections is kept, together with one cfg that
has every section and whose values are drawn here, so that its weights need not be kept.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

EVERY_SECTION = """
[net]
width=96
height=64
channels=3
[convolutional] # 0
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=mish
[convolutional] # 1
batch_normalize=1
filters=8
size=5
groups=4
pad=1
activation=swish
[route] # 2
layers=-1
groups=2
group_id=1
[convolutional] # 3
filters=4
size=1
activation=relu
[shortcut] # 4
from=-2
activation=leaky
[maxpool] # 5
size=2
stride=2
[maxpool] # 6
size=2
stride=1
[maxpool] # 7
size=5
stride=1
[convolutional] # 8
filters=6
size=3
stride=2
padding=1
activation=logistic
[dropout] # 9
probability=0.3
[upsample] # 10
stride=2
[route] # 11
layers=-1,5,-5
[convolutional] # 12
filters=14
size=1
activation=linear
[yolo] # 13
mask=1,2
anchors=5,9, 12,8, 20.5,31
classes=2
num=3
scale_x_y=1.1
[route] # 14
layers=8
[convolutional] # 15
filters=7
size=1
activation=linear
[yolo] # 16
mask=0
anchors=5,9, 12,8, 20.5,31
classes=2
num=3
[route] # 17
layers=8
[convolutional] # 18
filters=14
size=1
activation=logistic
[yolo] # 19
mask=0,2
anchors=5,9, 12,8, 20.5,31
classes=2
num=3
scale_x_y=2.0
new_coords=1
"""

CLASSIFIER = """
[net]
width=20
height=14
[convolutional]
batch_normalize=1
filters=5
size=3
pad=1
activation=leaky
[maxpool]
size=3
stride=2
[convolutional]
filters=7
size=1
activation=linear
[avgpool]
[softmax]
groups=1
"""


def picture(height: int = 64, width: int = 96) -> NDArray[np.float32]:
    """(1, 3, height, width) in [0, 1]: waves of another length in each colour."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    colors = [np.sin(x / (3 + c) + c) * np.cos(y / (5 - c) - c) / 2 + 0.5 for c in range(3)]
    return np.stack(colors)[None].astype(np.float32)


# (filters, batch norm, weights a filter) of each convolution
EVERY_LAYERS = [
    (8, True, 27),
    (8, True, 50),
    (4, False, 4),
    (6, False, 36),
    (14, False, 14),
    (7, False, 6),
    (14, False, 6),
]
CLASSIFIER_LAYERS = [(5, True, 27), (7, False, 5)]


def values(layers: list[tuple[int, bool, int]]) -> NDArray[np.float32]:
    """The values of a weights file, the same on every machine: in [-0.5, 0.5), variances from 10^-4 to 1."""
    parts: list[NDArray[np.float64]] = []
    for filters, norm, each in layers:
        parts.append(_drawn(filters, len(parts)))
        if norm:
            parts += [_drawn(filters, len(parts) + 1), _drawn(filters, len(parts) + 2)]
            parts.append(10 ** (4 * _drawn(filters, len(parts)) - 2))
        parts.append(_drawn(filters * each, len(parts)))
    return np.concatenate(parts).astype(np.float32)


def _drawn(count: int, seed: int) -> NDArray[np.float64]:
    """Multiples of the golden ratio, without their whole parts: even, and no random generator's business."""
    return ((np.arange(count) + 17 * seed + 1) * 0.6180339887498949) % 1.0 - 0.5


def weights_file(flat: NDArray[np.float32]) -> bytes:
    """A weights file of version 0.2."""
    return np.array([0, 2, 5], "<i4").tobytes() + np.array([0], "<u8").tobytes() + flat.astype("<f4").tobytes()


def main(folder: Path, out: Path) -> None:
    """Write `darknet_opencv.npz` into `out`."""
    import cv2

    recorded: dict[str, NDArray[np.float32]] = {}
    for name in ("yolo-fastest-1.1", "yolo-fastest-1.1-xl"):
        net = cv2.dnn.readNetFromDarknet(str(folder / f"{name}.cfg"), str(folder / f"{name}.weights"))
        recorded |= _outputs(net, name, picture(), decoded=name.endswith("1.1"))
    with tempfile.TemporaryDirectory() as place:
        net = _from_text(cv2, Path(place), EVERY_SECTION, EVERY_LAYERS)
        recorded |= _outputs(net, "every", picture(), decoded=True)
        net = _from_text(cv2, Path(place), CLASSIFIER, CLASSIFIER_LAYERS)
        net.setInput(picture(14, 20))
        recorded["classifier"] = net.forward().reshape(1, -1)
    print(cv2.__version__, {key: value.shape for key, value in recorded.items()})
    np.savez_compressed(out / "darknet_opencv.npz", **recorded)


def _from_text(cv2: ModuleType, place: Path, cfg: str, layers: list[tuple[int, bool, int]]) -> Any:
    (place / "net.cfg").write_text(cfg)
    (place / "net.weights").write_bytes(weights_file(values(layers)))
    return cv2.dnn.readNetFromDarknet(str(place / "net.cfg"), str(place / "net.weights"))


def _outputs(net: Any, name: str, blob: NDArray[np.float32], decoded: bool) -> dict[str, NDArray[np.float32]]:
    """The maps in front of each [yolo] section, and if `decoded` what OpenCV makes of them."""
    net.enableWinograd(False)
    layers = list(net.getLayerNames())
    yolo = [layer for layer in layers if layer.startswith("yolo_")]
    raw = [layers[layers.index(layer) - 2] for layer in yolo]  # between them the axes are put into another order
    net.setInput(blob)
    found = dict(zip([*raw, *yolo], net.forward([*raw, *yolo]), strict=True))
    told = {f"{name}/raw{i}": found[layer] for i, layer in enumerate(raw)}
    if decoded:
        told |= {f"{name}/boxes{i}": found[layer] for i, layer in enumerate(yolo)}
    return told


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
