"""The benchmarks are no part of the package: they are found in the checkout, behind the lvedge under test."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

sys.path += [str(ROOT), str(ROOT / "tests" / "training")]
