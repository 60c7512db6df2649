"""Files that say whom they are about are their owner's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cine_files import ge
from disc_bundle import disc_bundle
from peers import written

from lvedge.errors import SinkError
from lvedge_runtime.cli import main
from lvedge_runtime.sinks.output import write_private


def test_files_of_dicom_objects_are_read_by_nobody_else_and_values_follow_the_umask(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    disc_bundle(tmp_path / "discs.lvedge")
    files = written(tmp_path / "files", ge(FrameOfReferenceUID="1.2.77.1"))
    sinks = [f"{kind}:{tmp_path}/{kind}" for kind in ("dicomsr", "dicomseg", "dicomsc", "jsonl")]
    before = os.umask(0o022)
    try:
        args = ["--stream", str(files), "--bundle", str(tmp_path / "discs.lvedge"), "--quiet"]
        assert main([*args, *(word for uri in sinks for word in ("--sink", uri))]) == 0
    finally:
        os.umask(before)
    made = [path for kind in ("dicomsr", "dicomseg", "dicomsc") for path in (tmp_path / kind).iterdir()]
    assert [path.suffix for path in made] == [".dcm"] * 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    assert stat.S_IMODE((tmp_path / "jsonl").stat().st_mode) == 0o644


def test_a_private_file_replaces_another_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before")
    path.chmod(0o644)
    write_private(path, b"after")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"after", 0o600)
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(SinkError, match="cannot write to"):
        write_private(tmp_path / "folder", b"x")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "folder"]
