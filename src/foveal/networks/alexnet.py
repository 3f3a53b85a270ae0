"""AlexNet: the network that brought convolutions back, in the form of 2014 and in the one that won in 2012.

`alexnet`: Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997: a single
column with fewer maps; their numbers stand in the definition published beside it (cuda-convnet2,
layers-imagenet-1gpu.cfg). Names of the state dict are torchvision's. Differs from the paper, as torchvision does: no
response normalisation; dropout before the dense layers where the definition has it after them; an adaptive pooling
there, so that pictures of any size pass. Initial weights are He's, where the definition has deviations and biases by
hand.

`alexnet_2012`: Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural networks",
NIPS 25: two columns, one for each of the two graphics cards of the time, written as convolutions in two groups; local
response normalisation; pooling windows that overlap. Differs from the paper: the columns share a device; the
normalisation's window passes from one column into the other, as its formula has it; the first convolution pads by 2,
without which 224×224 pictures give no 55×55 maps (227×227 pictures do as well); and the adaptive pooling as above.

Parameters of `alexnet_2012`, (weights a filter + 1 bias) · filters; a filter of a grouped convolution sees one column:

    conv1  (11·11·3 + 1) · 96      =     34 944        fc6  (6·6·256 + 1) · 4096  = 37 752 832
    conv2  (5·5·48 + 1) · 256      =    307 456        fc7  (4096 + 1) · 4096     = 16 781 312
    conv3  (3·3·256 + 1) · 384     =    885 120        fc8  (4096 + 1) · 1000     =  4 097 000
    conv4  (3·3·192 + 1) · 384     =    663 936
    conv5  (3·3·192 + 1) · 256     =    442 624        together                     60 965 224
"""

from __future__ import annotations

from torch import Tensor, nn

from foveal.networks.entry import Published, Stage, imagenet, network

__all__ = ["AlexNet", "AlexNet2012", "alexnet", "alexnet_2012"]


class AlexNet(nn.Module):
    """One column."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, num_classes),
        )
        self._initialise()

    def _initialise(self) -> None:
        """He et al. 2015, arXiv:1502.01852: PyTorch's own initial weights let the signal die away in eight layers."""
        if next(self.parameters()).is_meta:
            return
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 224, 224)
        x = self.avgpool(self.features(x))  # (N, 256, 6, 6)
        logits: Tensor = self.classifier(self.flatten(x))
        return logits  # (N, K)


class AlexNet2012(nn.Module):
    """Two columns that meet in the third convolution and in the dense layers [fig. 2]."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 96, kernel_size=11, stride=4, padding=2)
        self.relu1 = nn.ReLU()
        self.norm1 = _response_norm()
        self.pool1 = nn.MaxPool2d(kernel_size=3, stride=2)  # overlapping: z = 3, s = 2 [section 3.4]
        self.conv2 = nn.Conv2d(96, 256, kernel_size=5, padding=2, groups=2)
        self.relu2 = nn.ReLU()
        self.norm2 = _response_norm()
        self.pool2 = nn.MaxPool2d(kernel_size=3, stride=2)
        self.conv3 = nn.Conv2d(256, 384, kernel_size=3, padding=1)
        self.relu3 = nn.ReLU()
        self.conv4 = nn.Conv2d(384, 384, kernel_size=3, padding=1, groups=2)
        self.relu4 = nn.ReLU()
        self.conv5 = nn.Conv2d(384, 256, kernel_size=3, padding=1, groups=2)
        self.relu5 = nn.ReLU()
        self.pool5 = nn.MaxPool2d(kernel_size=3, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.flatten = nn.Flatten()
        self.fc6 = nn.Linear(256 * 6 * 6, 4096)
        self.relu6 = nn.ReLU()
        self.dropout6 = nn.Dropout(dropout)
        self.fc7 = nn.Linear(4096, 4096)
        self.relu7 = nn.ReLU()
        self.dropout7 = nn.Dropout(dropout)
        self.fc8 = nn.Linear(4096, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """Normal weights of deviation 0.01; biases of one where that keeps ReLUs awake, else zero [section 5]."""
        if self.conv1.weight.is_meta:
            return
        awake = (self.conv2, self.conv4, self.conv5, self.fc6, self.fc7)
        for layer in (self.conv1, self.conv3, self.fc8, *awake):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, 1.0 if layer in awake else 0.0)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 224, 224)
        x = self.pool1(self.norm1(self.relu1(self.conv1(x))))  # (N, 96, 27, 27), after (N, 96, 55, 55)
        x = self.pool2(self.norm2(self.relu2(self.conv2(x))))  # (N, 256, 13, 13)
        x = self.relu4(self.conv4(self.relu3(self.conv3(x))))  # (N, 384, 13, 13)
        x = self.avgpool(self.pool5(self.relu5(self.conv5(x))))  # (N, 256, 6, 6)
        x = self.dropout6(self.relu6(self.fc6(self.flatten(x))))  # (N, 4096)
        x = self.dropout7(self.relu7(self.fc7(x)))  # (N, 4096)
        logits: Tensor = self.fc8(x)
        return logits  # (N, K)


def _response_norm() -> nn.LocalResponseNorm:
    """b = a / (2 + 10⁻⁴ Σ a²)^0.75, over five maps [section 3.3]; PyTorch takes the mean of the five: hence 5·10⁻⁴."""
    return nn.LocalResponseNorm(size=5, alpha=5 * 1e-4, beta=0.75, k=2.0)


_RECIPE = {
    "training.optimizer": "adamw",  # without norms the rates of SGD are a narrow ridge
    "training.learning_rate": 3e-4,
    "training.weight_decay": 0.01,
    "training.batch_size": 64,
    "training.label_smoothing": 0.1,
    "training.epochs": 30,
    "training.clip": 1.0,
}


@network(
    paper="Krizhevsky 2014, arXiv:1404.5997",
    year=2014,
    smallest=63,
    natural=224,
    stages=(
        Stage("features.1", 4, 64),
        Stage("features.4", 8, 192),
        Stage("features.11", 16, 256),
        Stage("features.12", 32, 256),
    ),
    classifier="classifier.6",
    options=("dropout",),
    weights=Published(
        url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        sha256="7be5be79",
        preprocess=imagenet(),
        top1=56.522,
        source="torchvision, IMAGENET1K_V1",
    ),
    recipe=_RECIPE,
)
def alexnet(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> AlexNet:  # 61 100 840 parameters
    """AlexNet in one column, as its author drew it in 2014."""
    return AlexNet(num_classes, in_channels, dropout)


@network(
    paper="Krizhevsky, Sutskever, Hinton 2012, NIPS 25",
    year=2012,
    smallest=63,
    natural=224,
    stages=(
        Stage("norm1", 4, 96),
        Stage("norm2", 8, 256),
        Stage("relu5", 16, 256),
        Stage("pool5", 32, 256),
    ),
    classifier="fc8",
    options=("dropout",),
    recipe=_RECIPE,
)
def alexnet_2012(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5
) -> AlexNet2012:  # 60 965 224 parameters
    """AlexNet as it won: two columns and response normalisation."""
    return AlexNet2012(num_classes, in_channels, dropout)
