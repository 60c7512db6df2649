"""Clips that an export is compared on: the phantom always, real subjects where a data folder is named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lvedge.contract import ContractShapes, Floats
from lvedge.frame import Frame
from lvedge.locate import locator_input, locator_view
from lvedge.phantom import HEARTS, preset_phantom
from lvedge.view import View, normalise, view_of_frame


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
    """Real clips of subjects that no training saw: a mid slice's beat of york's, ED and ES of acdc's slices.

    Args:
        shapes: sizes of the tensors.
        root: the folder that holds ``acdc/`` and ``york/``.

    Raises:
        DataError: if the data are not there.
    """
    from lvedge.training.data import data_root, read_acdc, read_split, read_york
    from lvedge.training.slices import PreparedSlice, prepare

    root, split = data_root(root), read_split()
    samples = [s for subject in split.subjects("york", "watch", "test") for s in read_york(root, subject)]
    middle = [s for s in samples if s.slice_index == s.slice_count // 2]
    middle += [s for subject in split.subjects("acdc", "watch") for s in read_acdc(root, subject)]
    slices: dict[str, list[PreparedSlice]] = defaultdict(list)
    for prepared in prepare(middle, shapes.layout):
        slices[prepared.sample.key.rpartition("/")[0]].append(prepared)
    clips = []
    for name, members in sorted(slices.items()):
        ordered = sorted(members, key=lambda p: p.sample.frame_index)
        frames = [
            Frame(p.sample.pixels.astype(np.float32), p.sample.spacing_mm, series=name) for p in ordered
        ]
        view = ordered[0].view(shapes.view_px, shapes.view_mm_per_px)
        clips.append(clip_of_frames(name, frames, view, shapes))
    return clips
