"""Cines as scanners write them, of discs, as DICOM data sets written for the tests.

What the vendors' files have in common is taken from their conformance statements and from public files; none
of it is private.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from dicom_files import NORMAL, ROW, dataset, enhanced
from discs import BEAT, MM, SIDE
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import ExplicitVRLittleEndian

STEP_MM = 8.0
LONG = tuple(np.interp(np.arange(0, 6, 0.5), range(6), BEAT))
"""A beat of twelve phases."""

SIZES = (1.0, 0.9, 0.8)
NAMES_OF_PERSON = ("Doe", "Jane", "4711", "19610203", "ACC77")
"""What no log may say of the person in these files."""


def content_of(data: FileDataset) -> bytes:
    """The data set as a file."""
    buffer = DicomBytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return bytes(buffer.getvalue())


def disc(radius_mm: float) -> NDArray[np.uint16]:
    rows, columns = np.indices((SIDE, SIDE))
    inside = radius_mm / MM - np.hypot(rows - 30, columns - 35)
    return (1000 * np.clip(inside + 0.5, 0, 1)).astype(np.uint16)


def position(slice_index: int) -> list[float]:
    return [float(v) for v in (np.asarray([1.0, 2.0, 3.0]) + STEP_MM * slice_index * NORMAL).round(6)]


def picture(number: int, slice_index: int, radius_mm: float, uid: str, **tags: Any) -> FileDataset:
    """One classic picture; the person has a name."""
    return dataset(
        disc(radius_mm),
        **{
            "InstanceNumber": number,
            "SeriesInstanceUID": uid,
            "SOPInstanceUID": f"{uid}.{number}",
            "StudyInstanceUID": f"{uid}.0",
            "ImagePositionPatient": position(slice_index),
            "PixelSpacing": [MM, MM],
            "PatientBirthDate": "19610203",
            "AccessionNumber": "ACC77",
            **tags,
        },
    )


def cine(
    uid: str = "1.2.3.4",
    sizes: Sequence[float] = SIZES,
    beat: Sequence[float] = LONG,
    *,
    phase_major: bool = False,
    start_ms: float = 10.0,
    step_ms: float = 60.0,
    **tags: Any,
) -> list[FileDataset]:
    """A stack of slices in the order of their instance numbers; a tag that is a function gets the phase."""
    places = [(s, p) for s in range(len(sizes)) for p in range(len(beat))]
    if phase_major:
        places.sort(key=lambda place: place[1])
    return [
        picture(
            number,
            s,
            sizes[s] * beat[p],
            uid,
            **{
                "TriggerTime": start_ms + step_ms * p,
                **{name: value(p) if callable(value) else value for name, value in tags.items()},
            },
        )
        for number, (s, p) in enumerate(places, start=1)
    ]


def ge(uid: str = "1.2.840.113619.2.1", **tags: Any) -> list[FileDataset]:
    """GE: the beat's length and number of phases are stated, times lie in the middle of their phases."""
    stated = {"Manufacturer": "GE MEDICAL SYSTEMS", "NominalInterval": 720, "CardiacNumberOfImages": 12}
    named = {"ImageType": ["ORIGINAL", "PRIMARY", "OTHER"], "SeriesDescription": "FIESTA SAX"}
    return cine(uid, start_ms=30.0, **{**stated, **named, **tags})


def siemens(uid: str = "1.3.12.2.1107.5.2.1", **tags: Any) -> list[FileDataset]:
    """Siemens: the first phase comes after a delay, the last before the next R wave."""
    stated = {"Manufacturer": "SIEMENS", "NominalInterval": 800, "CardiacNumberOfImages": 12}
    named = {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"], "SeriesDescription": "cine_trufi_sa"}
    return cine(uid, start_ms=42.5, **{**stated, **named, **tags})


def philips(uid: str = "1.3.46.670589.11.1", **tags: Any) -> list[FileDataset]:
    """Philips: phases are numbered and timed from the R wave on, the beat's length is not stated."""
    stated = {
        "Manufacturer": "Philips Medical Systems",
        "CardiacNumberOfImages": 12,
        "NumberOfTemporalPositions": 12,
        "TemporalPositionIdentifier": lambda phase: phase + 1,
    }
    named = {"ImageType": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"], "SeriesDescription": "sBTFE_BH SA"}
    return cine(uid, start_ms=0.0, **{**stated, **named, **tags})


def numbered(uid: str = "1.2.3.5", **tags: Any) -> list[FileDataset]:
    """No times at all: phases are what the instance numbers say."""
    return cine(uid, **{"TriggerTime": None, **tags})


def several_beats(uid: str = "1.2.3.6", beats: int = 3) -> list[FileDataset]:
    """One slice over several beats of uneven length, the trigger time starting afresh with each."""
    times = [13.0 * beat + (58.0 + beat) * phase for beat in range(beats) for phase in range(len(LONG))]
    radii = [*LONG] * beats
    return cine(uid, (1.0,), radii, TriggerTime=lambda k: times[k])


def real_time(uid: str = "1.2.3.7", beats: int = 3) -> list[FileDataset]:
    """One slice over several beats without a trigger: only the clock goes on."""
    clock = {"AcquisitionTime": lambda k: f"10{(60 * k) // 60000:02d}{(60 * k) % 60000 / 1000:09.6f}"}
    return cine(uid, (1.0,), [*LONG] * beats, **{"TriggerTime": None, **clock})


def multi_frame(
    uid: str = "1.2.3.8", sizes: Sequence[float] = SIZES, *, temporal: bool = False
) -> FileDataset:
    """An Enhanced MR cine of several slices; with ``temporal`` phases are numbered and not timed."""
    pixels = np.stack([disc(size * radius) for radius in LONG for size in sizes])
    data = enhanced(
        pixels,
        len(sizes),
        len(LONG),
        SeriesInstanceUID=uid,
        SOPInstanceUID=f"{uid}.1",
        StudyInstanceUID=f"{uid}.0",
        ImageType=["ORIGINAL", "PRIMARY", "CARDIAC", "NONE"],
    )
    data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [MM, MM]
    for k, group in enumerate(data.PerFrameFunctionalGroupsSequence):
        group.PlanePositionSequence[0].ImagePositionPatient = position(k % len(sizes))
        if temporal:
            content = Dataset()
            content.TemporalPositionIndex = k // len(sizes) + 1
            group.FrameContentSequence = [content]
            del group.CardiacSynchronizationSequence
    return data


def others() -> dict[str, list[FileDataset]]:
    """Series that are not ours, by what they are."""
    gated = {"NominalInterval": 720, "CardiacNumberOfImages": 12}
    long_axis = [*ROW, 0.6, -0.8, 0.0]
    late = {"CardiacNumberOfImages": 1, "TriggerTime": 600.0, "InversionTime": 280.0}
    made = {
        "localiser": cine("1.9.1", beat=(20.0,), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "map": cine("1.9.2", beat=(20.0,), ImageType=["DERIVED", "PRIMARY", "M", "ND", "T1 MAP"]),
        "late": cine("1.9.3", beat=(20.0,), **late),
        "named late": cine("1.9.4", beat=(20.0,), SeriesDescription="PSIR_sax_LGE"),
        "long axis": cine("1.9.5", ImageOrientationPatient=long_axis, **gated),
        "named long axis": cine("1.9.6", SeriesDescription="cine_4ch", **gated),
        "still": cine("1.9.7", beat=(20.0,), SeriesDescription="t2 sax"),
    }
    assert made["localiser"][0].file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    return made
