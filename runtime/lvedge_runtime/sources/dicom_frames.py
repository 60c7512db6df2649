"""DICOM pictures as frames: what cannot be measured told apart, the rest sorted and decoded one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lvedge.errors import SourceError
from lvedge.frame import Frame, Given, Rejected, SeriesEnd, Subject
from lvedge_runtime.sources.dicom_image import Image, subject_from_header
from lvedge_runtime.sources.dicom_order import (
    geometry_of_stack,
    name_of_series,
    origin_of_stack,
    stacks_from_images,
)
from lvedge_runtime.sources.dicom_pixels import pixels_from_image
from lvedge_runtime.sources.geometry import SeriesGeometry
from lvedge_runtime.sources.origin import SeriesOrigin
from lvedge_runtime.sources.source import ASK_FOR_SPACING, SourceOptions, grid_fault

_MODALITIES = frozenset(("CR", "CT", "DX", "ES", "MG", "MR", "NM", "OT", "PT", "RF", "SC", "SR", "US", "XA"))
"""What may be repeated in a message (PS3.3, C.7.3.1.1.1): other words are the sender's own."""


class Pictures:
    """The frames of a set of pictures, each series on its own, in the order of SeriesNumber.

    The one way from headers to frames, for files and for what arrives over the network. Slices and
    frames count from 0 in the order that ``dicom_order`` and ``dicom_phase`` give; a picture whose pixels
    turn out to be damaged keeps its place in the cine, as a ``Rejected``.

    Args:
        images: the pictures; where tags do not decide, their order does.
        options: what the user says beyond them.
    """

    def __init__(self, images: Sequence[Image], options: SourceOptions) -> None:
        self._options = options
        self.rejected: list[Rejected] = []
        self.stacks = stacks_from_images(self._usable(images))

    def geometries(self) -> dict[str, SeriesGeometry]:
        """The voxel grid of each series."""
        return {s.name: geometry_of_stack(s, spacing_of(s.first, self._options)) for s in self.stacks}

    def origins(self) -> dict[str, SeriesOrigin]:
        """The images of each series."""
        return {s.name: origin_of_stack(s) for s in self.stacks}

    def frames(self) -> Iterator[Given]:
        """What is refused as a whole, then series by series all frames, slice by slice, and its end."""
        yield from self.rejected
        for stack in self.stacks:
            yield from stack.rejected
            subject = self._options.subject_over(subject_from_header(stack.first.header))
            for slice_index, cine in enumerate(stack.slices):
                if not self._options.wants_slice(slice_index):
                    continue
                for frame_index, image in enumerate(cine.images):
                    yield frame_from_image(
                        image,
                        self._options,
                        series=stack.name,
                        subject=subject,
                        slice_index=slice_index,
                        frame_index=frame_index,
                        cine_length=len(cine.images) if cine.one_beat else None,
                        slice_count=len(stack.slices),
                        phase_index=cine.places[frame_index],
                        phase_count=cine.length,
                    )
            yield SeriesEnd(stack.name)

    def _usable(self, images: Sequence[Image]) -> list[Image]:
        """The pictures that can be measured; the others go to the rejected.

        What is wrong with a whole series is said once: a reason that all its pictures share.
        """
        faults = [fault_of(image, self._options) for image in images]
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
                self.rejected.append(Rejected(item, fault, series))
            else:
                self.rejected += [Rejected(image.item, fault, name_of_series(image)) for image in members]
        return [image for image, fault in zip(images, faults, strict=True) if fault is None]


def frame_from_image(
    image: Image,
    options: SourceOptions,
    *,
    series: str,
    subject: Subject,
    slice_index: int,
    frame_index: int,
    cine_length: int | None = None,
    slice_count: int | None = None,
    phase_index: int | None = None,
    phase_count: int | None = None,
    provisional: bool = False,
) -> Frame | Rejected:
    """The picture with its pixels decoded, at its place, or why it cannot be decoded."""
    try:
        pixels = pixels_from_image(image)
    except SourceError as err:
        return Rejected(image.item, str(err), series)
    return Frame(
        pixels=pixels,
        spacing_mm=spacing_of(image, options),
        series=series,
        slice_index=slice_index,
        frame_index=frame_index,
        time_ms=image.time_ms,
        orientation=image.orientation,
        position_mm=image.position_mm,
        cine_length=cine_length,
        slice_count=slice_count,
        subject=subject,
        origin=image.item,
        spacing_source="tags" if options.spacing_mm is None else "user",
        phase_index=phase_index,
        phase_count=phase_count,
        provisional=provisional,
    )


def spacing_of(image: Image, options: SourceOptions) -> tuple[float, float]:
    """(row, column) spacing: the user's, else the picture's."""
    return options.spacing_mm or image.spacing_mm or (1.0, 1.0)


def matches_series(wanted: str | None, name: str, image: Image) -> bool:
    """Whether ``--series`` means this series: part of its name or description, or its UID or number."""
    if wanted is None or wanted in (image.series_uid, image.header.text("SeriesNumber")):
        return True
    texts = (name, image.header.text("SeriesDescription"))
    return any(wanted.casefold() in text.casefold() for text in texts)


def fault_of(image: Image, options: SourceOptions) -> str | None:
    """Why a picture cannot be measured, as far as its header says, or None."""
    header = image.header
    modality = header.text("Modality")
    if modality != options.modality:
        known = f"{modality} series" if modality in _MODALITIES else "a series of an unknown Modality"
        what = known if modality else "a series without Modality"
        return f"{what}; the bundle was trained on {options.modality}"
    if not (image.rows and image.columns and header.pixel_tag):
        return "holds no picture"
    spacing_mm = options.spacing_mm or image.spacing_mm
    if spacing_mm is None:
        return f"no PixelSpacing in the file: {ASK_FOR_SPACING}"
    return grid_fault(spacing_mm, (image.rows, image.columns))
