"""What the objects of one series have in common: headers, UIDs, who made them and when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from highdicom.coding_schemes import CodingSchemeIdentificationItem

from lvedge import __version__
from lvedge.measurement import Measurement
from lvedge_runtime.derived import code
from lvedge_runtime.derived.header import SourceHeader, header_of
from lvedge_runtime.derived.series import MeasuredSeries
from lvedge_runtime.derived.uid import key_of_series, uid_from
from lvedge_runtime.sinks import NOTICE

MODEL = "lvedge"
MANUFACTURER = "lvedge"
UTF8 = "ISO_IR 192"
SERIES_OFFSETS = {"sr": 1, "seg": 2, "sc": 3}
"""Series 7 gives 7001, 7002 and 7003."""


class Making:
    """One series on its way into objects.

    Args:
        series: what was measured.
        now: when the objects are made.

    Raises:
        NoObjectsError: if nothing can refer to its images.
    """

    def __init__(self, series: MeasuredSeries, now: datetime) -> None:
        self.series = series
        self.now = now
        self._key = key_of_series(series)
        self._headers: dict[tuple[int, int], SourceHeader] = {}
        for measurement in (m for s in series.slices for m in (s.ed, s.es)):
            place = (measurement.frame.slice_index, measurement.frame.frame_index)
            if place not in self._headers:
                self._headers[place] = header_of(measurement, series.picture(measurement))

    @property
    def headers(self) -> list[SourceHeader]:
        """The headers of all images at end diastole and end systole, in the stack's order."""
        return list(self._headers.values())

    def header(self, measurement: Measurement) -> SourceHeader:
        """The header of the image that a measurement at end diastole or end systole was made on."""
        return self._headers[measurement.frame.slice_index, measurement.frame.frame_index]

    @property
    def emptied(self) -> list[str]:
        """Keywords of values that break the standard and are left empty."""
        return sorted({keyword for header in self.headers for keyword in header.emptied})

    @property
    def serial_number(self) -> str:
        """In place of a device's serial number: which network it is."""
        return self.series.bundle_sha256[:16] or "none"

    @property
    def parameters(self) -> list[str]:
        """What the values depend on, for the algorithm's identification."""
        return [
            f"bundle {self.series.bundle}",
            f"bundle sha256 {self.series.bundle_sha256}",
            f"engine {self.series.engine}",
        ]

    def uid(self, *parts: str) -> str:
        """The UID of a part of this reading of this series."""
        return str(uid_from(self._key, *parts))

    def instance(self, kind: str, description: str, number: int = 1, part: str = "") -> dict[str, Any]:
        """Arguments that every object takes.

        Args:
            kind: "sr", "seg" or "sc": one series each.
            description: of the series.
            number: the instance's number.
            part: what tells it from the others of its kind.
        """
        stated = self.headers[0].data.get("SeriesNumber")
        base = int(stated) if stated is not None and 0 < int(stated) < 10**8 else 9
        return {
            "series_instance_uid": self.uid(kind),
            "series_number": 1000 * base + SERIES_OFFSETS[kind],
            "series_description": f"{description}, {NOTICE.lower()}"[:64],
            "series_date": self.now.date(),
            "series_time": self.now.time(),
            "content_date": self.now.date(),
            "content_time": self.now.time(),
            "sop_instance_uid": self.uid(kind, part, str(number)),
            "instance_number": number,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": MODEL,
            "software_versions": __version__,
            "device_serial_number": self.serial_number,
            "specific_character_set": UTF8,
            "coding_schemes": [
                CodingSchemeIdentificationItem(code.SCHEME, name=code.SCHEME_NAME, version="1")
            ],
        }
