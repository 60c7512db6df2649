"""Device memory over both providers, on the driver's double: what is copied when, and that all is freed."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from doubles.driver import DriverDouble

from lvedge.errors import EngineError, UsageError
from lvedge_runtime.engines.cuda import PROVIDERS, Device, open_device
from lvedge_runtime.engines.cuda.device import DeviceMemoryError, Pinned

SIZE = 4096


@pytest.fixture(autouse=True)
def nothing_left(driver: DriverDouble) -> Iterator[None]:
    """After each test nothing is alive on the driver, and nothing was done wrong there."""
    before = driver.live, driver.faults
    yield
    assert (driver.live, driver.faults) == before
    assert driver.is_idle


@pytest.fixture
def device(provider: str) -> Iterator[Device]:
    opened = open_device(provider)
    yield opened
    opened.close()


def filled(device: Device, value: int) -> Pinned:
    pinned = device.allocate_pinned(SIZE)
    pinned.bytes[:] = value
    return pinned


def test_it_says_which_gpu_it_is(device: Device, provider: str) -> None:
    assert device.provider == provider
    assert device.name == "driver double"
    assert device.compute_capability == (8, 7)
    assert not device.shares_memory
    assert device.stream != 0


def test_bytes_go_there_and_back(device: Device) -> None:
    with device.current():
        there, back = filled(device, 7), filled(device, 0)
        first, second = device.allocate(SIZE), device.allocate(SIZE)
        device.copy_to_device(first, there, SIZE)
        device.copy_within(second, first, SIZE)
        device.copy_to_host(back, second, SIZE - 1)
        assert not back.bytes.any()  # the stream has not come to it
        device.synchronise()
    assert (back.bytes[:-1] == 7).all()
    assert back.bytes[-1] == 0


def test_everything_is_given_back_once(provider: str, driver: DriverDouble) -> None:
    before = driver.live
    device = open_device(provider)
    with device.current():
        device.copy_to_device(device.allocate(SIZE), filled(device, 1), SIZE)  # and never waited for
    assert driver.live > before
    device.close()
    assert driver.live == before
    device.close()
    assert driver.live == before
    assert not device.is_open
    with pytest.raises(EngineError, match="not in use any more"), device.current():
        pass


def test_another_thread_may_close_it(provider: str, driver: DriverDouble) -> None:
    before = driver.live
    device = open_device(provider)
    idle = []

    def close() -> None:
        with device.current():
            device.copy_to_device(device.allocate(SIZE), filled(device, 1), SIZE)
        device.close()
        idle.append(driver.is_idle)

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert (driver.live, idle) == (before, [True])


def test_an_allocation_that_fails_leaves_what_was_there_to_be_freed(
    provider: str, driver: DriverDouble
) -> None:
    before = driver.live
    for allocate in ("allocate", "allocate_pinned"):
        device = open_device(provider)
        with device.current():
            device.allocate(SIZE)
            device.allocate_pinned(SIZE)
            with (
                driver.failing_allocation(1),
                pytest.raises(DeviceMemoryError, match=f"no room for {SIZE} bytes: close other programs"),
            ):
                getattr(device, allocate)(SIZE)
        device.close()
        assert driver.live == before


def test_an_error_inside_leaves_the_thread_without_a_context(device: Device, driver: DriverDouble) -> None:
    def interrupted() -> None:
        with device.current():
            assert not driver.is_idle
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert driver.is_idle


def test_a_jetson_shares_its_memory(provider: str, driver: DriverDouble) -> None:
    with driver.as_jetson():
        device = open_device(provider)
    assert device.shares_memory
    with device.current():
        pinned = filled(device, 3)
        assert pinned.on_device != 0
    device.close()


def test_recorded_work_is_repeated(device: Device, driver: DriverDouble) -> None:
    if not device.can_capture:
        pytest.skip(f"{device.provider} records no CUDA graphs")
    with device.current():
        there, back, memory = filled(device, 1), filled(device, 0), device.allocate(SIZE)

        def work() -> None:
            device.copy_to_device(memory, there, SIZE)
            device.copy_to_host(back, memory, SIZE)

        graph = device.record(work)
        device.synchronise()
        assert not back.bytes.any()  # recorded, not run
        for value in (5, 9):
            there.bytes[:] = value
            device.launch(graph)
            device.synchronise()
            assert (back.bytes == value).all()
        alive = driver.live
        device.forget(graph)
        assert driver.live == alive - 1
        device.record(work)  # given back by close


@pytest.mark.parametrize("error", [KeyboardInterrupt, EngineError, ValueError])
def test_an_error_while_recording_ends_the_recording(device: Device, error: type[BaseException]) -> None:
    if not device.can_capture:
        pytest.skip(f"{device.provider} records no CUDA graphs")
    with device.current():
        there, back, memory = filled(device, 4), filled(device, 0), device.allocate(SIZE)

        def work() -> None:
            device.copy_to_device(memory, there, SIZE)
            raise error

        with pytest.raises(error):
            device.record(work)
        device.copy_to_device(memory, there, SIZE)
        device.copy_to_host(back, memory, SIZE)
        device.synchronise()
    assert (back.bytes == 4).all()


def test_a_machine_without_a_gpu_is_told(provider: str, driver: DriverDouble) -> None:
    driver.library.double_fail_init(100)  # CUDA_ERROR_NO_DEVICE
    try:
        with pytest.raises(EngineError, match="no NVIDIA driver answers here: "):
            open_device(provider)
    finally:
        driver.library.double_fail_init(0)


def test_an_unknown_provider_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no provider 'opencl': name one of pycuda, cuda-bindings"):
        open_device("opencl")


def test_without_any_provider_the_way_to_get_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pycuda.driver", "cuda.bindings.driver"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EngineError, match=r"pycuda \(.*\), cuda-bindings \(.*pip install 'cuda-bindings>=12"):
        open_device()


def test_the_first_provider_that_is_installed_is_taken(
    driver: DriverDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cuda.bindings.driver")
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    device: Any = open_device()
    assert device.provider == "cuda-bindings"
    assert list(PROVIDERS) == ["pycuda", "cuda-bindings"]
    device.close()


def test_the_double_sees_an_overrun(driver: DriverDouble) -> None:
    """The check of all these tests, seen to fail."""
    pytest.importorskip("cuda.bindings.driver")
    device = open_device("cuda-bindings")
    with device.current():
        pinned = device.allocate_pinned(SIZE)
        faults = driver.faults
        beyond = np.ctypeslib.as_array((ctypes.c_uint8 * 1).from_address(pinned.address + SIZE))
        kept = beyond[0]
        beyond[0] = 1
        assert driver.faults == faults + 1
        beyond[0] = kept
        assert driver.faults == faults
    device.close()
