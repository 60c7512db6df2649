"""DICOM files: a cine sorted into series, slices and phases by its own tags, pixels decoded one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lvedge.errors import SourceError
from lvedge.frame import Given, Rejected
from lvedge_runtime.sources.dicom_frames import Pictures, matches_series
from lvedge_runtime.sources.dicom_header import read_header
from lvedge_runtime.sources.dicom_image import Image, images_from_header
from lvedge_runtime.sources.naming import files_under
from lvedge_runtime.sources.source import BaseSource, SourceOptions
from lvedge_runtime.uri import Uri

_NOT_PICTURES = frozenset({"DICOMDIR"})


class DicomSource(BaseSource):
    """The frames of a DICOM file or folder, each series measured on its own, in the order of SeriesNumber.

    ``with`` reads the headers only.

    Raises:
        SourceError: on entering, if there is no such file or folder, if it holds no files, or if the series
            that was asked for is not in it.
    """

    is_dicom = True

    def __init__(self, uri: Uri, options: SourceOptions) -> None:
        super().__init__(options)
        self.path = Path(uri.path)
        self._rejected: list[Rejected] = []
        self._pictures = Pictures((), options)

    def __enter__(self) -> DicomSource:
        self._rejected = []
        images: list[Image] = []
        for path, item in files_under(self.path, skip=_NOT_PICTURES):
            try:
                images += images_from_header(path, item, read_header(path))
            except SourceError as err:
                self._rejected.append(Rejected(item, str(err)))
        self._pictures = Pictures(images, self.options)
        stacks, wanted = self._pictures.stacks, self.options.series
        self._pictures.stacks = [s for s in stacks if matches_series(wanted, s.name, s.first)]
        if stacks and not self._pictures.stacks:
            names = ", ".join(stack.name for stack in stacks)
            raise SourceError(f"{self.path}: no series matches {wanted!r}; there are {names}")
        self._geometries.update(self._pictures.geometries())
        self._origins.update(self._pictures.origins())
        return self

    def __iter__(self) -> Iterator[Given]:
        yield from self._rejected
        yield from self._pictures.frames()
