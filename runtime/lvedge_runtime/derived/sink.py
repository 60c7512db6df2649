"""``dicomsr:DIR``, ``dicomseg:DIR`` and ``dicomsc:DIR``: DICOM objects of a series, once it is over."""

from __future__ import annotations

from io import BytesIO

from pydicom.dataset import Dataset

from lvedge.errors import UsageError
from lvedge_runtime.derived.objects import objects_from_series
from lvedge_runtime.derived.series import LOG, NoObjectsError, SeriesCollector
from lvedge_runtime.sinks import BaseSink, Item, RunContext
from lvedge_runtime.sinks.output import made_folder, write_private


class ObjectSink(BaseSink):
    """``<series>_<kind>NN.dcm``, NN being the instance's number; written when a series is over.

    A series that was cut off, or that was played live, gives none.

    Args:
        target: the folder, made where it is missing.
        context: bundle and engine, and the images of each series.

    Raises:
        UsageError: if the source is not DICOM.
        MissingExtraError: without highdicom.
        SinkError: if the folder cannot be made or a file cannot be written.
    """

    kind = ""

    def __init__(self, target: str, context: RunContext) -> None:
        if context.origin is None:
            raise UsageError(
                f"dicom{self.kind}: refers to DICOM images, and {context.source or 'the source'} has none: "
                "measure dicom:PATH or dicom://[host]:port, or leave it out"
            )
        self._folder = made_folder(target)
        self._collector = SeriesCollector(context)

    def write(self, item: Item) -> None:
        measured = self._collector.take(item)
        if measured is None:
            return
        try:
            made = objects_from_series(measured, [self.kind])
        except NoObjectsError as why:
            LOG.warning("%s: no DICOM object: %s", measured.name, why)
            return
        for each in made:
            path = self._folder / f"{measured.name}_{self.kind}{each.InstanceNumber:02d}.dcm"
            write_private(path, content_of(each))


class ReportSink(ObjectSink):
    """The structured report."""

    kind = "sr"


class SegmentationSink(ObjectSink):
    """The masks at end diastole and end systole."""

    kind = "seg"


class CaptureSink(ObjectSink):
    """The pictures."""

    kind = "sc"


def content_of(made: Dataset) -> bytes:
    """An object as a file."""
    buffer = BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
