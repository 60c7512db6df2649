"""Segmentations of a series: one object a phase, its slices as frames, in the source images' own grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy

import highdicom as hd
import numpy as np
from highdicom import seg
from highdicom.color import CIELabColor
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import MRImageStorage

from lvedge import __version__
from lvedge.indices import Label
from lvedge.measurement import Measurement
from lvedge_runtime.derived import code
from lvedge_runtime.derived.header import SourceHeader, reference
from lvedge_runtime.derived.making import MANUFACTURER, Making
from lvedge_runtime.derived.series import LOG
from lvedge_runtime.sinks import canvas

SEGMENTS: tuple[tuple[Label, str, Code, canvas.Colour], ...] = (
    (Label.RV, "Right ventricle", code.RIGHT_VENTRICLE, canvas.RV),
    (Label.MYOCARDIUM, "LV myocardium", code.MYOCARDIUM, canvas.EPI),
    (Label.CAVITY, "LV cavity", code.CAVITY, canvas.ENDO),
)
"""Segment numbers are the labels of every mask here: 1 RV, 2 myocardium, 3 cavity."""


def segmentations_of(making: Making) -> Iterator[seg.Segmentation]:
    """Binary segmentations at end diastole and end systole.

    One object cannot lie in several frames of reference: where the images of a phase have different ones,
    each gets its own object. Images that do not say where they lie have none.
    """
    number = 0
    for phase in ("ED", "ES"):
        for part, slices in _by_frame_of_reference(making, phase).items():
            if not part:
                LOG.warning("%s: no segmentation of images without a place in space", making.series.name)
                continue
            number += 1
            yield _segmentation(making, phase, part, slices, number)


def _by_frame_of_reference(making: Making, phase: str) -> dict[str, list[Measurement]]:
    """The slices of one phase by their frame of reference, "" where they have none or no position."""
    groups: dict[str, list[Measurement]] = {}
    for measured in making.series.slices:
        measurement = measured.ed if phase == "ED" else measured.es
        data = making.header(measurement).data
        uid = str(data.get("FrameOfReferenceUID", "")) if "ImagePositionPatient" in data else ""
        groups.setdefault(uid, []).append(measurement)
    return groups


def _segmentation(
    making: Making, phase: str, frame_of_reference: str, slices: Sequence[Measurement], number: int
) -> seg.Segmentation:
    headers = [making.header(measurement) for measurement in slices]
    first = headers[0].data
    made = seg.Segmentation(
        source_images=[_plane(header, first) for header in headers],
        pixel_array=np.stack([measurement.labels() for measurement in slices]),
        segmentation_type=seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(making, *segment) for segment in SEGMENTS],
        content_label=f"LV_{phase}",
        content_description=f"Heart at {'end diastole' if phase == 'ED' else 'end systole'}",
        **making.instance("seg", "lvedge masks", number, f"{phase} {frame_of_reference}"),
    )
    _refer(made, headers)
    organisation = making.uid("dimensions", phase, frame_of_reference)
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organisation
    # highdicom leaves the table open, in memory, in which it looks up frames of what it made.
    made._db_con.close()
    return made


def _plane(header: SourceHeader, first: Dataset) -> Dataset:
    """A picture as a classic image of its own: highdicom wants all frames of a multi-frame file, or none."""
    plane = deepcopy(header.data)
    plane.SOPClassUID = MRImageStorage
    # Parallel to within a rounding, or they would not be one series.
    plane.ImageOrientationPatient = first.ImageOrientationPatient
    return plane


def _description(
    making: Making, label: Label, name: str, what: Code, colour: canvas.Colour
) -> seg.SegmentDescription:
    blue, green, red = colour
    return seg.SegmentDescription(
        segment_number=int(label),
        segment_label=name,
        segmented_property_category=code.ANATOMY,
        segmented_property_type=what,
        algorithm_type=seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="lvedge",
            family=codes.DCM.ArtificialIntelligence,
            version=__version__,
            source=MANUFACTURER,
            parameters={"bundle": making.series.bundle, "sha256": making.series.bundle_sha256},
        ),
        tracking_uid=making.uid("segment", name),
        tracking_id=name,
        display_color=CIELabColor.from_rgb(red, green, blue),
    )


def _refer(made: seg.Segmentation, headers: Sequence[SourceHeader]) -> None:
    """Put the class and the frame numbers of the source images into what refers to them."""
    by_place = {_place(header.data.ImagePositionPatient): header for header in headers}
    for group in made.PerFrameFunctionalGroupsSequence:
        header = by_place[_place(group.PlanePositionSequence[0].ImagePositionPatient)]
        for derivation in group.DerivationImageSequence:
            for item in derivation.SourceImageSequence:
                item.update(reference([header]))
    files: dict[str, list[SourceHeader]] = {}
    for header in headers:
        files.setdefault(header.data.SOPInstanceUID, []).append(header)
    made.SourceImageSequence = [reference(frames) for frames in files.values()]
    instances = [reference(frames) for frames in files.values()]
    for instance in instances:
        instance.pop("ReferencedFrameNumber", None)
    made.ReferencedSeriesSequence[0].ReferencedInstanceSequence = instances


def _place(position: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(float(value), 3) for value in position)
