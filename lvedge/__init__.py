"""lvedge: the heart's left ventricle, measured frame by frame on short-axis cine MRI."""

from __future__ import annotations

__version__ = "0.1.0"
