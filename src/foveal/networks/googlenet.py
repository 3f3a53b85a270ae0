"""GoogLeNet: modules that look at a map through windows of several sizes side by side.

Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich 2014, "Going deeper with convolutions",
arXiv:1409.4842. Two forms of it.

`googlenet` is the form for which torchvision publishes weights. Differs from the paper: a batch norm takes the place of
each convolution's bias and of the local response norms, 3×3 convolutions stand where the paper has 5×5, the last max
pooling is 2×2, the auxiliary classifiers average any map to 4×4 at once, dropout is 0.2. Names of the state dict are
torchvision's, whose weights saw pictures in [−1, 1].

`googlenet_2014` is the paper's own form. On these the paper is silent: the local response norm has AlexNet's window and
constants with a bias of 1, as the replications of its time had; pooling windows may reach over the edge, which is what
the sizes of [table 1] ask for; convolutions begin as He et al. 2015, arXiv:1502.01852, would have them. Differs from
the paper: maps other than 14×14 are averaged to 4×4 behind the auxiliary classifiers' pooling, so that other sizes
than 224×224 can train. The column of parameters in [table 1] is not followed, since its other columns give others: it
has 2.7K for the first convolution, which is a separable one's 7·7·3·8 + 24·64, where the text has a plain 7×7.
"""

from __future__ import annotations

from torch import Tensor, nn

from foveal.networks.blocks import Concat
from foveal.networks.entry import Published, Stage, WithAuxiliary, imagenet, network

__all__ = ["AuxiliaryHead", "Convolution", "GoogLeNet", "Inception", "googlenet", "googlenet_2014"]

Row = tuple[int, int, int, int, int, int]  # [table 1]: #1×1, #3×3 reduce, #3×3, #5×5 reduce, #5×5, pool proj

_AUXILIARY_WEIGHT = 0.3  # [section 5]
_AUXILIARY_DROPOUT = 0.7  # [section 5]


class Convolution(nn.Module):
    """A convolution and its rectifier; with a bias in the original, with a batch norm between the two since then."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, original: bool, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=original)
        self.bn = nn.Identity() if original else nn.BatchNorm2d(out_channels, eps=0.001)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.bn(self.conv(x)))
        return out


class Inception(nn.Module):
    """1×1, 3×3, 5×5 and pooled, with 1×1 convolutions that keep the larger windows cheap [fig. 2b]."""

    def __init__(self, in_channels: int, row: Row, original: bool) -> None:
        super().__init__()
        ones, reduce3, threes, reduce5, fives, projected = row
        self.branch1 = Convolution(in_channels, ones, 1, original)
        self.branch2 = nn.Sequential(
            Convolution(in_channels, reduce3, 1, original), Convolution(reduce3, threes, 3, original)
        )
        self.branch3 = nn.Sequential(
            Convolution(in_channels, reduce5, 1, original), Convolution(reduce5, fives, 5 if original else 3, original)
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), Convolution(in_channels, projected, 1, original)
        )
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.concat(self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x))
        return out


class AuxiliaryHead(nn.Module):
    """A small classifier halfway, which brings gradients to the layers below it in training [section 5]."""

    def __init__(self, in_channels: int, num_classes: int, original: bool) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(5, stride=3) if original else nn.Identity()
        self.grid = nn.AdaptiveAvgPool2d(4)  # changes nothing where the map is 4×4 already
        self.conv = Convolution(in_channels, 128, 1, original)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(4 * 4 * 128, 1024)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(_AUXILIARY_DROPOUT)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, 14, 14)
        x = self.conv(self.grid(self.pool(x)))  # (N, 128, 4, 4)
        x = self.dropout(self.relu(self.fc1(self.flatten(x))))  # (N, 1024)
        logits: Tensor = self.fc2(x)
        return logits  # (N, K)


class GoogLeNet(nn.Module):
    """[table 1, fig. 3]"""

    def __init__(self, num_classes: int, in_channels: int, dropout: float, aux: bool, original: bool) -> None:
        super().__init__()
        self.conv1 = Convolution(in_channels, 64, 7, original, stride=2)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm1 = _response_norm(original)
        self.conv2 = Convolution(64, 64, 1, original)
        self.conv3 = Convolution(64, 192, 3, original)
        self.norm2 = _response_norm(original)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = Inception(192, (64, 96, 128, 16, 32, 32), original)
        self.inception3b = Inception(256, (128, 128, 192, 32, 96, 64), original)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = Inception(480, (192, 96, 208, 16, 48, 64), original)
        self.inception4b = Inception(512, (160, 112, 224, 24, 64, 64), original)
        self.inception4c = Inception(512, (128, 128, 256, 24, 64, 64), original)
        self.inception4d = Inception(512, (112, 144, 288, 32, 64, 64), original)
        self.inception4e = Inception(528, (256, 160, 320, 32, 128, 128), original)
        self.maxpool4 = nn.MaxPool2d(3 if original else 2, stride=2, ceil_mode=True)
        self.inception5a = Inception(832, (256, 160, 320, 32, 128, 128), original)
        self.inception5b = Inception(832, (384, 192, 384, 48, 128, 128), original)
        self.aux1 = AuxiliaryHead(512, num_classes, original) if aux else None
        self.aux2 = AuxiliaryHead(528, num_classes, original) if aux else None
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """He et al. 2015, arXiv:1502.01852, by the inputs: what goes in comes out as large, norms or no norms."""
        if self.fc.weight.is_meta:
            return  # only shapes are wanted
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor | WithAuxiliary:  # (N, 3, 224, 224)
        x = self.norm1(self.maxpool1(self.conv1(x)))  # (N, 64, 56, 56)
        x = self.maxpool2(self.norm2(self.conv3(self.conv2(x))))  # (N, 192, 28, 28)
        x = self.maxpool3(self.inception3b(self.inception3a(x)))  # (N, 480, 14, 14)
        early = self.inception4a(x)  # (N, 512, 14, 14)
        late = self.inception4d(self.inception4c(self.inception4b(early)))  # (N, 528, 14, 14)
        x = self.maxpool4(self.inception4e(late))  # (N, 832, 7, 7)
        x = self.inception5b(self.inception5a(x))  # (N, 1024, 7, 7)
        logits: Tensor = self.fc(self.dropout(self.flatten(self.avgpool(x))))  # (N, K)
        if not self.training or self.aux1 is None or self.aux2 is None:
            return logits
        return WithAuxiliary(logits, (self.aux1(early), self.aux2(late)), _AUXILIARY_WEIGHT)


def _response_norm(original: bool) -> nn.Module:
    """Local response norm [fig. 3], where there is no batch norm."""
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0) if original else nn.Identity()


_PAPER = "Szegedy et al. 2014, arXiv:1409.4842"
_STAGES = (
    Stage("conv1", 2, 64),
    Stage("conv3", 4, 192),
    Stage("inception3b", 8, 480),
    Stage("inception4e", 16, 832),
    Stage("inception5b", 32, 1024),
)
_RECIPE = {
    "training.optimizer": "sgd",
    "training.learning_rate": 0.05,
    "training.weight_decay": 5e-4,
    "training.batch_size": 64,
    "training.label_smoothing": 0.1,
    "training.epochs": 30,
    "training.ema": 0.99,
}


@network(
    paper=_PAPER,
    year=2014,
    smallest=15,
    natural=224,
    auxiliary=15,
    stages=_STAGES,
    classifier="fc",
    options=("dropout",),
    block="inception3a",
    weights=Published(
        url="https://download.pytorch.org/models/googlenet-1378be20.pth",
        sha256="1378be20",
        preprocess=imagenet(224, 256, "bilinear", halves=True),
        top1=69.778,
        source="torchvision, IMAGENET1K_V1",
    ),
    recipe=_RECIPE,
)
def googlenet(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.2, aux: bool = True
) -> GoogLeNet:  # 13 004 888 parameters, of which 6 624 904 remain without `aux`
    """GoogLeNet with batch norm; with `aux`, two classifiers more while it trains."""
    return GoogLeNet(num_classes, in_channels, dropout, aux, original=False)


@network(
    paper=_PAPER,
    year=2014,
    smallest=31,
    natural=224,
    auxiliary=79,  # below, the auxiliary classifiers' 5×5 pooling is larger than the map
    stages=_STAGES,
    classifier="fc",
    options=("dropout",),
    block="inception3a",
    recipe={**_RECIPE, "training.learning_rate": 0.01, "training.weight_decay": 2e-4},  # no norm tames larger steps
)
def googlenet_2014(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.4, aux: bool = True
) -> GoogLeNet:  # 13 378 280 parameters, of which 6 998 552 remain without `aux`
    """GoogLeNet as the paper has it [table 1, fig. 3]; with `aux`, two classifiers more while it trains.

    A module with the row a, b → c, d → e, p of [table 1] has C·(a + b + d + p) + 9·b·c + 25·d·e weights on C channels:

        3a  163 328    3b  388 096    4a  375 552    4b    448 512    4c    509 440
        4d  604 672    4e  867 328    5a 1 042 432   5b  1 442 816    together 5 842 176

    and a bias for every channel a convolution gives, 6 960. The layers before have 49·3·64 + 64·64 + 9·64·192 weights
    and 64 + 64 + 192 biases, 124 416; the classifier has 1000·(1024 + 1). That makes 6 998 552. The auxiliary
    classifiers have 128·(C + 1) + 1024·(2048 + 1) + 1000·(1024 + 1): 3 188 840 on 512 channels, 3 190 888 on 528.
    """
    return GoogLeNet(num_classes, in_channels, dropout, aux, original=True)
