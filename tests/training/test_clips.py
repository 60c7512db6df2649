"""Clips: how a beat is walked, what is true on the way, and what the network is shown of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

from heart_samples import TINY, healthy, pair_of, sample_of  # noqa: E402
from torch import Tensor  # noqa: E402

from lvedge.geometry import angle_between_deg, indices_from_rays  # noqa: E402
from lvedge.network.model import LeftVentricleNetwork  # noqa: E402
from lvedge.phantom import Heart, Phantom, Placement  # noqa: E402
from lvedge.training.augment import AugmentConfig, seen_through  # noqa: E402
from lvedge.training.clips import (  # noqa: E402
    LEVELS,
    Clip,
    Walk,
    acdc_clips,
    acdc_walk,
    perceived,
    played,
    turned_to_septum,
    york_clips,
    york_walk,
)
from lvedge.training.data.sample import Sample  # noqa: E402
from lvedge.training.slices import prepare  # noqa: E402

COARSE = Placement(rows=64, columns=64, spacing_mm=(2.5, 2.5))
NAN = float("nan")


def york_clip(ed: int = 0, es: int = 7) -> Clip:
    """Twenty frames; feature k of frame t is 10 t + k, value k is −t."""
    frames = torch.arange(20.0)[:, None]
    return Clip("york", "1", 10 * frames + torch.arange(3.0), -frames.repeat(1, 11), ed, es)


def acdc_clip() -> Clip:
    """Seven levels; only the ends have values, 5 and 9."""
    values = torch.full((LEVELS, 11), NAN)
    values[0], values[-1] = 5.0, 9.0
    return Clip("acdc", "patient001", torch.arange(float(LEVELS))[:, None] * 10, values, 0, LEVELS - 1)


# --- york's walk -----------------------------------------------------------------------------------


def test_a_beat_at_its_own_rate_is_its_frames() -> None:
    walk = york_walk(york_clip(ed=2, es=9), 20, 1, 0.0)
    np.testing.assert_array_equal(walk.positions, np.arange(20))
    np.testing.assert_array_equal(np.flatnonzero(walk.systole), np.arange(2, 9))
    assert walk.true_values.all()


@pytest.mark.parametrize(("frames", "step"), [(10, 2.0), (40, 0.5), (16, 1.25)])
def test_a_beat_at_another_rate_takes_other_steps(frames: int, step: float) -> None:
    walk = york_walk(york_clip(ed=0, es=8), frames, 1, 0.0)
    np.testing.assert_allclose(walk.positions, np.arange(frames) * step, atol=1e-12)
    np.testing.assert_array_equal(walk.systole, walk.positions < 8)


def test_a_walk_wraps_around_the_beat() -> None:
    walk = york_walk(york_clip(ed=18, es=3), 20, 2, 17.5)
    expected = [17.5, 18.5, 19.5, *np.arange(0.5, 17.5)]
    np.testing.assert_array_equal(walk.positions, expected * 2)
    # From 18 forward to 3: two frames before the wrap, three after it.
    np.testing.assert_array_equal(walk.systole, ([False] + [True] * 5 + [False] * 14) * 2)
    assert walk.true_values.shape == (40,)


# --- acdc's walk -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("frames", [12, 25, 40])
def test_a_beat_goes_from_ed_to_es_and_back(frames: int, seed: int) -> None:
    walk = acdc_walk(frames, 1, 0, np.random.default_rng(seed))
    (es,) = np.flatnonzero(walk.positions == LEVELS - 1)
    assert 0.28 * frames - 0.5 <= es <= 0.45 * frames + 0.5
    assert walk.positions[0] == 0.0
    assert (np.diff(walk.positions[: es + 1]) > 0).all()
    assert (np.diff(walk.positions[es:]) < 0).all()
    assert 0.0 <= walk.positions[-1] < 1.5
    np.testing.assert_array_equal(np.flatnonzero(walk.systole), np.arange(es))
    np.testing.assert_array_equal(np.flatnonzero(walk.true_values), [0, es])


def test_every_beat_of_a_walk_is_the_same_and_begins_where_it_is_told() -> None:
    whole = acdc_walk(24, 1, 0, np.random.default_rng(3))
    walk = acdc_walk(24, 3, 5, np.random.default_rng(3))
    for name in ("positions", "systole", "true_values"):
        expected = np.tile(np.roll(getattr(whole, name), -5), 3)
        np.testing.assert_array_equal(getattr(walk, name), expected)


@pytest.mark.parametrize("frames", [2, 3])
def test_the_shortest_beat_still_has_both_ends(frames: int) -> None:
    walk = acdc_walk(frames, 1, 0, np.random.default_rng(0))
    np.testing.assert_array_equal(walk.positions[:2], [0, LEVELS - 1])
    np.testing.assert_array_equal(walk.systole, [True, False, False][:frames])
    np.testing.assert_array_equal(walk.true_values, [True, True, False][:frames])


def test_beats_differ_from_draw_to_draw() -> None:
    rng = np.random.default_rng(0)
    walks = [acdc_walk(40, 1, 0, rng) for _ in range(40)]
    ends = [int(np.flatnonzero(w.positions == LEVELS - 1)[0]) for w in walks]
    assert min(ends) <= 13
    assert max(ends) >= 16
    # Half way through filling some hearts are nearly full, others not.
    halfway = [w.positions[(40 + es) // 2] for w, es in zip(walks, ends, strict=True)]
    assert min(halfway) < 1.2
    assert max(halfway) > 1.8


@pytest.mark.parametrize("first", [0, 4, 9, 10, 13, -3])
def test_a_walk_begun_elsewhere_is_closed_cyclically(first: int) -> None:
    walk = Walk(np.arange(10.0), np.arange(10) < 4, np.arange(10) % 3 == 0)
    moved = walk.from_frame(first)
    order = (np.arange(10) + first) % 10
    for name in ("positions", "systole", "true_values"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(walk, name)[order])
    np.testing.assert_array_equal(walk.positions, np.arange(10))


# --- playing ---------------------------------------------------------------------------------------


def steps(positions: list[float], true: list[bool] | None = None) -> Walk:
    known = [True] * len(positions) if true is None else true
    return Walk(np.array(positions), np.zeros(len(positions), dtype=bool), np.array(known))


def test_york_is_played_between_its_frames_and_round() -> None:
    features, values = played(york_clip(), steps([0.0, 3.25, 19.0, 19.5]))
    # Half way from frame 19 to frame 0 lies their mean.
    expected = torch.tensor([0.0, 32.5, 190.0, 95.0])[:, None] + torch.arange(3.0)
    torch.testing.assert_close(features, expected)
    torch.testing.assert_close(values[:, 0], torch.tensor([0.0, -3.25, -19.0, -9.5]))
    assert values.shape == (4, 11)


def test_acdc_is_played_between_its_levels_and_stops_at_es() -> None:
    features, values = played(acdc_clip(), steps([0.0, 2.5, 6.0, 5.75], [True, False, True, False]))
    torch.testing.assert_close(features[:, 0], torch.tensor([0.0, 25.0, 60.0, 57.5]))
    assert values[:, 0].nan_to_num(-1.0).tolist() == [5.0, -1.0, 9.0, -1.0]


def test_values_are_told_where_they_are_true_only() -> None:
    _, values = played(york_clip(), steps([4.0, 5.0, 6.0], [False, True, False]))
    torch.testing.assert_close(values, torch.tensor([[NAN], [-5.0], [NAN]]).repeat(1, 11), equal_nan=True)


@pytest.mark.parametrize("seed", range(4))
def test_an_acdc_beat_has_its_values_at_ed_and_es(seed: int) -> None:
    walk = acdc_walk(25, 2, 7, np.random.default_rng(seed))
    features, values = played(acdc_clip(), walk)
    np.testing.assert_allclose(features[:, 0].numpy(), 10 * walk.positions, rtol=1e-6, atol=1e-5)
    said = values[:, 3].numpy()
    np.testing.assert_array_equal(said[walk.positions == 0], [5.0] * 2)
    np.testing.assert_array_equal(said[walk.positions == LEVELS - 1], [9.0] * 2)
    assert np.isnan(said).sum() == 50 - 4


def test_the_clip_is_not_written_to() -> None:
    for clip in (york_clip(), acdc_clip()):
        features, values = clip.features.clone(), clip.values.clone()
        for positions in ([0.0, 1.0], [0.5, 1.5]):
            played(clip, steps(positions, [False, False]))
        torch.testing.assert_close(clip.features, features, rtol=0, atol=0)
        torch.testing.assert_close(clip.values, values, rtol=0, atol=0, equal_nan=True)


# --- clips from samples ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network() -> LeftVentricleNetwork:
    torch.manual_seed(0)
    return LeftVentricleNetwork(TINY).eval()


HEART = Phantom(heart=Heart(frames=20, start_fraction=0.3), placement=COARSE)


@pytest.fixture(scope="module")
def beat() -> list[Sample]:
    return [sample_of(HEART, k, "york") for k in range(20)]


def assert_same(one: Clip, other: Clip) -> None:
    assert (one.source, one.subject, one.ed, one.es) == (other.source, other.subject, other.ed, other.es)
    torch.testing.assert_close(one.features, other.features, rtol=0, atol=0)
    torch.testing.assert_close(one.values, other.values, rtol=0, atol=0, equal_nan=True)


def in_mm(values: Tensor) -> np.ndarray:
    return values.numpy() * TINY.view_mm_per_px ** TINY.layout.unit_power()


def test_a_york_slice_is_a_clip_of_its_whole_beat(network: LeftVentricleNetwork, beat: list[Sample]) -> None:
    (clip,) = york_clips(network, beat[::-1], 1, None, 0)
    assert (clip.source, clip.subject) == ("york", "1")
    assert (clip.ed, clip.es) == (HEART.heart.ed_frame, HEART.heart.es_frame)
    assert clip.features.shape == (20, network.features)
    assert (clip.features.dtype, clip.values.dtype) == (torch.float32, torch.float32)
    truth = HEART.truth()
    np.testing.assert_allclose(in_mm(clip.values)[:, 9:], truth[:, 9:], rtol=0.01)
    # Sectors are counted from where this network sees the septum: all of them together are the wall.
    np.testing.assert_allclose(in_mm(clip.values)[:, :6].mean(axis=1), truth[:, :6].mean(axis=1), rtol=0.02)
    np.testing.assert_allclose(in_mm(clip.values)[:, 6:9].mean(axis=1), truth[:, 6:9].mean(axis=1), rtol=0.02)


def test_a_york_clip_shows_every_frame_through_one_view(
    network: LeftVentricleNetwork, beat: list[Sample]
) -> None:
    (clip,) = york_clips(network, beat, 1, None, 0)
    frames = turned_to_septum(network, prepare(beat))
    view = frames[0].view(TINY.view_px, TINY.view_mm_per_px)
    pictures = [seen_through(frame, view, TINY.layout).picture for frame in frames]
    torch.testing.assert_close(clip.features, perceived(network, pictures), rtol=0, atol=0)


def test_york_s_sectors_are_counted_from_the_septum_that_the_network_sees(
    network: LeftVentricleNetwork, beat: list[Sample]
) -> None:
    frames = turned_to_septum(network, prepare(beat))
    assert len({(f.septum_deg, f.centre_px) for f in frames}) == 1
    for frame in frames[::7]:
        rays = frame.sample.rays()
        assert rays is not None
        expected = indices_from_rays(rays, frame.septum_deg).vector
        np.testing.assert_array_equal(frame.values_mm, expected)


@pytest.mark.parametrize(("seen_deg", "turned_deg"), [(180.0, 180.0), (200.0, 220.0), (90.0, 0.0)])
def test_the_view_is_turned_twice_by_what_the_network_sees(
    seen_deg: float, turned_deg: float, beat: list[Sample]
) -> None:
    # A network that sees mid-septum in one direction of the view, whatever it is shown.
    sure = LeftVentricleNetwork(TINY).eval()
    last = sure.polar.septum[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(1e4 * torch.tensor([np.cos(np.deg2rad(seen_deg)), np.sin(np.deg2rad(seen_deg))]))
    frames = turned_to_septum(sure, prepare(beat))
    # On the view's left it is right at once; elsewhere the view follows, once and once more.
    assert abs(angle_between_deg(frames[0].septum_deg, turned_deg)) < 0.1


def test_only_whole_beats_are_clips(network: LeftVentricleNetwork, beat: list[Sample]) -> None:
    other = [replace(sample, slice_index=2) for sample in beat[:19]]
    second = [replace(sample, subject="2") for sample in beat]
    clips = york_clips(network, [*other, *second, *beat], 1, None, 0)
    assert [clip.subject for clip in clips] == ["1", "2"]
    assert york_clips(network, other, 1, None, 0) == []


def test_every_version_is_drawn_from_the_seed(network: LeftVentricleNetwork, beat: list[Sample]) -> None:
    first = york_clips(network, beat, 2, AugmentConfig(), 0)
    again = york_clips(network, beat, 2, AugmentConfig(), 0)
    other = york_clips(network, beat, 1, AugmentConfig(), 1)
    for one, same in zip(first, again, strict=True):
        assert_same(one, same)
    assert len(first) == 2
    for drawn in (first[1], other[0]):
        assert not torch.equal(drawn.features, first[0].features)


def test_a_version_changes_the_size_of_the_whole_clip_alike(
    network: LeftVentricleNetwork, beat: list[Sample]
) -> None:
    (plain,) = york_clips(network, beat, 1, None, 0)
    sizes = set()
    for clip in york_clips(network, beat, 3, AugmentConfig(), 0):
        ratio = (clip.values / plain.values)[:, 9:].numpy()
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)
        assert 0.65**2 <= ratio[0, 0] <= 1.35**2
        assert (clip.ed, clip.es) == (plain.ed, plain.es)
        sizes.add(round(float(ratio[0, 0]), 3))
    assert len(sizes - {1.0}) == 3


def test_an_acdc_slice_is_a_clip_from_ed_to_es(network: LeftVentricleNetwork) -> None:
    phantom = healthy(COARSE)
    (clip,) = acdc_clips(network, pair_of(phantom)[::-1], 1, None, 0)
    assert (clip.source, clip.subject, clip.ed, clip.es) == ("acdc", "patient001", 0, LEVELS - 1)
    assert clip.features.shape == (LEVELS, network.features)
    said = in_mm(clip.values)
    assert np.isnan(said[1:-1]).all()
    for row, frame in ((0, 0), (-1, phantom.heart.es_frame)):
        truth = phantom.indices(frame).vector
        np.testing.assert_allclose(said[row, :6], truth[:6], atol=0.3)
        np.testing.assert_allclose(said[row, 6:], truth[6:], rtol=0.01)


def test_the_ends_of_an_acdc_clip_are_the_drawn_frames(network: LeftVentricleNetwork) -> None:
    ed, es = prepare(pair_of(healthy(COARSE)))
    (clip,) = acdc_clips(network, [ed.sample, es.sample], 1, None, 0)
    view = ed.view(TINY.view_px, TINY.view_mm_per_px)  # both through the view of ED
    pictures = [seen_through(end, view, TINY.layout).picture for end in (ed, es)]
    torch.testing.assert_close(clip.features[[0, -1]], perceived(network, pictures), rtol=1e-4, atol=1e-4)


def test_slices_without_an_lv_at_both_ends_give_no_clip(network: LeftVentricleNetwork) -> None:
    pair = pair_of(healthy(COARSE))
    ed, es = (replace(sample, slice_index=5) for sample in pair)
    collapsed = replace(es, maps=np.zeros_like(es.maps))
    clips = acdc_clips(network, [*pair, ed, collapsed], 1, None, 0)
    assert len(clips) == 1
    assert_same(clips[0], acdc_clips(network, pair, 1, None, 0)[0])


def test_frames_between_ed_and_es_are_no_ends(network: LeftVentricleNetwork) -> None:
    between = [sample_of(healthy(COARSE), 5)]
    assert acdc_clips(network, between, 1, None, 0) == []


def test_acdc_versions_keep_the_ends_apart_by_the_same_size(network: LeftVentricleNetwork) -> None:
    pair = pair_of(healthy(COARSE))
    (plain,) = acdc_clips(network, pair, 1, None, 0)
    versions = acdc_clips(network, pair, 3, AugmentConfig(emptied_share=0.0, bent_share=0.0), 0)
    assert len(versions) == 3
    for clip in versions:
        ratio = (clip.values / plain.values)[[0, -1], 9:].numpy()
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)
    assert not torch.equal(versions[0].features, versions[1].features)


def test_many_pictures_are_perceived_as_each_alone(network: LeftVentricleNetwork) -> None:
    pictures = list(np.random.default_rng(0).random((35, 32, 32), dtype=np.float32))
    together = perceived(network, pictures)
    assert together.shape == (35, network.features)
    for k in (0, 31, 32, 34):
        torch.testing.assert_close(together[k], perceived(network, [pictures[k]])[0], rtol=1e-4, atol=1e-4)
    assert not together.requires_grad
