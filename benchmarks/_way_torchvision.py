"""torchvision's reference way to train a classifier: ImageFolder, a DataLoader with workers, v2 transforms, fp32, SGD.

As in the training script of torchvision's `references/classification`. Run by `epoch_time.py`.
"""

from __future__ import annotations

import torch
from _way import arguments, tell, torchvision
from torch import nn

WORKERS = 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    """Train, saying when each epoch has ended."""
    asked = arguments()
    vision = torchvision()
    from torchvision.datasets import ImageFolder  # type: ignore[import-untyped]
    from torchvision.transforms import v2  # type: ignore[import-untyped]

    tell("ready")
    torch.manual_seed(asked.seed)
    prepare = v2.Compose(
        [
            v2.RandomResizedCrop(asked.size, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    pictures = ImageFolder(asked.pictures, prepare)
    loader = torch.utils.data.DataLoader(pictures, batch_size=asked.batch, shuffle=True, num_workers=WORKERS)
    network = vision.models.resnet18(weights=None, num_classes=len(pictures.classes))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    for epoch in range(asked.epochs):
        network.train()
        seen, right, total = 0, 0, 0.0
        for images, labels in loader:
            logits = network(images)
            loss = criterion(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(images)
            right += int((logits.argmax(1) == labels).sum())
            total += float(loss)
        tell("epoch", epoch=epoch + 1, seen=seen, loss=total, right=right)
    tell("end", arithmetic="fp32")


if __name__ == "__main__":
    main()
