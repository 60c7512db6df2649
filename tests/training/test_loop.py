"""The loop and its checkpoints: a resumed run is an undisturbed one, and a checkpoint is data, not code."""

from __future__ import annotations

import copy
import json
import pickle
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

from heart_samples import TINY  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from lvedge.errors import DataError  # noqa: E402
from lvedge.indices import IndexLayout  # noqa: E402
from lvedge.network.config import LocatorConfig  # noqa: E402
from lvedge.network.locator import Locator  # noqa: E402
from lvedge.network.model import LeftVentricleNetwork  # noqa: E402
from lvedge.training.checkpoint import (  # noqa: E402
    config_as_dict,
    locator_from_checkpoint,
    network_from_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from lvedge.training.loop import LoopConfig, average_into, rate_at, train  # noqa: E402
from lvedge.training.plot import plot_logs  # noqa: E402
from lvedge.training.stepper import stepper_from_run  # noqa: E402

CONFIG = LoopConfig(steps=6, warm_up=2, every=2, average=0.9)


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))


def losses_for(net: nn.Module, stop_at: int | None = None) -> Callable[[int], dict[str, Tensor]]:
    def losses_of_step(step: int) -> dict[str, Tensor]:
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.rand(8, 3, generator=torch.Generator().manual_seed(step))
        return {"fit": (net(x) - x.sum(dim=1, keepdim=True)).square().mean()}

    return losses_of_step


def run(folder: Path, stop_at: int | None = None, config: LoopConfig = CONFIG) -> nn.Module:
    net = model()
    return train(
        net, losses_for(net, stop_at), lambda _: {"seen": 1.0}, config, folder, "stage", {"about": 7}
    )


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


@pytest.mark.parametrize("stop_at", [1, 3, 4])
def test_a_resumed_run_gives_the_weights_of_an_undisturbed_one(stop_at: int, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", stop_at)
    resumed = run(tmp_path / "broken")
    assert_equal(resumed.state_dict(), whole.state_dict())
    contents = [read_checkpoint(tmp_path / name / "stage.pt") for name in ("whole", "broken")]
    assert_equal(contents[0]["weights"], contents[1]["weights"])
    assert [c["step"] for c in contents] == [6, 6]
    steps = [
        json.loads(line)["step"] for line in (tmp_path / "broken" / "stage.jsonl").read_text().splitlines()
    ]
    assert steps == [2, 4, 6]


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    first = run(tmp_path)
    before = (tmp_path / "stage.pt").read_bytes()
    again = run(tmp_path, stop_at=0)
    assert_equal(again.state_dict(), first.state_dict())
    assert (tmp_path / "stage.pt").read_bytes() == before


def test_the_checkpoint_and_the_log_in_full(tmp_path: Path) -> None:
    run(tmp_path)
    content = read_checkpoint(tmp_path / "stage.pt")
    spent = {"step", "seconds", "core_seconds"}
    assert set(content) == {"about", "loop_config", *spent, "weights"}  # nothing to go on with: it is done
    assert (content["about"], content["step"], content["loop_config"]["steps"]) == (7, 6, 6)
    lines = [json.loads(line) for line in (tmp_path / "stage.jsonl").read_text().splitlines()]
    assert [set(line) for line in lines] == [{*spent, "rate", "loss_fit", "seen"}] * 3
    assert [line["rate"] for line in lines] == [rate_at(step, CONFIG) for step in (1, 3, 5)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["stage.jsonl", "stage.pt"]
    (written,) = plot_logs(tmp_path)
    assert written == tmp_path / "stage.png"
    assert written.read_bytes().startswith(b"\x89PNG")


def test_a_finished_run_goes_on_from_its_weights_when_more_steps_are_asked_for(tmp_path: Path) -> None:
    finished = run(tmp_path).state_dict()
    began: dict[str, Tensor] = {}
    net = model()

    def losses_of_step(step: int) -> dict[str, Tensor]:
        began.update({key: value.clone() for key, value in net.state_dict().items()} if step == 6 else {})
        return losses_for(net)(step)

    train(net, losses_of_step, lambda _: {}, replace(CONFIG, steps=8), tmp_path, "stage", {})
    assert_equal(began, finished)
    assert read_checkpoint(tmp_path / "stage.pt")["step"] == 8


def weights(net: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


@pytest.mark.parametrize("stop_at", [None, 1, 3, 4, 5])
def test_a_stage_ends_with_the_mean_of_its_last_cycles_ends(stop_at: int | None, tmp_path: Path) -> None:
    cycles = replace(CONFIG, cycle=2)
    ends: list[dict[str, Tensor]] = []
    net = model()
    train(net, losses_for(net), lambda m: ends.append(weights(m)) or {}, cycles, tmp_path / "1", "stage", {})
    config = replace(cycles, ends=2)
    if stop_at is not None:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "2", stop_at, config)
    mean = run(tmp_path / "2", config=config).state_dict()
    for key, value in mean.items():
        both = (ends[1][key] + ends[2][key]) / 2 if value.is_floating_point() else ends[2][key]
        assert torch.equal(value, both), key
    assert_equal(read_checkpoint(tmp_path / "2" / "stage.pt")["weights"], mean)


def test_what_a_stage_begins_from_is_the_end_of_a_cycle(tmp_path: Path) -> None:
    first = weights(run(tmp_path / "1"))
    config = replace(CONFIG, steps=4, cycle=4)

    def ended(ends: int) -> dict[str, Tensor]:
        net, folder = model(), tmp_path / f"ends{ends}"
        net.load_state_dict(first)
        began = copy.deepcopy(net)
        last = train(
            net, losses_for(net), lambda _: {}, replace(config, ends=ends), folder, "stage", {}, began
        )
        assert_equal(began.state_dict(), first)
        return weights(last)

    alone, mean = ended(1), ended(2)
    assert not torch.equal(alone["0.weight"], first["0.weight"])
    for key, value in mean.items():
        if value.is_floating_point():
            assert torch.equal(value, (first[key] + alone[key]) / 2), key
    # A third end, were it asked for, is not there.
    assert_equal(ended(3), mean)


def test_core_seconds_are_those_of_the_work_and_go_on_when_resumed(tmp_path: Path) -> None:
    begun = time.process_time()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_at=4)
    first = read_checkpoint(tmp_path / "stage.pt")["core_seconds"]
    run(tmp_path)
    whole = read_checkpoint(tmp_path / "stage.pt")["core_seconds"]
    assert 0.0 < first < whole <= time.process_time() - begun


def test_only_what_may_learn_learns(tmp_path: Path) -> None:
    net = model()
    for parameter in net[0].parameters():  # type: ignore[index]
        parameter.requires_grad_(False)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    train(net, losses_for(net), lambda _: {}, CONFIG, tmp_path, "stage", {})
    after = net.state_dict()
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert not torch.equal(after["2.weight"], before["2.weight"])


def test_some_parameters_learn_slower(tmp_path: Path) -> None:
    """With Adam's first step, each weight moves by its rate: the first layer by a tenth of the others'."""
    config = replace(CONFIG, steps=1, warm_up=0, weight_decay=0.0, slower={"0.": 10.0})
    before = model().state_dict()
    train(net := model(), losses_for(net), lambda _: {}, config, tmp_path, "stage", {})
    after = net.state_dict()
    rate = rate_at(0, config)
    for name, expected in (("0.weight", rate / 10), ("2.weight", rate)):
        moved = (after[name] - before[name]).abs()
        torch.testing.assert_close(moved.median(), torch.tensor(expected), rtol=1e-2, atol=0.0)


def test_the_rate_rises_and_falls() -> None:
    config = LoopConfig(steps=110, warm_up=10, learning_rate=1.0)
    assert [rate_at(step, config) for step in (0, 4, 9, 10, 60, 110, 500)] == pytest.approx(
        [0.1, 0.5, 1.0, 1.0, 0.5, 0.0, 0.0], abs=1e-12
    )
    again = LoopConfig(steps=220, cycle=110, warm_up=10, learning_rate=1.0)
    assert [rate_at(step, again) for step in (60, 109, 110, 119, 170)] == pytest.approx(
        [0.5, 0.0, 0.1, 1.0, 0.5], abs=1e-3
    )
    assert rate_at(1, LoopConfig(steps=1, warm_up=2, learning_rate=1.0)) == 1.0


def test_averaging_moves_weights_and_copies_counters() -> None:
    mean, net = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    with torch.no_grad():
        net.weight.fill_(3.0)
        net.num_batches_tracked.fill_(17)
    average_into(mean, net, 0.75)
    torch.testing.assert_close(mean.weight.detach(), torch.full((2,), 1.5))
    assert int(mean.num_batches_tracked) == 17


# --- checkpoints -----------------------------------------------------------------------------------


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    for name, write in (("torch.pt", torch.save), ("plain.pt", lambda o, p: p.write_bytes(pickle.dumps(o)))):
        write({"weights": Trap(target)}, tmp_path / name)
        with pytest.raises(DataError, match="is not a checkpoint"):
            read_checkpoint(tmp_path / name)
    assert not target.exists()
    pickle.loads((tmp_path / "plain.pt").read_bytes())
    assert target.exists()  # the trap works


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 not a zip"])
def test_garbage_is_no_checkpoint(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.pt is not a checkpoint"):
        read_checkpoint(path)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    write_checkpoint(path, {"weights": model().state_dict()})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="is not a checkpoint"):
        read_checkpoint(path)


def test_a_missing_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no checkpoint at .*: train first, or name another with --run"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(DataError, match=r"no checkpoint at .*perception"):
        stepper_from_run(tmp_path)


def test_a_write_that_fails_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.pt"
    write_checkpoint(path, {"step": 1})
    with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
        write_checkpoint(path, {"step": lambda: 2})
    assert read_checkpoint(path) == {"step": 1}


def test_networks_come_back_whole(tmp_path: Path) -> None:
    config = replace(TINY, layout=IndexLayout(8, 4))
    network, locator_config = LeftVentricleNetwork(config), LocatorConfig(input_px=32, channels=(2, 3, 4, 5))
    locator = Locator(locator_config)
    for name, module, settings in (
        ("perception", network, {"network_config": config_as_dict(config)}),
        ("locator", locator, {"locator_config": config_as_dict(locator_config)}),
    ):
        write_checkpoint(tmp_path / f"{name}.pt", {**settings, "weights": module.state_dict()})
    again = network_from_checkpoint(read_checkpoint(tmp_path / "perception.pt"))
    assert again.config == config
    assert not again.training
    assert_equal(again.state_dict(), network.state_dict())
    found = locator_from_checkpoint(read_checkpoint(tmp_path / "locator.pt"))
    assert found.config == locator_config
    assert_equal(found.state_dict(), locator.state_dict())
    shapes = stepper_from_run(tmp_path).shapes
    assert (shapes.layout, shapes.view_px, shapes.locator_px) == (IndexLayout(8, 4), 32, 32)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    other = LeftVentricleNetwork(replace(TINY, shared=6))
    content = {"network_config": config_as_dict(TINY), "weights": other.state_dict()}
    with pytest.raises(RuntimeError, match="size mismatch"):
        network_from_checkpoint(content)


def test_a_folder_without_logs_has_no_curves(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training log"):
        plot_logs(tmp_path)
