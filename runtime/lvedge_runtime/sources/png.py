"""Pictures: a folder of them, or one, without any geometry of their own.

A folder is one slice's cine in the natural order of the file names, unless every name says slice and phase
(``heart_s03_t07.png``, ``heart_t07z3.png``, ``slice_3_frame_7.png``): then it is a stack. What stands
before and behind these numbers names the series; different names are different series.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lvedge.errors import SourceError
from lvedge.frame import Frame, Rejected
from lvedge_runtime.sources.geometry import geometry_from_spacing
from lvedge_runtime.sources.naming import files_under, series_name, unique_name
from lvedge_runtime.sources.opencv import read_picture
from lvedge_runtime.sources.picture import grey_from_array
from lvedge_runtime.sources.source import ASK_FOR_SPACING, BaseSource, SourceOptions, grid_fault
from lvedge_runtime.uri import Uri

_SLICE = re.compile(r"(?<![a-z])(?:slice|sl|s|z)[_-]?([0-9]+)(?![0-9])", re.IGNORECASE)
_PHASE = re.compile(r"(?<![a-z])(?:phase|frame|t)[_-]?([0-9]+)(?![0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class _Picture:
    path: Path
    item: str
    slice_number: int = 0
    phase_number: int = 0


class PngSource(BaseSource):
    """The frames of a picture, or of a folder of pictures, in any format that OpenCV reads (PNG, JPEG, TIFF).

    Slices and frames count from 0 in the order of the numbers in the names.

    Raises:
        SourceError: on entering, if there is no such file or folder, if it holds no files, if no spacing was
            given, or if the series that was asked for is not in it.
    """

    def __init__(self, uri: Uri, options: SourceOptions) -> None:
        super().__init__(options)
        self.path = Path(uri.path)
        self._series: list[tuple[str, list[list[_Picture]]]] = []

    def __enter__(self) -> PngSource:
        files = files_under(self.path)
        if self.options.spacing_mm is None:
            raise SourceError(f"{self.path}: pictures state no pixel spacing: {ASK_FOR_SPACING}")
        folder = self.path.resolve()
        fallback = series_name(folder.name if folder.is_dir() else folder.stem)
        found = _series_from_files(files, fallback)
        self._series = [(name, slices) for name, slices in found if self._wants_series(name)]
        if not self._series:
            names = ", ".join(name for name, _ in found[:10])
            raise SourceError(f"{self.path}: no series matches {self.options.series!r}; there are {names}")
        return self

    def __iter__(self) -> Iterator[Frame | Rejected]:
        spacing = self.options.spacing_mm or (1.0, 1.0)
        for series, slices in self._series:
            for slice_index, pictures in enumerate(slices):
                if not self.options.wants_slice(slice_index):
                    continue
                for frame_index, picture in enumerate(pictures):
                    try:
                        pixels = grey_from_array(read_picture(picture.path))
                        fault = grid_fault(spacing, (pixels.shape[0], pixels.shape[1]))
                        if fault:
                            raise SourceError(fault)
                    except SourceError as err:
                        yield Rejected(picture.item, str(err), series)
                        continue
                    if series not in self._geometries:
                        shape = (pixels.shape[1], pixels.shape[0], len(slices))
                        frames = max(len(phases) for phases in slices)
                        self._geometries[series] = geometry_from_spacing(
                            shape, (spacing[1], spacing[0], 1.0), frames
                        )
                    yield Frame(
                        pixels=pixels,
                        spacing_mm=spacing,
                        series=series,
                        slice_index=slice_index,
                        frame_index=frame_index,
                        cine_length=len(pictures),
                        slice_count=len(slices),
                        subject=self.options.subject,
                        origin=picture.item,
                        spacing_source="user",
                    )


def _series_from_files(
    files: list[tuple[Path, str]], fallback: str
) -> list[tuple[str, list[list[_Picture]]]]:
    """Series by name, each a list of slices, each a list of pictures in phase order."""
    stems: dict[str, list[_Picture]] = {}
    for path, item in files:
        slice_found, phase_found = _SLICE.search(path.stem), _PHASE.search(path.stem)
        if slice_found is None or phase_found is None:
            return [(fallback, [[_Picture(path, item) for path, item in files]])]
        stem = (
            Path(item).parent.as_posix() + "/" + _SLICE.sub("", _PHASE.sub("", path.stem, count=1), count=1)
        )
        picture = _Picture(path, item, int(slice_found.group(1)), int(phase_found.group(1)))
        stems.setdefault(stem, []).append(picture)
    taken: set[str] = set()
    named = []
    for stem, pictures in stems.items():
        name = fallback if len(stems) == 1 else series_name(stem.removeprefix("./"))
        by_slice: dict[int, list[_Picture]] = {}
        for picture in sorted(pictures, key=lambda one: (one.slice_number, one.phase_number)):
            by_slice.setdefault(picture.slice_number, []).append(picture)
        named.append((unique_name(name, taken), list(by_slice.values())))
    return named
