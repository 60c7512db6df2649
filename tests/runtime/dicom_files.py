"""Small MR files written for the tests."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

from lvedge.frame import Frame, Rejected
from lvedge_runtime.sources import SourceOptions, open_source

ROW, COLUMN = (0.8, 0.6, 0.0), (0.0, 0.0, -1.0)
NORMAL = np.cross(ROW, COLUMN)
SERIES_UID = "1.2.826.0.1.3680043.10.1.7"


def read_dicom(path: Path, **options: Any) -> tuple[list[Frame], list[tuple[str, str]]]:
    """All frames, and of all rejected items name and reason."""
    with open_source(f"dicom:{path}", SourceOptions(**options)) as source:
        items = list(source)
    frames = [item for item in items if isinstance(item, Frame)]
    return frames, [(item.item, item.reason) for item in items if isinstance(item, Rejected)]


def places(frames: list[Frame]) -> list[tuple[int, int]]:
    return [(frame.slice_index, frame.frame_index) for frame in frames]


def picture(rows: int = 30, columns: int = 34, seed: int = 0, kind: str = "uint16") -> NDArray[Any]:
    """Grey values up to 1000."""
    top = 200 if np.dtype(kind).itemsize == 1 else 1000
    return np.random.default_rng(seed).integers(0, top, (rows, columns)).astype(kind)


def dataset(
    pixels: NDArray[Any] | None = None, syntax: UID = ExplicitVRLittleEndian, **tags: Any
) -> FileDataset:
    """An MR image of one slice and one phase; a tag of None is left out."""
    if pixels is None:
        pixels = picture()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.TransferSyntaxUID = syntax
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    values: dict[str, Any] = {
        "SOPClassUID": MRImageStorage,
        "SOPInstanceUID": f"{SERIES_UID}.1.{tags.get('InstanceNumber', 1)}",
        "SeriesInstanceUID": SERIES_UID,
        "SeriesNumber": 3,
        "InstanceNumber": 1,
        "Modality": "MR",
        "PatientName": "Doe^Jane",
        "PatientID": "4711",
        "PatientSex": "F",
        "PatientAge": "045Y",
        "SliceThickness": 8,
        "ImagePositionPatient": [1.0, 2.0, 3.0],
        "ImageOrientationPatient": [*ROW, *COLUMN],
        "PixelSpacing": [1.5, 1.25],
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1 if pixels.ndim == 2 else 3,
        "PhotometricInterpretation": "MONOCHROME2" if pixels.ndim == 2 else "RGB",
        "BitsAllocated": 8 * pixels.dtype.itemsize,
        "BitsStored": 8 * pixels.dtype.itemsize,
        "HighBit": 8 * pixels.dtype.itemsize - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        **({"PlanarConfiguration": 0} if pixels.ndim == 3 else {}),
        "PixelData": pixels.tobytes(),
        **tags,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in values.items():
            if value is not None:
                setattr(data, keyword, value)
    data["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    return data


def write(path: Path, data: FileDataset) -> Path:
    """Writes the data set as it is, even where it breaks the standard."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.save_as(path, enforce_file_format=True)
    return path


def write_image(path: Path, pixels: NDArray[Any] | None = None, **tags: Any) -> Path:
    """One image as a file."""
    return write(path, dataset(pixels, **tags))


def write_cine(folder: Path, slices: int = 2, phases: int = 3, **tags: Any) -> None:
    """A stack whose file names and instance numbers run against the order of slices and phases."""
    for slice_index in range(slices):
        for phase in range(phases):
            number = 1 + (slices - 1 - slice_index) * phases + (phases - 1 - phase)
            position = np.asarray([1.0, 2.0, 3.0]) + 8.0 * slice_index * NORMAL
            write_image(
                folder / f"{number}.dcm",
                picture(seed=100 * slice_index + phase),
                **{
                    "InstanceNumber": number,
                    "ImagePositionPatient": position.round(6).tolist(),
                    "TriggerTime": 20.0 + 30.0 * phase,
                    "SliceLocation": 0,
                    **tags,
                },
            )


def enhanced(pixels: NDArray[Any], slices: int, phases: int, **tags: Any) -> FileDataset:
    """An enhanced multi-frame object, phase-major, its geometry in functional groups only."""
    data = dataset(
        pixels[0],
        SOPClassUID=EnhancedMRImageStorage,
        NumberOfFrames=slices * phases,
        PixelData=pixels.tobytes(),
        **{"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None, **tags},
    )
    data.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    data.SharedFunctionalGroupsSequence = Sequence(
        [
            _group(PixelMeasuresSequence={"PixelSpacing": [1.5, 1.25], "SliceThickness": 8})
            | _group(PlaneOrientationSequence={"ImageOrientationPatient": [*ROW, *COLUMN]})
        ]
    )
    frames = []
    for phase in range(phases):
        for slice_index in range(slices):
            position = (8.0 * slice_index * NORMAL).round(6).tolist()
            frames.append(
                _group(PlanePositionSequence={"ImagePositionPatient": position})
                | _group(CardiacSynchronizationSequence={"NominalCardiacTriggerDelayTime": 30.0 * phase})
                | _group(
                    PixelValueTransformationSequence={"RescaleSlope": 2, "RescaleIntercept": slice_index}
                )
            )
    data.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return data


class _Group(Dataset):
    def __or__(self, other: Dataset) -> _Group:
        joined = _Group(self)
        joined.update(other)
        return joined


def _group(**sequences: dict[str, Any]) -> _Group:
    group = _Group()
    for keyword, values in sequences.items():
        entry = Dataset()
        for name, value in values.items():
            setattr(entry, name, value)
        setattr(group, keyword, Sequence([entry]))
    return group
