"""Clips that an export is compared on: the phantom always, real subjects where a data folder is named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from lvedge.contract import ContractShapes, Floats
from lvedge.frame import Frame
from lvedge.locate import locator_input, locator_view
from lvedge.phantom import HEARTS, preset_phantom
from lvedge.view import View, normalise, view_of_frame

if TYPE_CHECKING:
    from lvedge.training.data import Sample

Item = TypeVar("Item")

PHANTOM = "phantom/"


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

    @property
    def is_drawn(self) -> bool:
        """Whether the phantom drew it."""
        return self.name.startswith(PHANTOM)


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
        clips.append(clip_of_frames(f"{PHANTOM}{heart}", frames, view, shapes))
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
    for k, subject in enumerate(split.subjects("york", "watch", "test")):
        clips.append(_longest(_clips_of_samples(f"york/no. {k}", list(read_york(root, subject)), shapes)))
    for k, subject in enumerate(split.subjects("acdc", "watch")):
        clips += _clips_of_samples(f"acdc/no. {k}", list(read_acdc(root, subject)), shapes)
    return clips


def calibration_clips(shapes: ContractShapes, root: Path, subjects: int) -> list[Clip]:
    """Real clips of the training's subjects, evenly drawn: what a quantiser takes its ranges from.

    Args:
        shapes: sizes of the tensors.
        root: the folder that holds ``acdc/`` and ``york/``.
        subjects: how many of each source; a beat of each of york's, all slices of acdc's at ED and ES.

    Raises:
        DataError: if the data are not there.
    """
    from lvedge.training.data import data_root, read_acdc, read_split, read_york

    root, split = data_root(root), read_split()
    clips = []
    for k, subject in enumerate(_evenly(split.subjects("york", "train"), subjects)):
        clips.append(_longest(_clips_of_samples(f"york/no. {k}", list(read_york(root, subject)), shapes)))
    for k, subject in enumerate(_evenly(split.subjects("acdc", "train"), subjects)):
        clips += _clips_of_samples(f"acdc/no. {k}", list(read_acdc(root, subject)), shapes)
    return clips


def sample_of_clips(clips: Sequence[Clip], count: int, frames: int) -> list[Clip]:
    """The first frames of some clips, evenly drawn.

    Args:
        clips: what is drawn from.
        count: how many clips at most.
        frames: how many frames of each at most.
    """
    return [Clip(c.name, c.views[:frames], c.frames[:frames]) for c in _evenly(clips, count)]


def _evenly(items: Sequence[Item], count: int) -> list[Item]:
    """So many of the items, at even distances; all of them where there are no more."""
    wanted = min(count, len(items))
    return [items[k * len(items) // wanted] for k in range(wanted)]


def _longest(clips: list[Clip]) -> Clip:
    return max(clips, key=lambda clip: len(clip.views))


def _clips_of_samples(of: str, samples: list[Sample], shapes: ContractShapes) -> list[Clip]:
    """A clip of each slice of a subject, seen through its first frame's view; no clip names the subject."""
    from lvedge.training.slices import prepare

    slices = defaultdict(list)
    for prepared in prepare(samples, shapes.layout):
        slices[prepared.sample.slice_index].append(prepared)
    clips = []
    for index, members in sorted(slices.items()):
        ordered = sorted(members, key=lambda p: p.sample.frame_index)
        first = ordered[0]
        name = f"{of}/slice {index}"
        frames = [
            Frame(p.sample.pixels.astype(np.float32), p.sample.spacing_mm, series=name) for p in ordered
        ]
        view = first.view(shapes.view_px, shapes.view_mm_per_px)
        clips.append(clip_of_frames(name, frames, view, shapes))
    return clips
