"""fastai's `vision_learner` with its defaults, from random weights, so that the whole network is trained.

Run by `epoch_time.py`, with a Python that has fastai.
"""

from __future__ import annotations

from typing import Any

from _way import arguments, tell, torchvision


def main() -> None:
    """Train, saying when each epoch has ended."""
    asked = arguments()
    vision = torchvision()
    from fastai.vision.all import (  # type: ignore[import-not-found]
        Callback,
        CancelValidException,
        CategoryBlock,
        DataBlock,
        ImageBlock,
        Resize,
        aug_transforms,
        get_image_files,
        parent_label,
        set_seed,
        vision_learner,
    )

    class Ends(Callback):  # type: ignore[misc]
        """Counts pictures, and leaves validation out: no way validates here."""

        def before_epoch(self) -> None:
            self.seen = 0

        def after_batch(self) -> None:
            self.seen += len(self.yb[0])

        def before_validate(self) -> None:
            raise CancelValidException

        def after_epoch(self) -> None:
            tell("epoch", epoch=self.epoch + 1, seen=self.seen)

    tell("ready")
    set_seed(asked.seed)
    batch_transforms: list[Any] = [] if asked.plain else aug_transforms()
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_items=get_image_files,
        get_y=parent_label,
        splitter=lambda items: (list(range(len(items))), [0]),  # all to train on; validation must not be empty
        item_tfms=Resize(asked.size),
        batch_tfms=batch_transforms,
    )
    loaders = block.dataloaders(asked.pictures, bs=asked.batch)
    state = vision_learner(loaders, vision.models.resnet18, pretrained=False)
    with state.no_bar(), state.no_logging():
        state.fit_one_cycle(asked.epochs, cbs=[Ends()])
    tell("end", arithmetic="fp32", workers=loaders.train.fake_l.num_workers)


if __name__ == "__main__":
    main()
