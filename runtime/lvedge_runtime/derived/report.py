"""The structured report of a series: TID 1500 with a measurement group for each slice and phase."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from highdicom import sr
from pydicom.sr.coding import Code

from lvedge import __version__
from lvedge.measurement import Finding, Measurement
from lvedge.volume import StackVolumes
from lvedge_runtime.derived import code
from lvedge_runtime.derived.header import SourceHeader
from lvedge_runtime.derived.making import MODEL, Making
from lvedge_runtime.derived.series import MeasuredSlice
from lvedge_runtime.derived.uid import uid_from
from lvedge_runtime.sinks import NOTICE
from lvedge_runtime.sinks.record import number

_CONTAINS = sr.RelationshipTypeValues.CONTAINS
_PROPERTY = sr.RelationshipTypeValues.HAS_PROPERTIES


def report_of(making: Making) -> sr.ComprehensiveSR:
    """The report of a series; its numbers are those of the JSON lines."""
    groups = [group for measured in making.series.slices for group in _slice_groups(making, measured)]
    volumes = making.series.volumes
    if volumes is not None and volumes.edv_ml is not None:
        groups.append(_stack_group(making, volumes))
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_observer(making)),
        procedure_reported=code.CARDIAC_MRI,
        imaging_measurements=groups,
    )
    report[0].ContentSequence.append(_text(code.COMMENT, f"{NOTICE}.", _CONTAINS))
    return sr.ComprehensiveSR(
        evidence=[header.data for header in making.headers],
        content=report,
        is_complete=True,
        performed_procedure_codes=[code.CARDIAC_MRI],
        **making.instance("sr", "lvedge measurements"),
    )


def _observer(making: Making) -> sr.ObserverContext:
    identity = sr.DeviceObserverIdentifyingAttributes(
        uid=uid_from("observer", __version__, making.series.bundle_sha256),
        name="lvedge",
        manufacturer_name="lvedge",
        model_name=MODEL,
        serial_number=making.serial_number,
    )
    device = sr.CodedConcept("121007", "DCM", "Device")
    return sr.ObserverContext(observer_type=device, observer_identifying_attributes=identity)


def _slice_groups(
    making: Making, measured: MeasuredSlice
) -> Iterator[sr.MeasurementsAndQualitativeEvaluations]:
    """End diastole, end systole, and the change from one to the other."""
    for phase, concept, measurement in (
        ("ED", code.END_DIASTOLE, measured.ed),
        ("ES", code.END_SYSTOLE, measured.es),
    ):
        yield _group(
            making,
            f"slice {measured.index} {phase}",
            [making.header(measurement)],
            _frame_values(measurement),
            sites=[code.LEFT_VENTRICLE],
            phase=concept,
        )
    group = _group(
        making,
        f"slice {measured.index} beat",
        [making.header(measured.ed), making.header(measured.es)],
        _beat_values(measured),
        sites=[code.LEFT_VENTRICLE],
    )
    for finding in measured.cycle.findings:
        group[0].ContentSequence.append(_case(finding))
    yield group


def _stack_group(making: Making, volumes: StackVolumes) -> sr.MeasurementsAndQualitativeEvaluations:
    values = [
        _value(code.EDV, volumes.edv_ml, code.ML),
        _value(code.ESV, volumes.esv_ml, code.ML),
        _value(code.EF, volumes.ef, code.PERCENT),
        _value(code.MASS, volumes.mass_g, code.GRAM),
    ]
    return _group(making, "stack", making.headers, values, sites=[code.LEFT_VENTRICLE])


def _group(
    making: Making,
    name: str,
    headers: Sequence[SourceHeader],
    values: Sequence[sr.Measurement | None],
    sites: Sequence[Code],
    phase: Code | None = None,
) -> sr.MeasurementsAndQualitativeEvaluations:
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=making.uid("group", name), identifier=name),
        finding_sites=[sr.FindingSite(site) for site in sites],
        algorithm_id=sr.AlgorithmIdentification("lvedge", __version__, parameters=making.parameters),
        measurements=[value for value in values if value is not None],
        qualitative_evaluations=[sr.QualitativeEvaluation(code.CYCLE_PHASE, phase)] if phase else None,
        source_images=[
            sr.SourceImageForMeasurementGroup(
                header.data.SOPClassUID,
                header.data.SOPInstanceUID,
                None if header.frame_number is None else [header.frame_number],
            )
            for header in headers
        ],
    )


def _frame_values(measurement: Measurement) -> list[sr.Measurement | None]:
    indices, frame = measurement.indices, measurement.frame
    if indices is None:
        return []
    layout = indices.layout
    sites = code.sector_sites(layout, frame.slice_index, frame.slice_count)
    names = layout.sector_names
    values = [
        _value(code.WALL_THICKNESS, float(mm), code.MM, [sites[name]])
        for name, mm in zip(names, indices.rwt_mm, strict=True)
    ]
    for k, mm in enumerate(indices.dims_mm):
        across = [sites[names[k]], sites[names[k + layout.sectors // 2]]]
        values.append(_value(code.DIAMETER, float(mm), code.MM, across))
    for site, mm2 in zip((code.CAVITY, code.MYOCARDIUM), indices.areas_mm2, strict=True):
        values.append(_value(code.AREA, float(mm2), code.MM2, [site]))
    values.append(_value(code.WALL_MAX, measurement.wall_max_mm, code.MM))
    values.append(_value(code.QUALITY, measurement.quality, code.ONE))
    return values


def _beat_values(measured: MeasuredSlice) -> list[sr.Measurement | None]:
    cycle, indices = measured.cycle, measured.ed.indices
    values = [_value(code.FAC, cycle.fac, code.PERCENT)]
    if cycle.thickening is not None and indices is not None:
        sites = code.sector_sites(indices.layout, cycle.slice_index, cycle.slice_count)
        for name, share in zip(indices.layout.sector_names, cycle.thickening, strict=True):
            values.append(_value(code.THICKENING, float(share), code.PERCENT, [sites[name]]))
    values.append(_value(code.QUALITY, cycle.quality, code.ONE))
    return values


def _value(
    concept: Code, value: float | None, unit: Code, sites: Sequence[Code] = ()
) -> sr.Measurement | None:
    """A value with the JSON lines' decimals, shares as per cent; None where there is none."""
    shown = number(value)
    if shown is None:
        return None
    if unit is code.PERCENT:
        shown = round(100.0 * shown, 1)
    return sr.Measurement(
        name=concept, value=shown, unit=unit, finding_sites=[sr.FindingSite(site) for site in sites] or None
    )


def _case(finding: Finding) -> sr.TextContentItem:
    """What the case table says, with its caveat; "consistent with", never a diagnosis."""
    item = _text(code.CASE, finding.label, _CONTAINS)
    said = ((code.CAVEAT, finding.caveat), (code.CASE_SOURCE, finding.source), (code.CASE_ROW, finding.row))
    children = [_text(concept, words, _PROPERTY) for concept, words in said if words]
    item.ContentSequence = sr.ContentSequence(children)
    return item


def _text(concept: Code, words: str, relation: sr.RelationshipTypeValues) -> sr.TextContentItem:
    return sr.TextContentItem(name=concept, value=words, relationship_type=relation)
