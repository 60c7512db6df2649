"""MONAI's residual U-Net: its shape, its first steps of training, and its way back from a checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")
pytest.importorskip("monai", reason="MONAI comes with the extra 'baselines', which is not installed")

from heart_samples import beat_of, healthy, pair_of  # noqa: E402

from benchmarks.baselines import unet  # noqa: E402
from benchmarks.baselines.budget import spent_of  # noqa: E402
from lvedge.training.loop import LoopConfig  # noqa: E402
from lvedge.training.slices import prepare  # noqa: E402

CHANNELS = (2, 3, 4, 5, 6)
LOOP = LoopConfig(steps=4, batch=2, every=2, warm_up=1, threads=1)


def test_the_network_gives_a_mask_of_the_view_and_has_residual_units() -> None:
    network = unet.residual_unet()
    with torch.no_grad():
        assert network(torch.zeros(2, 1, 80, 80)).shape == (2, 4, 80, 80)
    assert sum(p.numel() for p in network.parameters()) == 1_625_849
    assert sum(type(module).__name__ == "ResidualUnit" for module in network.modules()) == 9


def test_it_trains_resumes_and_comes_back_from_its_checkpoint(tmp_path: Path) -> None:
    slices = prepare([*pair_of(healthy()), *beat_of(frames=4, subject="1")])
    mid = [p for p in slices if p.sample.source == "acdc"]
    whole = unet.train_unet(slices, mid, tmp_path / "whole", LOOP, CHANNELS)
    unet.train_unet(slices, mid, tmp_path / "broken", replace(LOOP, steps=2), CHANNELS)
    unet.train_unet(slices, mid, tmp_path / "broken", LOOP, CHANNELS)
    assert [spent_of(tmp_path / name / "unet.pt").steps for name in ("whole", "broken")] == [4, 4]
    read = unet.read_unet(tmp_path / "whole" / "unet.pt")
    picture = torch.rand(1, 1, 80, 80)
    with torch.no_grad():
        torch.testing.assert_close(read(picture), whole.eval()(picture), rtol=1e-5, atol=1e-5)
    lines = [json.loads(line) for line in (tmp_path / "whole" / "unet.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert all(0.0 <= lines[-1][key] <= 1.0 for key in ("dice_cavity", "dice_myocardium"))
    # The log counts tenths of a second, which four small steps need not take.
    spent = spent_of(tmp_path / "whole" / "unet.pt").core_seconds
    assert spent > 0
    assert 0.0 <= lines[0]["core_seconds"] <= lines[1]["core_seconds"] == round(spent, 1)
