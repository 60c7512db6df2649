"""Checkpoint files: what was written comes back, and what is none of ours is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from heart_samples import TINY  # noqa: E402

from lvedge.contract import State  # noqa: E402
from lvedge.errors import DataError  # noqa: E402
from lvedge.network.config import LocatorConfig  # noqa: E402
from lvedge.network.locator import Locator  # noqa: E402
from lvedge.network.model import LeftVentricleNetwork  # noqa: E402
from lvedge.training.checkpoint import (  # noqa: E402
    config_as_dict,
    locator_from_checkpoint,
    network_from_checkpoint,
    read_checkpoint,
    read_locator,
    read_network,
    write_checkpoint,
)
from lvedge.training.loop import LoopConfig, train  # noqa: E402
from lvedge.training.stepper import stepper_from_run  # noqa: E402

SMALL = LocatorConfig(input_px=32, channels=(2, 3, 4, 5))


def network_content(seed: int = 0, **changes: Any) -> dict[str, Any]:
    """A checkpoint of the tiny network; ``changes`` go over its configuration as it was written."""
    torch.manual_seed(seed)
    config = {**config_as_dict(TINY), **changes}
    return {"network_config": config, "weights": LeftVentricleNetwork(TINY).state_dict()}


def locator_content() -> dict[str, Any]:
    torch.manual_seed(0)
    return {"locator_config": config_as_dict(SMALL), "weights": Locator(SMALL).state_dict()}


def written(path: Path, content: Any) -> Path:
    write_checkpoint(path, content)
    return path


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    plain = {"step": 7, "seconds": 1.5, "name": "ä", "sizes": [1, 2], "nested": {"on": True, "none": None}}
    tensors = {
        "half": torch.tensor([0.5, -2.0], dtype=torch.float16),
        "counter": torch.tensor(3),
        "strided": torch.arange(6.0).reshape(2, 3).T,
    }
    path = written(tmp_path / "new" / "folder" / "stage.pt", {**plain, **tensors})
    content = read_checkpoint(path)
    assert {key: content[key] for key in plain} == plain
    for key, tensor in tensors.items():
        assert content[key].dtype == tensor.dtype
        assert torch.equal(content[key], tensor)
    assert set(content) == {*plain, *tensors}


def test_a_newer_checkpoint_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "stage.pt"
    path.with_suffix(".part").write_bytes(b"what a broken write left behind")
    for step in (1, 2):
        write_checkpoint(path, {"step": step})
        assert read_checkpoint(path) == {"step": step}
        assert list(tmp_path.iterdir()) == [path]


def test_networks_are_read_from_their_files(tmp_path: Path) -> None:
    content = network_content()
    network = read_network(written(tmp_path / "network.pt", content))
    locator = read_locator(written(tmp_path / "locator.pt", locator_content()))
    assert (network.config, locator.config) == (TINY, SMALL)
    assert (network.training, locator.training) == (False, False)
    assert all(torch.equal(v, content["weights"][k]) for k, v in network.state_dict().items())


def test_sizes_that_were_written_as_lists_are_read() -> None:
    lists = {k: list(v) for k, v in config_as_dict(TINY).items() if isinstance(v, tuple)}
    assert lists["hidden"] == [4, 4, 4, 4, 4]
    assert network_from_checkpoint(network_content(**lists)).config == TINY
    content = locator_content()
    content["locator_config"]["channels"] = [2, 3, 4, 5]
    assert locator_from_checkpoint(content).config == SMALL


def test_either_set_of_weights_can_be_asked_for() -> None:
    content = {**network_content(0), "model": network_content(1)["weights"]}
    for part in ("weights", "model"):
        found = network_from_checkpoint(content, part).state_dict()
        assert all(torch.equal(found[key], value) for key, value in content[part].items())
    # The two differ, so that one cannot stand for the other.
    key = "recurrent.regression.weight_ih"
    assert not torch.equal(content["weights"][key], content["model"][key])


def test_reading_leaves_the_content_as_it_is() -> None:
    content = network_content(hidden=[4, 4, 4, 4, 4])
    network_from_checkpoint(content)
    assert content["network_config"]["hidden"] == [4, 4, 4, 4, 4]
    assert content["network_config"]["layout"] == {"sectors": 6, "diameters": 3}


# --- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kind"),
    [([1, 2], "list"), (torch.zeros(2), "Tensor"), ("weights", "str"), (None, "NoneType")],
)
def test_a_file_of_something_else_is_no_checkpoint(content: Any, kind: str, tmp_path: Path) -> None:
    path = written(tmp_path / "x.pt", content)
    with pytest.raises(DataError) as raised:
        read_checkpoint(path)
    assert str(raised.value) == f"{path} is not a checkpoint: it holds a {kind}"


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a checkpoint"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: {}, "KeyError: 'network_config'"),
        (lambda: network_content()["weights"], "KeyError: 'network_config'"),
        (locator_content, "KeyError: 'network_config'"),
        (lambda: {"network_config": config_as_dict(TINY)}, "KeyError: 'weights'"),
        (lambda: network_content(heads=3), "TypeError: .*unexpected keyword argument 'heads'"),
        (lambda: network_content(view_px=20), "ValueError: the view's side must be divisible by 16, not 20"),
        (lambda: network_content(layout={"sectors": 5}), "ValueError: the number of sectors must be even"),
        (
            lambda: network_content(shared=6),
            r"RuntimeError: Error\(s\) in loading",
        ),
    ],
    ids=[
        "empty",
        "weights alone",
        "a locator",
        "no weights",
        "newer",
        "no view",
        "no sectors",
        "other sizes",
    ],
)
def test_what_is_no_network_is_refused_in_one_line(
    content: Callable[[], dict[str, Any]], reason: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "perception.pt", content())
    said = rf"perception\.pt is no checkpoint of this stage and version: .*--run \({reason}"
    with pytest.raises(DataError, match=said) as raised:
        read_network(path)
    message = str(raised.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 350


def test_a_network_is_no_locator(tmp_path: Path) -> None:
    path = written(tmp_path / "locator.pt", network_content())
    with pytest.raises(DataError, match=r"locator\.pt is no checkpoint .*KeyError: 'locator_config'"):
        read_locator(path)


def test_a_run_is_its_last_stage_and_its_locator(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "perception.pt", network_content(0))
    with pytest.raises(DataError, match=r"no checkpoint at .*locator\.pt: train first"):
        stepper_from_run(tmp_path)
    write_checkpoint(tmp_path / "locator.pt", locator_content())
    first = stepper_from_run(tmp_path)
    write_checkpoint(tmp_path / "recurrence.pt", network_content(1))
    last = stepper_from_run(tmp_path)
    assert first.shapes == last.shapes
    frame = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    for stepper, seed in ((first, 0), (last, 1)):
        network = network_from_checkpoint(network_content(seed))
        with torch.no_grad():
            expected = network.perceive(frame).features.numpy()
        found = stepper.step(frame.numpy(), State.zeros(stepper.shapes)).features
        assert (found == expected).all()
    write_checkpoint(tmp_path / "recurrence.pt", locator_content())
    with pytest.raises(DataError, match=r"recurrence\.pt is no checkpoint of this stage"):
        stepper_from_run(tmp_path)


@pytest.mark.parametrize("content", [{"step": 3}, {"model": {"weight": torch.zeros(2, 9)}}])
def test_another_network_s_checkpoint_is_not_gone_on_with(content: dict[str, Any], tmp_path: Path) -> None:
    path = written(tmp_path / "stage.pt", content)
    before = path.read_bytes()
    model = torch.nn.Linear(2, 1)
    with pytest.raises(DataError, match=r"stage\.pt is no checkpoint of this stage and version"):
        train(model, lambda _: {}, lambda _: {}, LoopConfig(steps=1), tmp_path, "stage", {})
    assert path.read_bytes() == before


def test_configurations_are_plain_values() -> None:
    assert config_as_dict(replace(SMALL, mm_per_px=3.0)) == {
        "input_px": 32,
        "mm_per_px": 3.0,
        "channels": (2, 3, 4, 5),
    }
    assert config_as_dict(TINY)["layout"] == {"sectors": 6, "diameters": 3}
