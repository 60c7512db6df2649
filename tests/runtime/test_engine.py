"""Engines: numbers, checks, life inside ``with``, on a bundle made by hand and on the one that ships."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines_here import EXACT, Good, Mute, engines
from tiny_bundle import (
    ABOUT,
    SHAPES,
    WEIGHTS,
    constants_of,
    graph,
    model,
    node,
    nodes_of,
    tensor,
    tensors_of,
    tiny_graphs,
    tiny_step,
)

from lvedge.bundle import Bundle, write_bundle
from lvedge.contract import STATE_NAMES, State
from lvedge.errors import EngineError, UsageError
from lvedge_runtime.engines import ENGINES, Engine, PassedOver, open_engine
from lvedge_runtime.engines.onnxruntime_base import import_onnxruntime
from lvedge_runtime.engines.probe import missing_driver
from lvedge_runtime.engines.tensorrt import TensorRt
from lvedge_runtime.engines.trt_build import BuildOptions

RNG = np.random.default_rng(3)

WITH_DOUBLES = ["tensorrt", *engines([name for name in EXACT if name != "tensorrt"])]
"""TensorRT over the doubles of it and of its driver, which then make way, and every engine that runs here."""


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
    """An engine for up to eight streams; TensorRT on its doubles."""
    if name != "tensorrt":
        return open_engine(bundle, name)
    pytest.importorskip("cuda.bindings.driver")
    from doubles.fake_tensorrt import Fake

    Fake(request.getfixturevalue("driver")).install(patch)
    return TensorRt(bundle, options=BuildOptions(max_batch=8))


@pytest.fixture(scope="module", params=WITH_DOUBLES)
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


@pytest.mark.parametrize("name", WITH_DOUBLES)
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


@pytest.mark.parametrize("name", ["auto", *engines()])
def test_an_engine_that_is_not_used_closes(hand_made: Bundle, name: str) -> None:
    with open_engine(hand_made, name):
        pass


@pytest.mark.parametrize("name", ["auto", *engines()])
def test_threads_are_a_choice(hand_made: Bundle, name: str) -> None:
    with open_engine(hand_made, name, threads=2) as engine:
        assert engine.threads == 2
        engine.step(frames(), engine.zero_state())
    with pytest.raises(EngineError, match="at least 1 thread"):
        open_engine(hand_made, name, threads=0)


def test_batches_of_many_sizes_follow_each_other(engine: Engine) -> None:
    """What an engine uses again for the next call has to fit it, whatever came before."""
    for batch in (1, 4, 2, 7, 1):
        frame = frames(batch)
        indices, after = tiny_step(frame, state_lists(engine.zero_state(batch)))
        result = engine.step(frame, engine.zero_state(batch))
        np.testing.assert_allclose(result.indices, indices, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(result.state.c_phase, after[3], rtol=1e-4, atol=1e-4)


def test_several_threads_share_an_engine(engine: Engine) -> None:
    given = [frames(1 + k % 3) for k in range(60)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda frame: engine.step(frame, engine.zero_state(len(frame))), given))
    for frame, result in zip(given, found, strict=True):
        indices, _ = tiny_step(frame, state_lists(engine.zero_state(len(frame))))
        np.testing.assert_allclose(result.indices, indices, rtol=1e-4, atol=1e-4)


def test_an_unknown_engine_lists_the_known_ones(hand_made: Bundle) -> None:
    known = ", ".join(("auto", *ENGINES))
    with pytest.raises(UsageError, match=f"no engine 'abacus': name one of {known}"):
        open_engine(hand_made, "abacus")


@pytest.mark.parametrize("name", engines())
def test_a_graph_that_the_engine_cannot_take_is_told(tmp_path: Path, name: str) -> None:
    odd = model(graph([node("NoSuchOperator", ["frame"], ["points"])], [], *both_sides("locator")))
    with (
        open_engine(tiny(tmp_path, locator=odd), name) as engine,
        pytest.raises(EngineError, match="does not take the locator graph") as caught,
    ):
        engine.locate(frames())
    assert "\n" not in str(caught.value)


def test_what_fails_within_a_graph_is_told(tmp_path: Path) -> None:
    """A graph that fits one frame or two, and meets three; OpenVINO computes something there."""
    pair = tensor("pair", np.ones((2, 1, 1, 1), dtype=np.float32))
    mean = node("ReduceMean", ["sum"], ["mean"], axes=[2, 3], keepdims=0)
    nodes = [node("Add", ["frame", "pair"], ["sum"]), mean, *nodes_of("locator")[1:]]
    odd = model(graph(nodes, [pair, *constants_of("locator")], *both_sides("locator")))
    with open_engine(tiny(tmp_path, locator=odd), "onnxruntime-cpu") as engine:
        engine.locate(frames(2))
        with pytest.raises(EngineError, match="onnxruntime-cpu fails in the locator graph: ") as caught:
            engine.locate(frames(3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "package", "words"),
    [
        ("onnxruntime-cpu", "onnxruntime", "pip install onnxruntime"),
        ("onnxruntime-cuda", "onnxruntime", "pip install onnxruntime"),
        ("openvino", "openvino", r"pip install 'lvedge\[openvino\]'"),
        ("openvino-bf16", "openvino", r"pip install 'lvedge\[openvino\]'"),
    ],
)
def test_a_missing_package_is_told(
    hand_made: Bundle, monkeypatch: pytest.MonkeyPatch, name: str, package: str, words: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with open_engine(hand_made, name) as engine, pytest.raises(EngineError, match=words):
        engine.locate(frames())


# --- the best one ------------------------------------------------------------------------------------


def registry(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    """Puts engines of ``engines_here`` before the one that is always there."""
    kept = {"onnxruntime-cpu": ENGINES["onnxruntime-cpu"]}
    found = {kind.lower(): f"engines_here:{kind}" for kind in kinds} | kept
    monkeypatch.setattr("lvedge_runtime.engines.ENGINES", found)


def test_the_best_engine_is_the_first_that_works(hand_made: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    registry(monkeypatch, "Absent", "Stale", "Mute", "Good")
    opened, closed = Good.opened, Mute.closed
    engine = open_engine(hand_made)
    assert engine.name == "good"
    assert engine.passed_over == (
        PassedOver("absent", "no such device", was_tried=False),
        PassedOver("stale", "made for another version: build it again", was_tried=True),
        PassedOver("mute", "mute gives no numbers: take another engine or another bundle", was_tried=True),
    )
    assert Mute.closed == closed + 1
    with engine:
        engine.step(frames(), engine.zero_state())
        with pytest.raises(EngineError, match="is open already"):
            engine.__enter__()
    assert Good.opened == opened + 1  # what was opened to be tried is what is used
    with pytest.raises(EngineError, match="is not open"):
        engine.locate(frames())
    with engine:
        engine.locate(frames())


def test_without_a_better_one_the_last_is_taken(hand_made: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    registry(monkeypatch, "Stale", "Absent")
    with open_engine(hand_made) as engine:
        assert engine.name == "onnxruntime-cpu"
        assert [other.engine for other in engine.passed_over] == ["stale", "absent"]
        engine.step(frames(), engine.zero_state())


def test_an_engine_that_is_named_passes_none_over(hand_made: Bundle) -> None:
    assert open_engine(hand_made, "onnxruntime-cpu").passed_over == ()


def test_on_this_machine_every_engine_before_the_best_says_why_not(hand_made: Bundle) -> None:
    engine = open_engine(hand_made)
    names = list(ENGINES)
    assert [other.engine for other in engine.passed_over] == names[: names.index(engine.name)]
    assert all(other.reason for other in engine.passed_over)
    with engine:
        pass


def test_looking_for_the_best_imports_nothing_that_is_not_used(tmp_path: Path) -> None:
    """Without a driver neither openvino nor onnxruntime is imported before the last engine is opened."""
    if not missing_driver():
        pytest.skip("this machine has a driver")
    tiny(tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from lvedge.bundle import open_bundle; from lvedge_runtime.engines import open_engine\n"
        "engine = open_engine(open_bundle(Path(sys.argv[1])))\n"
        "print(engine.name, [name for name in ('onnxruntime', 'openvino') if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "tiny.lvedge")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "onnxruntime-cpu []\n"


# --- execution providers of ONNX Runtime -------------------------------------------------------------

GPU = [("onnxruntime-cuda", "CUDAExecutionProvider"), ("onnxruntime-tensorrt", "TensorrtExecutionProvider")]


@pytest.mark.parametrize(("name", "provider"), GPU)
def test_a_provider_that_is_not_there_is_told_with_what_brings_it(
    hand_made: Bundle, name: str, provider: str
) -> None:
    if provider in import_onnxruntime().get_available_providers():
        pytest.skip(f"this onnxruntime has the {provider}")
    with open_engine(hand_made, name) as engine, pytest.raises(EngineError) as caught:
        engine.step(frames(), engine.zero_state())
    words = str(caught.value)
    assert f"here has no {provider}, only " in words
    assert "CPUExecutionProvider" in words
    assert "pip install onnxruntime-gpu" in words


@pytest.mark.parametrize(("name", "provider"), GPU)
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_session_that_fell_back_to_the_cpu_is_refused(
    hand_made: Bundle, monkeypatch: pytest.MonkeyPatch, name: str, provider: str
) -> None:
    """The package claims the provider and the real session goes on without it, as where cuDNN is missing."""
    ort = import_onnxruntime()
    if provider in ort.get_available_providers():
        pytest.skip(f"this onnxruntime has the {provider}")
    monkeypatch.setattr(ort, "get_available_providers", lambda: [provider, "CPUExecutionProvider"])
    with (
        open_engine(hand_made, name) as engine,
        pytest.raises(EngineError, match=f"has the {provider} but cannot load it and takes CPUExec"),
    ):
        engine.step(frames(), engine.zero_state())


@pytest.mark.parametrize("name", [name for name, _ in GPU])
def test_without_a_driver_a_gpu_is_not_looked_for(name: str) -> None:
    module, kind = ENGINES[name].split(":")
    reason = getattr(import_module(module), kind).obstacle()
    if missing_driver():
        assert reason == "no NVIDIA driver on this machine (libcuda.so.1 cannot be loaded)"
    else:
        assert "has no" in reason or reason == ""


# --- silence -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", engines())
def test_nothing_is_said_and_nobody_is_told(tmp_path: Path, name: str) -> None:
    """Nothing on standard error, no connection, no id in the home folder: both packages would report."""
    path, home = tmp_path / "tiny.lvedge", tmp_path / "home"
    tiny(tmp_path)
    home.mkdir()
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "def watch(event, _arguments):\n"
        "    if event.startswith('socket.') and event != 'socket.__new__':\n"
        "        sys.exit(event)\n"
        "sys.addaudithook(watch)\n"
        "from lvedge.bundle import open_bundle; from lvedge_runtime.engines import open_engine\n"
        "with open_engine(open_bundle(Path(sys.argv[1])), sys.argv[2]) as e:\n"
        "    e.step(np.zeros((1, 1, 16, 16), np.float32), e.zero_state())\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
    )
    # These would keep the packages from reporting by themselves.
    env = {key: kept for key, kept in os.environ.items() if key not in ("CI", "ORT_DISABLE_TELEMETRY")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), name],
        capture_output=True,
        text=True,
        check=False,
        env={**env, "HOME": str(home)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("name", engines())
def test_the_bundle_that_ships_runs(bundle: Bundle, name: str) -> None:
    shapes = bundle.shapes
    with open_engine(bundle, name) as engine:
        frame = RNG.random((1, *shapes.tensor_shape("frame")), dtype=np.float32)
        first = engine.step(frame, engine.zero_state())
        assert np.isfinite(first.indices).all()
        replayed = engine.replay(first.features, engine.zero_state())
        np.testing.assert_allclose(replayed.indices, first.indices, rtol=1e-4, atol=1e-3)
        points, confidence = engine.locate(RNG.random((1, *shapes.locator_shape), dtype=np.float32))
        assert points.shape == (1, 3, 2)
        assert ((confidence >= 0) & (confidence <= 1)).all()
