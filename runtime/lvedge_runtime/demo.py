"""The demo: the phantom's heart as a classic MR DICOM series, written in a moment, the same every time."""

from __future__ import annotations

import struct
import uuid
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from lvedge.frame import Subject
from lvedge.phantom import HEARTS, Phantom, Placement, stack

DEMO_SLICES = 3
DEMO_PHASES = 20
STUDY_DATE = "20240229"
STUDY_TIME = "101500"
IMPLEMENTATION_UID = UID("2.25.305828488182831875890203105390285383139")

PREAMBLE = b"\0" * 128 + b"DICM"
META_LENGTH, META_END = 0x00020000, 0x00030000
MEDIA_INSTANCE_UID = 0x00020003
SOP_INSTANCE_UID = 0x00080018
CONTENT_TIME = 0x00080033
TRIGGER_TIME = 0x00181060
INSTANCE_NUMBER = 0x00200013
IMAGE_POSITION = 0x00200032
SLICE_LOCATION = 0x00201041
PIXEL_DATA = 0x7FE00010

_NAMESPACE = uuid.UUID("e6140ad7-22b8-5f8c-9d3a-6c1f1fd5b0a3")


def demo_phantoms(slices: int = DEMO_SLICES, phases: int = DEMO_PHASES) -> tuple[Phantom, ...]:
    """The demo's slices, apex to base: a healthy heart of a 52-year-old woman.

    Raises:
        ValueError: if slices or phases are below 1.
    """
    middle = Phantom(
        heart=replace(HEARTS["healthy"], frames=phases),
        placement=Placement(rows=152, columns=152, spacing_mm=(1.9, 1.9), offset_mm=(-14.0, -8.0)),
        seed=1,
        series="demo",
        subject=Subject(sex="F", age_years=52.0),
    )
    return stack(middle, slices)


def write_demo(folder: Path, slices: int = DEMO_SLICES, phases: int = DEMO_PHASES) -> Path:
    """Writes the demo's series and gives back its folder.

    Args:
        folder: where to write; made where it does not exist.
        slices: number of slices, apex to base.
        phases: number of frames of each slice.

    Returns:
        The folder: ``slices * phases`` files, ordered by name as by InstanceNumber.

    Raises:
        ValueError: if slices or phases are below 1.
        OSError: if the folder cannot be written to.
    """
    return write_series(folder, demo_phantoms(slices, phases))


def write_series(folder: Path, phantoms: tuple[Phantom, ...]) -> Path:
    """Writes slices of one phantom as one conformant MR series, a file a frame, and gives back the folder.

    The first file goes through pydicom with its check of the file format. The others differ from it in eight
    elements: those are encoded here, in a tenth of the time, and the bytes are the same.

    Raises:
        ValueError: if there is no slice.
        OSError: if the folder cannot be written to.
    """
    if not phantoms:
        raise ValueError("a series needs at least one slice")
    folder.mkdir(parents=True, exist_ok=True)
    buffer = BytesIO()
    dcmwrite(buffer, dataset_from_phantom(phantoms[0], 0, 1), enforce_file_format=True)
    template = _elements_of(buffer.getvalue())
    number = 0
    for phantom in phantoms:
        for frame in range(phantom.heart.frames):
            number += 1
            (folder / f"IM{number:04d}.dcm").write_bytes(_file_bytes(template, phantom, frame, number))
    return folder


def dataset_from_phantom(phantom: Phantom, frame: int, instance_number: int) -> Dataset:
    """One frame as an MR Image Storage data set, with its file meta information.

    The pixels are rounded to 16-bit integers; PatientName is ``LVEDGE^PHANTOM``; UIDs derive from the
    series' name, the slice and the frame.
    """
    ds = Dataset()
    for keyword, value in {**_PERSON_AND_SCAN, **_constant(phantom)}.items():
        setattr(ds, keyword, value)
    for tag, (vr, text) in _changing(phantom, frame, instance_number).items():
        ds.add_new(tag, vr, text.split("\\") if vr == "DS" else text)
    ds.add_new(PIXEL_DATA, "OW", stored_pixels(phantom, frame).tobytes())
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = "LVEDGE"
    ds.file_meta = meta
    return ds


def stored_pixels(phantom: Phantom, frame: int) -> NDArray[np.uint16]:
    """A frame's grey values as the files hold them, [rows, columns] 16-bit little-endian."""
    return np.clip(np.rint(phantom.pixels(frame)), 0, 65_535).astype("<u2")


_PERSON_AND_SCAN: dict[str, object] = {
    "SpecificCharacterSet": "ISO_IR 100",
    "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
    "SOPClassUID": MRImageStorage,
    "StudyDate": STUDY_DATE,
    "SeriesDate": STUDY_DATE,
    "AcquisitionDate": STUDY_DATE,
    "ContentDate": STUDY_DATE,
    "StudyTime": STUDY_TIME,
    "SeriesTime": STUDY_TIME,
    "AcquisitionTime": STUDY_TIME,
    "AccessionNumber": "",
    "Modality": "MR",
    "Manufacturer": "lvedge",
    "ManufacturerModelName": "analytic phantom",
    "ReferringPhysicianName": "",
    "StudyDescription": "lvedge demo",
    "SeriesDescription": "cine short axis",
    "PatientName": "LVEDGE^PHANTOM",
    "PatientID": "LVEDGE-PHANTOM",
    "PatientBirthDate": "",
    "BodyPartExamined": "HEART",
    "ScanningSequence": "GR",
    "SequenceVariant": "SS",
    "ScanOptions": "CG",
    "MRAcquisitionType": "2D",
    "SliceThickness": "8",
    "RepetitionTime": "3.2",
    "EchoTime": "1.6",
    "MagneticFieldStrength": "1.5",
    "SpacingBetweenSlices": "10",
    "EchoTrainLength": "1",
    "FlipAngle": "55",
    "PatientPosition": "HFS",
    "StudyID": "1",
    "SeriesNumber": "1",
    "AcquisitionNumber": "1",
    "PositionReferenceIndicator": "",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 16,
    "HighBit": 15,
    "PixelRepresentation": 0,
}


def _constant(phantom: Phantom) -> dict[str, object]:
    """What else all files of a series share, by keyword."""
    age = phantom.subject.age_years
    return {
        "PatientSex": phantom.subject.sex or "",
        "PatientAge": "" if age is None else f"{round(age):03d}Y",
        "NominalInterval": str(round(phantom.heart.interval_ms)),
        "HeartRate": str(round(phantom.heart.heart_rate_bpm)),
        "CardiacNumberOfImages": str(phantom.heart.frames),
        "StudyInstanceUID": _uid(phantom, "study"),
        "SeriesInstanceUID": _uid(phantom, "series"),
        "FrameOfReferenceUID": _uid(phantom, "space"),
        "ImageOrientationPatient": [
            _decimal(v) for v in (*phantom.orientation.row, *phantom.orientation.column)
        ],
        "PixelSpacing": [_decimal(v) for v in phantom.placement.spacing_mm],
        "Rows": phantom.placement.rows,
        "Columns": phantom.placement.columns,
        "WindowCenter": str(round(0.6 * phantom.look.grey_level)),
        "WindowWidth": str(round(1.2 * phantom.look.grey_level)),
    }


def _changing(phantom: Phantom, frame: int, instance_number: int) -> dict[int, tuple[str, str]]:
    """What is a frame's own, but for its pixels: value representation and text by tag."""
    return {
        SOP_INSTANCE_UID: ("UI", _uid(phantom, f"slice {phantom.slice_index} frame {frame}")),
        CONTENT_TIME: ("TM", f"{STUDY_TIME}.{instance_number:06d}"),
        TRIGGER_TIME: ("DS", _decimal(float(phantom.heart.times_ms[frame]))),
        INSTANCE_NUMBER: ("IS", str(instance_number)),
        IMAGE_POSITION: ("DS", "\\".join(_decimal(v) for v in phantom.position_mm)),
        SLICE_LOCATION: ("DS", _decimal(-phantom.depth_mm)),
    }


def _file_bytes(template: dict[int, bytes], phantom: Phantom, frame: int, instance_number: int) -> bytes:
    """A whole file: the template's elements with the frame's own in their places."""
    elements = dict(template)
    for tag, (vr, text) in _changing(phantom, frame, instance_number).items():
        elements[tag] = _element(tag, vr, text)
        if tag == SOP_INSTANCE_UID:
            elements[MEDIA_INSTANCE_UID] = _element(MEDIA_INSTANCE_UID, vr, text)
    pixels = stored_pixels(phantom, frame).tobytes()
    elements[PIXEL_DATA] = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, len(pixels)) + pixels
    tags = sorted(elements)
    meta = b"".join(elements[tag] for tag in tags if META_LENGTH < tag < META_END)
    length = struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(meta))
    return b"".join([PREAMBLE, length, meta, *(elements[tag] for tag in tags if tag > META_END)])


def _element(tag: int, vr: str, text: str) -> bytes:
    """A short text element in explicit VR little endian, padded to even length (DICOM PS3.5, 6.2 and 7.1)."""
    value = text.encode("ascii")
    if len(value) % 2:
        value += b"\0" if vr == "UI" else b" "
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode("ascii"), len(value)) + value


def _elements_of(file: bytes) -> dict[int, bytes]:
    """The elements of an explicit VR little endian file without sequences, as encoded, by tag."""
    elements: dict[int, bytes] = {}
    at = len(PREAMBLE)
    while at < len(file):
        group, number, vr, short = struct.unpack_from("<HH2sH", file, at)
        if vr in (b"OB", b"OW"):
            end = at + 12 + int(struct.unpack_from("<I", file, at + 8)[0])
        else:
            end = at + 8 + int(short)
        elements[int(group) << 16 | int(number)] = file[at:end]
        at = end
    return elements


def _uid(phantom: Phantom, what: str) -> str:
    """A UID derived from a name-based UUID (DICOM PS3.5, B.2), the same in every run."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, f'{phantom.series} {phantom.seed} {what}').int}"


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters."""
    return f"{value + 0.0:.8f}"[:16].rstrip("0").rstrip(".")
