"""Series as they arrive: first provisional frames in phase order, then the whole series as a folder gives it.

Nothing here knows the time: whoever calls says when.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lvedge.frame import Frame, Given, Receipt, Rejected
from lvedge_runtime.receiver.intake import Arrival, Keeper
from lvedge_runtime.receiver.setting import Settings
from lvedge_runtime.receiver.window import PhaseWindow
from lvedge_runtime.sources.dicom_frames import Pictures, frame_from_image
from lvedge_runtime.sources.dicom_image import Image, subject_from_header
from lvedge_runtime.sources.dicom_order import SLICE_TOLERANCE_MM, is_parallel
from lvedge_runtime.sources.geometry import SeriesGeometry
from lvedge_runtime.sources.naming import natural_key
from lvedge_runtime.sources.origin import SeriesOrigin
from lvedge_runtime.sources.source import SourceOptions

LOG = logging.getLogger("lvedge_runtime.receiver")


@dataclass
class _Slice:
    """One slice of a series that is arriving.

    Args:
        index: how many slices came before it.
        height_mm: its position along the normal, or None where the tags give none.
        window: its pictures that wait.
        touched: when its last picture came.
    """

    index: int
    height_mm: float | None
    window: PhaseWindow
    touched: float
    given: int = 0


@dataclass
class _Series:
    """One series, arriving or whole.

    Args:
        name: its name in results.
        touched: when its last picture came.
        images: by SOPInstanceUID and place in the file.
        files: what the shelf keeps of it.
        numbers: the instances that were taken in and not given a receipt for.
        dropped: how many instances were dropped, by reason.
        stacks: the names under which its frames were given.
        whole: it was measured, and is kept for latecomers.
    """

    name: str
    touched: float
    images: dict[tuple[str, int], Image] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    slices: list[_Slice] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    stacks: set[str] = field(default_factory=set)
    whole: bool = False


class Reception:
    """Sorts arrivals into series and gives their frames.

    Args:
        settings: the windows and times.
        options: what the user says of the source.
        shelf: what keeps the files; freed of what is no longer needed.
    """

    def __init__(self, settings: Settings, options: SourceOptions, shelf: Keeper) -> None:
        self._settings = settings
        self._options = options
        self._shelf = shelf
        self._series: dict[str, _Series] = {}
        self.geometries: dict[str, SeriesGeometry] = {}
        self.origins: dict[str, SeriesOrigin] = {}

    def __contains__(self, series: str) -> bool:
        """Whether a series is arriving, or kept for latecomers."""
        return series in self._series

    def take(self, arrival: Arrival) -> Iterator[Frame | Rejected]:
        """Take an arrival in; the provisional frames whose turn has come with it."""
        series = self._series.setdefault(arrival.series, _Series(arrival.series, arrival.at))
        series.numbers.append(arrival.number)
        if arrival.path is None:
            series.touched = arrival.at
            series.dropped[arrival.dropped or ""] += 1
            series.whole = False
            return
        known = series.images
        new = [image for image in arrival.images if _identity(image) not in known]
        if not new:
            self._shelf.free(arrival.path)
            return
        series.touched, series.whole = arrival.at, False
        series.files.append(arrival.path)
        for image in new:
            known[_identity(image)] = image
        if self._settings.provisional and not arrival.again:
            yield from self._provisional(series, new, arrival.at)

    def step_over(self, now: float) -> Iterator[Frame | Rejected]:
        """The provisional frames behind gaps that stayed open for too long."""
        for series in self._series.values():
            for part in series.slices:
                if not series.whole and part.window.is_waiting and now >= part.touched + self._settings.gap_s:
                    part.touched = now
                    yield from self._frames(series, part, part.window.step_over(), now)

    def complete(self, now: float) -> Iterator[Given]:
        """One series that was quiet for long enough, whole, and its receipt; nothing where there is none."""
        quiet = [s for s in self._arriving() if now >= s.touched + self._settings.series_s]
        if quiet:
            yield from self._complete(min(quiet, key=lambda series: series.touched))

    def finish(self) -> Iterator[Given]:
        """All series that are not whole yet, as far as they have come."""
        for series in list(self._arriving()):
            yield from self._complete(series)

    def forget(self, now: float) -> None:
        """Let go of series that were measured and have had no latecomer for long enough."""
        for name, series in list(self._series.items()):
            if series.whole and now >= series.touched + self._settings.keep_s:
                for path in series.files:
                    self._shelf.free(path)
                for stack in series.stacks:
                    self.geometries.pop(stack, None)
                    self.origins.pop(stack, None)
                del self._series[name]

    def due(self) -> float:
        """When something has to be done next; infinity where nothing has."""
        times = [math.inf]
        for series in self._series.values():
            if series.whole:
                times.append(series.touched + self._settings.keep_s)
                continue
            times.append(series.touched + self._settings.series_s)
            times += [
                part.touched + self._settings.gap_s
                for part in series.slices
                if part.window.is_waiting and part.window.is_cine
            ]
        return min(times)

    def _arriving(self) -> Iterator[_Series]:
        return (series for series in self._series.values() if not series.whole)

    def _complete(self, series: _Series) -> Iterator[Given]:
        numbers, series.numbers = tuple(series.numbers), []
        self._shelf.begin(numbers)
        yield from self._whole(series)
        yield Receipt(series.name, numbers)

    def _whole(self, series: _Series) -> Iterator[Given]:
        series.whole = True
        dropped, series.dropped = series.dropped, Counter()
        LOG.info(
            "a series is whole: %d pictures of %d instances; %d dropped",
            len(series.images),
            len(series.files),
            dropped.total(),
            extra={
                "fields": {
                    "event": "series whole",
                    "pictures": len(series.images),
                    "instances": len(series.files),
                    "dropped": dropped.total(),
                }
            },
        )
        series.slices = []
        for reason, count in dropped.items():
            yield Rejected(f"{count} of {series.name}", reason, series.name)
        if not series.images:
            del self._series[series.name]
            return
        # The order of files in a folder: it counts only where the tags do not decide.
        images = sorted(series.images.items(), key=lambda pair: (natural_key(pair[0][0]), pair[0][1]))
        pictures = Pictures([image for _, image in images], self._options)
        fewest = self._settings.fewest_phases
        cines = []
        for stack in pictures.stacks:
            longest = max(len(cine.images) for cine in stack.slices)
            if longest >= fewest:
                cines.append(stack)
                continue
            count = sum(len(cine.images) for cine in stack.slices)
            reason = f"no cine: at most {longest} of {fewest} pictures a slice"
            yield Rejected(f"{count} of {stack.name}", reason, stack.name)
        pictures.stacks = cines
        self.geometries.update(pictures.geometries())
        self.origins.update(pictures.origins())
        series.stacks.update(stack.name for stack in cines)
        yield from pictures.frames()

    def _provisional(self, series: _Series, images: list[Image], at: float) -> Iterator[Frame | Rejected]:
        first = next(iter(series.images.values()))
        for part, image in [(self._slice(series, i, at), i) for i in images if is_parallel(first, i)]:
            part.touched = at
            part.window.add(image)
        for part in series.slices:
            if part.touched == at:
                yield from self._frames(series, part, part.window.ready(), at)

    def _slice(self, series: _Series, image: Image, at: float) -> _Slice:
        """The slice that a picture belongs to."""
        height_mm: float | None = None
        if image.orientation is not None and image.position_mm is not None:
            height_mm = float(image.orientation.normal @ np.asarray(image.position_mm))
        for part in series.slices:
            if height_mm is None or part.height_mm is None:
                if height_mm is part.height_mm:
                    return part
            elif abs(height_mm - part.height_mm) <= SLICE_TOLERANCE_MM:
                return part
        window = PhaseWindow(image, self._settings.window)
        series.slices.append(_Slice(len(series.slices), height_mm, window, at))
        return series.slices[-1]

    def _frames(
        self, series: _Series, part: _Slice, given: Iterator[tuple[int, Image]], due: float
    ) -> Iterator[Frame | Rejected]:
        """Frames whose turn has come; ``due`` says when."""
        for place, image in given:
            # Before it is decoded: that may end the run as well.
            self._shelf.measuring(series.numbers[-1])
            frame = frame_from_image(
                image,
                self._options,
                series=series.name,
                subject=self._options.subject_over(subject_from_header(image.header)),
                slice_index=part.index,
                frame_index=part.given,
                phase_index=place,
                provisional=True,
            )
            part.given += 1
            # What cannot be decoded is told once, when the series is whole.
            if isinstance(frame, Frame):
                yield replace(frame, due_s=due)


def _identity(image: Image) -> tuple[str, int]:
    return image.header.text("SOPInstanceUID") or image.item, image.index
