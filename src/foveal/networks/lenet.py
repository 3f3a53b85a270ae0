"""LeNet-5: convolution, pooling, convolution, pooling, and a small perceptron.

LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition", Proc. IEEE 86(11),
section II.B and figure 2. This is the form that courses teach today. Differs from the paper: max pooling without
weights for the trainable sub-sampling, ReLU for the scaled tanh, every map of C3 sees every map of S2 (table I leaves
some out), a softmax for the radial-basis output; the first convolution pads by 2, so that 28×28 pictures take the
place of the paper's 32×32.
"""

from __future__ import annotations

from torch import Tensor, nn

from foveal.networks.entry import Stage, network

__all__ = ["LeNet5", "lenet5"]


class LeNet5(nn.Module):
    """[fig. 2]"""

    def __init__(
        self, num_classes: int, in_channels: int, size: tuple[int, int], dropout: float, batch_norm: bool
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 6, kernel_size=5, padding=2)
        self.bn1 = nn.BatchNorm2d(6) if batch_norm else nn.Identity()
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.bn2 = nn.BatchNorm2d(16) if batch_norm else nn.Identity()
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        height, width = ((side // 2 - 4) // 2 for side in size)
        self.fc1 = nn.Linear(16 * height * width, 120)
        self.relu3 = nn.ReLU()
        self.dropout1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(120, 84)
        self.relu4 = nn.ReLU()
        self.dropout2 = nn.Dropout(dropout)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:  # (N, 1, 28, 28)
        x = self.pool1(self.relu1(self.bn1(self.conv1(x))))  # (N, 6, 14, 14)
        x = self.pool2(self.relu2(self.bn2(self.conv2(x))))  # (N, 16, 5, 5)
        x = self.dropout1(self.relu3(self.fc1(self.flatten(x))))  # (N, 120)
        x = self.dropout2(self.relu4(self.fc2(x)))  # (N, 84)
        logits: Tensor = self.fc3(x)
        return logits  # (N, K)


@network(
    paper="LeCun, Bottou, Bengio, Haffner 1998",
    year=1998,
    smallest=12,
    natural=28,
    takes_size=True,
    stages=(Stage("pool1", 2, 6), Stage("pool2", 4, 16)),
    classifier="fc3",
    options=("dropout", "batch_norm"),
    recipe={
        "training.optimizer": "adamw",
        "training.learning_rate": 3e-3,
        "training.weight_decay": 0.01,
        "training.batch_size": 128,
        "training.epochs": 12,
    },
)
def lenet5(
    num_classes: int = 10,
    in_channels: int = 1,
    size: tuple[int, int] = (28, 28),
    dropout: float = 0.0,
    batch_norm: bool = False,
) -> LeNet5:  # 61 706 parameters at 1x28x28
    """LeNet-5 with ReLU and max pooling."""
    return LeNet5(num_classes, in_channels, size, dropout, batch_norm)
