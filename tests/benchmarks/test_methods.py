"""The baselines behind the contract: masks read geometrically, values with a memory, trained and resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

from heart_samples import TINY, beat_of, healthy, pair_of  # noqa: E402
from painted_hearts import SHAPES, PaintReader, painted_beat, painted_stack  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from benchmarks.baselines import regression  # noqa: E402
from benchmarks.baselines.budget import is_done, planned_steps, spent_of, steps_within  # noqa: E402
from benchmarks.baselines.regression import FrameRegression, RegressionConfig, SeptumAndFeatures  # noqa: E402
from benchmarks.baselines.stepper import MaskStepper, RegressionStepper  # noqa: E402
from lvedge.contract import STATE_NAMES, Floats, State  # noqa: E402
from lvedge.errors import DataError  # noqa: E402
from lvedge.indices import DEFAULT_LAYOUT  # noqa: E402
from lvedge.network.config import LocatorConfig, NetworkConfig  # noqa: E402
from lvedge.network.locator import Locator  # noqa: E402
from lvedge.network.model import LeftVentricleNetwork  # noqa: E402
from lvedge.quality import DEFAULT_QUALITY  # noqa: E402
from lvedge.reading import MaskReading, read_mask  # noqa: E402
from lvedge.training.checkpoint import write_checkpoint  # noqa: E402
from lvedge.training.clips import LEVELS, acdc_clips, york_clips  # noqa: E402
from lvedge.training.evaluation.beat import score_york  # noqa: E402
from lvedge.training.evaluation.standin import StandIn  # noqa: E402
from lvedge.training.evaluation.still import score_acdc  # noqa: E402
from lvedge.training.loop import LoopConfig  # noqa: E402
from lvedge.training.slices import PreparedSlice, prepare  # noqa: E402
from lvedge.training.stepper import TorchStepper  # noqa: E402
from lvedge.view import normalise  # noqa: E402

LAYOUT = DEFAULT_LAYOUT
PAINTED = NetworkConfig(view_px=SHAPES.view_px, view_mm_per_px=SHAPES.view_mm_per_px)
SMALL = RegressionConfig(channels=(2, 2, 3, 3, 4), kernel=3, features=5, hidden=6)
LOOP = LoopConfig(steps=4, batch=2, every=2, warm_up=1, threads=1)


def tiny_locator() -> Locator:
    return Locator(LocatorConfig(input_px=64, mm_per_px=3.0, channels=(2, 3, 4, 5)))


def regressor() -> FrameRegression:
    torch.manual_seed(1)
    length = LAYOUT.size
    return FrameRegression(SMALL, torch.arange(length) + 10.0, torch.full((length,), 2.0)).eval()


def own_stepper() -> TorchStepper:
    torch.manual_seed(2)
    return TorchStepper(LeftVentricleNetwork(), tiny_locator())


# --- a network that gives nothing but a mask -------------------------------------------------------


class PaintedMask(nn.Module):
    """Mask logits of painted pictures, by what the paint says."""

    def forward(self, pictures: Tensor) -> Tensor:
        steps = [
            PaintReader().step(p[None].numpy().astype(np.float32), State.zeros(SHAPES)) for p in pictures
        ]
        return torch.log(torch.from_numpy(np.concatenate([s.mask for s in steps])) + 1e-6)


class PaintedStepper(MaskStepper):
    """Finds the heart by its paint: the locator is lvedge's, not what is tested here."""

    def locate(self, frame: Floats) -> tuple[Floats, Floats]:
        return PaintReader().locate(frame)


def mask_stepper() -> MaskStepper:
    return PaintedStepper(PaintedMask(), tiny_locator(), PAINTED)


def test_the_values_of_a_mask_are_its_geometric_reading() -> None:
    stepper, (sample, *_) = mask_stepper(), painted_stack()
    (prepared,) = prepare([sample])
    view = prepared.view(SHAPES.view_px, SHAPES.view_mm_per_px)
    frame = normalise(view.crop(sample.pixels.astype(np.float32)))[None, None]
    out = stepper.step(frame, State.zeros(stepper.shapes))
    reading = read_mask(out.mask[0], SHAPES.view_mm_per_px)
    assert isinstance(reading, MaskReading)
    in_mm = out.indices[0] * SHAPES.view_mm_per_px ** LAYOUT.unit_power()
    np.testing.assert_allclose(in_mm, reading.indices.vector, rtol=1e-5)
    np.testing.assert_array_equal(out.phase, [[0.5, 0.5]])
    again = stepper.replay(out.features, out.state)
    np.testing.assert_array_equal(again.indices, out.indices)
    np.testing.assert_array_equal(again.phase, out.phase)


def test_a_mask_without_an_lv_has_no_values() -> None:
    stepper = mask_stepper()
    blank = np.zeros((1, 1, SHAPES.view_px, SHAPES.view_px), np.float32)
    np.testing.assert_array_equal(stepper.step(blank, State.zeros(stepper.shapes)).indices, np.zeros((1, 11)))


def test_every_tensor_of_a_mask_stepper_has_its_promised_shape() -> None:
    network = nn.Conv2d(1, 4, 3, padding=1)
    stepper = MaskStepper(network, tiny_locator(), NetworkConfig())
    shapes = stepper.shapes
    assert (shapes.view_px, shapes.view_mm_per_px, shapes.locator_px) == (80, 1.5, 64)
    frame = np.random.default_rng(0).random((2, 1, 80, 80), dtype=np.float32)
    out = stepper.step(frame, State.zeros(shapes, 2))
    for name in ("indices", "phase", "mask", "features"):
        assert getattr(out, name).shape == (2, *shapes.tensor_shape(name)), name
    points, confidence = stepper.locate(np.zeros((1, *shapes.locator_shape), np.float32))
    assert (points.shape, confidence.shape) == ((1, 3, 2), (1, 3))
    assert all(array.dtype == np.float32 for array in (out.indices, out.phase, out.mask, out.features))


def test_a_mask_is_scored_as_lvedge_is() -> None:
    """What reads the paint draws what was drawn: through the located view little is lost of it."""
    found = score_acdc(mask_stepper(), DEFAULT_QUALITY, painted_stack(), np.zeros(LAYOUT.size))
    mid = [s for s in found if s.mid]
    assert len(mid) >= 4
    assert all(s.found for s in mid)
    for s in mid:
        np.testing.assert_allclose(s.regressed, s.geometric, rtol=1e-5)
        assert np.abs(s.regressed - s.truth)[LAYOUT.rwt].mean() < 0.5
        assert min(s.dice) > 0.9


def test_the_phase_of_a_beat_comes_from_the_areas_of_its_masks() -> None:
    samples = painted_beat(slice_index=3)
    missing = StandIn(np.zeros(LAYOUT.size), np.zeros(2), np.zeros(len(samples), dtype=bool))
    (beat,) = score_york(mask_stepper(), DEFAULT_QUALITY, samples, (0,), missing)
    assert beat.found.all()
    assert (beat.systole_layer != beat.systole_true).mean() > 0.4  # the stepper itself says nothing
    assert (beat.systole_said != beat.systole_true).mean() <= 0.05


# --- a network that gives values and phase ---------------------------------------------------------


def test_a_clip_at_once_is_the_clip_step_by_step() -> None:
    network, stepper = regressor(), RegressionStepper(regressor(), own_stepper())
    clip = np.random.default_rng(0).random((6, 1, 1, 80, 80), dtype=np.float32)
    with torch.no_grad():
        features = network.features(torch.from_numpy(clip[:, 0]))
        whole = network.over(features[None])
    state = State.zeros(stepper.shapes)
    for t, frame in enumerate(clip):
        before, out = state, stepper.step(frame, state)
        state = out.state
        np.testing.assert_allclose(out.indices[0], whole.indices[0, t], rtol=1e-5)
        np.testing.assert_allclose(out.phase[0], torch.softmax(whole.phase_logits[0, t], 0), rtol=1e-4)
        again = stepper.replay(out.features, before)
        np.testing.assert_array_equal(again.indices, out.indices)
        np.testing.assert_array_equal(again.phase, out.phase)
    np.testing.assert_allclose(state.h_phase, whole.state.h_phase, rtol=1e-4, atol=1e-6)


def test_the_memory_matters() -> None:
    network = regressor()
    features = torch.rand(1, 2, SMALL.features)
    with torch.no_grad():
        second = network.over(features).indices[0, 1]
        alone = network.over(features[:, 1:]).indices[0, 0]
    assert (second - alone).abs().max() > 1e-3


def test_every_tensor_of_a_regression_has_its_promised_shape_and_the_mask_is_lvedge_s() -> None:
    own = own_stepper()
    stepper = RegressionStepper(regressor(), own)
    shapes = stepper.shapes
    assert (shapes.features, shapes.regression_state, shapes.phase_state) == (5, 6, 6)
    frame = np.random.default_rng(0).random((1, 1, 80, 80), dtype=np.float32)
    out = stepper.step(frame, State.zeros(shapes))
    for name in ("indices", "phase", "mask", "features"):
        assert getattr(out, name).shape == (1, *shapes.tensor_shape(name)), name
    for name in STATE_NAMES:
        assert getattr(out.state, name).shape == (1, *shapes.tensor_shape(name)), name
    np.testing.assert_array_equal(out.mask, own.step(frame, State.zeros(own.shapes)).mask)


def test_a_network_of_another_view_cannot_hold_it() -> None:
    own = TorchStepper(LeftVentricleNetwork(TINY), tiny_locator())
    with pytest.raises(DataError, match=r"lvedge's network sees 32 pixels of 4\.0 mm"):
        RegressionStepper(regressor(), own)


# --- training --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slices() -> list[PreparedSlice]:
    samples = [*pair_of(healthy()), *beat_of(frames=4, subject="1")]
    return prepare(samples)


def test_the_scale_of_the_values_is_that_of_the_slices_with_a_spacing(slices: list[PreparedSlice]) -> None:
    mean, spread = regression.scale_of(slices)
    ed, es = (p.values_mm / 1.5 ** LAYOUT.unit_power() for p in slices if p.sample.source == "acdc")
    np.testing.assert_allclose(mean, (ed + es) / 2, rtol=1e-5)
    np.testing.assert_allclose(spread, np.abs(ed - es) / 2, rtol=1e-4)


def test_stills_train_what_leads_to_the_values_and_resume(
    slices: list[PreparedSlice], tmp_path: Path
) -> None:
    mid = [p for p in slices if p.sample.source == "acdc"]
    whole = regression.train_stills(slices, mid, tmp_path / "whole", LOOP, SMALL)
    regression.train_stills(slices, mid, tmp_path / "broken", replace(LOOP, steps=2), SMALL)
    assert is_done(tmp_path / "broken" / "stills.pt")
    assert not is_done(tmp_path / "broken" / "stills.pt", 4)
    regression.train_stills(slices, mid, tmp_path / "broken", LOOP, SMALL)
    assert is_done(tmp_path / "broken" / "stills.pt", 4)
    read = regression.read_regression(tmp_path / "whole" / "stills.pt")
    assert read.config == SMALL
    frame = torch.rand(2, 1, 80, 80)
    with torch.no_grad():
        said = [n.eval().over(n.features(frame)[None]).indices for n in (read, whole)]
    torch.testing.assert_close(said[0], said[1], rtol=1e-5, atol=1e-5)
    torch.manual_seed(LOOP.seed)
    before = FrameRegression(SMALL, *regression.scale_of(slices)).state_dict()
    moved = {name.split(".")[0] for name, v in whole.state_dict().items() if not torch.equal(v, before[name])}
    assert moved == {"embedding", "regression", "values"}
    lines = (tmp_path / "whole" / "stills.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert '"rwt_mm"' in lines[-1]


def test_clips_train_both_lstms_and_leave_the_embedding(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, perceiver = regressor(), SeptumAndFeatures(regressor(), LeftVentricleNetwork())
    clips = [
        *york_clips(perceiver, beat_of(subject="1"), 1, None, 0),
        *acdc_clips(perceiver, pair_of(healthy()), 1, None, 0),
    ]
    assert [clip.features.shape for clip in clips] == [(20, SMALL.features), (LEVELS, SMALL.features)]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trained = regression.train_clips(network, clips, tmp_path, LOOP)
    moved = {
        n.split(".")[0] for n, value in trained.state_dict().items() if not torch.equal(value, before[n])
    }
    assert moved == {"regression", "values", "phase", "classification"}
    read = regression.read_regression(tmp_path / "clips.pt").state_dict()
    assert all(torch.equal(value, read[name]) for name, value in trained.state_dict().items())
    assert spent_of(tmp_path / "clips.pt").steps == LOOP.steps


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "stills.pt", {"weights": {}})
    with pytest.raises(DataError, match="is no checkpoint of this stage and version"):
        regression.read_regression(tmp_path / "stills.pt")
    with pytest.raises(DataError, match="no checkpoint at"):
        regression.read_regression(tmp_path / "none.pt")


# --- the budget ------------------------------------------------------------------------------------


def test_so_many_steps_fit_into_a_budget() -> None:
    assert steps_within(4350.0, 1.45) == 3000
    assert steps_within(4350.0, 0.3) == 14500
    assert steps_within(1.0, 5.0) == 1


def test_a_pilot_says_how_many_steps_fit_and_a_resumed_training_keeps_its_plan(tmp_path: Path) -> None:
    asked: list[int] = []

    def train(loop: LoopConfig, folder: Path) -> None:
        """Took 30 s to get going, then a quarter of a second a step."""
        asked.append(loop.steps)
        spent = [30.0, 30.0 + 0.25 * loop.steps / 2]
        (folder / "net.jsonl").write_text("".join(f'{{"core_seconds": {s}}}\n' for s in spent))

    checkpoint = tmp_path / "net.pt"
    assert planned_steps(train, LOOP, checkpoint, 100.0) == 400
    assert asked == [48]
    write_checkpoint(checkpoint, {"step": 10, "loop_config": {"steps": 77}, "core_seconds": 2.5})
    assert planned_steps(train, LOOP, checkpoint, 100.0) == 77
    assert asked == [48]
    assert not is_done(checkpoint)
    assert spent_of(checkpoint).as_json() == {"steps": 10, "core_seconds": 2.5}
