"""Data sets that go by a name: where they lie, where they are published, how each file is known to be whole.

Sources: the checksums that the authors' pages state (MNIST's mirror and Fashion-MNIST as torchvision lists them).
"""

from __future__ import annotations

import os
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from foveal.errors import BadData, Missing, shown
from foveal.files.durable import no_write, write_bytes
from foveal.files.places import cache_folder, data_folders
from foveal.progress import Progress

__all__ = ["CIFAR10", "CIFAR100", "NAMED", "NamedSet", "Part", "canonical", "fetched", "find"]

MEMBER_MAX_BYTES = 256 << 20  # the largest, CIFAR-100's train.bin, has 154 MB

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_HUNDRED = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle "
    "caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant "
    "flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man "
    "maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree "
    "plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper "
    "snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train "
    "trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)
CIFAR100 = tuple(_HUNDRED.split())


@dataclass(frozen=True)
class Part:
    """One file as it is published."""

    url: str
    size: int  # bytes
    md5: str
    members: tuple[str, ...] = ()  # files to take out, where it is a .tar.gz

    @property
    def file(self) -> str:
        """The file that it stands for."""
        return self.url.rpartition("/")[2]

    @property
    def gives(self) -> tuple[str, ...]:
        """The files that it leaves in the data set's folder."""
        return self.members or (self.file,)


@dataclass(frozen=True)
class NamedSet:
    """A data set with a name."""

    name: str
    folders: tuple[str, ...]  # what people call its folder
    parts: tuple[Part, ...]
    classes: tuple[str, ...]
    val_share: float = 0.02  # of a fixed benchmark's training pictures: enough to calibrate, little to lose


def _idx_parts(site: str, *rows: tuple[str, int, str]) -> tuple[Part, ...]:
    return tuple(Part(f"{site}{file}-ubyte.gz", size, md5) for file, size, md5 in rows)


def _cifar_part(file: str, size: int, md5: str, *members: str) -> tuple[Part, ...]:
    return (Part(f"https://www.cs.toronto.edu/~kriz/{file}", size, md5, members),)


NAMED = {
    record.name: record
    for record in (
        NamedSet(
            "mnist",
            ("mnist", "MNIST"),
            _idx_parts(
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                ("train-images-idx3", 9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
                ("train-labels-idx1", 28881, "d53e105ee54ea40749a09fcbcd1e9432"),
                ("t10k-images-idx3", 1648877, "9fb629c4189551a2d022fa330f9573f3"),
                ("t10k-labels-idx1", 4542, "ec29112dd5afa0611ce80d1b7f02629c"),
            ),
            tuple(str(digit) for digit in range(10)),
        ),
        NamedSet(
            "fashion-mnist",
            ("fashion-mnist", "fashion_mnist", "FashionMNIST", "fashionmnist"),
            _idx_parts(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                ("train-images-idx3", 26421880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
                ("train-labels-idx1", 29515, "25c81989df183df01b3e8a0aad5dffbe"),
                ("t10k-images-idx3", 4422102, "bef4ecab320f06d8554ea6380940ec79"),
                ("t10k-labels-idx1", 5148, "bb300cfdad3c16e7a12a480ee83cd310"),
            ),
            ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        NamedSet(
            "cifar10",
            ("cifar10", "cifar-10", "CIFAR10", "CIFAR-10", "cifar-10-batches-bin", "cifar-10-batches-py"),
            _cifar_part(
                "cifar-10-binary.tar.gz",
                170052171,
                "c32a1d4ab5d03f1284b67883e8d87530",
                *(f"data_batch_{i}.bin" for i in range(1, 6)),
                "test_batch.bin",
            ),
            CIFAR10,
        ),
        NamedSet(
            "cifar100",
            ("cifar100", "cifar-100", "CIFAR100", "CIFAR-100", "cifar-100-binary", "cifar-100-python"),
            _cifar_part(
                "cifar-100-binary.tar.gz",
                168513733,
                "03b5dce01913d631647c71ecec9e9cb8",
                "train.bin",
                "test.bin",
            ),
            CIFAR100,
        ),
    )
}


def canonical(word: str) -> str:
    """The name that a word means, however it is written (`CIFAR-10`, `fashion_mnist`); else the word itself."""
    plain = "".join(c for c in word.lower() if c.isalnum())
    return next((name for name in NAMED if name.replace("-", "") == plain), word)


def find(name: str) -> Path | None:
    """The folder or file of a data set below one of FOVEAL_DATA's folders, or where a download was put."""
    record = NAMED.get(name)
    for base in data_folders():
        for folder in record.folders if record else (name,):
            if os.path.exists(base / folder):  # unlike Path.exists, it takes a name of any length
                return base / folder
    if record:
        downloaded = _home(record)
        if all((downloaded / file).is_file() for part in record.parts for file in part.gives):
            return downloaded
    return None


def fetched(name: str, progress: Progress) -> Path:
    """The folder of a named data set, downloaded. Raises: Missing, with where to put its files instead."""
    from foveal.files.download import download  # with its HTTP: most data sets lie here already

    record = NAMED[name]
    home = _home(record)
    try:
        for part in record.parts:
            if all((home / file).is_file() for file in part.gives):
                continue
            download(part.url, home / part.file, size=part.size, md5=part.md5, progress=progress)
            if part.members:
                _unpack(home / part.file, part.members, home)
    except Missing as missing:
        files = ", ".join(file for part in record.parts for file in part.gives)
        raise Missing(
            f'{missing}, and no folder "{name}" lies in one of FOVEAL_DATA\'s; put {files} into a folder "{name}" '
            f"and set FOVEAL_DATA to the folder above it."
        ) from None
    return home


def _home(record: NamedSet) -> Path:
    return cache_folder() / "datasets" / record.name


def _unpack(archive: Path, members: tuple[str, ...], home: Path) -> None:
    """Take the named files out of an archive of ours, by our own writing; then drop the archive."""
    wanted = set(members)
    try:
        with tarfile.open(archive, "r|gz") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                stream = tar.extractfile(member) if name in wanted and member.isreg() else None
                if stream is not None and member.size <= MEMBER_MAX_BYTES:
                    write_bytes(home / name, stream.read())
                    wanted.discard(name)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise BadData(f"{shown(archive)} is damaged ({error}); remove it and try again.") from None
    if wanted:
        raise BadData(f"{shown(archive)} holds no {', '.join(sorted(wanted))}; remove it and try again.")
    with no_write(archive):
        archive.unlink()
