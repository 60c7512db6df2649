"""Samples and measurements from a few rows of digits."""

from __future__ import annotations

import numpy as np

from lvedge.indices import Label
from lvedge.measurement import Measurement
from lvedge.training.data.sample import MAP_LABELS, Sample
from lvedge.training.scoring import frame_of_sample
from lvedge.view import View


def labelled(labels: list[str], **changes: object) -> Sample:
    """A sample from rows of digits, 0 background, 1 RV, 2 myocardium, 3 cavity."""
    drawn = np.array([[int(c) for c in row] for row in labels])
    maps = np.stack([255 * (drawn == label) for label in MAP_LABELS], axis=-1).astype(np.uint8)
    fields: dict[str, object] = {"has_spacing": True, "has_rv": True, **changes}
    pixels = np.zeros(drawn.shape, np.uint8)
    return Sample("acdc", "p", 4, 10, 0, pixels, maps, (1.0, 1.0), **fields)  # type: ignore[arg-type]


def returned(sample: Sample, labels: list[str]) -> Measurement:
    """A measurement whose mask is sure of these labels, in a view that is the frame itself."""
    drawn = np.array([[int(c) for c in row] for row in labels])
    mask = np.stack([drawn == label for label in Label]).astype(np.float32)
    middle = (len(labels) - 1) / 2
    view = View((middle, middle), 180.0, (1.0, 1.0), len(labels), 1.0)
    return Measurement(frame=frame_of_sample(sample), measured=True, view=view, mask=mask)
