"""Sources: where frames come from. Each is named by a URI and imported when chosen."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from lvedge.errors import UsageError
from lvedge_runtime.sources.geometry import SeriesGeometry
from lvedge_runtime.sources.source import Source, SourceOptions, spacing_from_text
from lvedge_runtime.uri import Uri, parse_uri

__all__ = ["SOURCES", "SeriesGeometry", "Source", "SourceOptions", "open_source", "spacing_from_text"]

SOURCES: Mapping[str, str] = {
    "demo": "lvedge_runtime.sources.demo:DemoSource",
    "dicom": "lvedge_runtime.sources.dicom:DicomSource",
    "nifti": "lvedge_runtime.sources.nifti:NiftiSource",
    "npz": "lvedge_runtime.sources.npz:NpzSource",
    "png": "lvedge_runtime.sources.png:PngSource",
    "video": "lvedge_runtime.sources.video:VideoSource",
    "camera": "lvedge_runtime.sources.video:CameraSource",
    "dicom://": "lvedge_runtime.receiver.source:ReceiverSource",
}


def open_source(uri: str, options: SourceOptions | None = None) -> Source:
    """The source that a URI or a bare path names; nothing is read before ``with``.

    Raises:
        UsageError: for an unknown scheme, or one that lacks what it names.
        SourceError: for a bare path that does not exist or whose content is not recognised.
    """
    parsed = parse_uri(uri, SOURCES)
    if not parsed.scheme:
        from lvedge_runtime.sources.recognise import scheme_of

        parsed = Uri(scheme=scheme_of(Path(parsed.path)), path=parsed.path)
    elif not parsed.path and parsed.scheme != "demo" and parsed.host is None:
        raise UsageError(f"{uri!r}: write what to read behind {parsed.scheme}:")
    sends = options is not None and options.journal is not None
    if options is not None and options.config is not None and parsed.host is None and not sends:
        raise UsageError(
            f"{uri!r}: --config has the settings of a receiver; write dicom://[host]:port, or name a "
            "[journal] in it for store://"
        )
    module, name = SOURCES[parsed.key].split(":")
    source: Source = getattr(import_module(module), name)(parsed, options or SourceOptions())
    return source
