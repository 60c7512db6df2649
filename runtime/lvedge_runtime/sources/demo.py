"""The embedded demo: an analytic beating heart, written as a DICOM series and read back like any other."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from lvedge.errors import UsageError
from lvedge_runtime.sources.dicom import DicomSource
from lvedge_runtime.sources.source import SourceOptions
from lvedge_runtime.uri import Uri


class DemoSource(DicomSource):
    """The demo's frames; the written files are removed at the end.

    Raises:
        UsageError: if the URI says more than ``demo:``.
    """

    def __init__(self, uri: Uri, options: SourceOptions) -> None:
        if uri.path:
            raise UsageError(f"{str(uri)!r}: the demo takes no path; write demo:")
        super().__init__(uri, options)
        self._folder: TemporaryDirectory[str] | None = None

    def __enter__(self) -> DemoSource:
        from lvedge_runtime.demo import write_demo

        self._folder = TemporaryDirectory(prefix="lvedge-demo-")
        try:
            self.path = write_demo(Path(self._folder.name))
            super().__enter__()
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
