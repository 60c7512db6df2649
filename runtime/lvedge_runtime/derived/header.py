"""What derived objects take over from the images that they refer to.

Identifiers are repeated as they came, whatever the standard says of them: an archive finds the patient and
the study by them. Other values that break the standard are emptied, and named.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import (
    EnhancedMRColorImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
)
from pydicom.valuerep import DA, TM, PersonName, validate_value

from lvedge.measurement import Measurement
from lvedge_runtime.derived.series import NoObjectsError
from lvedge_runtime.sources.origin import SourcePicture

CLASSES = frozenset(
    (
        MRImageStorage,
        EnhancedMRImageStorage,
        EnhancedMRColorImageStorage,
        LegacyConvertedEnhancedMRImageStorage,
    )
)
"""What is referred to."""

IDENTIFIERS = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "StudyInstanceUID",
    "StudyID",
    "AccessionNumber",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
)
OPTIONAL = (
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
    "SliceThickness",
    "SeriesNumber",
    "Manufacturer",
    "ManufacturerModelName",
    "StationName",
    "InstitutionName",
)
_ALWAYS = (  # type 2: there, if only empty
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
)
_SEX = ("M", "F", "O")
_CALENDAR = {"DA": DA, "TM": TM}


@dataclass(frozen=True)
class SourceHeader:
    """The header of one image, as far as derived objects need it.

    Args:
        data: patient, study and frame of reference, the image's own UIDs, and its grid; valid but for the
            identifiers, which are as they came.
        emptied: keywords of the values that were emptied.
        frame_number: the picture's number in a multi-frame file, or None.
    """

    data: Dataset
    emptied: tuple[str, ...]
    frame_number: int | None


def header_of(measurement: Measurement, picture: SourcePicture) -> SourceHeader:
    """The header of the image that a measurement was made on.

    Raises:
        NoObjectsError: if the file is gone, lacks the UIDs that a reference needs, or is of another class.
    """
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        source = _read(picture.path)
        data, emptied = Dataset(), []
        for keyword in (*IDENTIFIERS, *OPTIONAL):
            element = _element(source, keyword)
            if keyword in source and element is None:
                emptied.append(keyword)
            if element is not None and not element.is_empty:
                value = PersonName(str(element.value)) if element.VR == "PN" else element.value
                setattr(data, keyword, value)
            elif keyword in _ALWAYS:
                setattr(data, keyword, "")
        frame = measurement.frame
        data.SOPClassUID, data.SOPInstanceUID = picture.class_uid, picture.instance_uid
        data.Modality = "MR"
        data.Rows, data.Columns = frame.pixels.shape
        data.PixelSpacing = list(frame.spacing_mm)
        if frame.orientation is not None and frame.position_mm is not None:
            data.ImageOrientationPatient = [*frame.orientation.row, *frame.orientation.column]
            data.ImagePositionPatient = list(frame.position_mm)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
        if not data.get(keyword):
            raise NoObjectsError(f"its images lack {keyword}, so that nothing can refer to them")
    if data.SOPClassUID not in CLASSES:
        raise NoObjectsError("its images are of another SOP class than MR Image and Enhanced MR Image")
    return SourceHeader(data, tuple(emptied), picture.frame_number)


def reference(frames: Sequence[SourceHeader]) -> Dataset:
    """An item that refers to an image.

    Args:
        frames: the pictures of one file that are meant.
    """
    item = Dataset()
    item.ReferencedSOPClassUID = frames[0].data.SOPClassUID
    item.ReferencedSOPInstanceUID = frames[0].data.SOPInstanceUID
    numbers = [frame.frame_number for frame in frames if frame.frame_number is not None]
    if numbers:
        item.ReferencedFrameNumber = numbers
    return item


def _read(path: Path) -> Dataset:
    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except Exception as err:  # a damaged file can raise nearly anything
        raise NoObjectsError("its images cannot be read again") from err


def _element(source: Dataset, keyword: str) -> DataElement | None:
    """An element to take over; None where there is none, or one that is optional and breaks the standard."""
    try:
        element: DataElement | None = source.get(Tag(keyword))
        fits = element is None or keyword in IDENTIFIERS or _is_valid(element)
    except Exception:  # noqa: BLE001 - what pydicom raises where text is no number, and more
        return None
    return element if fits else None


def _is_valid(element: DataElement) -> bool:
    """Whether an element's value is what its VR says; dates and times have to exist as well."""
    if element.is_empty:
        return True
    text = str(element.value)
    if element.keyword == "PatientSex":
        return text in _SEX
    try:
        validate_value(element.VR, text, pydicom.config.RAISE)
        if element.VR in _CALENDAR:
            _CALENDAR[element.VR](text)
    except (ValueError, TypeError):
        return False
    return True
