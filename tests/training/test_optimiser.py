"""Muon for kernels, AdamW for the rest: however a kernel lies in memory, and with a resume in between."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from lvedge.training.loop import LoopConfig, train  # noqa: E402
from lvedge.training.optimiser import Optimiser  # noqa: E402

RATE = 0.1
CONFIG = LoopConfig(steps=6, warm_up=2, every=2, average=0.9, muon=True)


def network(layout: torch.memory_format) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(1, 12, 3), nn.ReLU(), nn.Conv2d(12, 16, 3), nn.Flatten(), nn.Linear(16, 4)
    )
    return layers.to(memory_format=layout)  # type: ignore[call-overload,no-any-return]


def stepped(layout: torch.memory_format, muon: bool = True) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights before and after one step along drawn gradients."""
    net = network(layout)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimiser = Optimiser([{"params": list(net.parameters())}], RATE, 0.0, muon)
    drawn = torch.Generator().manual_seed(1)
    for parameter in net.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=drawn)
    optimiser.step()
    return before, net.state_dict()


def test_a_kernel_steps_by_the_same_wherever_its_numbers_lie() -> None:
    plain, last = (stepped(layout)[1] for layout in (torch.contiguous_format, torch.channels_last))
    for name, value in plain.items():
        torch.testing.assert_close(last[name], value, atol=2e-3, rtol=0.0)  # Muon counts in bfloat16


def test_kernels_step_along_all_directions_alike_and_the_rest_as_by_adamw() -> None:
    (before, after), by_adamw = stepped(torch.channels_last), stepped(torch.channels_last, muon=False)[1]
    step = (after["2.weight"] - before["2.weight"]).reshape(16, -1) / RATE
    lengths = torch.linalg.svdvals(step) / (0.2 * 108**0.5)  # of a step of AdamW's size
    assert lengths.min() > 0.6
    assert lengths.max() < 1.3
    for name in ("0.bias", "2.bias", "4.weight", "4.bias"):  # four outputs are too few for Muon
        assert torch.equal(after[name], by_adamw[name]), name
        assert not torch.equal(after[name], before[name]), name


def test_a_resumed_run_gives_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    def run(folder: Path, stop_at: int | None = None) -> dict[str, Tensor]:
        net = network(torch.channels_last)

        def losses_of_step(step: int) -> dict[str, Tensor]:
            if step == stop_at:
                raise KeyboardInterrupt
            picture = torch.rand(8, 1, 5, 5, generator=torch.Generator().manual_seed(step))
            return {"fit": (net(picture) - 1.0).square().mean()}

        return train(net, losses_of_step, lambda _: {}, CONFIG, folder, "stage", {}).state_dict()

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", stop_at=4)
    for name, value in run(tmp_path / "broken").items():
        assert torch.equal(value, whole[name]), name
