"""TensorRT's engine on doubles: ONNX Runtime in TensorRT's place, host memory in the GPU's.

What is real here is all of lvedge's own, cuda-bindings and pycuda. What only a device can show stands in
``docs/engines.md``.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.driver import DriverDouble
from doubles.fake_tensorrt import Fake, graphs_taken
from tiny_bundle import SHAPES, field, graph, model, node, tensors_of, tiny_graphs, value

from lvedge.bundle import Bundle
from lvedge.contract import STATE_NAMES, State
from lvedge.errors import EngineError
from lvedge.measurement import Cycle, Measurement
from lvedge.phantom import HEARTS, Phantom, Placement, stack
from lvedge.quality import DEFAULT_QUALITY
from lvedge_runtime.engines import Engine, open_engine
from lvedge_runtime.engines.cache import EngineCache
from lvedge_runtime.engines.cuda import open_device
from lvedge_runtime.engines.lane import DeviceState
from lvedge_runtime.engines.tensorrt import TensorRt
from lvedge_runtime.engines.trt_build import BuildOptions, build_engine
from lvedge_runtime.stream import Stream

FRAMES = 1000
PER_FRAME = 4 * (11 + 2 + 4 * 16 * 16 + 5)
"""Bytes that a step of the tiny bundle gives to the host: indices, phase, mask, features; no state."""


def bundle_of(**graphs: bytes) -> Bundle:
    entries = {f"{name}.onnx": data for name, data in {**tiny_graphs(), **graphs}.items()}
    return Bundle(manifest={}, shapes=SHAPES, sha256="", origin="tiny", entries=entries)


@contextmanager
def on_cpu(bundle: Bundle) -> Iterator[Engine]:
    with open_engine(bundle, "onnxruntime-cpu") as engine:
        yield engine


def frames_of(count: int, batch: int = 1, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random((count, batch, 1, 16, 16), dtype=np.float32)


def arrays(state: State) -> list[Any]:
    return list(state.as_inputs().values())


def assert_same(found: Any, right: Any) -> None:
    """Two results, equal bit by bit but for the state."""
    for name in ("indices", "phase", "mask", "features"):
        if hasattr(right, name):
            np.testing.assert_array_equal(getattr(found, name), getattr(right, name), err_msg=name)


@pytest.fixture
def make(fake: Fake, provider: str, tmp_path: Path) -> Any:
    """The engine of a bundle, on one of the providers."""

    def made(bundle: Bundle | None = None, max_batch: int = 1) -> TensorRt:
        return TensorRt(
            bundle or bundle_of(),
            options=BuildOptions(max_batch=max_batch),
            device=lambda: open_device(provider),
            cache=EngineCache(tmp_path / "engines"),
        )

    return made


# --- numbers, and what crosses ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["live", "closed"])
def test_a_thousand_frames_equal_onnx_runtime(make: Any, driver: DriverDouble, mode: str) -> None:
    """Live: stepped. Closed: stepped, then all of it replayed from the state at the end."""
    with make() as engine, on_cpu(bundle_of()) as cpu:
        state, right = engine.zero_state(), cpu.zero_state()
        features = []
        for k, frame in enumerate(frames_of(FRAMES)):
            found, expected = engine.step(frame, state), cpu.step(frame, right)
            assert_same(found, expected)
            features.append(found.features)
            state, right = found.state, expected.state
            if k == 4:
                settled = driver.allocations, driver.captures
        assert (driver.allocations, driver.captures) == settled
        for vector in features if mode == "closed" else ():
            again, expected_again = engine.replay(vector, state), cpu.replay(vector, right)
            assert_same(again, expected_again)
            state, right = again.state, expected_again.state
        assert isinstance(state, DeviceState)
        for one, other in zip(arrays(state), arrays(right), strict=True):
            np.testing.assert_array_equal(one, other)
    assert driver.faults == 0


def test_the_state_is_never_copied_to_the_host(make: Any, driver: DriverDouble) -> None:
    with driver.without_capture(), make() as engine:
        state = engine.zero_state()
        to_host, to_device = driver.bytes_to_host, driver.bytes_to_device
        for frame in frames_of(20):
            state = engine.step(frame, state).state
        assert driver.bytes_to_host - to_host == 20 * PER_FRAME
        up = driver.bytes_to_device - to_device - 20 * frame.nbytes
        assert up == 4 * 256  # the zero state, once, each tensor on its own boundary


def test_replays_go_on_from_steps(make: Any) -> None:
    frames = frames_of(6, seed=1)
    with make() as engine, on_cpu(bundle_of()) as cpu:
        closed = []
        for stepper in (engine, cpu):
            state, kept = stepper.zero_state(), []
            for frame in frames:
                kept.append(stepper.step(frame, state))
                state = kept[-1].state
            again = []
            for step in kept:
                again.append(stepper.replay(step.features, state))
                state = again[-1].state
            closed.append((kept, again, arrays(state)))
        for found, right in zip(closed[0][0] + closed[0][1], closed[1][0] + closed[1][1], strict=True):
            assert_same(found, right)
        for one, other in zip(closed[0][2], closed[1][2], strict=True):
            np.testing.assert_array_equal(one, other)


def test_interleaved_streams_own_their_buffers(make: Any) -> None:
    clips = [frames_of(12, seed=seed) for seed in range(3)]
    with make() as engine, on_cpu(bundle_of()) as cpu:
        states = {k: engine.zero_state() for k in range(3)}
        rights = {k: cpu.zero_state() for k in range(3)}
        for t in range(12):
            for k, clip in enumerate(clips):
                found, right = engine.step(clip[t], states[k]), cpu.step(clip[t], rights[k])
                assert_same(found, right)
                states[k], rights[k] = found.state, right.state


def test_batches_of_other_sizes_may_alternate(
    make: Any, driver: DriverDouble, caplog: pytest.LogCaptureFixture
) -> None:
    with make(max_batch=4) as engine, on_cpu(bundle_of()) as cpu:
        states: dict[int, Any] = {b: (engine.zero_state(b), cpu.zero_state(b)) for b in (1, 3, 4)}
        for t, batch in enumerate((1, 3, 3, 3, 1, 1, 1, 4, 4, 4, 3, 3, 3, 1, 1, 1) * 4):
            frame = frames_of(1, batch, seed=t)[0]
            found, right = engine.step(frame, states[batch][0]), cpu.step(frame, states[batch][1])
            assert_same(found, right)
            states[batch] = (found.state, right.state)
            if t == 15:
                alive = driver.live
        assert driver.live == alive  # nothing heaps up
        with pytest.raises(EngineError, match=r"at most 4 streams at a time, not 5: .*max_batch=5"):
            engine.step(frames_of(1, 5)[0], engine.zero_state(5))
    assert not [record for record in caplog.records if "CUDA graphs" in record.getMessage()]


def test_it_is_built_for_as_many_streams_as_go_together(fake: Fake, provider: str, tmp_path: Path) -> None:
    engine = TensorRt(
        bundle_of(), streams=3, device=lambda: open_device(provider), cache=EngineCache(tmp_path / "engines")
    )
    assert engine.most == 3
    with engine, on_cpu(bundle_of()) as cpu:
        frame = frames_of(1, 3)[0]
        assert_same(engine.step(frame, engine.zero_state(3)), cpu.step(frame, cpu.zero_state(3)))
        with pytest.raises(EngineError, match="at most 3 streams at a time, not 4"):
            engine.step(frames_of(1, 4)[0], engine.zero_state(4))


def test_slices_reuse_the_buffers_of_those_before(make: Any, driver: DriverDouble) -> None:
    with make() as engine:
        for seed in range(50):
            state = engine.zero_state()
            for frame in frames_of(5, seed=seed):
                state = engine.step(frame, state).state
            if seed == 1:
                settled = driver.allocations, driver.captures
        assert (driver.allocations, driver.captures) == settled


def test_recorded_runs_are_launched_where_the_provider_can(make: Any, driver: DriverDouble) -> None:
    launches = driver.launches
    with make() as engine:
        state = engine.zero_state()
        for frame in frames_of(10):
            state = engine.step(frame, state).state
        can = engine._device.can_capture
    assert driver.launches - launches == (9 if can else 0)  # the first run is not recorded


def test_without_cuda_graphs_it_runs_as_before(
    make: Any, driver: DriverDouble, caplog: pytest.LogCaptureFixture
) -> None:
    launches = driver.launches
    with driver.without_capture(), make() as engine, on_cpu(bundle_of()) as cpu:
        can = engine._device.can_capture
        caplog.clear()
        state, right = engine.zero_state(), cpu.zero_state()
        for frame in frames_of(10):
            found, expected = engine.step(frame, state), cpu.step(frame, right)
            assert_same(found, expected)
            state, right = found.state, expected.state
    assert driver.launches == launches
    assert [r.getMessage().partition(":")[0] for r in caplog.records] == (
        ["the step graph runs without CUDA graphs"] if can else []
    )


def test_on_a_jetson_nothing_is_copied(make: Any, driver: DriverDouble) -> None:
    with driver.as_jetson(), make() as engine, on_cpu(bundle_of()) as cpu:
        to_host, to_device = driver.bytes_to_host, driver.bytes_to_device
        state, right = engine.zero_state(), cpu.zero_state()
        for frame in frames_of(20):
            found, expected = engine.step(frame, state), cpu.step(frame, right)
            assert_same(found, expected)
            state, right = found.state, expected.state
        points, confidence = engine.locate(frames_of(1)[0])
        np.testing.assert_array_equal(points, cpu.locate(frames_of(1)[0])[0])
        assert confidence.shape == (1, 3)
        assert driver.bytes_to_host == to_host
        assert driver.bytes_to_device - to_device == 4 * 256  # the zero state


def test_threads_take_turns(make: Any) -> None:
    clips = [frames_of(40, seed=seed) for seed in range(2)]
    found: dict[int, list[Any]] = {}
    with make() as engine, on_cpu(bundle_of()) as cpu:

        def walk(stepper: Engine, k: int) -> list[Any]:
            state, steps = stepper.zero_state(), []
            for frame in clips[k]:
                steps.append(stepper.step(frame, state))
                state = steps[-1].state
            return steps

        threads = [threading.Thread(target=lambda k=k: found.update({k: walk(engine, k)})) for k in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for k in range(2):
            for one, right in zip(found[k], walk(cpu, k), strict=True):
                assert_same(one, right)


# --- whole streams with the bundle that ships ---------------------------------------------------------


@pytest.mark.parametrize("live", [False, True], ids=["closed", "live"])
def test_a_stream_measures_as_on_onnx_runtime(make: Any, bundle: Bundle, live: bool) -> None:
    """Frames of two slices of a phantom, closed (stepped, then replayed) and live."""
    grid = Placement(rows=130, columns=130, spacing_mm=(2.0, 2.0), offset_mm=(-10.0, 6.0), rotation_deg=8.0)
    heart = replace(HEARTS["healthy"], frames=8)
    slices = stack(Phantom(heart=heart, placement=grid, seed=4, series="two"), 3)[1:]
    frames = [frame for phantom in slices for frame in phantom.frames()]
    with make(bundle) as engine, on_cpu(graphs_taken(bundle)) as cpu:
        assert engine.precision == "fp16"
        found, right = (list(Stream(frames, s, DEFAULT_QUALITY, None, live=live)) for s in (engine, cpu))
    assert len(found) == len(right) == 18
    measured = 0
    for one, other in zip(found, right, strict=True):
        assert type(one) is type(other)
        if isinstance(one, Measurement) and isinstance(other, Measurement):
            assert (one.measured, one.phase, one.mode) == (other.measured, other.phase, other.mode)
            if one.indices is not None and other.indices is not None:
                np.testing.assert_array_equal(one.indices.vector, other.indices.vector)
                measured += 1
        elif isinstance(one, Cycle) and isinstance(other, Cycle):
            assert (one.ed_frame, one.es_frame, one.fac) == (other.ed_frame, other.es_frame, other.fac)
    assert measured == len(frames)


# --- the state is a value -----------------------------------------------------------------------------


def test_a_state_that_is_gone_is_refused(make: Any) -> None:
    frames = frames_of(4)
    with make() as engine:
        old = engine.step(frames[0], engine.zero_state()).state
        newer = engine.step(frames[1], old).state
        engine.step(frames[2], newer)
        for use in (
            lambda: engine.step(frames[3], old),
            lambda: engine.replay(np.zeros((1, 5), np.float32), old),
            lambda: old.h_regression,
            old.as_inputs,
        ):
            with pytest.raises(EngineError, match=r"this state is gone: .*until two steps later"):
                use()


def test_the_state_before_may_be_gone_on_from(make: Any) -> None:
    frames = frames_of(5)
    with make() as engine, on_cpu(bundle_of()) as cpu:
        for stepper, results in ((engine, found := []), (cpu, right := [])):
            first = stepper.step(frames[0], stepper.zero_state())
            second = stepper.step(frames[1], first.state)
            other = stepper.step(frames[2], first.state)  # another stream from the same state
            results += [second, other, stepper.step(frames[3], second.state)]
            results += [stepper.step(frames[4], other.state), stepper.step(frames[0], results[2].state)]
        for one, expected in zip(found, right, strict=True):
            assert_same(one, expected)


def test_arrays_that_were_asked_for_stay(make: Any) -> None:
    frames = frames_of(4)
    with make() as engine, on_cpu(bundle_of()) as cpu:
        old, right = (s.step(frames[0], s.zero_state()).state for s in (engine, cpu))
        kept = [array.copy() for array in arrays(old)]
        newer = engine.step(frames[1], old).state
        engine.step(frames[2], newer)
        for one, expected, other in zip(arrays(old), kept, arrays(right), strict=True):
            np.testing.assert_array_equal(one, expected)
            np.testing.assert_array_equal(one, other)
        assert_same(engine.step(frames[3], old), cpu.step(frames[3], right))  # from the host again
    assert old.h_regression is old.h_regression  # and after the engine closed


def test_a_state_ends_with_its_engine(make: Any) -> None:
    frame = frames_of(1)[0]
    with make() as engine:
        state = engine.step(frame, engine.zero_state()).state
    with pytest.raises(EngineError, match="an engine that was closed"):
        _ = state.c_phase
    with (
        engine,
        pytest.raises(EngineError, match="an engine that was closed"),
    ):  # nor does its next life know it
        engine.step(frame, state)


def test_a_state_of_another_engine_crosses_over_the_host(make: Any) -> None:
    frames = frames_of(2)
    with make() as engine, make() as other, on_cpu(bundle_of()) as cpu:
        state, right = (s.step(frames[0], s.zero_state()).state for s in (engine, cpu))
        assert_same(other.step(frames[1], state), cpu.step(frames[1], right))
        assert_same(cpu.step(frames[1], state), cpu.step(frames[1], right))
        with pytest.raises(EngineError, match="the state is of 1 streams, the frame of 2"):
            engine.step(frames_of(1, 2)[0], state)


def test_a_state_says_what_it_is_without_being_fetched(make: Any, driver: DriverDouble) -> None:
    with make() as engine:
        state = engine.step(frames_of(1)[0], engine.zero_state()).state
        before = driver.bytes_to_host
        assert repr(state) == "DeviceState(batch=1, step=1)"
        assert driver.bytes_to_host == before
        assert set(state.as_inputs()) == set(STATE_NAMES)
        assert driver.bytes_to_host > before


# --- everything is given back -------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("at", [0, 1, 3], ids=["plain run", "while recording", "second stream"])
def test_an_error_in_the_middle_of_a_frame_leaves_nothing(
    make: Any, fake: Fake, driver: DriverDouble, error: type[BaseException], at: int
) -> None:
    before = driver.live

    def stop() -> None:
        raise error

    def walk() -> None:
        with make() as engine:
            states = [engine.zero_state(), engine.zero_state()]
            for k, frame in enumerate(frames_of(8)):
                if k == at:
                    fake.before_run.append(stop)
                states[k % 2] = engine.step(frame, states[k % 2]).state

    with pytest.raises(error):
        walk()
    gc.collect()
    assert (driver.live, driver.is_idle) == (before, True)


def test_a_frame_that_failed_can_be_tried_again(make: Any, fake: Fake) -> None:
    frames = frames_of(6)
    with make() as engine, on_cpu(bundle_of()) as cpu:
        state, right = engine.zero_state(), cpu.zero_state()
        for k, frame in enumerate(frames):
            if k in (1, 2):  # recording, or a plain run

                def stop() -> None:
                    raise RuntimeError("the kernel")

                fake.before_run.append(stop)
                with pytest.raises(RuntimeError, match="the kernel"):
                    engine.step(frame, state)
                fake.before_run.clear()
            found, expected = engine.step(frame, state), cpu.step(frame, right)
            assert_same(found, expected)
            state, right = found.state, expected.state


def test_a_frame_that_failed_takes_the_state_before_with_it(make: Any, fake: Fake) -> None:
    """Its buffers may hold anything: the failed frame wrote there."""
    frames = frames_of(4)

    def stop() -> None:
        raise KeyboardInterrupt

    with make() as engine, on_cpu(bundle_of()) as cpu:
        first = engine.step(frames[0], engine.zero_state()).state
        second = engine.step(frames[1], first).state
        right = cpu.step(frames[1], cpu.step(frames[0], cpu.zero_state()).state).state
        fake.before_run.append(stop)
        with pytest.raises(KeyboardInterrupt):
            engine.step(frames[2], second)
        with pytest.raises(EngineError, match="this state is gone"):
            engine.step(frames[3], first)
        assert_same(engine.step(frames[3], second), cpu.step(frames[3], right))


def test_ctrl_c_while_an_engine_is_built_leaves_nothing(
    make: Any, driver: DriverDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, builds = driver.live, []

    def build(*arguments: Any) -> bytes:
        builds.append(arguments)
        if len(builds) == 2:
            raise KeyboardInterrupt
        return build_engine(*arguments)

    monkeypatch.setattr("lvedge_runtime.engines.tensorrt.build_engine", build)
    with pytest.raises(KeyboardInterrupt):
        make().__enter__()
    assert (driver.live, driver.is_idle) == (before, True)


def test_closing_twice_is_closing_once(make: Any, driver: DriverDouble) -> None:
    before = driver.live
    engine = make()
    with engine:
        engine.step(frames_of(1)[0], engine.zero_state())
        assert driver.live > before
    assert driver.live == before
    engine.__exit__(None, None, None)
    assert driver.live == before
    with engine:  # a second life
        engine.step(frames_of(1)[0], engine.zero_state())
    assert driver.live == before


def test_any_allocation_that_fails_leaves_nothing(make: Any, driver: DriverDouble) -> None:
    """Each in turn, from the first one to the last."""
    before, nth = driver.live, 0

    def walk() -> None:
        with make() as engine:
            step = engine.step(frames_of(1)[0], engine.zero_state())
            engine.step(frames_of(1)[0], engine.zero_state())
            del step

    walk()
    while True:
        nth += 1
        allocations = driver.allocations
        with driver.failing_allocation(nth):
            failed = refusal_of(walk)
        gc.collect()
        assert (driver.live, driver.is_idle) == (before, True)
        if failed is None:
            assert driver.allocations - allocations < nth
            break
        assert "the GPU has no room for" in failed
    assert nth > 10


def refusal_of(call: Callable[[], None]) -> str | None:
    """What a call was refused with; None where it was not."""
    try:
        call()
    except EngineError as err:
        return str(err)
    return None


# --- what users meet ----------------------------------------------------------------------------------


def test_fp16_graphs_are_taken_where_the_bundle_has_them(make: Any, fake: Fake) -> None:
    plain = bundle_of()
    marked = {f"{name}.fp16.onnx": graph for name, graph in tiny_graphs("half").items()}
    with make(plain) as engine:
        assert engine.precision == "fp32"
    fake.deserialised.clear()
    with make(replace(plain, entries={**plain.entries, **marked})) as engine:
        assert engine.precision == "fp16"
        engine.step(frames_of(1)[0], engine.zero_state())
    assert [any(data.endswith(m) for m in marked.values()) for data in fake.deserialised] == [True] * 3
    del marked["replay.fp16.onnx"]
    with make(replace(plain, entries={**plain.entries, **marked})) as engine:
        assert engine.precision == "fp32"


def int_tensor(name: str, values: Sequence[int]) -> bytes:
    """A TensorProto of int64."""
    data = np.array(values, np.int64)
    return b"".join([field(1, len(values)), field(2, 7), field(8, name), field(9, data.tobytes())])


FLOAT, HALF = 1, 10
POINTS, CONFIDENCE = ("points", ("B", 3, 2), FLOAT), ("confidence", ("B", 3), FLOAT)


def odd_locator(inputs: Sequence[bytes], *outputs: tuple[str, tuple[Any, ...], int]) -> bytes:
    """A graph from a frame to outputs of any name, shape and type, each the frame's mean over and over."""
    nodes = [node("ReduceMean", ["frame"], ["mean"], axes=[2, 3], keepdims=0)]
    targets = []
    for name, shape, kind in outputs:
        count = int(np.prod(shape[1:]))
        targets.append(int_tensor(f"{name}_to", [-1, *shape[1:]]))
        nodes += [
            node("Concat", ["mean"] * count, [f"{name}_flat"], axis=1),
            node("Reshape", [f"{name}_flat", f"{name}_to"], [f"{name}_shaped"]),
            node("Cast", [f"{name}_shaped"], [name], to=kind),
        ]
    taken = [*tensors_of("locator", 0), *inputs]
    return model(graph(nodes, targets, taken, [value(*output) for output in outputs]))


@pytest.mark.parametrize(
    ("locator", "words"),
    [
        (odd_locator([], POINTS), "gives points and not points, confidence"),
        (
            odd_locator([], POINTS, ("trust", ("B", 3), FLOAT)),
            "gives points, trust and not points, confidence",
        ),
        (
            odd_locator([value("picture", ("B", 1, 16, 16))], POINTS, CONFIDENCE),
            "takes frame, picture and not frame",
        ),
        (
            odd_locator([], ("points", ("B", 6), FLOAT), CONFIDENCE),
            r"has points in the shape \[-1, 6\], the bundle \['B', 3, 2\]",
        ),
        (odd_locator([], ("points", ("B", 3, 2), HALF), CONFIDENCE), "has points not in float32"),
    ],
    ids=["an output is missing", "another name", "an input too many", "another shape", "another type"],
)
def test_wrong_tensors_are_named(make: Any, locator: bytes, words: str) -> None:
    with pytest.raises(EngineError, match=f"^the engine of the locator graph {words}"):
        make(bundle_of(locator=locator)).__enter__()


def test_the_odd_locator_is_odd_in_nothing_else(make: Any) -> None:
    with make(bundle_of(locator=odd_locator([], POINTS, CONFIDENCE))) as engine:
        assert engine.locate(frames_of(1)[0])[0].shape == (1, 3, 2)


def test_a_graph_that_tensorrt_does_not_take_is_told(make: Any) -> None:
    nodes = [node("NoSuchOperator", ["frame"], ["points", "confidence"])]
    odd = model(graph(nodes, [], tensors_of("locator", 0), tensors_of("locator", 1)))
    with pytest.raises(EngineError, match=r"TensorRT 10\.3\.0 does not take the graph: .*NoSuchOp") as caught:
        make(bundle_of(locator=odd)).__enter__()
    assert "\n" not in str(caught.value)


def test_no_memory_for_an_engine_is_told_and_nothing_is_built_again(make: Any, fake: Fake) -> None:
    with make():
        pass
    fake.memory_for_engines = False
    with pytest.raises(EngineError, match=r"no room for the step graph \(Requested amount of GPU memory"):
        make().__enter__()
    assert fake.builds == 3


def test_no_memory_for_buffers_is_told(make: Any, driver: DriverDouble) -> None:
    with driver.with_memory(2000), pytest.raises(EngineError, match=r"no room for \d+ bytes: close other"):
        make().__enter__()


def test_no_memory_for_a_context_is_told(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from doubles.fake_tensorrt import ICudaEngine

    monkeypatch.setattr(ICudaEngine, "create_execution_context", lambda _: None)
    with pytest.raises(EngineError, match="no room for the step graph: close other programs"):
        make().__enter__()


def test_a_missing_tensorrt_is_told(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match="it comes with JetPack; a virtual environment sees it with"):
        make().__enter__()


MAIN = """
import sys
from pathlib import Path
import doubles.fake_tensorrt as fake_tensorrt
from types import SimpleNamespace
fake = fake_tensorrt.Fake(SimpleNamespace(is_initialised=False))  # a runtime that is reached now aborts
sys.modules["tensorrt"] = fake.tensorrt()
from lvedge_runtime.cli import main
sys.exit(main(["--stream", "demo:", "--engine", "tensorrt", "--quiet"]))
"""


@pytest.mark.parametrize("driver_is", ["missing", "without a GPU"])
def test_a_missing_driver_is_a_message_and_no_crash(
    driver_is: str, tmp_path: Path, driver: DriverDouble, bundle: Bundle
) -> None:
    """In a process of its own, where TensorRT's runtime would abort it."""
    pytest.importorskip("cuda.bindings.driver")
    code = MAIN
    if driver_is == "without a GPU":
        path = driver.library._name
        code = f"import ctypes; ctypes.CDLL({path!r}, mode=257).double_fail_init(100)\n{MAIN}"
    elif has_driver():
        pytest.skip("this machine has a driver")
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("lvedge-run: error: no NVIDIA driver answers here: ")


def has_driver() -> bool:
    """Whether a process of its own finds a real driver."""
    code = "import ctypes; ctypes.CDLL('libcuda.so.1')"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
