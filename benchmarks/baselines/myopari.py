"""myopari's shipped network as it is: whole frames in, labels out, no view, no training of ours.

The wheel carries the network (MIT licence) and its own way of preparing volumes; both are used as they are.
Only that one module of it is loaded, since the package itself starts napari:

    pip install --no-deps myopari==0.1.6 && pip install 'lvedge[baselines]'
"""

from __future__ import annotations

import hashlib
import importlib.util
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from time import process_time
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvedge.errors import DataError, MissingExtraError
from lvedge.geometry import circular_median_deg, indices_from_rays
from lvedge.indices import FloatArray, Label
from lvedge.measurement import Measurement
from lvedge.quality import DEFAULT_QUALITY
from lvedge.reading import MaskReading, NoVentricle, read_mask
from lvedge.training.data import Sample
from lvedge.training.evaluation.still import ScoredSlice, scored_slice
from lvedge.training.scoring import frame_of_sample
from lvedge.training.slices import TYPICAL_SEPTUM_DEG
from lvedge.view import View

NAME = "myopari"
VERSION = "0.1.6"
PREPARATION = "myopari/processors/functions_utils.py"
NETWORK = "myopari/Resources/tiramisu_acdc_fp32.onnx"
MIN_SIZE_PX = 800
"""Pieces smaller than this are removed, in voxels of what the network sees; as its plugin sets it."""

ABOUT = (
    "myopari 0.1.6 from PyPI with its shipped network as it is: a full-frame Tiramisu on whole stacks, one "
    "thread, no view and no locator of ours, its labels read by lvedge's geometry at the source's own "
    "spacing; not trained by us and on no fold of ours: it was trained on the ACDC data and may have seen "
    "these very subjects"
)


@dataclass(frozen=True)
class FullFrameMeasurement(Measurement):
    """The measurement of a frame whose labels were drawn on the frame itself.

    Args:
        drawn: [rows, columns] uint8 labels.
    """

    drawn: NDArray[np.uint8] = field(kw_only=True)

    def labels(self) -> NDArray[np.uint8]:
        return self.drawn if self.measured else np.zeros_like(self.drawn)


class Myopari:
    """The shipped network behind its own preparation and clean-up.

    Raises:
        MissingExtraError: if myopari or what it needs is not installed.
        DataError: if another version is.
    """

    def __init__(self) -> None:
        try:
            distribution = metadata.distribution("myopari")
        except metadata.PackageNotFoundError as err:
            raise DataError(f"myopari is not installed: pip install --no-deps myopari=={VERSION}") from err
        if distribution.version != VERSION:
            raise DataError(f"myopari {distribution.version} is installed, not {VERSION}: install that one")
        self._ways = _loaded(Path(str(distribution.locate_file(PREPARATION))))
        import onnxruntime

        content = Path(str(distribution.locate_file(NETWORK))).read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.slices, self.core_seconds = 0, 0.0

    def labels(self, volume: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels of a stack; both [columns, rows, slices], as its plugin hands on what NIfTI holds."""
        begun = process_time()
        data = self._ways.preprocess_data_array(volume.astype(np.float64))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it calls scikit-image by a name of before 0.26
            drawn: NDArray[np.uint8] = self._ways.predict_data_model(
                data,
                self._session,
                num_classes=len(Label),
                batch_size=1,  # the same labels; eight slices at once take 4 GB
                min_size_remove=MIN_SIZE_PX,
                onnx=True,
            ).astype(np.uint8)
        self.core_seconds += process_time() - begun
        self.slices += volume.shape[2]
        return drawn

    def as_json(self) -> dict[str, object]:
        """Which network it was and what a slice took, plain values."""
        return {
            "network_sha256": self.sha256,
            "core_ms_a_slice": round(1e3 * self.core_seconds / max(self.slices, 1), 1),
        }

    def measure(self, samples: Sequence[Sample]) -> list[FullFrameMeasurement]:
        """The slices of one stack at one phase, in order."""
        drawn = self.labels(np.stack([s.pixels.T for s in samples], axis=2))
        return measured_stack(samples, [drawn[:, :, k].T for k in range(len(samples))])


def score_myopari(network: Myopari, samples: Sequence[Sample], mean_values: FloatArray) -> list[ScoredSlice]:
    """Every slice of acdc subjects at ED and ES; arguments as for ``score_acdc``."""
    stacks: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        stacks[sample.subject, sample.phase or ""].append(sample)
    scored = []
    for members in stacks.values():
        stack = sorted(members, key=lambda s: s.slice_index)
        for sample, measurement in zip(stack, network.measure(stack), strict=True):
            scored.append(scored_slice(sample, measurement, DEFAULT_QUALITY, mean_values))
    return scored


def measured_stack(
    samples: Sequence[Sample], drawn: Sequence[NDArray[np.uint8]]
) -> list[FullFrameMeasurement]:
    """Labels on whole frames as measurements, read as lvedge reads its own masks.

    Where a slice's labels show no RV, its sectors are counted from the circular median of the others' septa.

    Args:
        samples: slices of one stack.
        drawn: [rows, columns] labels of each.
    """
    readings = [_reading(sample, labels) for sample, labels in zip(samples, drawn, strict=True)]
    septa = [r.septum.direction_deg for r in readings if isinstance(r, MaskReading) and r.septum is not None]
    usual = circular_median_deg(np.array(septa)) if septa else TYPICAL_SEPTUM_DEG
    return [
        _measurement(sample, labels, reading, usual)
        for sample, labels, reading in zip(samples, drawn, readings, strict=True)
    ]


def _reading(sample: Sample, labels: NDArray[np.uint8]) -> MaskReading | NoVentricle:
    row_mm, column_mm = sample.spacing_mm
    if not np.isclose(row_mm, column_mm, rtol=1e-3):
        raise DataError(f"{sample.key} has pixels of {row_mm} x {column_mm} mm: only square ones can be read")
    mask = np.stack([labels == label for label in Label]).astype(np.float32)
    return read_mask(mask, row_mm)


def _measurement(
    sample: Sample, labels: NDArray[np.uint8], reading: MaskReading | NoVentricle, usual_deg: float
) -> FullFrameMeasurement:
    frame = frame_of_sample(sample)
    if isinstance(reading, NoVentricle):
        return FullFrameMeasurement(frame, measured=False, reason=reading.reason, drawn=labels)
    septum_deg = reading.septum.direction_deg if reading.septum is not None else usual_deg
    indices = indices_from_rays(reading.rays, septum_deg)
    return FullFrameMeasurement(
        frame,
        measured=True,
        indices=indices,
        geometric=indices,
        # Says where the LV was seen; nothing was looked at through it.
        view=View(reading.rays.centre_px, septum_deg, sample.spacing_mm),
        septum_deg=septum_deg,
        septum_inferred=reading.septum is None,
        drawn=labels,
    )


def _loaded(path: Path) -> Any:
    """One module of the wheel, without the package around it."""
    spec = importlib.util.spec_from_file_location("myopari_preparation", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise DataError(f"myopari {VERSION} has no {PREPARATION}: install it afresh")
    module: ModuleType = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as err:
        raise MissingExtraError(str(err.name), "baselines", "myopari's own preparation of a volume") from err
    return module
