"""What a file is, by its first bytes: so that a refusal can say "is a HEIC picture" rather than "unknown format"."""

from __future__ import annotations

import re

__all__ = ["foreign_archive", "foreign_picture"]

_SAVE = "; save it as JPEG or PNG"

_PICTURES = (
    (b"8BPS", "is a Photoshop document (PSD)" + _SAVE),
    (b"%PDF", "is a PDF document" + _SAVE),
    (b"%!PS", "is PostScript, which foveal never runs" + _SAVE),
    (b"\xc5\xd0\xd3\xc6", "is PostScript, which foveal never runs" + _SAVE),
    (b"\0\0\1\0", "is a Windows icon (ICO)" + _SAVE),
    (b"DDS ", "is a DDS texture" + _SAVE),
    (b"SIMPLE  =", "is a FITS picture" + _SAVE),
    (b"\0\0\0\x0cjP  ", "is a JPEG 2000 picture" + _SAVE),
    (b"\xff\x4f\xff\x51", "is a JPEG 2000 picture" + _SAVE),
    (b"\xff\x0a", "is a JPEG XL picture" + _SAVE),
    (b"\0\0\0\x0cJXL ", "is a JPEG XL picture" + _SAVE),
    (b"v/1\x01", "is an OpenEXR picture" + _SAVE),
    (b"gimp xcf", "is a GIMP document" + _SAVE),
    (b"version https://git-lfs", "is a Git LFS pointer, not a picture; run `git lfs pull`"),
)
_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<!doctype\s+html|<html|<head|<body)", re.IGNORECASE)
_SVG = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml|<!--|<!doctype svg|<svg)", re.IGNORECASE)
_PNM = re.compile(rb"P[1-7][\s#]+[0-9W#]")


def foreign_picture(data: bytes) -> str | None:
    """What `data` is when it is no format that foveal reads, as the end of a sentence; None when nothing is known."""
    head = data[:1024]
    for magic, reason in _PICTURES:
        if head.startswith(magic):
            return reason
    if head[4:8] == b"ftyp":
        return "is a video; give pictures"
    if _PAGE.match(head):
        return "is a web page, not a picture; download it again"
    if _SVG.match(head) and b"<svg" in data[:4096].lower():
        return "is an SVG drawing" + _SAVE
    if _PNM.match(head):
        return "is a PPM picture" + _SAVE
    if data[-18:] == b"TRUEVISION-XFILE.\0":
        return "is a TGA picture" + _SAVE
    return None


_ARCHIVES = (
    (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
    (b"GGUF", "is a GGUF file"),
    (b"\x1f\x8b", "is a gzip file"),
    (b"BZh", "is a bzip2 file"),
    (b"\xfd7zXZ", "is an xz file"),
    (b"\x28\xb5\x2f\xfd", "is a Zstandard file"),
    (b"\x93NUMPY", "is a NumPy array"),
    (b"\x7fELF", "is a program"),
    (b"MZ", "is a program"),
)
_PICKLE = re.compile(rb"\x80[\x01-\x08]|c[\w.]+\n[\w.]+\n|\(dp?\d*\n|\(lp?\d*\n")
_ONNX = re.compile(rb"\x08[\x01-\x7f](?:\x12|\x1a|\x3a|\x42)")


def foreign_archive(head: bytes, tail: bytes) -> str | None:
    """What a file given as a model is: `head` its first 64 KiB or so, `tail` its last; None when nothing is known."""
    for magic, reason in _ARCHIVES:
        if head.startswith(magic):
            return reason
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return _kind_of_zip(head + tail)
    if head[257:262] == b"ustar":
        return "is a tar archive"
    if _PICKLE.match(head):
        return "is a Python pickle; foveal never opens those"
    if _ONNX.match(head):
        return "is an ONNX file"
    return _picture_or_text(head)


_OTHERS = (
    (b"version https://git-lfs", "is a Git LFS pointer; run `git lfs pull`, which fetches the file itself"),
    (b"\x89PNG\r\n\x1a\n", "is a PNG picture"),
    (b"\xff\xd8\xff", "is a JPEG picture"),
    (b"GIF8", "is a GIF picture"),
    (b"II*\0", "is a TIFF picture"),
    (b"MM\0*", "is a TIFF picture"),
    (b"8BPS", "is a Photoshop document"),
    (b"%PDF", "is a PDF document"),
    (b"PAR1", "is a Parquet table"),
    (b"SQLite format 3", "is an SQLite database"),
    (b"7z\xbc\xaf", "is a 7-Zip archive"),
    (b"Rar!", "is a RAR archive"),
    (b"\xff\xfe", "is a text (UTF-16)"),
    (b"\xfe\xff", "is a text (UTF-16)"),
)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")


def _picture_or_text(head: bytes) -> str | None:
    for magic, reason in _OTHERS:
        if head.startswith(magic):
            return reason
    if head[:2] == b"BM" and len(head) > 14 and head[6:10] == bytes(4):
        return "is a BMP picture"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "is a WebP picture"
    if head[4:8] == b"ftyp":
        return "is a picture or a video"
    if head[4:8] == b"TFL3":
        return "is a TensorFlow Lite file"
    if _PAGE.match(head):
        return "is a web page; download the file again"
    return _kind_of_text(head[:1024])


def _kind_of_text(head: bytes) -> str | None:
    if not head.strip() or _CONTROL.search(head):
        return None
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # a letter may be cut in two
            return None
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    kinds = ((b"{", "a JSON text"), (b"[{", "a JSON text"), (b"<", "an XML text"))
    return "is " + next((kind for mark, kind in kinds if start.startswith(mark)), "a text")


def _kind_of_zip(names: bytes) -> str:
    if b"constants.pkl" in names:
        return "is a TorchScript file"
    if b"data.pkl" in names:
        return "is a PyTorch pickle; foveal never opens those"
    if b".npy" in names:
        return "is a NumPy archive"
    if b"config.json" in names and b"weights.h5" in names:
        return "is a Keras file"
    return "is a zip archive"
