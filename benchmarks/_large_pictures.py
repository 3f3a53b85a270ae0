"""One large picture of a mode, decoded in this process: how many bytes above a small one's, and how many seconds.

`python _large_pictures.py NAME FILE [SIDE]` makes FILE in a process of its own, decodes it, and prints JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
from PIL import Image

Image.MAX_IMAGE_PIXELS = None
SIDE = 9999  # 99.98 megapixels


def main() -> None:
    """Measure one."""
    name, path, side = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else SIDE
    if name.startswith("make "):
        path.write_bytes(b"")
        LARGE[name.removeprefix("make ")](path, side)
        return
    for size, file in ((side, path), (64, Path(f"{path}.small"))):
        subprocess.run([sys.executable, __file__, f"make {name}", str(file), str(size)], check=True)
    from foveal.errors import BadPicture
    from foveal.files.pictures import read_image

    def read(file: Path) -> str:
        try:
            return f"used {read_image(file).shape}"
        except BadPicture as error:
            return error.reason

    read(Path(f"{path}.small"))
    Path(f"{path}.small").unlink()
    Path("/proc/self/clear_refs").write_text("5")  # the most so far counts from now
    before, start, busy = status("VmRSS"), time.perf_counter(), time.process_time()
    said = read(path)
    found = {
        "bytes": status("VmHWM") - before, "seconds": time.perf_counter() - start, "cpu": time.process_time() - busy,
        "said": said, "file": path.stat().st_size,
    }  # fmt: skip
    print(json.dumps(found))


def status(key: str) -> int:
    """Bytes, as the system counts them for this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) * 1024


def flat(mode: str, form: str, path: Path, side: int, **options: Any) -> None:
    """One colour, half transparent where there is opacity."""
    Image.new(mode, (side, side), {"F": 0.5, "I": 7, "I;16": 7000}.get(mode, 100)).save(path, form, **options)


def photograph(form: str, path: Path, side: int, **options: Any) -> None:
    """Smooth, with noise of a few levels, as cameras give it."""
    rng = np.random.default_rng(0)
    tile = np.linspace(0, 200, 512)[:, None, None] + rng.integers(0, 24, (512, 512, 3))
    times = -(-side // 512)
    pixels = np.tile(tile.astype(np.uint8), (times, times, 1))[:side, :side]
    Image.fromarray(pixels).convert(options.pop("mode", "RGB")).save(path, form, **options)


def png(colour: int, depth: int, path: Path, side: int, interlaced: bool = False, extra: bytes = b"") -> None:
    """Rows of one value; written by hand, since Pillow writes few of these modes."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]

    def row(pixels: int) -> bytes:
        return b"\0" + b"\x55" * (-(-pixels * samples * depth // 8))

    passes = [(side, side)]
    if interlaced:
        adam7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
        passes = [((side - x + dx - 1) // dx, (side - y + dy - 1) // dy) for x, y, dx, dy in adam7]
    deflate = zlib.compressobj(6)
    data = b"".join(deflate.compress(row(w)) for w, h in passes for _ in range(h)) + deflate.flush()
    header = pack(">IIBBBBB", side, side, depth, colour, 0, 0, interlaced)
    parts = [chunk(b"IHDR", header), extra, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))


def animation(form: str, path: Path, side: int) -> None:
    """Two large frames, the second partly transparent."""
    first, second = Image.new("RGBA", (side, side), "red"), Image.new("RGBA", (side, side), (0, 0, 255, 99))
    first.save(path, form, save_all=True, append_images=[second])


def deep_tiff(
    bits: int, samples: int, path: Path, side: int, compressed: bool = True, kind: int = 1, rows: int = 64
) -> None:
    """RGB or grey of 16 or 32 bits, by hand."""
    row = b"\x11" * (side * samples * bits // 8)
    counts = [min(rows, side - top) for top in range(0, side, rows)]
    strips = [zlib.compress(row * n, 1) if compressed else row * n for n in counts]
    tags: list[tuple[int, int, int, bytes]] = []

    def tag(number: int, form: str, *values: int) -> None:
        tags.append((number, {"H": 3, "I": 4}[form], len(values), pack(f"<{len(values)}{form}", *values)))

    offsets, at = [], 8
    for strip in strips:
        offsets.append(at)
        at += len(strip)
    tag(256, "I", side)
    tag(257, "I", side)
    tag(258, "H", *[bits] * samples)
    tag(259, "H", 8 if compressed else 1)
    tag(262, "H", 2 if samples >= 3 else 1)
    tag(273, "I", *offsets)
    tag(277, "H", samples)
    tag(278, "I", rows)
    tag(279, "I", *map(len, strips))
    if samples in (2, 4):
        tag(338, "H", 2)
    tag(339, "H", *[kind] * samples)
    later = at + 2 + 12 * len(tags) + 4
    entries, rest = b"", b""
    for number, form, count, value in tags:
        entries += pack("<HHI", number, form, count)
        if len(value) <= 4:
            entries += value.ljust(4, b"\0")
        else:
            entries += pack("<I", later + len(rest))
            rest += value
    with path.open("wb") as file:
        file.write(b"II*\0" + pack("<I", at))
        file.writelines(strips)
        file.write(pack("<H", len(tags)) + entries + bytes(4) + rest)


def heic(path: Path, side: int, **options: Any) -> None:
    """By the extra `heif`."""
    import pillow_heif

    pillow_heif.from_pillow(Image.new("RGB", (side, side), "teal")).save(path, quality=50, **options)


_TURNED = Image.Exif()
_TURNED[0x0112] = 6
_PALETTE = chunk(b"PLTE", bytes(range(240)) * 3 + bytes(48))
LARGE: dict[str, Callable[[Path, int], None]] = {
    "JPEG": partial(photograph, "JPEG", quality=85),
    "JPEG, lying on its side": partial(photograph, "JPEG", quality=85, exif=_TURNED),
    "JPEG 4:4:4": partial(photograph, "JPEG", quality=90, subsampling=0),
    "JPEG, progressive": partial(photograph, "JPEG", quality=85, progressive=True),
    "JPEG, progressive, flat": partial(flat, "RGB", "JPEG", progressive=True),
    "JPEG, progressive, 4:4:4": partial(photograph, "JPEG", quality=90, progressive=True, subsampling=0),
    "JPEG, grey": partial(photograph, "JPEG", mode="L"),
    "JPEG, CMYK": partial(photograph, "JPEG", mode="CMYK"),
    "JPEG, CMYK, progressive": partial(photograph, "JPEG", mode="CMYK", progressive=True),
    "PNG, black and white": partial(png, 0, 1),
    "PNG, grey": partial(png, 0, 8),
    "PNG, grey of 16 bits": partial(png, 0, 16),
    "PNG, grey and opacity": partial(png, 4, 8),
    "PNG, grey and opacity of 16 bits": partial(png, 4, 16),
    "PNG, palette": partial(png, 3, 8, extra=_PALETTE),
    "PNG, palette and opacity": partial(png, 3, 8, extra=_PALETTE + chunk(b"tRNS", bytes(range(256)))),
    "PNG, RGB": partial(png, 2, 8),
    "PNG, RGB and a transparent colour": partial(png, 2, 8, extra=chunk(b"tRNS", b"\0\1\0\2\0\3")),
    "PNG, RGB of 16 bits": partial(png, 2, 16),
    "PNG, RGBA": partial(png, 6, 8),
    "PNG, RGBA of 16 bits": partial(png, 6, 16),
    "PNG, RGBA, interlaced": partial(png, 6, 8, interlaced=True),
    "PNG, RGBA of 16 bits, interlaced": partial(png, 6, 16, interlaced=True),
    "PNG, RGBA, animated": partial(animation, "PNG"),
    "BMP": partial(flat, "RGB", "BMP"),
    "BMP, palette": partial(flat, "P", "BMP"),
    "BMP of 32 bits": partial(flat, "RGBA", "BMP"),
    "GIF": partial(flat, "P", "GIF"),
    "GIF, animated": partial(animation, "GIF"),
    "WebP": partial(photograph, "WEBP", quality=75, method=0),
    "WebP, flat": partial(flat, "RGB", "WEBP", method=0),
    "WebP, opacity": partial(flat, "RGBA", "WEBP", method=0),
    "WebP, lossless": partial(flat, "RGB", "WEBP", lossless=True, method=0),
    "WebP, animated": partial(animation, "WEBP"),
    "TIFF, grey": partial(flat, "L", "TIFF"),
    "TIFF, black and white, fax": partial(flat, "1", "TIFF", compression="group4"),
    "TIFF, RGB": partial(flat, "RGB", "TIFF"),
    "TIFF, RGB, LZW": partial(flat, "RGB", "TIFF", compression="tiff_lzw"),
    "TIFF, RGB, deflate": partial(flat, "RGB", "TIFF", compression="tiff_adobe_deflate"),
    "TIFF, RGB, JPEG": partial(flat, "RGB", "TIFF", compression="jpeg"),
    "TIFF, RGB, PackBits": partial(flat, "RGB", "TIFF", compression="packbits"),
    "TIFF, RGBA, LZW": partial(flat, "RGBA", "TIFF", compression="tiff_lzw"),
    "TIFF, grey and opacity, LZW": partial(flat, "LA", "TIFF", compression="tiff_lzw"),
    "TIFF, palette, LZW": partial(flat, "P", "TIFF", compression="tiff_lzw"),
    "TIFF, CMYK": partial(flat, "CMYK", "TIFF", compression="tiff_lzw"),
    "TIFF, LAB": partial(flat, "LAB", "TIFF", compression="tiff_lzw"),
    "TIFF, YCbCr": partial(flat, "YCbCr", "TIFF", compression="tiff_lzw"),
    "TIFF, floats": partial(flat, "F", "TIFF", compression="tiff_lzw"),
    "TIFF, floats, uncompressed": partial(deep_tiff, 32, 1, compressed=False, kind=3),
    "TIFF, integers of 32 bits": partial(flat, "I", "TIFF", compression="tiff_lzw"),
    "TIFF, grey of 16 bits": partial(flat, "I;16", "TIFF", compression="tiff_lzw"),
    "TIFF, RGB of 16 bits": partial(deep_tiff, 16, 3),
    "TIFF, RGBA of 16 bits": partial(deep_tiff, 16, 4),
    "TIFF, RGBA of 16 bits, uncompressed": partial(deep_tiff, 16, 4, compressed=False),
    "TIFF, RGBA of 16 bits, in one strip": partial(deep_tiff, 16, 4, rows=1 << 20),
    "TIFF, RGB of 8 bits, in one strip": partial(deep_tiff, 8, 3, rows=1 << 20),
    "AVIF": partial(flat, "RGB", "AVIF", speed=10),
    "AVIF, opacity": partial(flat, "RGBA", "AVIF", speed=10),
    "HEIC": heic,
}

if __name__ == "__main__":
    main()
