"""How a phantom looks: signal of each tissue, texture, noise, coil and body habitus, as in balanced SSFP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Look:
    """Signals are relative to the blood of the LV (= 1) before the coil's sensitivity.

    Args:
        grey_level: grey value of LV blood.
        myocardium: signal of the heart muscle.
        rv_blood: signal of RV blood.
        fat: signal of fat.
        muscle: signal of the chest wall's muscle.
        liver: signal of the liver.
        lung: signal of the lung.
        texture: standard deviation of the tissues' slow variation, relative.
        flow: standard deviation of the blood's variation, relative; changes from frame to frame.
        noise: standard deviation of the noise in each channel.
        bias: how much brighter the picture is towards the front coil; 0 for even.
        banding: 0 to 1, depth of the dark bands that off-resonance leaves far from the heart.
        edge_mm: width over which a tissue border is blurred (resolution and slice thickness).
        trabeculation: 0 to 1, how dark the rough inner layer of the cavity is.
        epicardial_fat_mm: thickness of the fat patches on the epicardium.
        chest_fat_mm: thickness of the fat under the skin.
        chest_wall_mm: thickness of muscle and ribs.
        body_scale: size of the trunk around the heart.
        diaphragm_mm: distance from the LV centre down to the diaphragm.
    """

    grey_level: float = 420.0
    myocardium: float = 0.34
    rv_blood: float = 0.74
    fat: float = 1.15
    muscle: float = 0.22
    liver: float = 0.30
    lung: float = 0.035
    texture: float = 0.08
    flow: float = 0.06
    noise: float = 0.022
    bias: float = 0.35
    banding: float = 0.5
    edge_mm: float = 1.2
    trabeculation: float = 0.75
    epicardial_fat_mm: float = 3.0
    chest_fat_mm: float = 14.0
    chest_wall_mm: float = 13.0
    body_scale: float = 1.1
    diaphragm_mm: float = 37.0

    @classmethod
    def random(cls, rng: np.random.Generator) -> Look:
        """A look drawn from what scanners, coils and people differ in."""
        return cls(
            grey_level=float(rng.uniform(120, 1200)),
            myocardium=float(rng.uniform(0.26, 0.62)),
            rv_blood=float(rng.uniform(0.50, 0.98)),
            fat=float(rng.uniform(0.75, 1.7)),
            muscle=float(rng.uniform(0.14, 0.32)),
            liver=float(rng.uniform(0.18, 0.45)),
            lung=float(rng.uniform(0.01, 0.07)),
            texture=float(rng.uniform(0.04, 0.14)),
            flow=float(rng.uniform(0.02, 0.16)),
            noise=float(rng.uniform(0.008, 0.06)),
            bias=float(rng.uniform(0.0, 0.7)),
            banding=float(rng.uniform(0.0, 0.9)),
            edge_mm=float(rng.uniform(0.8, 2.2)),
            trabeculation=float(rng.uniform(0.0, 0.9)),
            epicardial_fat_mm=float(rng.uniform(0.0, 6.0)),
            chest_fat_mm=float(rng.uniform(4.0, 32.0)),
            chest_wall_mm=float(rng.uniform(8.0, 20.0)),
            body_scale=float(rng.uniform(0.95, 1.35)),
            diaphragm_mm=float(rng.uniform(33.0, 52.0)),
        )
