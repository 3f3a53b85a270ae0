"""Network in Network: every filter a small perceptron, and no dense layer at the end.

Lin, Chen, Yan 2013, "Network in network", arXiv:1312.4400: the network for CIFAR-10. The paper draws three mlpconv
layers and leaves the sizes to the definition that its authors published beside it (mavenlin/cuda-convnet,
NIN/cifar-10_def), which is built here: poolings overlap, and their last window may reach over the edge. Differs from
the paper: nothing that we know of in the layers; the pictures' whitening and contrast normalisation [section 4.2] are
left to who prepares them.
"""

from __future__ import annotations

from torch import Tensor, nn

from foveal.networks.entry import Stage, network

__all__ = ["MlpConv", "NiN", "nin"]


class MlpConv(nn.Module):
    """A perceptron with two hidden layers that slides over the maps [fig. 1b, eq. 2].

    Its second and third layers see one place of all maps: 1×1 convolutions, "cascaded cross channel pooling".
    """

    def __init__(self, in_channels: int, channels: tuple[int, int, int], kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels[0], kernel_size, padding=kernel_size // 2)
        self.relu1 = nn.ReLU()
        self.cccp1 = nn.Conv2d(channels[0], channels[1], kernel_size=1)
        self.relu2 = nn.ReLU()
        self.cccp2 = nn.Conv2d(channels[1], channels[2], kernel_size=1)
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, channels[2], H, W)
        x = self.relu2(self.cccp1(self.relu1(self.conv(x))))
        out: Tensor = self.relu3(self.cccp2(x))
        return out


class NiN(nn.Module):
    """[fig. 2]"""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        self.mlpconv1 = MlpConv(in_channels, (192, 160, 96), kernel_size=5)
        self.pool1 = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
        self.dropout1 = nn.Dropout(dropout)
        self.mlpconv2 = MlpConv(96, (192, 192, 192), kernel_size=5)
        self.pool2 = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
        self.dropout2 = nn.Dropout(dropout)
        self.mlpconv3 = MlpConv(192, (192, 192, num_classes), kernel_size=3)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self._initialise()

    def _initialise(self) -> None:
        """Normal weights of deviation 0.05, as in the published definition."""
        if self.mlpconv1.conv.weight.is_meta:
            return
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.05)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 32, 32)
        x = self.dropout1(self.pool1(self.mlpconv1(x)))  # (N, 96, 16, 16)
        x = self.dropout2(self.pool2(self.mlpconv2(x)))  # (N, 192, 8, 8)
        x = self.mlpconv3(x)  # (N, K, 8, 8): a map for each class, whose mean is its logit [section 3.2]
        logits: Tensor = self.flatten(self.avgpool(x))
        return logits  # (N, K)


@network(
    paper="Lin, Chen, Yan 2013, arXiv:1312.4400",
    year=2013,
    smallest=4,
    natural=32,
    stages=(Stage("mlpconv1", 1, 96), Stage("mlpconv2", 2, 192), Stage("mlpconv3.relu2", 4, 192)),
    classifier="mlpconv3.cccp2",
    options=("dropout",),
    block="mlpconv1",
    recipe={
        "training.optimizer": "adamw",  # without norms the rates of SGD are a narrow ridge
        "training.learning_rate": 1e-3,
        "training.weight_decay": 0.01,
        "training.batch_size": 128,
        "training.epochs": 40,
        "training.clip": 1.0,
    },
)
def nin(num_classes: int = 10, in_channels: int = 3, dropout: float = 0.5) -> NiN:  # 966 986 parameters
    """Network in Network for small pictures."""
    return NiN(num_classes, in_channels, dropout)
