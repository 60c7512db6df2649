"""The case table: rules and reference cases that a measurement is looked up in.

A runtime opens a table with ``open_case_table`` and asks it with the values that ``frame_features`` and
``cycle_features`` derive; a user makes one with the command ``lvedge-cases``.
"""

from lvedge.casetable.features import cycle_features, cycle_names, frame_features, frame_names
from lvedge.casetable.ruleset import LEVELS, slice_level
from lvedge.casetable.table import DEFAULT_PATH, CaseTable, has_case_table, open_case_table

__all__ = [
    "DEFAULT_PATH",
    "LEVELS",
    "CaseTable",
    "cycle_features",
    "cycle_names",
    "frame_features",
    "frame_names",
    "has_case_table",
    "open_case_table",
    "slice_level",
]
