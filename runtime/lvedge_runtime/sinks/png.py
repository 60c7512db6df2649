"""``png:DIR``: one overlay a frame."""

from __future__ import annotations

from collections import deque

import cv2

from lvedge.errors import SinkError
from lvedge.frame import Rejected, SeriesEnd
from lvedge.measurement import Cycle, Measurement, Mode
from lvedge.volume import StackVolumes
from lvedge_runtime.sinks import BaseSink, Item, RunContext
from lvedge_runtime.sinks.output import made_folder, write_whole
from lvedge_runtime.sinks.overlay import Sample, draw_overlay, sample_from_measurement

LIVE_SAMPLES = 60
"""How many frames back the curves of a live slice reach."""

_Key = tuple[str, int]


class PngSink(BaseSink):
    """``<series>_sNN_tNN.png``: the frame with walls, RV, sectors and mid-septum, its values and curves.

    In closed mode a slice's pictures are drawn when its beat is complete, so that each shows the whole beat;
    in live mode at once, with the curves as far as they have come.

    Args:
        target: the folder, made where it is missing.
        context: bundle and engine, for the footer.

    Raises:
        SinkError: if the folder cannot be made or a picture cannot be written.
    """

    def __init__(self, target: str, context: RunContext) -> None:
        self._folder = made_folder(target)
        self._origin = f"lvedge   {context.bundle_label}   {context.engine}"
        self._waiting: dict[_Key, list[Measurement]] = {}
        self._live: dict[_Key, deque[Sample]] = {}

    def write(self, item: Item) -> None:
        if isinstance(item, Rejected | StackVolumes | SeriesEnd):
            return
        if isinstance(item, Cycle):
            self._draw_waiting((item.series, item.slice_index), item)
            return
        key = (item.frame.series, item.frame.slice_index)
        if item.mode is Mode.CLOSED:
            self._waiting.setdefault(key, []).append(item)
            return
        samples = self._live.setdefault(key, deque(maxlen=LIVE_SAMPLES))
        samples.append(sample_from_measurement(item))
        self._draw(item, list(samples), None)

    def close(self) -> None:
        for key in list(self._waiting):
            self._draw_waiting(key, None)

    def _draw_waiting(self, key: _Key, cycle: Cycle | None) -> None:
        measurements = self._waiting.pop(key, [])
        samples = [sample_from_measurement(measurement) for measurement in measurements]
        for measurement in measurements:
            self._draw(measurement, samples, cycle)

    def _draw(self, measurement: Measurement, samples: list[Sample], cycle: Cycle | None) -> None:
        image = draw_overlay(measurement, samples, cycle, self._origin)
        path = self._folder / _name(measurement)
        done, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if not done:
            raise SinkError(f"OpenCV could not encode {path} as PNG: check its installation")
        write_whole(path, data.tobytes())


def _name(measurement: Measurement) -> str:
    frame = measurement.frame
    return f"{frame.series}_s{frame.slice_index:02d}_t{frame.frame_index:02d}.png"
