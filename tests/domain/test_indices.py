"""Names, order and units of the values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvedge.indices import AHA_SEGMENTS, PHASES, SECTOR_NAMES, IndexLayout, Indices, Label, Phase


def test_the_default_layout_in_full() -> None:
    layout = IndexLayout()
    assert layout.size == 11
    assert layout.names == (
        "rwt_IS_mm",
        "rwt_I_mm",
        "rwt_IL_mm",
        "rwt_AL_mm",
        "rwt_A_mm",
        "rwt_AS_mm",
        "dim_IS-AL_mm",
        "dim_I-A_mm",
        "dim_IL-AS_mm",
        "area_cavity_mm2",
        "area_myocardium_mm2",
    )
    assert (layout.rwt, layout.dims, layout.areas) == (slice(0, 6), slice(6, 9), slice(9, 11))
    np.testing.assert_array_equal(layout.unit_power(), [1.0] * 9 + [2.0] * 2)
    assert dict(zip(SECTOR_NAMES, AHA_SEGMENTS, strict=True)) == {
        "IS": 9,
        "I": 10,
        "IL": 11,
        "AL": 12,
        "A": 7,
        "AS": 8,
    }


def test_another_layout_names_its_sectors_by_number() -> None:
    layout = IndexLayout(4, 2)
    assert layout.names == (
        "rwt_S1_mm",
        "rwt_S2_mm",
        "rwt_S3_mm",
        "rwt_S4_mm",
        "dim_S1-S3_mm",
        "dim_S2-S4_mm",
        "area_cavity_mm2",
        "area_myocardium_mm2",
    )


@given(half=st.integers(1, 30), data=st.data())
def test_the_parts_of_a_layout_fill_it(half: int, data: st.DataObject) -> None:
    layout = IndexLayout(2 * half, data.draw(st.integers(1, half)))
    places = np.arange(layout.size)
    parts = [places[part] for part in (layout.rwt, layout.dims, layout.areas)]
    np.testing.assert_array_equal(np.concatenate(parts), places)
    assert [len(part) for part in parts] == [layout.sectors, layout.diameters, 2]
    assert len(set(layout.names)) == layout.size


@pytest.mark.parametrize(("sectors", "diameters"), [(5, 2), (0, 1), (-2, 1), (6, 0), (6, 4)])
def test_layouts_that_cannot_be(sectors: int, diameters: int) -> None:
    with pytest.raises(ValueError, match=r"sectors"):
        IndexLayout(sectors, diameters)


def test_values_are_a_read_only_copy_in_parts() -> None:
    vector = np.arange(11.0)
    indices = Indices(vector)
    vector[:] = -1.0
    np.testing.assert_array_equal(indices.rwt_mm, [0, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(indices.dims_mm, [6, 7, 8])
    np.testing.assert_array_equal(indices.areas_mm2, [9, 10])
    with pytest.raises(ValueError, match="read-only"):
        indices.vector[0] = 1.0
    with pytest.raises(ValueError, match="expected 11 values"):
        Indices(np.zeros(10))
    with pytest.raises(ValueError, match="expected 8 values"):
        Indices(np.zeros(11), IndexLayout(4, 2))


def test_labels_and_phases_have_one_order() -> None:
    assert [(label.name, label.value) for label in Label] == [
        ("BACKGROUND", 0),
        ("RV", 1),
        ("MYOCARDIUM", 2),
        ("CAVITY", 3),
    ]
    assert [phase.value for phase in PHASES] == ["diastole", "systole"]
    assert [Phase.from_probability(p).value for p in (0.0, 0.49, 0.5, 1.0)] == [
        "diastole",
        "diastole",
        "systole",
        "systole",
    ]
