"""What a source is: a context manager that gives frames one by one, and what may be asked of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeVar

from lvedge.errors import SourceError, UsageError
from lvedge.frame import Given, Subject
from lvedge_runtime.config import Config
from lvedge_runtime.figure import Figure
from lvedge_runtime.sources.geometry import SeriesGeometry
from lvedge_runtime.sources.origin import SeriesOrigin
from lvedge_runtime.sources.picture import size_fault

if TYPE_CHECKING:
    from lvedge_runtime.journal.journal import Journal

SPACING_RANGE_MM = (0.3, 5.0)
"""Plausible distances between pixels of a cardiac MR picture."""

MOST_UNEVEN = 2.0
"""Rows and columns lie at most this many times further apart than each other."""

FIELD_RANGE_MM = (40.0, 700.0)
"""Sides of a picture that can hold a heart, a child's too, and that fit into the widest bore."""

ASK_FOR_SPACING = "give --spacing-mm ROW[,COL]"


@dataclass(frozen=True)
class SourceOptions:
    """What the user says of a source beyond its URI.

    Args:
        spacing_mm: (row, column) spacing that replaces the source's own, or None.
        subject: values that are not None replace the source's own.
        series: measure only the series whose name contains this text (for DICOM also: whose
            SeriesInstanceUID or SeriesNumber is this text, or whose description contains it).
        modality: the DICOM modality that the bundle was trained on; others are refused.
        slices: measure only these slices, counted from 0.
        config: the file of settings with a receiver's, or None for the defaults.
        journal: keeps what a receiver acknowledged beyond the process, or None.
        turned: called whenever a source that waits for frames has looked for one, found or not: so that
            somebody can tell that it goes on.

    Raises:
        UsageError: if the spacing is not plausible.
    """

    spacing_mm: tuple[float, float] | None = None
    subject: Subject = field(default_factory=Subject)
    series: str | None = None
    modality: str = "MR"
    slices: frozenset[int] | None = None
    config: Config | None = None
    journal: Journal | None = None
    turned: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        if self.spacing_mm is not None:
            fault = spacing_fault(self.spacing_mm)
            if fault:
                raise UsageError(f"--spacing-mm: {fault}")

    def wants_slice(self, slice_index: int) -> bool:
        return self.slices is None or slice_index in self.slices

    def subject_over(self, known: Subject) -> Subject:
        """What the source knows of the subject, replaced where the user said more."""
        said = {name: value for name, value in vars(self.subject).items() if value is not None}
        return replace(known, **said) if said else known


class Source(Protocol):
    """Frames from one place, in order: all frames of slice 0 in phase order, then slice 1, and so on.

    A damaged item gives a ``Rejected`` and the rest goes on. A source that goes on when a series is over says
    so by ``SeriesEnd``, and by a ``Receipt`` where it received it; others need not. Iterating is possible
    inside ``with`` only.
    """

    live: bool
    """Frames arrive one by one, and nobody knows how many will come."""

    is_dicom: bool
    """Frames are read from DICOM images, which ``origin`` names."""

    @property
    def figures(self) -> Sequence[Figure]:
        """What can be followed of it inside ``with``."""
        ...

    def stop(self) -> bool:
        """Take nothing more in and come to an end with what is there; False where it cannot do that.

        May be called from another thread.
        """
        ...

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Given]: ...

    def geometry(self, series: str) -> SeriesGeometry:
        """The voxel grid of a series of which a frame has been given.

        Raises:
            SourceError: for a series that this source has not given.
        """
        ...

    def origin(self, series: str) -> SeriesOrigin:
        """The DICOM images of a series of which a frame has been given.

        Raises:
            SourceError: for a series that this source has not given, or that is not DICOM.
        """
        ...


Self = TypeVar("Self", bound="BaseSource")


class BaseSource:
    """The part that all sources share: a context without resources, the series' geometries and origins."""

    live = False
    is_dicom = False

    def __init__(self, options: SourceOptions) -> None:
        self.options = options
        self._geometries: dict[str, SeriesGeometry] = {}
        self._origins: dict[str, SeriesOrigin] = {}

    @property
    def figures(self) -> Sequence[Figure]:
        return ()

    def stop(self) -> bool:
        return False

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def geometry(self, series: str) -> SeriesGeometry:
        """The voxel grid of a series of which a frame has been given; ``SourceError`` for another."""
        try:
            return self._geometries[series]
        except KeyError:
            raise SourceError(f"no series {series!r} has been read from this source") from None

    def origin(self, series: str) -> SeriesOrigin:
        """The DICOM images of a series of which a frame has been given; ``SourceError`` for another."""
        try:
            return self._origins[series]
        except KeyError:
            raise SourceError(f"no DICOM series {series!r} has been read from this source") from None

    def _wants_series(self, *texts: str) -> bool:
        """Whether the series filter lets one with these names through."""
        wanted = self.options.series
        return wanted is None or any(wanted.casefold() in text.casefold() for text in texts)


def spacing_fault(spacing_mm: tuple[float, float]) -> str | None:
    """Why a (row, column) spacing cannot be meant, or None."""
    low, high = SPACING_RANGE_MM
    if not all(math.isfinite(value) and low <= value <= high for value in spacing_mm):
        return f"{_spacing_words(spacing_mm)} is implausible, expected {low:g} to {high:g} mm"
    if max(spacing_mm) > MOST_UNEVEN * min(spacing_mm):
        expected = f"expected rows and columns at most {MOST_UNEVEN:g}:1"
        return f"{_spacing_words(spacing_mm)} is implausible, {expected}"
    return None


def grid_fault(spacing_mm: tuple[float, float], shape: tuple[int, int]) -> str | None:
    """Why a picture of this grid is not measured, or None.

    A picture does not show a wrong spacing: what cannot be is refused here, what merely is wrong is not seen.

    Args:
        spacing_mm: (row, column).
        shape: (rows, columns).
    """
    fault = size_fault(*shape)
    if fault:
        return fault
    fault = spacing_fault(spacing_mm)
    low, high = FIELD_RANGE_MM
    height, width = (side * mm for side, mm in zip(shape, spacing_mm, strict=True))
    if fault is None and not all(low <= side <= high for side in (height, width)):
        fault = (
            f"{_spacing_words(spacing_mm)} is implausible, it makes a picture of "
            f"{width:.0f} x {height:.0f} mm, expected {low:g} to {high:g} mm"
        )
    return f"{fault}: {ASK_FOR_SPACING}" if fault else None


def _spacing_words(spacing_mm: tuple[float, float]) -> str:
    return f"a pixel spacing of {spacing_mm[0]:g} x {spacing_mm[1]:g} mm"


def spacing_from_text(text: str) -> tuple[float, float]:
    """The (row, column) spacing that ``ROW[,COL]`` says, mm.

    Raises:
        UsageError: if the text is not one or two plausible numbers.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in {1, 2}:
        raise UsageError(
            f"--spacing-mm {text!r}: expected one number or two with a comma, e.g. 1.4 or 1.4,1.5"
        )
    spacing = (values[0], values[-1])
    fault = spacing_fault(spacing)
    if fault:
        raise UsageError(f"--spacing-mm {text}: {fault}")
    return spacing
