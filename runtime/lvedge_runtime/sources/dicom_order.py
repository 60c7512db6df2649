"""DICOM pictures sorted into series, stacks and slices by their own tags.

Slices are told apart by their position along the stack's normal, never by SliceLocation, which vendors and
anonymisers get wrong. The order within a slice is ``dicom_phase``'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from lvedge.frame import Orientation, Rejected
from lvedge_runtime.sources.dicom_image import Image
from lvedge_runtime.sources.dicom_phase import Cine, cine_from_images
from lvedge_runtime.sources.geometry import SeriesGeometry, geometry_from_spacing, geometry_from_tags
from lvedge_runtime.sources.naming import series_name, unique_name
from lvedge_runtime.sources.origin import SeriesOrigin, SourcePicture

SLICE_TOLERANCE_MM = 0.5
_SAME_DIRECTION = 0.9994  # cosine of 2°


@dataclass(frozen=True)
class Stack:
    """The pictures of a series that lie parallel, with one size and spacing; measured as one series.

    Args:
        name: ``<SeriesNumber>_<first 8 hex digits of SHA-256 of SeriesInstanceUID>``, the number being
            "series" where there is none; a series' further stacks have -2, -3 and so on behind it.
        slices: a cine each, lowest position along the normal first.
        rejected: copies of pictures.
    """

    name: str
    slices: tuple[Cine, ...]
    rejected: tuple[Rejected, ...]

    @property
    def first(self) -> Image:
        """The first picture of the first slice."""
        return self.slices[0].images[0]


def stacks_from_images(images: Iterable[Image]) -> list[Stack]:
    """All stacks, in the order of SeriesNumber; the pictures keep their order where tags do not decide."""
    by_series: dict[tuple[str, str], list[Image]] = {}
    for image in images:
        uid = image.series_uid
        by_series.setdefault((uid, "" if uid else image.header.text("SeriesNumber")), []).append(image)
    taken: set[str] = set()
    stacks = []
    for members in sorted(by_series.values(), key=_series_order):
        for parallel in _parallel(sorted(members, key=_instance)):
            name = unique_name(name_of_series(parallel[0]), taken)
            stacks.append(_stack(name, parallel))
    return stacks


def name_of_series(image: Image) -> str:
    """The series' name in results; says nothing of the person."""
    number = image.header.number("SeriesNumber")
    digest = sha256(image.series_uid.encode()).hexdigest()[:8]
    return series_name(f"{'series' if number is None else int(number)}_{digest}")


def geometry_of_stack(stack: Stack, spacing_mm: tuple[float, float]) -> SeriesGeometry:
    """The stack's voxel grid; slices stand as far apart as their positions say.

    Args:
        stack: the stack.
        spacing_mm: (row, column) spacing.
    """
    first, last = stack.first, stack.slices[-1].images[0]
    count = len(stack.slices)
    shape = (first.columns, first.rows, count)
    frames = max(len(cine.images) for cine in stack.slices)
    stated = first.header.number("SpacingBetweenSlices") or first.header.number("SliceThickness")
    step: np.ndarray | None = None
    between = abs(stated) if stated else 1.0
    if count > 1 and first.position_mm is not None and last.position_mm is not None:
        step = (np.asarray(last.position_mm) - np.asarray(first.position_mm)) / (count - 1)
        between = float(np.linalg.norm(step))
    spacing = (spacing_mm[1], spacing_mm[0], between)
    if first.orientation is None or first.position_mm is None:
        return geometry_from_spacing(shape, spacing, frames)
    return geometry_from_tags(
        first.orientation, first.position_mm, shape=shape, spacing_mm=spacing, frames=frames, step_mm=step
    )


def origin_of_stack(stack: Stack) -> SeriesOrigin:
    """The images of a stack."""
    return SeriesOrigin(
        {
            (slice_index, frame_index): SourcePicture(
                image.path,
                image.header.text("SOPClassUID"),
                image.header.text("SOPInstanceUID"),
                image.index + 1 if image.frames > 1 else None,
            )
            for slice_index, cine in enumerate(stack.slices)
            for frame_index, image in enumerate(cine.images)
        }
    )


def _series_order(members: list[Image]) -> tuple[float, str]:
    number = members[0].header.number("SeriesNumber")
    return (float("inf") if number is None else number, members[0].series_uid)


def _instance(image: Image) -> tuple[float, int]:
    number = image.header.number("InstanceNumber")
    return (float("inf") if number is None else number, image.index)


def _parallel(images: list[Image]) -> list[list[Image]]:
    """The pictures grouped by direction, size and spacing, in order of appearance."""
    groups: list[list[Image]] = []
    for image in images:
        for group in groups:
            if is_parallel(group[0], image):
                group.append(image)
                break
        else:
            groups.append([image])
    return groups


def is_parallel(first: Image, second: Image) -> bool:
    """Whether two pictures can be of one stack: one direction, size and spacing."""
    if (first.rows, first.columns) != (second.rows, second.columns):
        return False
    if (first.position_mm is None) != (second.position_mm is None):
        return False
    if first.spacing_mm is not None and second.spacing_mm is not None:
        pairs = zip(first.spacing_mm, second.spacing_mm, strict=True)
        if not all(math.isclose(one, two, rel_tol=1e-3) for one, two in pairs):
            return False
    elif first.spacing_mm is not second.spacing_mm:
        return False
    if first.orientation is None or second.orientation is None:
        return first.orientation is second.orientation
    return _agree(first.orientation, second.orientation)


def _agree(first: Orientation, second: Orientation) -> bool:
    pairs = ((first.row, second.row), (first.column, second.column))
    return all(sum(a * b for a, b in zip(one, two, strict=True)) >= _SAME_DIRECTION for one, two in pairs)


def _stack(name: str, images: list[Image]) -> Stack:
    rejected: list[Rejected] = []
    known: dict[tuple[str, int], Image] = {}
    single: list[Image] = []
    for image in images:
        uid = image.header.text("SOPInstanceUID")
        original = known.setdefault((uid or image.item, image.index), image)
        if original is image:
            single.append(image)
        else:
            rejected.append(Rejected(image.item, f"a copy of {original.item} (same SOPInstanceUID)", name))
    slices = []
    for members in _slices(single):
        cine, copies = cine_from_images(members)
        slices.append(cine)
        rejected.extend(replace(copy, series=name) for copy in copies)
    return Stack(name, tuple(slices), tuple(rejected))


def _slices(images: list[Image]) -> list[list[Image]]:
    """The pictures by position along the normal; one slice where the tags give no position."""
    orientation = images[0].orientation
    if orientation is None or images[0].position_mm is None:
        return [images]
    normal = orientation.normal
    heights = np.array([float(normal @ np.asarray(image.position_mm)) for image in images])
    order = np.argsort(heights, kind="stable")
    breaks = np.flatnonzero(np.diff(heights[order]) > SLICE_TOLERANCE_MM) + 1
    return [[images[k] for k in sorted(part)] for part in np.split(order, breaks)]
