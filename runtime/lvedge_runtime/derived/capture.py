"""Secondary capture: a series as pictures for any viewer, in one multi-frame true colour object."""

from __future__ import annotations

import numpy as np
from highdicom import ContributingEquipment
from highdicom.base import SOPClass
from pydicom.uid import ExplicitVRLittleEndian, MultiFrameTrueColorSecondaryCaptureImageStorage

from lvedge_runtime.derived.bullseye import draw_bullseye
from lvedge_runtime.derived.header import reference
from lvedge_runtime.derived.making import Making
from lvedge_runtime.sinks import NOTICE
from lvedge_runtime.sinks.overlay import draw_overlay

_PAGE_VECTOR, _LABEL_VECTOR = 0x00182001, 0x00182002


def capture_of(making: Making) -> SOPClass:
    """The bull's-eyes on the first page, then each slice at end diastole and end systole with its curves.

    Pages are uncompressed, 2 MB each: what every viewer reads.
    """
    origin = f"lvedge   {making.series.bundle}   {making.series.engine}"
    pages, labels = [draw_bullseye(making.series, origin)], ["bull's-eye"]
    for measured in making.series.slices:
        for phase, measurement in (("ED", measured.ed), ("ES", measured.es)):
            pages.append(draw_overlay(measurement, measured.samples, measured.cycle, origin))
            labels.append(f"slice {measured.index} {phase}")
    source = making.headers[0].data
    made = SOPClass(
        study_instance_uid=source.StudyInstanceUID,
        sop_class_uid=MultiFrameTrueColorSecondaryCaptureImageStorage,
        modality="OT",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        patient_id=source.PatientID,
        patient_name=source.PatientName,
        patient_birth_date=source.PatientBirthDate,
        patient_sex=source.PatientSex,
        accession_number=source.AccessionNumber,
        study_id=source.StudyID,
        study_date=source.StudyDate or None,
        study_time=source.StudyTime or None,
        referring_physician_name=source.ReferringPhysicianName,
        **making.instance("sc", "lvedge pictures"),
    )
    made.copy_patient_and_study_information(source)
    made.Laterality, made.PatientOrientation = "", ""
    made.ConversionType = "WSD"
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.BurnedInAnnotation = "NO"
    made.DerivationDescription = f"Overlay of measurements by lvedge. {NOTICE}."
    made.SourceImageSequence = [reference([header]) for header in making.headers]
    made.NumberOfFrames = len(pages)
    made.FrameIncrementPointer = [_PAGE_VECTOR, _LABEL_VECTOR]
    made.PageNumberVector = list(range(1, len(pages) + 1))
    made.FrameLabelVector = labels
    made.Rows, made.Columns = pages[0].shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.LossyImageCompression = "00"
    if source.get("Manufacturer"):
        made.ContributingEquipmentSequence = [ContributingEquipment.for_image_acquisition(source)]
    stack = np.stack([page[..., ::-1] for page in pages])
    made.add_new(0x7FE00010, "OB", stack.tobytes())
    return made
