"""What libtiff says of a file: to us, and not to the terminal.

libtiff decodes what it can; an error is printed from C, and a warning of lost data (fax codes, a JPEG inside a TIFF,
runs that are too long) Pillow turns off. So errors are taken here, thread by thread, and files of the kinds that only
warn are decoded once more with a handler of their own (`libtiff` 4.5 and later). Both are asked of the copy of the
library that Pillow has loaded. Where it cannot be reached (on Windows it is part of Pillow's own module), all that can
be done is to let nothing through to the terminal.

Source: libtiff, doc/functions/TIFFOpenOptions.rst, TIFFError.rst.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from ctypes import CFUNCTYPE, c_char_p, c_int, c_ssize_t, c_uint32, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from foveal.files._limits import MOST_BYTES
from foveal.files._quiet import quiet_stderr

__all__ = ["errors_kept", "warnings_of"]

_GLOBAL = CFUNCTYPE(None, c_char_p, c_char_p, c_void_p)  # module, format, its arguments
_OF_ONE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_char_p, c_char_p, c_void_p)  # file, ours, and the same three
_ABOUT_TAGS = ("TIFFReadDirectory", "TIFFReadCustomDirectory", "TIFFFetch")  # functions that read no pixels
_here = threading.local()


@contextmanager
def errors_kept() -> Iterator[list[str]]:
    """A list that fills with what this thread's pictures lose; the errors of others go where they went before."""
    said: list[str] = []
    _here.said = said
    try:
        with nullcontext() if _error_handlers() else quiet_stderr():
            yield said
    finally:
        del _here.said


def warnings_of(data: bytes) -> list[str]:
    """What decoding the first picture loses, up to the first; none where libtiff cannot be asked."""
    said: list[str] = []
    for library in _libraries():
        if hasattr(library, "TIFFFdOpenExt"):
            _decode(library, data, said)
            break
    return said


def _decode(library: Any, data: bytes, said: list[str]) -> None:
    def handle(_file: int, _ours: int, module: bytes | None, form: bytes | None, _arguments: int) -> int:
        _keep(said, module, form)
        return 1  # and nobody else is told

    handler, options = _OF_ONE(handle), c_void_p(library.TIFFOpenOptionsAlloc())
    library.TIFFOpenOptionsSetErrorHandlerExtR(options, handler, None)
    library.TIFFOpenOptionsSetWarningHandlerExtR(options, handler, None)
    file = _in_memory(data)
    opened = c_void_p(library.TIFFFdOpenExt(file, b"picture", b"r", options))
    library.TIFFOpenOptionsFree(options)
    if opened.value is None:
        os.close(file)
        return
    try:
        kind = "Tile" if library.TIFFIsTiled(opened) else "Strip"
        size = getattr(library, f"TIFF{kind}Size")(opened)
        if not 0 < size <= MOST_BYTES:
            return
        room = ctypes.create_string_buffer(size)
        read = getattr(library, f"TIFFReadEncoded{kind}")
        for number in range(getattr(library, f"TIFFNumberOf{kind}s")(opened)):
            if said or read(opened, number, room, -1) < 0:
                return
    finally:
        library.TIFFClose(opened)  # and its file


def _in_memory(data: bytes) -> int:
    """A descriptor of a file that has no name."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("picture")
    else:
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
    os.lseek(file, 0, os.SEEK_SET)
    return file


@cache
def _error_handlers() -> list[Any]:
    """Ours, set for as long as the process lives."""
    kept: list[Any] = []
    for library in _libraries():
        earlier: list[Any] = []
        kept.append(_GLOBAL(_teller(earlier)))
        if before := library.TIFFSetErrorHandler(kept[-1]):
            earlier.append(_GLOBAL(before))
    return kept


def _teller(earlier: list[Any]) -> Any:
    def handle(module: bytes | None, form: bytes | None, arguments: int) -> None:
        said = getattr(_here, "said", None)
        if said is not None:
            _keep(said, module, form)
        elif earlier:
            earlier[0](module, form, arguments)

    return handle


def _keep(said: list[str], module: bytes | None, form: bytes | None) -> None:
    """Unless it is about an odd tag, of which nothing is lost."""
    line = f"{(module or b'').decode('latin-1')}: {(form or b'').decode('latin-1')}"
    if not line.startswith(_ABOUT_TAGS):
        said.append(line)


@cache
def _libraries() -> list[Any]:
    """Each libtiff that this process has loaded, Pillow's among them."""
    from PIL import _imaging

    paths: set[str] = set()
    if sys.platform == "linux":
        paths = set(re.findall(r"(/.*/libtiff[^/\n]*)\n", Path("/proc/self/maps").read_text()))
    elif sys.platform == "darwin":
        paths = {str(path) for path in Path(_imaging.__file__).parent.glob(".dylibs/libtiff*")}
    libraries = []
    for path in sorted(paths):
        try:
            libraries.append(_typed(ctypes.CDLL(path)))
        except (OSError, AttributeError):  # another library of that name
            continue
    return libraries


def _typed(library: Any) -> Any:
    """What its functions take and give. Raises: AttributeError when it is no libtiff."""
    library.TIFFSetErrorHandler.restype = c_void_p
    for name, result, arguments in (
        ("TIFFIsTiled", c_int, [c_void_p]),
        ("TIFFStripSize", c_ssize_t, [c_void_p]),
        ("TIFFTileSize", c_ssize_t, [c_void_p]),
        ("TIFFNumberOfStrips", c_uint32, [c_void_p]),
        ("TIFFNumberOfTiles", c_uint32, [c_void_p]),
        ("TIFFReadEncodedStrip", c_ssize_t, [c_void_p, c_uint32, c_void_p, c_ssize_t]),
        ("TIFFReadEncodedTile", c_ssize_t, [c_void_p, c_uint32, c_void_p, c_ssize_t]),
        ("TIFFClose", None, [c_void_p]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    if hasattr(library, "TIFFFdOpenExt"):
        library.TIFFOpenOptionsAlloc.restype = c_void_p
        library.TIFFOpenOptionsFree.argtypes = [c_void_p]
        library.TIFFOpenOptionsFree.restype = None
        library.TIFFFdOpenExt.restype = c_void_p
        library.TIFFFdOpenExt.argtypes = [c_int, c_char_p, c_char_p, c_void_p]
        for name in ("TIFFOpenOptionsSetErrorHandlerExtR", "TIFFOpenOptionsSetWarningHandlerExtR"):
            getattr(library, name).argtypes = [c_void_p, _OF_ONE, c_void_p]
            getattr(library, name).restype = None
    return library
