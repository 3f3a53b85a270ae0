"""A multilayer perceptron: the baseline that a convolutional network must beat.

Every pixel is joined to every unit of the first layer, so it knows nothing of neighbourhood and must learn each shape
anew at each place. Rumelhart, Hinton, Williams 1986, Nature 323; ReLU and dropout as in Srivastava et al. 2014,
JMLR 15, section 6.1.
"""

from __future__ import annotations

from torch import Tensor, nn

from foveal.networks.entry import Stage, network

__all__ = ["MLP", "mlp"]


class MLP(nn.Module):
    """Two hidden layers."""

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        size: tuple[int, int],
        hidden: tuple[int, int],
        dropout: float,
        batch_norm: bool,
    ) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(in_channels * size[0] * size[1], hidden[0])
        self.bn1 = nn.BatchNorm1d(hidden[0]) if batch_norm else nn.Identity()
        self.relu1 = nn.ReLU()
        self.dropout1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden[0], hidden[1])
        self.bn2 = nn.BatchNorm1d(hidden[1]) if batch_norm else nn.Identity()
        self.relu2 = nn.ReLU()
        self.dropout2 = nn.Dropout(dropout)
        self.fc3 = nn.Linear(hidden[1], num_classes)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        x = self.flatten(x)  # (N, C·H·W)
        x = self.dropout1(self.relu1(self.bn1(self.fc1(x))))  # (N, 512)
        x = self.dropout2(self.relu2(self.bn2(self.fc2(x))))  # (N, 512)
        logits: Tensor = self.fc3(x)
        return logits  # (N, K)


@network(
    paper="Rumelhart, Hinton, Williams 1986",
    year=1986,
    smallest=1,
    natural=28,
    takes_size=True,
    stages=(Stage("relu1", 1, 512), Stage("relu2", 1, 512)),
    classifier="fc3",
    options=("dropout", "batch_norm"),
    recipe={
        "training.optimizer": "adamw",
        "training.learning_rate": 2e-3,
        "training.weight_decay": 0.01,
        "training.batch_size": 128,
        "training.epochs": 12,
    },
)
def mlp(
    num_classes: int = 10,
    in_channels: int = 1,
    size: tuple[int, int] = (28, 28),
    dropout: float = 0.2,
    batch_norm: bool = False,
) -> MLP:  # 669 706 parameters at 1x28x28
    """The plain perceptron with two hidden layers of 512."""
    return MLP(num_classes, in_channels, size, (512, 512), dropout, batch_norm)
