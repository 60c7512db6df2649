"""The window of one slice: order, gaps, beats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cine_files import content_of, ge, numbered, philips, real_time, several_beats, siemens
from pydicom.dataset import FileDataset

from lvedge_runtime.receiver.window import PhaseWindow
from lvedge_runtime.sources.dicom_header import header_from_bytes
from lvedge_runtime.sources.dicom_image import Image, images_from_header


def images_of(data: list[FileDataset]) -> list[Image]:
    """One picture each, named by its place in the order in which it was taken."""
    return [
        images_from_header(Path("x"), str(k), header_from_bytes(content_of(each)))[0]
        for k, each in enumerate(data)
    ]


def given(window: PhaseWindow, images: list[Image]) -> list[tuple[int, int]]:
    """Place and name of what is given while the pictures come."""
    out = []
    for image in images:
        window.add(image)
        out += [(place, int(given.item)) for place, given in window.ready()]
    return out


@pytest.mark.parametrize("make", [several_beats, real_time])
def test_beat_follows_on_beat(make) -> None:
    images = images_of(make())
    assert given(PhaseWindow(images[0], 64), images) == [(k, k) for k in range(36)]


@pytest.mark.parametrize("make", [ge, siemens, philips, numbered])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_given_is_in_phase_order_and_each_once(make, seed: int) -> None:
    images = images_of(make(sizes=(1.0,)))
    order = [images[k] for k in np.random.default_rng(seed).permutation(12)]
    window = PhaseWindow(order[0], 64)
    out = given(window, [*order, *order[:5]])
    while more := [(place, int(image.item)) for place, image in window.step_over()]:
        out += more
    names = [name for _, name in out]
    assert names == sorted(set(names))
    assert [place for place, _ in out] == sorted({place for place, _ in out})
    if make in (ge, siemens, philips):  # the tags say how far apart neighbours lie: nobody is left behind
        assert names == list(range(12))


def test_places_skip_what_was_stepped_over() -> None:
    images = images_of(ge(sizes=(1.0,)))
    window = PhaseWindow(images[0], 64)
    assert given(window, [*images[:3], *images[5:7]]) == [(0, 0), (1, 1), (2, 2)]
    assert [place for place, _ in window.step_over()] == [5, 6]
    assert not window.add(images[4])
    assert given(window, [images[7]]) == [(7, 7)]


def test_a_single_picture_that_nobody_says_is_of_a_cine_stays() -> None:
    (image, *_) = images_of(numbered(sizes=(1.0,)))
    window = PhaseWindow(image, 64)
    assert given(window, [image]) == []
    assert list(window.step_over()) == []
    assert window.is_waiting
