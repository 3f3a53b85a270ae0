"""What options of `foveal train` are called in other tools, for the answer to one that it does not have."""

from __future__ import annotations

import difflib

from foveal.cli._flags import FLAGS

__all__ = ["meant"]

ELSEWHERE = {  # what other tools call them -> the key, and what to give it
    "lr": "training.learning_rate", "lr0": "training.learning_rate", "base_lr": "training.learning_rate",
    "wd": "training.weight_decay", "decay": "training.weight_decay", "opt": "training.optimizer",
    "optim": "training.optimizer", "scheduler": "training.schedule", "lr_scheduler": "training.schedule",
    "sched": "training.schedule", "warmup_epochs": "training.warmup", "patience": "training.early_stopping",
    "smoothing": "training.label_smoothing", "grad_clip": "training.clip", "clip_grad": "training.clip",
    "amp": "training.arithmetic", "fp16": "training.arithmetic", "bf16": "training.arithmetic",
    "half": "training.arithmetic", "precision": "training.arithmetic", "model_ema": "training.ema",
    "num_epochs": "training.epochs", "max_epochs": "training.epochs", "bs": "training.batch_size",
    "b": "training.batch_size", "imgsz": "data.size", "img": "data.size", "img_size": "data.size",
    "image_size": "data.size", "input_size": "data.size", "model": "network.name", "arch": "network.name",
    "backbone": "network.name", "pretrained": "network.weights", "init": "network.weights", "freeze": "network.train",
    "finetune": "network.train", "drop": "network.dropout", "bn": "network.batch_norm", "gpu": "training.device",
    "gpus": "training.device", "random_seed": "training.seed",  "aug": "augment.preset", "augment": "augment.preset",
    "augmentation": "augment.preset", "hflip": "augment.flip", "fliplr": "augment.flip", "flipud": "augment.flip",
    "degrees": "augment.rotate", "scale": "augment.zoom", "color_jitter": "augment.color", "erasing": "augment.cutout",
    "background": "data.unlabelled", "weight": "network.weights",
}  # fmt: skip
OTHER_OPTIONS = {"cfg": "--recipe", "config": "--recipe", "project": "--out", "output": "--out", "output_dir": "--out",
                 "out_dir": "--out", "save_dir": "--out", "name": "--out", "checkpoint": "--resume",
                 "data": "SOURCE", "dataset": "SOURCE", "data_dir": "SOURCE", "data_path": "SOURCE"}  # fmt: skip


def meant(option: str) -> str:
    """What was meant by an option that `foveal train` does not have: `--batch`, `--set training.dropout=…`, or "".

    >>> meant("--lr")
    '--set training.learning_rate=…'
    >>> meant("--batch-size")
    '--batch'
    """
    from foveal.recipe import Recipe

    word = option.lstrip("-").rpartition(".")[2].lower().replace("-", "_")
    flags = {flag.key: name for name, flag in FLAGS.items() if not flag.value}
    keys = {key: f"{section}.{key}" for section, keys in Recipe().model_dump().items() for key in keys}
    known = keys | {name.lstrip("-").replace("-", "_"): key for key, name in flags.items()} | ELSEWHERE
    named = known | {key.replace(".", "_"): key for key in keys.values()} | OTHER_OPTIONS
    near = [word] if word in named else difflib.get_close_matches(word, named, n=1, cutoff=0.75)
    if not near:
        return ""
    key = named[near[0]]
    return flags.get(key, f"--set {key}=…") if "." in key else key
