"""Objects of one series."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

import pydicom
from pydicom.dataset import Dataset

from lvedge.errors import MissingExtraError
from lvedge_runtime.derived.series import LOG, MeasuredSeries

try:
    from lvedge_runtime.derived.capture import capture_of
    from lvedge_runtime.derived.making import Making
    from lvedge_runtime.derived.report import report_of
    from lvedge_runtime.derived.segmentation import segmentations_of
except ImportError as err:
    raise MissingExtraError("highdicom", "dicom-objects", "writing DICOM objects") from err

_MAKERS: Mapping[str, Callable[[Making], Iterable[Dataset]]] = {
    "sr": lambda making: [report_of(making)],
    "seg": segmentations_of,
    "sc": lambda making: [capture_of(making)],
}
KINDS = tuple(_MAKERS)
"""What can be made: structured report, segmentations, secondary capture."""


def objects_from_series(
    measured: MeasuredSeries, kinds: Iterable[str] = KINDS, now: datetime | None = None
) -> list[Dataset]:
    """All objects of some kinds that one measured series gives, ready to be written or sent.

    Their UIDs follow from the source's instance UIDs, the kind, the bundle and lvedge's version: made again
    from the same series they are the same. The files that ``measured.origin`` names have to be there still.
    What of their headers breaks the standard is logged, by keyword.

    Args:
        measured: the series.
        kinds: of ``KINDS``.
        now: date and time of making that the objects state; the present by default.

    Raises:
        NoObjectsError: if nothing can refer to the images of the series.
    """
    with _quiet():
        making = Making(measured, datetime.now() if now is None else now)
        if making.emptied:
            LOG.warning(
                "%s: left empty in what is derived, as they break the standard: %s",
                measured.name,
                ", ".join(making.emptied),
            )
        made = [each for kind in kinds for each in _MAKERS[kind](making)]
        for each in made:
            each.InstanceCreationDate = f"{making.now:%Y%m%d}"
            each.InstanceCreationTime = f"{making.now:%H%M%S.%f}"
    return made


@contextmanager
def _quiet() -> Iterator[None]:
    """Values are taken as they are, and neither pydicom nor highdicom writes names and UIDs into logs."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
