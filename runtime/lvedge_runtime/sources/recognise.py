"""Which scheme a bare path means, by its content and never by its name."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from lvedge.errors import SourceError
from lvedge_runtime.sources.naming import files_under

ACCEPTED = "a DICOM file or folder, NIfTI (.nii, .nii.gz), an .npz, a picture or folder of pictures, a video"

_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")
_NIFTI = (b"n+1\0", b"n+2\0", b"ni1\0", b"ni2\0")
# What a folder is read as where it holds files of several kinds: the first of these.
_IN_FOLDERS = ("dicom", "nifti", "png")


def scheme_of(path: Path) -> str:
    """The scheme that reads the file or folder.

    Raises:
        SourceError: if there is no such path, or nothing in it is recognised.
    """
    if path.is_dir():
        found = set()
        for file, _ in files_under(path):
            scheme = scheme_of_bytes(_beginning(file))
            if scheme == _IN_FOLDERS[0]:
                return scheme
            found.add(scheme)
        for scheme in _IN_FOLDERS:
            if scheme in found:
                return scheme
        raise SourceError(f"{path}: nothing in the folder is recognised; accepted are {ACCEPTED}")
    if not path.exists():
        raise SourceError(f"{path}: there is no such file or folder")
    if not os.access(path, os.R_OK):
        raise SourceError(f"{path}: cannot be read: no permission")
    recognised = scheme_of_bytes(_beginning(path))
    if recognised is not None:
        return recognised
    if _is_video(path):
        return "video"
    raise SourceError(f"{path}: not recognised; accepted are {ACCEPTED}")


def scheme_of_bytes(beginning: bytes) -> str | None:
    """The scheme that a file's first 4 KiB speak for, or None."""
    if beginning[128:132] == b"DICM":
        return "dicom"
    if beginning[:2] == b"\x1f\x8b":
        beginning = _inflated(beginning)
    if beginning[344:348] in _NIFTI or beginning[4:8] in _NIFTI:
        return "nifti"
    if beginning[:4] == b"PK\x03\x04":
        return "npz"
    return "png" if beginning.startswith(_PICTURES) else None


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError:
        return b""


def _inflated(beginning: bytes) -> bytes:
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(beginning, 512)
    except zlib.error:
        return b""


def _is_video(path: Path) -> bool:
    from lvedge_runtime.sources.opencv import open_video, quiet_opencv

    capture = open_video(str(path))
    if capture is None:
        return False
    try:
        with quiet_opencv():
            return bool(capture.grab())
    finally:
        capture.release()
