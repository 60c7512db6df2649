"""Compressed pictures: every lossless form of them holds the same values, and what is missing is named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cine_files import ge
from dicom_files import dataset, read_dicom, write, write_image
from peers import ask, receiver, written
from reception_room import in_folder, results

FORMS = (
    "JPEGLosslessProcess14_1",
    "JPEGLosslessProcess14",
    "JPEGLSLossless",
    "JPEG2000Lossless",
    "RLELossless",
)
FLAG = {
    "JPEGLosslessProcess14_1": "-xs",
    "JPEGLSLossless": "-xt",
    "JPEG2000Lossless": "-xv",
    "RLELossless": "-xr",
}
"""How storescu is asked to propose each form."""


def compressed(path: Path, form: str) -> Path:
    """The file, its pixels compressed where it lies."""
    gdcm = pytest.importorskip("gdcm", reason="compressing needs the extra codecs")
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, form)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return path


@pytest.mark.parametrize("kind", ["uint16", "int16", "uint8"])
@pytest.mark.parametrize("form", FORMS)
def test_every_lossless_form_holds_the_same_values(tmp_path: Path, form: str, kind: str) -> None:
    pixels = np.random.default_rng(3).integers(0, 200, (30, 34)).astype(kind)
    if kind == "int16":
        pixels -= 100
    write_image(tmp_path / "1.dcm", pixels, InstanceNumber=1, TriggerTime=10)
    compressed(write_image(tmp_path / "2.dcm", pixels, InstanceNumber=2, TriggerTime=20), form)
    assert (tmp_path / "2.dcm").read_bytes().count(pixels.tobytes()) == 0
    (plain, same), rejected = read_dicom(tmp_path)
    assert rejected == []
    np.testing.assert_array_equal(plain.pixels, pixels.astype(np.float32))
    np.testing.assert_array_equal(same.pixels, plain.pixels)


@pytest.mark.parametrize("form", FLAG)
def test_compressed_pictures_are_received(tmp_path: Path, form: str) -> None:
    data = ge(sizes=(1.0,))
    files = sorted(written(tmp_path / "files", data).iterdir())
    for file in files:
        compressed(file, form)
    with receiver(tmp_path) as there:
        done = ask("storescu", FLAG[form], "-aec", "LVEDGE", *there.at, *files)
        assert (done.returncode, done.stderr) == (0, "")
        items = there.stopped()
    assert results(items) == results(in_folder(tmp_path / "plain", data))


def test_without_codecs_the_extra_is_named_and_such_pictures_are_not_negotiated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(written(tmp_path / "files", ge(sizes=(1.0,))[:1]).iterdir())
    compressed(files[0], "JPEGLSLossless")
    without_gdcm(monkeypatch)
    _, rejected = read_dicom(files[0])
    assert [reason for _, reason in rejected] == [
        "compressed as JPEG-LS Lossless Image Compression: decoding needs pip install 'lvedge[codecs]'"
    ]
    with receiver(tmp_path) as there:
        done = ask("storescu", "-xt", "-aec", "LVEDGE", *there.at, *files)
        assert there.source.tally["taken"] == 0
    assert "unable to convert dataset from 'JPEG-LS Lossless'" in done.stderr


def without_gdcm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra were not installed."""
    from pydicom.pixels.decoders import JPEGLSLosslessDecoder

    monkeypatch.setitem(sys.modules, "gdcm", None)
    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    unavailable: dict[str, Any] = {"gdcm": ("gdcm",)}
    monkeypatch.setattr(JPEGLSLosslessDecoder, "_unavailable", unavailable)
    monkeypatch.setattr("lvedge_runtime.sources.dicom_pixels.find_spec", lambda _name: None)


def test_a_damaged_compressed_picture_is_named(tmp_path: Path) -> None:
    path = compressed(write(tmp_path / "1.dcm", dataset()), "JPEG2000Lossless")
    content = bytearray(path.read_bytes())
    content[-900:-100] = bytes(800)
    path.write_bytes(content)
    frames, rejected = read_dicom(path)
    assert len(frames) + len(rejected) == 1
    assert all("JPEG 2000" in reason for _, reason in rejected)
