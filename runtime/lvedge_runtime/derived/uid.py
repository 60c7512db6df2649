"""UIDs that follow from what an object is made of: made again, it carries the same."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID, uuid5

from pydicom.uid import UID

from lvedge import __version__
from lvedge_runtime.derived.series import MeasuredSeries

_NAMESPACE = UUID("6f0f3f0e-6a26-4a52-9d0a-3f8a4f7f2b11")


def uid_from(*parts: str) -> UID:
    """The UID of these words: a name-based UUID under ``2.25.`` (DICOM PS3.5, B.2; RFC 9562, 5.5)."""
    name = sha256("\0".join(parts).encode()).hexdigest()
    return UID(f"2.25.{uuid5(_NAMESPACE, name).int}")


def key_of_series(measured: MeasuredSeries) -> str:
    """What tells one reading of one series from every other.

    All its images, the bundle, lvedge's version, the spacing, and the rows of the case table that hold: a
    series that was completed later, or read anew by another bundle, gives other objects beside the first.
    """
    pictures = sorted((p.instance_uid, p.frame_number or 0) for p in measured.origin.pictures.values())
    rows = [(s.index, finding.row, finding.label) for s in measured.slices for finding in s.cycle.findings]
    spacing = [(s.index, s.ed.frame.spacing_mm) for s in measured.slices]
    said = (pictures, measured.bundle_sha256, __version__, spacing, rows)
    return sha256(repr(said).encode()).hexdigest()
