"""What all tests share: where the real data lies, the bundle that ships."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from lvedge.bundle import DEFAULT_PATH, Bundle, open_bundle
from lvedge.store import HOME_VARIABLE
from lvedge.trust import TRUST_VARIABLE

# A gate draws the same cases every time; ``make explore`` draws others.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("explore" if os.environ.get("LVEDGE_EXPLORE") else "same")


@pytest.fixture(autouse=True, scope="session")
def _nothing_installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees what is installed on this machine, or whom it trusts."""
    folders = {HOME_VARIABLE: "home", TRUST_VARIABLE: "trust"}
    with pytest.MonkeyPatch.context() as patch:
        for variable, name in folders.items():
            patch.setenv(variable, str(tmp_path_factory.mktemp(name)))
        yield


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
