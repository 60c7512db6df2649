"""The shipped bundle on a few real subjects, which training has seen: a guard against a worse model.

It says nothing of how well the model measures others: those figures come from the cross-validation and are in
benchmarks/results/cross_validation.json. The limits are about what unseen subjects reach there.
"""

from __future__ import annotations

import numpy as np
import pytest

from lvedge.geometry import indices_from_rays, maps_from_labels, rays_from_maps, septum_from_map
from lvedge.indices import Phase
from lvedge.measurement import Measurement
from lvedge.phantom import preset_phantom
from lvedge.phase import systole_of_areas
from lvedge.quality import QualityModel
from lvedge_runtime.engines import open_engine
from lvedge_runtime.sources import SourceOptions, open_source
from lvedge_runtime.stream import Stream

SUBJECTS = ("patient003", "patient051", "patient083")

pytestmark = pytest.mark.usefixtures("bundle")


def measured(source, bundle, live=False):
    quality = QualityModel.from_manifest(bundle.quality)
    with open_engine(bundle, threads=1) as engine:
        items = list(Stream(source, engine, quality, cases=None, live=live))
    return [item for item in items if isinstance(item, Measurement)]


@pytest.mark.real
def test_subjects_of_the_training_stay_within_the_limits(data_root, bundle):
    """Means over the subjects; one subject alone may lie outside."""
    scores = [scored(data_root / "acdc" / subject, bundle) for subject in SUBJECTS]
    found, rwt_mm, dims_mm, areas_mm2, dice = np.mean(scores, axis=0)
    assert found >= 0.95
    assert rwt_mm <= 1.0
    assert dims_mm <= 1.4
    assert areas_mm2 <= 100
    assert dice >= 0.94


def scored(folder, bundle):
    """Of a subject's mid slices: share found, mean errors of walls, diameters and areas, cavity Dice."""
    nib = pytest.importorskip("nibabel")
    errors, dices, found = [], [], []
    for path in sorted(folder.glob("*_frame??.nii.gz")):
        truth = np.asarray(nib.load(str(path).replace(".nii.gz", "_gt.nii.gz")).dataobj)
        with open_source(str(path), SourceOptions()) as source:
            results = measured(source, bundle)
        assert len(results) == truth.shape[2]
        for k, result in enumerate(results):
            labels = truth[:, :, k].T.astype(np.uint8)
            place = k / (truth.shape[2] - 1)
            if not 0.2 <= place <= 0.8 or not all((labels == label).any() for label in (1, 2, 3)):
                continue
            rv, myocardium, cavity = maps_from_labels(labels)
            rays = rays_from_maps(cavity, myocardium, result.frame.spacing_mm)
            drawn = indices_from_rays(rays, septum_from_map(rays, rv).direction_deg).vector
            found.append(result.measured)
            if result.indices is not None:
                errors.append(np.abs(result.indices.vector - drawn))
                both = ((labels == 3) & (result.labels() == 3)).sum()
                dices.append(2 * both / ((labels == 3).sum() + (result.labels() == 3).sum()))
    error = np.mean(errors, axis=0)
    return np.mean(found), error[:6].mean(), error[6:9].mean(), error[9:].mean(), np.mean(dices)


def test_the_phantom_is_measured_as_it_was_made(bundle):
    phantom = preset_phantom("healthy")
    results = measured(phantom.frames(), bundle)
    assert all(result.measured for result in results)
    said = np.stack([result.indices.vector for result in results])
    error = np.abs(said - phantom.truth())
    assert error[:, :6].mean() <= 2.0
    assert error[:, 6:9].mean() <= 3.0
    assert error[:, 9:].mean() <= 250
    phases = np.array([result.phase is Phase.SYSTOLE for result in results])
    assert (phases == systole_of_areas(phantom.truth()[:, 9])).mean() >= 0.9
