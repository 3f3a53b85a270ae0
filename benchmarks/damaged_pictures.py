"""Are damaged pictures told, good ones used, and large ones bounded, and what does all that cost?

Mutants: pictures of each format with bytes flipped, overwritten, cut out, inserted or cut off. A mutant with more than
a tenth of its pixels off by more than 16 must not be used where a strict judge of that format tells: `djpeg -strict`,
`dwebp`, `tiffcp` and `giftext`. Good pictures: every one below FOVEAL_DATA is decoded, whole and reduced. The limit:
each mode at just under 100 megapixels, in a process of its own. Speed: threads that decode photographs, beside Pillow.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from _common import Measure, Result, data_set, figures, parser, say, scratch
from _large_pictures import LARGE
from PIL import Image

from foveal.errors import BadPicture
from foveal.files.pictures import PICTURE_SUFFIXES, read_image

MUTANTS = 300  # of each format
OFF, SHARE = 16, 0.1  # a pixel is wrong from 17 levels on, a picture from a tenth of them on
JUDGES: dict[str, tuple[str, ...]] = {
    "JPEG": ("djpeg", "-strict", "-outfile", "OUT", "IN"),
    "WebP": ("dwebp", "-quiet", "IN", "-o", "OUT"),
    "TIFF": ("tiffcp", "-c", "none", "IN", "OUT"),
    "GIF": ("giftext", "IN"),
}
PACKAGES = {"djpeg": "libjpeg-turbo-progs", "dwebp": "webp", "tiffcp": "libtiff-tools", "giftext": "giflib-tools"}
MOST_BYTES, MOST_SECONDS = 1 << 30, 5.0


def main() -> None:
    """Measure and tell."""
    made = parser(__doc__)
    made.add_argument("--mutants", type=int, metavar="N", help=f"of each format [{MUTANTS}]")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--only", choices=["mutants", "good", "limit", "speed"], help="one part alone")
    asked = made.parse_args()
    result = Result("damaged_pictures", "Damaged, good and large pictures.", ["what", "seen"])
    parts: dict[str, Callable[[], None]] = {
        "mutants": lambda: mutants(result, asked.mutants or (20 if asked.quick else MUTANTS), asked.seed, place),
        "good": lambda: good(result, asked.quick),
        "limit": lambda: at_the_limit(result, asked.quick, place),
        "speed": lambda: speed(result, asked.quick),
    }
    with scratch(asked) as place:
        for name, part in parts.items():
            if asked.only in (None, name):
                part()
    result.finish(asked)


# ------------------------------------------------------------------------------------------------ damaged pictures


def mutants(result: Result, count: int, seed: int, place: Path) -> None:
    """Damaged copies of pictures, ours and the judge's word about each."""
    for form, judge in JUDGES.items():
        say(f"mutants of {form}")
        if not shutil.which(judge[0]):
            said = f"{judge[0]} is not here: install the package {PACKAGES[judge[0]]} of Debian to judge {form}."
            result.measures.append(Measure(f"{form} mutants used although a judge tells", said))
            continue
        rng, seen, wrong = random.Random(f"{form} {seed}"), Counter[str](), []
        originals = list(variants(form))
        whole = [read_image(data, name=name) for name, data in originals]
        for number in range(count):
            which = number % len(originals)
            name, data = originals[which]
            kind, mutant = mutated(data, rng)
            word = outcome(mutant, whole[which])
            told = word != "refused" and tells(judge, mutant, place)
            seen[word + (", told by the judge" if told else "")] += 1
            if word == "wrong" and told:
                wrong.append(f"{name}, {kind} ({number})")
        found = "; ".join(f"{n} {what}" for what, n in sorted(seen.items()))
        result.rows.append([f"{count} mutants of {form}", found])
        result.raw[f"mutants {form}"] = {"seen": dict(seen), "used although told": wrong}
        result.measures.append(
            Measure(f"{form} mutants used although {judge[0]} tells", str(len(wrong)), "0", not wrong)
        )


def variants(form: str) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of photographs in each way that a format has to keep them."""
    photograph = Image.open(data_set("pictures") / "dog.jpg").convert("RGB").resize((320, 240))
    other = Image.open(data_set("pictures") / "horses.jpg").convert("RGB").resize((200, 150))
    grey = photograph.convert("L")
    clear = photograph.copy()
    clear.putalpha(grey)
    ways: dict[str, list[tuple[str, Image.Image, dict[str, Any]]]] = {
        "JPEG": [
            ("4:2:0", photograph, {"quality": 85}), ("4:4:4", photograph, {"quality": 92, "subsampling": 0}),
            ("progressive", photograph, {"progressive": True}), ("grey", grey, {"quality": 85}),
            ("restarts", photograph, {"restart_marker_rows": 1}), ("4:2:2", other, {"subsampling": 1}),
            ("CMYK", other.convert("CMYK"), {"quality": 85}), ("grey, progressive", grey, {"progressive": True}),
        ],
        "WebP": [
            ("lossy", photograph, {"quality": 80}), ("lossless", photograph, {"lossless": True}),
            ("lossy with opacity", clear, {"quality": 80}), ("lossless with opacity", clear, {"lossless": True}),
        ],
        "TIFF": [
            (f"{name}, {way}", image, {"compression": way} | more)
            for name, image, more in (("RGB", photograph, {}), ("grey", grey, {}), ("opacity", clear, {}))
            for way in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
            if (name, way) != ("opacity", "jpeg")
        ] + [
            ("black and white, fax", grey.convert("1"), {"compression": "group4"}),
            ("16 bits, LZW", grey.convert("I;16"), {"compression": "tiff_lzw"}),
            ("LZW, differences", photograph, {"compression": "tiff_lzw", "tiffinfo": {317: 2}}),
            ("CMYK, LZW", other.convert("CMYK"), {"compression": "tiff_lzw"}),
        ],
        "GIF": [
            ("plain", photograph.quantize(256), {"interlace": 0}), ("interlaced", photograph.quantize(256), {}),
            ("few colours", other.quantize(8), {}), ("grey", grey, {}),
            ("animated", other.quantize(64), {"save_all": True, "append_images": [photograph.resize(other.size)]}),
        ],
    }  # fmt: skip
    for name, image, options in ways[form]:
        file = io.BytesIO()
        image.save(file, form, **options)
        yield name, file.getvalue()


def mutated(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """What was done, and the bytes then."""
    at, run = rng.randrange(len(data)), rng.choice((1, 2, 4, 16, 64, 256))
    filler = rng.choice((b"\0" * run, b"\xff" * run, rng.randbytes(run)))
    kind = rng.choice(("flip", "flip", "overwrite", "cut", "cut out", "insert"))
    if kind == "flip":
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 3, 10))):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return kind, bytes(changed)
    if kind == "cut":
        return kind, data[:at]
    if kind == "cut out":
        return kind, data[:at] + data[at + run :]
    return kind, data[:at] + filler + data[at + run if kind == "overwrite" else at :]


def outcome(mutant: bytes, whole: np.ndarray) -> str:
    """Refused, or used: as before, nearly so, or wrong."""
    try:
        pixels = read_image(mutant)
    except BadPicture:
        return "refused"
    if pixels.shape != whole.shape:
        return "wrong"
    off = (np.abs(pixels.astype(np.int16) - whole) > OFF).any(-1).mean()
    return "wrong" if off > SHARE else "nearly right" if off else "right"


def tells(judge: tuple[str, ...], mutant: bytes, place: Path) -> bool:
    """Whether the judge fails, or warns of more than a tag that it has no name for."""
    (place / "mutant").write_bytes(mutant)
    names = {"IN": str(place / "mutant"), "OUT": str(place / "out")}
    done = subprocess.run([names.get(word, word) for word in judge], capture_output=True, timeout=60)
    return done.returncode != 0 or bool(done.stderr.strip())


# ---------------------------------------------------------------------------------------------------- good pictures


def good(result: Result, quick: bool) -> None:
    """Every picture of every set, whole and reduced."""
    roots = [Path(root) for root in os.environ.get("FOVEAL_DATA", "").split(os.pathsep) if root]
    files = sorted(f for root in roots for f in root.rglob("*") if f.suffix.lower() in PICTURE_SUFFIXES)
    say(f"{len(files)} good pictures")
    refused = []
    for file in files[:: 20 if quick else 1]:
        for cover in (None, (224, 224)):
            try:
                read_image(file, cover=cover)
            except BadPicture as error:
                refused.append(f"{file.name}: {error.reason}")
    result.raw["good pictures refused"] = refused
    result.measures.append(Measure("good pictures refused", f"{len(refused)} of {len(files)}", "0", not refused))


# ---------------------------------------------------------------------------------------------------- at the limit


def at_the_limit(result: Result, quick: bool, place: Path) -> None:
    """Each mode at the limit: bytes above what a small one of its kind takes, and seconds."""
    worst_bytes, worst_seconds, raw = 0, 0.0, {}
    for name in LARGE:
        child = [sys.executable, str(Path(__file__).with_name("_large_pictures.py")), name, str(place / "large")]
        done = subprocess.run([*child, *(["400"] if quick else [])], capture_output=True, text=True)
        (place / "large").unlink(missing_ok=True)
        if done.returncode:
            result.rows.append([name, f"not made here: {done.stderr.strip().splitlines()[-1:]}"])
            continue
        raw[name] = told = json.loads(done.stdout)
        worst_bytes, worst_seconds = max(worst_bytes, told["bytes"]), max(worst_seconds, told["seconds"])
        spent = f"{told['seconds']:.1f} s ({told['cpu']:.1f} s of processor)"
        seen = f"{told['bytes'] / 2**30:.2f} GiB, {spent}, {told['said']}"
        result.rows.append([f"{name} ({told['file'] / 1e6:.1f} MB)", seen])
        say(f"{name}: {seen}")
    result.raw["limit"] = raw
    result.measures += [
        Measure("most memory of one picture", f"{worst_bytes / 2**30:.2f} GiB", "at most 1 GiB",
                worst_bytes <= MOST_BYTES),
        Measure("longest time of one picture", f"{worst_seconds:.1f} s", "at most 5 s", worst_seconds <= MOST_SECONDS),
    ]  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- speed


def speed(result: Result, quick: bool) -> None:
    """Photographs of clothing from memory, ours and Pillow's in turn."""
    pictures = [file.read_bytes() for file in sorted(data_set("clothing").glob("*/*/*.jpg"))[:: 10 if quick else 2]]
    turns = 1 if quick else 7
    for threads in (1, 2):
        for cover in ((224, 224), None):
            ours: list[float] = []
            plain: list[float] = []
            for _ in range(turns + 1):
                ours.append(spent(lambda data, c=cover: read_image(data, channels=3, cover=c), pictures, threads))
                plain.append(spent(lambda data, c=cover: by_pillow(data, c), pictures, threads))
            ratios = [p / o for p, o in zip(plain[1:], ours[1:], strict=True)]
            way = f"{'reduced to cover 224²' if cover else 'whole'}, {threads} thread{'s' if threads > 1 else ''}"
            each = [1000 * s / len(pictures) for s in ours[1:]]
            result.rows.append([f"a photograph, {way}", f"{figures(each, 'ms')}; {figures(ratios, '×')} Pillow's rate"])
            result.raw[f"speed, {way}"] = {"ours": ours[1:], "pillow": plain[1:]}
            found = statistics.median(ratios)
            result.measures.append(
                Measure(f"decoding, {way}, times Pillow's rate", f"{found:.2f}", "at least 0.95", found >= 0.95)
            )


def spent(work: Callable[[bytes], object], pictures: list[bytes], threads: int) -> float:
    """Seconds for all pictures."""
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, pictures):
            pass
    return time.perf_counter() - start


def by_pillow(data: bytes, cover: tuple[int, int] | None) -> np.ndarray:
    """The plain way, with none of our checks."""
    image = Image.open(io.BytesIO(data))
    if cover:
        shrink = 1 / max(cover[0] / image.height, cover[1] / image.width)
        scale = max((s for s in (1, 2, 4, 8) if s * 1.5 <= shrink), default=1)
        image.draft(None, (image.width // scale, image.height // scale))
    image.getexif()
    return np.asarray(image.convert("RGB"))


if __name__ == "__main__":
    main()
