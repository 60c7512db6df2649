"""Clips that an export is compared on: the phantom always, real subjects where a data folder is named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lvedge.contract import ContractShapes, Floats
from lvedge.frame import Frame
from lvedge.locate import locator_input, locator_view
from lvedge.phantom import HEARTS, preset_phantom
from lvedge.view import View, normalise, view_of_frame

if TYPE_CHECKING:
    from lvedge.training.data import Sample


@dataclass(frozen=True)
class Clip:
    """Frames of one slice in order, as the graphs take them.

    Args:
        name: where they come from.
        views: [T, 1, S, S] float32, the frames through one steady view.
        frames: [T, 1, P, P] float32, the whole frames as the locator sees them.
    """

    name: str
    views: Floats
    frames: Floats


def clip_of_frames(name: str, frames: Iterable[Frame], view: View, shapes: ContractShapes) -> Clip:
    """Frames of one slice through one view, and whole."""
    views, whole = [], []
    for frame in frames:
        views.append(normalise(view.crop(frame.pixels))[None])
        whole.append(locator_input(frame, locator_view(frame, shapes))[0])
    return Clip(name, np.ascontiguousarray(views), np.ascontiguousarray(whole))


def phantom_clips(shapes: ContractShapes) -> list[Clip]:
    """One beat of each heart on the shelf, seen from its true centre."""
    clips = []
    for heart in HEARTS:
        phantom = preset_phantom(heart)
        frames = list(phantom.frames())
        view = view_of_frame(
            frames[0], phantom.centre_px(0), phantom.septum_deg, shapes.view_px, shapes.view_mm_per_px
        )
        clips.append(clip_of_frames(f"phantom/{heart}", frames, view, shapes))
    return clips


def data_clips(shapes: ContractShapes, root: Path) -> list[Clip]:
    """Real clips of subjects that no training saw: a slice's beat of york's, ED and ES of acdc's slices.

    Args:
        shapes: sizes of the tensors.
        root: the folder that holds ``acdc/`` and ``york/``.

    Raises:
        DataError: if the data are not there.
    """
    from lvedge.training.data import data_root, read_acdc, read_split, read_york

    root, split = data_root(root), read_split()
    clips = []
    for subject in split.subjects("york", "watch", "test"):
        slices = _clips_of_samples(list(read_york(root, subject)), shapes)
        clips.append(max(slices, key=lambda clip: len(clip.views)))
    for subject in split.subjects("acdc", "watch"):
        clips += _clips_of_samples(list(read_acdc(root, subject)), shapes)
    return clips


def _clips_of_samples(samples: list[Sample], shapes: ContractShapes) -> list[Clip]:
    """A clip of each slice of a subject, seen through the view of its first frame."""
    from lvedge.training.slices import prepare

    slices = defaultdict(list)
    for prepared in prepare(samples, shapes.layout):
        slices[prepared.sample.slice_index].append(prepared)
    clips = []
    for index, members in sorted(slices.items()):
        ordered = sorted(members, key=lambda p: p.sample.frame_index)
        first = ordered[0]
        name = f"{first.sample.source}/{first.sample.subject}/slice {index}"
        frames = [
            Frame(p.sample.pixels.astype(np.float32), p.sample.spacing_mm, series=name) for p in ordered
        ]
        view = first.view(shapes.view_px, shapes.view_mm_per_px)
        clips.append(clip_of_frames(name, frames, view, shapes))
    return clips
