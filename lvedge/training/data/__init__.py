"""Readers for the data sets, all giving one sample type, and the split by subject."""

from __future__ import annotations

from lvedge.training.data.acdc import acdc_subjects, read_acdc
from lvedge.training.data.sample import MAP_LABELS, Sample, data_root, stacks_of
from lvedge.training.data.split import ALL, BUT_FOLD, FOLDS, TRAINING, Split, make_split, read_split
from lvedge.training.data.sunnybrook import read_sunnybrook
from lvedge.training.data.york import read_york, york_subjects

__all__ = [
    "ALL",
    "BUT_FOLD",
    "FOLDS",
    "MAP_LABELS",
    "TRAINING",
    "Sample",
    "Split",
    "acdc_subjects",
    "data_root",
    "make_split",
    "read_acdc",
    "read_split",
    "read_sunnybrook",
    "read_york",
    "stacks_of",
    "york_subjects",
]
