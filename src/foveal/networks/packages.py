"""Packages of weights: the file of an installed Python package, found without importing anything of it.

A package's own list of files (RECORD, as PEP 376 has it) says where each of them lies, so that a package whose code is
old, broken or hostile serves as well as any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from foveal.errors import BadModel, shown

if TYPE_CHECKING:
    from foveal.networks.entry import Package

__all__ = ["in_package", "install"]


def in_package(package: Package) -> tuple[Path, str] | None:
    """The file of an installed package of weights, and its version; None where the package is not installed.

    Raises: BadModel when it is another version, or has no such file.
    """
    try:
        found = metadata.distribution(package.name)
    except metadata.PackageNotFoundError:
        return None
    version = _version(found)
    if version not in package.versions:
        raise BadModel(
            f"the installed package {package.name} is version {shown(version[:40])}, whose weights foveal does not "
            f"know (it knows {' and '.join(package.versions)}); {install(package, package.versions[-1])}, or give "
            "--weights FILE."
        )
    place = next((Path(str(file.locate())) for file in _files(found) if file.as_posix() == package.file), None)
    if place is None or not place.is_file():
        raise BadModel(
            f"the installed package {package.name} {version} lacks its file {package.file}; "
            f"{install(package, version)}, or give --weights FILE."
        )
    return place, version


def install(package: Package, version: str = "") -> str:
    """The command that brings a package, by foveal's extra where it has one; or that brings this version of it anew."""
    if version or not package.extra:
        return f'pip install --force-reinstall --no-deps "{package.name}=={version or package.versions[-1]}"'
    return f'pip install "foveal[{package.extra}]"'


def _version(found: metadata.Distribution) -> str:
    """As its metadata states it; a question mark where that is lost."""
    try:
        return str(found.metadata["Version"] or "?")
    except Exception:  # noqa: BLE001 - what is told of lost metadata differs between versions of Python
        return "?"


def _files(found: metadata.Distribution) -> Sequence[metadata.PackagePath]:
    """Its list of files; nothing where that is lost or damaged."""
    try:
        return found.files or ()
    except Exception:  # noqa: BLE001 - a stranger's table, read by the standard library
        return ()
