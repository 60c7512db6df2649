"""Label volumes lie where the source's voxels lie."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from lvedge.errors import SinkError
from lvedge.frame import Orientation
from lvedge_runtime.sinks import RunContext, open_sink
from lvedge_runtime.sources.geometry import SeriesGeometry, geometry_from_tags

GEOMETRIES = {
    "tags": geometry_from_tags(
        Orientation((0.0, 0.6, -0.8), (1.0, 0.0, 0.0)),
        (-80.0, 12.5, 40.0),
        (144, 128, 3),
        (1.25, 1.25, 8.0),
        frames=2,
    ),
    "identity with its spacing in pixdim only": SeriesGeometry(
        np.eye(4), (144, 128, 3), (1.25, 1.25, 8.0), 1, sform_code=2, qform_code=0
    ),
    "no form at all": SeriesGeometry(np.eye(4), (144, 128, 3), (1.5, 1.25, 8.0), 1, 0, 0),
}


def context_of(geometry: SeriesGeometry | None) -> RunContext:
    return RunContext("onnxruntime", "default", "1.2", geometry=lambda _series: geometry)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_volume_keeps_the_source_geometry(tmp_path, make_measurement, name):
    geometry = GEOMETRIES[name]
    measurement = make_measurement(slice_index=1)
    with open_sink(f"nifti:{tmp_path}/masks", context_of(geometry)) as sink:
        sink.write(measurement)
    image = nib.load(tmp_path / "masks" / "phantom_t00.nii.gz")
    header = image.header
    assert image.get_data_dtype() == np.uint8
    assert image.shape == geometry.shape
    np.testing.assert_allclose(header["pixdim"][1:4], geometry.spacing_mm)
    assert (header["sform_code"], header["qform_code"]) == (geometry.sform_code, geometry.qform_code)
    np.testing.assert_allclose(header.get_sform(), geometry.affine, atol=1e-5)
    if geometry.sform_code:
        np.testing.assert_allclose(image.affine, geometry.affine, atol=1e-5)
    data = np.asarray(image.dataobj)
    np.testing.assert_array_equal(data[:, :, 1].T, measurement.labels())
    assert set(np.unique(data)) == {0, 1, 2, 3}
    assert not data[:, :, [0, 2]].any()
    # The cavity's centre is where the view was put: column 70, row 60.
    x, y = np.argwhere(data[:, :, 1] == 3).mean(axis=0)
    np.testing.assert_allclose([x, y], [70, 60], atol=0.5)


def test_one_volume_a_series_and_phase(tmp_path, make_beat, make_measurement):
    items = []
    for slice_index in (0, 1):
        measurements, cycle = make_beat(slice_index=slice_index)
        items += [*measurements, cycle]
    items.append(make_measurement(series="other", frame_index=11))
    with open_sink(f"nifti:{tmp_path}", context_of(None)) as sink:
        for item in items:
            sink.write(item)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["other_t11.nii.gz", *(f"phantom_t{k:02d}.nii.gz" for k in range(8))]
    for phase in range(8):
        data = np.asarray(nib.load(tmp_path / f"phantom_t{phase:02d}.nii.gz").dataobj)
        assert data.shape == (144, 128, 2)
        for slice_index in (0, 1):
            np.testing.assert_array_equal(data[:, :, slice_index].T, items[9 * slice_index + phase].labels())
    # Frame 6 has no LV: nothing is invented.
    assert not np.asarray(nib.load(tmp_path / "phantom_t06.nii.gz").dataobj).any()


def test_frames_that_do_not_fit_are_refused(tmp_path, make_measurement):
    sink = open_sink(f"nifti:{tmp_path}/a", context_of(None))
    sink.write(make_measurement())
    with pytest.raises(SinkError, match="differ in size"):
        sink.write(make_measurement(shape=(100, 100), frame_index=1))
    sink = open_sink(f"nifti:{tmp_path}/b", context_of(GEOMETRIES["tags"]))
    sink.write(make_measurement(shape=(100, 100)))
    with pytest.raises(SinkError, match="its geometry says"):
        sink.close()
    assert list((tmp_path / "b").iterdir()) == []
