"""What all tests share: where the real data lies, the bundle that ships."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lvedge.bundle import DEFAULT_PATH, Bundle, open_bundle


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with real images; a test that needs it is skipped where it is absent."""
    said = os.environ.get("LVEDGE_DATA")
    root = Path(said) if said else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not root.is_dir():
        pytest.skip(f"no real data at {root}: set LVEDGE_DATA to its folder")
    return root


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The bundle that ships; a test that needs it is skipped in a build without weights."""
    if not DEFAULT_PATH.is_file():
        pytest.skip("this build ships no weights")
    return open_bundle()
