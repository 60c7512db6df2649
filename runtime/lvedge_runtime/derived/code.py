"""Coded concepts: SNOMED CT, LOINC, DICOM and UCUM where they have one, else lvedge's own scheme.

``docs/derived-objects.md`` holds the same table for readers; a test keeps them equal. Standard codes are as
pydicom's dictionary of DICOM's context groups has them.
"""

from __future__ import annotations

from pydicom.sr.coding import Code

from lvedge.casetable import slice_level
from lvedge.indices import SECTOR_NAMES, IndexLayout

SCHEME = "99LVEDGE"
SCHEME_NAME = "lvedge"

MM = Code("mm", "UCUM", "millimeter")
MM2 = Code("mm2", "UCUM", "square millimeter")
ML = Code("ml", "UCUM", "milliliter")
GRAM = Code("g", "UCUM", "gram")
PERCENT = Code("%", "UCUM", "percent")
ONE = Code("1", "UCUM", "no units")

WALL_THICKNESS = Code("122445", "DCM", "Wall Thickness")
DIAMETER = Code("81827009", "SCT", "Diameter")
AREA = Code("42798000", "SCT", "Area")
FAC = Code("399287000", "SCT", "Left Ventricular Fractional Area Change")
THICKENING = Code("59092-7", "LN", "% Thickening")
EDV = Code("8821-1", "LN", "Left Ventricular ED Volume")
ESV = Code("8823-7", "LN", "Left Ventricular ES Volume")
EF = Code("8811-2", "LN", "Left ventricular ejection fraction by MR")
MASS = Code("18087-7", "LN", "Left Ventricle Mass")
WALL_MAX = Code("wall-max", SCHEME, "Wall thickness, 95th percentile over all directions")
QUALITY = Code("quality", SCHEME, "Probability that no value is grossly wrong")

CYCLE_PHASE = Code("246092007", "SCT", "Cardiac cycle phase")
END_DIASTOLE = Code("416190007", "SCT", "End diastole")
END_SYSTOLE = Code("416430001", "SCT", "End Systole")

CARDIAC_MRI = Code("241620005", "SCT", "Cardiac MRI")
COMMENT = Code("121106", "DCM", "Comment")
CASE = Code("case", SCHEME, "Row of the case table that holds")
CAVEAT = Code("caveat", SCHEME, "What the reader has to keep in mind")
CASE_SOURCE = Code("case-source", SCHEME, "Where the row comes from")
CASE_ROW = Code("case-row", SCHEME, "Number of the row")

ANATOMY = Code("91723000", "SCT", "Anatomical Structure")
LEFT_VENTRICLE = Code("87878005", "SCT", "Left ventricle")
RIGHT_VENTRICLE = Code("53085002", "SCT", "Right ventricle")
MYOCARDIUM = Code("49848007", "SCT", "Left Ventricle Myocardium")
CAVITY = Code("cavity", SCHEME, "Cavity of left ventricle, papillary muscles included")

MID_SEGMENTS = {
    "IS": Code("396649001", "SCT", "left ventricle mid inferoseptal segment"),
    "I": Code("264847005", "SCT", "left ventricle mid inferior segment"),
    "IL": Code("396655006", "SCT", "left ventricle mid inferolateral segment"),
    "AL": Code("396656007", "SCT", "left ventricle mid anterolateral segment"),
    "A": Code("264848000", "SCT", "left ventricle mid anterior segment"),
    "AS": Code("396647004", "SCT", "left ventricle mid anteroseptal segment"),
}
"""AHA segments 9, 10, 11, 12, 7 and 8, for slices of the stack's middle."""

_WALLS = {
    "IS": "inferoseptal",
    "I": "inferior",
    "IL": "inferolateral",
    "AL": "anterolateral",
    "A": "anterior",
    "AS": "anteroseptal",
}


def sector_sites(layout: IndexLayout, slice_index: int, slice_count: int | None) -> dict[str, Code]:
    """The finding site of each sector by its name.

    Outside the stack's middle, and where the wall is cut into other than six sectors, no AHA segment is
    claimed.
    """
    if layout.sector_names == SECTOR_NAMES:
        if slice_level(slice_index, slice_count) == "mid":
            return dict(MID_SEGMENTS)
        return {name: Code(f"wall-{name}", SCHEME, f"Wall, {words}") for name, words in _WALLS.items()}
    count = layout.sectors
    return {
        name: Code(f"wall-{k + 1}-{count}", SCHEME, f"Wall, sector {k + 1} of {count} from mid-septum")
        for k, name in enumerate(layout.sector_names)
    }
