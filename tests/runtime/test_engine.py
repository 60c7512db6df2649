"""Engines: numbers, checks, life inside ``with``, on a bundle made by hand and on the one that ships."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bundle import ABOUT, SHAPES, WEIGHTS, graph, model, node, tensors_of, tiny_graphs, tiny_step

from lvedge.bundle import Bundle, write_bundle
from lvedge.contract import STATE_NAMES, State
from lvedge.errors import EngineError, UsageError
from lvedge_runtime.engines import ENGINES, Engine, open_engine
from lvedge_runtime.engines.tensorrt import TensorRt
from lvedge_runtime.engines.trt_build import BuildOptions

RNG = np.random.default_rng(3)


def tiny(folder: Path, **graphs: bytes) -> Bundle:
    return write_bundle(
        folder / "tiny.lvedge",
        shapes=SHAPES,
        graphs={**tiny_graphs(), **graphs},
        about=ABOUT,
        licence="",
        model_card="",
    )


@pytest.fixture(scope="module")
def hand_made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny(tmp_path_factory.mktemp("engine"))


def engine_of(name: str, bundle: Bundle, request: pytest.FixtureRequest, patch: pytest.MonkeyPatch) -> Engine:
    """An engine for up to three streams; TensorRT on its doubles."""
    if name != "tensorrt":
        return open_engine(bundle, name)
    pytest.importorskip("cuda.bindings.driver")
    from doubles.fake_tensorrt import Fake

    Fake(request.getfixturevalue("driver")).install(patch)
    return TensorRt(bundle, options=BuildOptions(max_batch=3))


@pytest.fixture(scope="module", params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest, hand_made: Bundle) -> Iterator[Engine]:
    with (
        pytest.MonkeyPatch.context() as patch,
        engine_of(request.param, hand_made, request, patch) as opened,
    ):
        yield opened


def frames(batch: int = 1) -> Any:
    return RNG.random((batch, 1, 16, 16), dtype=np.float32)


def state_lists(state: State) -> list[Any]:
    return list(state.as_inputs().values())


def both_sides(name: str) -> tuple[list[bytes], list[bytes]]:
    """Inputs and outputs of one of the contract's graphs."""
    return tensors_of(name, 0), tensors_of(name, 1)


@pytest.mark.parametrize("batch", [1, 3])
def test_steps_carry_the_state(engine: Engine, batch: int) -> None:
    state = engine.zero_state(batch)
    expected = state_lists(state)
    for _ in range(5):
        frame = frames(batch)
        result = engine.step(frame, state)
        indices, expected = tiny_step(frame, expected)
        np.testing.assert_allclose(result.indices, indices, rtol=1e-4, atol=1e-4)
        for found, right in zip(state_lists(result.state), expected, strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(result.phase.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(result.mask, 0.25, rtol=1e-5)
        state = result.state


def test_a_replay_equals_the_step_that_gave_its_features(engine: Engine) -> None:
    state = State(*(RNG.normal(size=a.shape).astype(np.float32) for a in state_lists(engine.zero_state(2))))
    stepped = engine.step(frames(2), state)
    replayed = engine.replay(stepped.features, state)
    np.testing.assert_allclose(replayed.indices, stepped.indices, rtol=1e-5)
    np.testing.assert_allclose(replayed.phase, stepped.phase, rtol=1e-5)
    for one, other in zip(state_lists(replayed.state), state_lists(stepped.state), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_the_locator_gives_points_and_confidences(engine: Engine) -> None:
    frame = frames(2)
    points, confidence = engine.locate(frame)
    mean = frame.mean(axis=(2, 3))
    np.testing.assert_allclose(points, (mean @ WEIGHTS["to_points"]).reshape(2, 3, 2), rtol=1e-4)
    np.testing.assert_allclose(confidence, 1 / (1 + np.exp(-(mean @ WEIGHTS["to_confidence"]))), rtol=1e-4)


def test_streams_in_a_batch_do_not_touch_each_other(engine: Engine) -> None:
    frame = frames(3)
    together = engine.step(frame, engine.zero_state(3))
    alone = engine.step(frame[1:2].copy(), engine.zero_state())
    np.testing.assert_allclose(together.indices[1:2], alone.indices, rtol=1e-5)


def test_results_belong_to_the_caller(engine: Engine) -> None:
    frame, state = frames(), engine.zero_state()
    before = frame.copy()
    first = engine.step(frame, state)
    kept = first.indices.copy(), first.state.h_regression.copy()
    engine.step(frames(), first.state)
    np.testing.assert_array_equal(first.indices, kept[0])
    np.testing.assert_array_equal(first.state.h_regression, kept[1])
    np.testing.assert_array_equal(frame, before)
    assert not any(array.any() for array in state_lists(state))


def test_what_has_another_shape_or_type_is_refused(engine: Engine) -> None:
    state = engine.zero_state()
    for frame, words in (
        (frames()[0], "shape"),
        (frames()[:, :, :8], r"\[B, 1, 16, 16\], not \[1, 1, 8, 16\]"),
        (frames()[:0], "shape"),
        (frames().astype(np.float64), "float32 array, not float64"),
        (frames().tolist(), "float32 array, not list"),
        (np.float32(1), "float32"),
    ):
        with pytest.raises(EngineError, match=words):
            engine.step(frame, state)
        with pytest.raises(EngineError, match=words):
            engine.locate(frame)
    with pytest.raises(EngineError, match="features has to be of shape"):
        engine.replay(np.zeros((1, 4), dtype=np.float32), state)


@pytest.mark.parametrize("name", STATE_NAMES)
def test_a_state_of_another_stream_is_refused(engine: Engine, name: str) -> None:
    state = engine.zero_state()
    wide = np.zeros((1, 99), dtype=np.float32)
    many = np.zeros((2, *SHAPES.tensor_shape(name)), dtype=np.float32)
    with pytest.raises(EngineError, match=f"{name} has to be of shape"):
        engine.step(frames(), replace(state, **{name: wide}))
    with pytest.raises(EngineError, match=f"{name} is of 2 streams, the frame of 1"):
        engine.step(frames(), replace(state, **{name: many}))


def test_views_of_larger_arrays_are_taken(engine: Engine) -> None:
    large = RNG.random((1, 1, 32, 32), dtype=np.float32)
    strided = large[:, :, ::2, ::2]
    expected, _ = tiny_step(strided, state_lists(engine.zero_state()))
    np.testing.assert_allclose(engine.step(strided, engine.zero_state()).indices, expected, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_an_engine_works_inside_with_only(
    hand_made: Bundle, name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine_of(name, hand_made, request, monkeypatch)
    engine = open_engine(hand_made, name)
    assert engine.name == name
    assert engine.shapes == SHAPES
    with pytest.raises(EngineError, match="is not open"):
        engine.step(frames(), engine.zero_state())
    with engine:
        engine.step(frames(), engine.zero_state())
        with pytest.raises(EngineError, match="is open already"):
            engine.__enter__()
    with pytest.raises(EngineError, match="is not open"):
        engine.locate(frames())
    with engine:  # a second life
        engine.step(frames(), engine.zero_state())


def test_an_engine_that_is_not_used_closes(hand_made: Bundle) -> None:
    with open_engine(hand_made):
        pass


def test_threads_are_a_choice(hand_made: Bundle) -> None:
    with open_engine(hand_made, threads=2) as engine:
        assert engine.threads == 2
        engine.step(frames(), engine.zero_state())
    with pytest.raises(EngineError, match="at least 1 thread"):
        open_engine(hand_made, threads=0)


def test_an_unknown_engine_lists_the_known_ones(hand_made: Bundle) -> None:
    with pytest.raises(UsageError, match="no engine 'abacus': name one of auto, onnxruntime-cpu"):
        open_engine(hand_made, "abacus")


def test_a_graph_that_the_engine_cannot_take_is_told(tmp_path: Path) -> None:
    odd = model(graph([node("NoSuchOperator", ["frame"], ["points"])], [], *both_sides("locator")))
    with (
        open_engine(tiny(tmp_path, locator=odd)) as engine,
        pytest.raises(EngineError, match="does not take the locator graph") as caught,
    ):
        engine.locate(frames())
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_told(hand_made: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with (
        open_engine(hand_made, "onnxruntime-cpu") as engine,
        pytest.raises(EngineError, match="pip install onnxruntime"),
    ):
        engine.locate(frames())


def test_nothing_is_said_on_standard_error(tmp_path: Path) -> None:
    path = tmp_path / "tiny.lvedge"
    tiny(tmp_path)
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from lvedge.bundle import open_bundle; from lvedge_runtime.engines import open_engine\n"
        "with open_engine(open_bundle(Path(sys.argv[1]))) as e:\n"
        "    e.step(np.zeros((1, 1, 16, 16), np.float32), e.zero_state())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_bundle_that_ships_runs(bundle: Bundle) -> None:
    shapes = bundle.shapes
    with open_engine(bundle) as engine:
        frame = RNG.random((1, *shapes.tensor_shape("frame")), dtype=np.float32)
        first = engine.step(frame, engine.zero_state())
        assert np.isfinite(first.indices).all()
        replayed = engine.replay(first.features, engine.zero_state())
        np.testing.assert_allclose(replayed.indices, first.indices, rtol=1e-4, atol=1e-3)
        points, confidence = engine.locate(RNG.random((1, *shapes.locator_shape), dtype=np.float32))
        assert points.shape == (1, 3, 2)
        assert ((confidence >= 0) & (confidence <= 1)).all()
