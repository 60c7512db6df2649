"""The recurrence stage: timing of clips, the phase they are taught, the first steps of training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from heart_samples import TINY  # noqa: E402

from lvedge.indices import DEFAULT_LAYOUT  # noqa: E402
from lvedge.network.config import NetworkConfig  # noqa: E402
from lvedge.network.model import LeftVentricleNetwork  # noqa: E402
from lvedge.phase import is_systole  # noqa: E402
from lvedge.training.clips import BEAT_FRAMES, LEVELS, Clip, Walk, other_timing, york_walk  # noqa: E402
from lvedge.training.loop import LoopConfig  # noqa: E402
from lvedge.training.recurrence import (  # noqa: E402
    ClipMix,
    draw_clips,
    phase_error,
    played_through,
    systole_as_seen,
    train_recurrence,
    watch,
)

LOOP = LoopConfig(steps=3, batch=4, every=3, warm_up=1, threads=1)


def network() -> LeftVentricleNetwork:
    torch.manual_seed(0)
    return LeftVentricleNetwork(TINY).eval()


def beat(ed: int = 3, es: int = 10, subject: str = "1") -> Clip:
    """A york beat whose drawn cavity area runs from 1 at ``ed`` down to −1 at ``es`` and back."""
    t = np.arange(BEAT_FRAMES)
    falling = (t - ed) % BEAT_FRAMES / ((es - ed) % BEAT_FRAMES)
    rising = (t - es) % BEAT_FRAMES / ((ed - es) % BEAT_FRAMES)
    area = np.cos(np.pi * np.where(falling <= 1.0, falling, 1.0 + rising))
    features = torch.zeros(BEAT_FRAMES, network().features)
    features[:, DEFAULT_LAYOUT.areas.start] = torch.from_numpy(area).float()
    return Clip("york", subject, features, torch.full((BEAT_FRAMES, DEFAULT_LAYOUT.size), 20.0), ed, es)


def way(subject: str = "patient001") -> Clip:
    values = torch.full((LEVELS, DEFAULT_LAYOUT.size), float("nan"))
    values[0], values[-1] = 20.0, 15.0
    return Clip("acdc", subject, torch.zeros(LEVELS, network().features), values, 0, LEVELS - 1)


# --- another timing --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_a_heart_with_another_timing_never_runs_backwards(seed: int) -> None:
    rng = np.random.default_rng(seed)
    walk = york_walk(beat(), 40, 1, rng.uniform(0, BEAT_FRAMES), other_timing(rng, 0.4))
    steps = np.diff(walk.positions) % BEAT_FRAMES
    assert (steps > 0).all()
    assert (steps < 2 * BEAT_FRAMES / 40).all()
    np.testing.assert_array_equal(walk.systole, is_systole(walk.positions, 3, 10, BEAT_FRAMES))


def test_the_other_timing_is_the_same_in_every_beat() -> None:
    timing = other_timing(np.random.default_rng(1), 0.4)
    walk = york_walk(beat(), 25, 3, 4.5, timing)
    np.testing.assert_allclose(walk.positions[25:50], walk.positions[:25], atol=1e-9)
    np.testing.assert_array_equal(walk.systole, np.tile(walk.systole[:25], 3))
    plain = york_walk(beat(), 25, 3, 4.5)
    assert np.abs(walk.positions - plain.positions).max() > 0.3


def test_no_change_of_speed_is_the_stored_timing() -> None:
    walk = york_walk(beat(), 20, 1, 0.0, other_timing(np.random.default_rng(0), 0.0))
    np.testing.assert_allclose(walk.positions, np.arange(20))


# --- the phase that is taught ----------------------------------------------------------------------


def test_the_area_that_the_network_draws_has_a_phase_of_its_own() -> None:
    positions = np.arange(20.0)
    walk = Walk(positions, np.zeros(20, dtype=bool), np.ones(20, dtype=bool))
    contour_says_otherwise = replace(beat(ed=3, es=13), ed=0, es=5)
    seen = systole_as_seen(contour_says_otherwise, walk)
    np.testing.assert_array_equal(np.flatnonzero(seen), np.arange(3, 13))


def test_clips_of_one_source_alone_fill_a_batch() -> None:
    rng = np.random.default_rng(0)
    of_york, of_acdc = [[beat()]], [[way()]]
    assert draw_clips(of_york, [], 6, ClipMix(), rng).nominal.all()
    assert not draw_clips([], of_acdc, 6, ClipMix(), rng).nominal.any()
    both = draw_clips(of_york, of_acdc, 64, ClipMix(), rng).nominal
    assert 0 < both.sum() < 64


# --- the layers over a whole clip ------------------------------------------------------------------


def test_a_clip_at_once_is_the_clip_step_by_step() -> None:
    model = network()
    torch.nn.init.normal_(model.recurrent.values.weight)  # zero before training: would hide the LSTM
    features = torch.randn(3, 30, model.features)
    with torch.no_grad():
        values, phase = played_through(model, features)
        state = model.zero_state(3)
        for t in range(30):
            out = model.recur(features[:, t], state)
            state = out.state
            torch.testing.assert_close(values[:, t], out.indices, rtol=1e-5, atol=1e-3)
            torch.testing.assert_close(phase[:, t], out.phase_logits, rtol=1e-5, atol=1e-5)


def test_no_clip_in_training_is_long_enough_to_reach_the_cells_limit() -> None:
    assert ClipMix().longest <= NetworkConfig().cell_limit


def test_a_network_that_always_says_systole_is_wrong_in_diastole() -> None:
    model = network()
    torch.nn.init.zeros_(model.classification.linear.weight)
    with torch.no_grad():
        model.classification.linear.bias.copy_(torch.tensor([0.0, 1.0]))
    assert phase_error(model, beat(ed=3, es=10), 0.0) == pytest.approx(13 / 20)
    figures = watch(model, [beat(ed=3, es=10), beat(ed=0, es=5), way()])
    assert figures["phase_error_stored"] == pytest.approx((13 + 15) / 40)
    assert figures["phase_error_random"] == pytest.approx((13 + 15) / 40)
    assert set(figures) == {
        "phase_error_stored",
        "phase_error_random",
        "warm_rwt_mm",
        "warm_dims_mm",
        "warm_areas_mm2",
    }


# --- training --------------------------------------------------------------------------------------


def test_training_moves_the_last_two_layers_and_no_other(tmp_path: Path) -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    averaged = train_recurrence(model, [beat(), way()], [], tmp_path, LOOP, ClipMix(single=0.0))
    moved = {name for name, value in averaged.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in moved} == {"recurrent", "classification"}
    assert all(torch.isfinite(value).all() for value in averaged.state_dict().values())


def test_a_training_set_without_york_trains_on_acdc_alone(tmp_path: Path) -> None:
    averaged = train_recurrence(network(), [way()], [], tmp_path, LOOP)
    assert all(torch.isfinite(value).all() for value in averaged.state_dict().values())
