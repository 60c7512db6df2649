"""The grey values of one DICOM picture, decoded when they are needed.

Pixels that are stored plainly are read straight from their place in the file; compressed ones and colour go
through pydicom and the decoders that it finds.
"""

from __future__ import annotations

import logging
import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvedge.errors import SourceError
from lvedge.frame import Pixels
from lvedge_runtime.sources.dicom_header import DEFLATED, DOUBLE_PIXELS, FLOAT_PIXELS, Header
from lvedge_runtime.sources.dicom_image import Image
from lvedge_runtime.sources.picture import COLOUR, grey_from_array

_GREY = frozenset({"MONOCHROME1", "MONOCHROME2", ""})


def pixels_from_image(image: Image) -> Pixels:
    """The picture's grey values, [rows, columns] float32: rescaled, bright where the signal is strong.

    Raises:
        SourceError: if the pixels are truncated, compressed in a way that nothing here decodes, in colour,
            not finite, or of a size outside the limits.
    """
    header = image.header
    if header.text("PhotometricInterpretation") == "PALETTE COLOR":
        raise SourceError(COLOUR)
    plain = _plain_type(header)
    stored = _stored_plainly(image, plain) if plain is not None else _stored_by_pydicom(image)
    if header.text("PhotometricInterpretation") == "MONOCHROME1":
        stored = _inverted(stored, header)
    pixels = grey_from_array(stored)
    if image.slope != 1.0 or image.intercept != 0.0:
        pixels = pixels * np.float32(image.slope) + np.float32(image.intercept)
    return pixels


def has_codecs() -> bool:
    """Whether JPEG, JPEG-LS and JPEG 2000 can be decoded here (the extra ``codecs``)."""
    return find_spec("gdcm") is not None


def _plain_type(header: Header) -> np.dtype[Any] | None:
    """The type of values that can be read straight from the file, or None."""
    if header.pixel_offset is None or header.whole("SamplesPerPixel", 1) != 1:
        return None
    if header.text("PhotometricInterpretation") not in _GREY:
        return None
    if header.pixel_tag in (FLOAT_PIXELS, DOUBLE_PIXELS):
        return np.dtype("<f4" if header.pixel_tag == FLOAT_PIXELS else "<f8")
    bits = header.whole("BitsAllocated", 16)
    if bits not in (8, 16, 32):
        return None
    return np.dtype(f"<{'i' if header.whole('PixelRepresentation') else 'u'}{bits // 8}")


def _stored_plainly(image: Image, kind: np.dtype[Any]) -> NDArray[Any]:
    header, count = image.header, image.rows * image.columns
    size = count * kind.itemsize
    start = (header.pixel_offset or 0) + image.index * size
    expected = size * image.frames
    if header.pixel_bytes < expected:
        raise SourceError(
            f"{header.pixel_bytes} bytes of pixel data, {expected} expected; export the file again"
        )
    try:
        with image.path.open("rb") as file:
            file.seek(start)
            data = file.read(size)
    except OSError as err:
        raise SourceError(f"cannot be read: {err.strerror or err}") from err
    if len(data) < size:
        raise SourceError(f"truncated: {len(data)} of {size} bytes of pixel data; export the file again")
    stored = np.frombuffer(data, dtype=kind).reshape(image.rows, image.columns)
    spare = 8 * kind.itemsize - header.whole("BitsStored", 8 * kind.itemsize)
    if kind.kind == "f" or not 0 < spare < 8 * kind.itemsize:
        return stored
    # Above the stored bits there may be overlays; a signed value's sign is in its highest stored bit.
    return (stored << spare) >> spare


def _inverted(stored: NDArray[Any], header: Header) -> NDArray[Any]:
    if stored.dtype.kind == "f":
        return -stored
    bits = header.whole("BitsStored", 8 * stored.dtype.itemsize)
    top = -1 if header.whole("PixelRepresentation") else 2**bits - 1
    inverted: NDArray[Any] = top - stored.astype(np.int64)
    return inverted


def _stored_by_pydicom(image: Image) -> NDArray[Any]:
    import pydicom
    from pydicom.pixels.utils import pixel_array

    logger = logging.getLogger("pydicom")
    level = logger.level
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        syntax = pydicom.uid.UID(image.header.text("TransferSyntaxUID"))
        index = image.index if image.frames > 1 else None
        try:
            # Read in full where pixels cannot be found without inflating the whole data set.
            source = pydicom.dcmread(image.path) if syntax in DEFLATED else image.path
            array: NDArray[Any] = pixel_array(source, index=index)
        except Exception as err:  # a damaged file can raise nearly anything
            if "gdcm - requires" in str(err):
                reason = f"compressed as {syntax.name}: decoding needs pip install 'lvedge[codecs]'"
            elif isinstance(err, (NotImplementedError, RuntimeError)):
                reason = f"pixel data that cannot be decoded ({syntax.name}); export the file uncompressed"
            else:
                reason = f"damaged or truncated pixel data ({syntax.name}); export the file again"
            raise SourceError(reason) from err
        finally:
            logger.setLevel(level)
    return array
