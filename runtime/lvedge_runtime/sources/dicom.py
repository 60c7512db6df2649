"""DICOM files: a cine sorted into series, slices and phases by its own tags, pixels decoded one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lvedge.errors import SourceError
from lvedge.frame import Frame, Rejected
from lvedge_runtime.sources.dicom_header import read_header
from lvedge_runtime.sources.dicom_image import Image, images_from_header, subject_from_header
from lvedge_runtime.sources.dicom_order import Stack, geometry_of_stack, name_of_series, stacks_from_images
from lvedge_runtime.sources.dicom_pixels import pixels_from_image
from lvedge_runtime.sources.naming import files_under
from lvedge_runtime.sources.source import ASK_FOR_SPACING, BaseSource, SourceOptions, grid_fault
from lvedge_runtime.uri import Uri

_NOT_PICTURES = frozenset({"DICOMDIR"})


class DicomSource(BaseSource):
    """The frames of a DICOM file or folder, each series measured on its own, in the order of SeriesNumber.

    ``with`` reads the headers only. Slices and frames count from 0 in the order that ``dicom_order`` gives;
    a picture whose pixels turn out to be damaged keeps its place in the cine, as a ``Rejected``.

    Raises:
        SourceError: on entering, if there is no such file or folder, if it holds no files, or if the series
            that was asked for is not in it.
    """

    def __init__(self, uri: Uri, options: SourceOptions) -> None:
        super().__init__(options)
        self.path = Path(uri.path)
        self._rejected: list[Rejected] = []
        self._stacks: list[Stack] = []

    def __enter__(self) -> DicomSource:
        self._rejected, images = [], []
        for path, item in files_under(self.path, skip=_NOT_PICTURES):
            try:
                images += images_from_header(path, item, read_header(path))
            except SourceError as err:
                self._rejected.append(Rejected(item, str(err)))
        usable = self._usable(images)
        stacks = stacks_from_images(usable)
        self._stacks = [stack for stack in stacks if self._wants(stack)]
        if stacks and not self._stacks:
            names = ", ".join(stack.name for stack in stacks)
            raise SourceError(f"{self.path}: no series matches {self.options.series!r}; there are {names}")
        for stack in self._stacks:
            self._geometries[stack.name] = geometry_of_stack(stack, self._spacing(stack.slices[0][0]))
        return self

    def __iter__(self) -> Iterator[Frame | Rejected]:
        yield from self._rejected
        for stack in self._stacks:
            yield from stack.rejected
            subject = self.options.subject_over(subject_from_header(stack.slices[0][0].header))
            for slice_index, phases in enumerate(stack.slices):
                if not self.options.wants_slice(slice_index):
                    continue
                for frame_index, image in enumerate(phases):
                    try:
                        pixels = pixels_from_image(image)
                    except SourceError as err:
                        yield Rejected(image.item, str(err), stack.name)
                        continue
                    yield Frame(
                        pixels=pixels,
                        spacing_mm=self._spacing(image),
                        series=stack.name,
                        slice_index=slice_index,
                        frame_index=frame_index,
                        time_ms=image.time_ms,
                        orientation=image.orientation,
                        position_mm=image.position_mm,
                        cine_length=len(phases),
                        slice_count=len(stack.slices),
                        subject=subject,
                        origin=image.item,
                        spacing_source="tags" if self.options.spacing_mm is None else "user",
                    )

    def _spacing(self, image: Image) -> tuple[float, float]:
        return self.options.spacing_mm or image.spacing_mm or (1.0, 1.0)

    def _wants(self, stack: Stack) -> bool:
        header = stack.slices[0][0].header
        wanted = self.options.series
        exact = wanted in (header.text("SeriesInstanceUID"), header.text("SeriesNumber"))
        return exact or self._wants_series(stack.name, header.text("SeriesDescription"))

    def _usable(self, images: list[Image]) -> list[Image]:
        """The pictures that can be measured; the others go to the rejected.

        What is wrong with a whole series is said once: a reason that all its pictures share.
        """
        faults = [self._fault(image) for image in images]
        by_series: dict[tuple[str, str], list[Image]] = {}
        for image, fault in zip(images, faults, strict=True):
            if fault is not None:
                by_series.setdefault((image.series_uid, fault), []).append(image)
        sizes: dict[str, int] = {}
        for uid in (image.series_uid for image in images):
            sizes[uid] = sizes.get(uid, 0) + 1
        for (uid, fault), members in by_series.items():
            if len(members) == sizes[uid] > 1:
                series = name_of_series(members[0])
                item = f"{members[0].item} and {len(members) - 1} more"
                self._rejected.append(Rejected(item, fault, series))
            else:
                self._rejected += [Rejected(image.item, fault, name_of_series(image)) for image in members]
        return [image for image, fault in zip(images, faults, strict=True) if fault is None]

    def _fault(self, image: Image) -> str | None:
        """Why a picture cannot be measured, as far as its header says, or None."""
        header = image.header
        modality = header.text("Modality")
        if modality != self.options.modality:
            what = f"{modality} series" if modality else "a series without Modality"
            return f"{what}; the bundle was trained on {self.options.modality}"
        if not (image.rows and image.columns and header.pixel_tag):
            return "holds no picture"
        spacing_mm = self.options.spacing_mm or image.spacing_mm
        if spacing_mm is None:
            return f"no PixelSpacing in the file: {ASK_FOR_SPACING}"
        return grid_fault(spacing_mm, (image.rows, image.columns))
