"""The bundle: what is written is read, and everything else is refused in one line that says what to do."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_bundle import (
    ABOUT,
    SHAPES,
    WEIGHTS,
    constants_of,
    graph,
    model,
    node,
    nodes_of,
    open_tiny,
    packed,
    tensor,
    tensors_of,
    tiny_graph,
    tiny_graphs,
    value,
)

from lvedge import archive, bundle
from lvedge.archive import archive_bytes, entries_from_archive
from lvedge.bundle import ENTRIES, MANIFEST, Bundle, open_bundle, write_bundle
from lvedge.errors import BundleError

Change = Callable[[dict[str, Any]], None]


def written(folder: Path, name: str = "tiny.lvedge", **changes: Any) -> Bundle:
    given = {
        "shapes": SHAPES,
        "graphs": tiny_graphs(),
        "about": ABOUT,
        "licence": "Public domain — CC0.\n",
        "model_card": "# Tiny\n",
    }
    return write_bundle(folder / name, **{**given, **changes})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("bundle")
    written(folder)
    return (folder / "tiny.lvedge").read_bytes()


def refusal(data: bytes) -> str:
    """The message with which a file is refused."""
    with pytest.raises(BundleError) as caught:
        open_tiny(data)
    message = str(caught.value)
    assert message.startswith("the bundle tiny.lvedge ")
    assert message.endswith("get it again or make one with lvedge-export")
    assert message.isprintable()
    return message


def repacked(data: bytes, change: Change) -> bytes:
    """A bundle with another manifest, otherwise sound."""
    entries = entries_from_archive(data)
    manifest = json.loads(entries.pop(MANIFEST))
    change(manifest)
    return packed(entries, json.dumps(manifest).encode())


def zipped(data: bytes, method: int = zipfile.ZIP_STORED, **replaced: bytes) -> bytes:
    """The bundle's content as an ordinary zip tool packs it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as target:
        for name, content in {**entries_from_archive(data), **replaced}.items():
            target.writestr(name, content)
    return file.getvalue()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    made = written(tmp_path)
    found = open_bundle(tmp_path / "tiny.lvedge")
    assert replace(found, origin=made.origin) == made
    assert (found.name, found.version, found.modality) == ("tiny", "7", "MR")
    assert found.licence_notice == "weights: made up"
    assert found.shapes == SHAPES
    assert found.quality == {"bias": 1.0}
    assert found.model_card == "# Tiny\n"
    assert {name: found.graph(name) for name in bundle.GRAPHS} == tiny_graphs()
    assert len(found.sha256) == 64


def test_fp16_graphs_may_be_there_too(tmp_path: Path, data: bytes) -> None:
    half = tiny_graphs("half")
    made = written(tmp_path, half=half)
    assert made.precisions == ("fp32", "fp16")
    assert {name: made.graph(name, "fp16") for name in half} == half
    assert {name: made.graph(name) for name in half} == tiny_graphs()
    assert open_tiny(data).precisions == ("fp32",)


def test_fp16_graphs_are_all_there_and_keep_the_contract(tmp_path: Path, data: bytes) -> None:
    half = tiny_graphs("half")
    written(tmp_path, half=half)
    whole = entries_from_archive((tmp_path / "tiny.lvedge").read_bytes())
    manifest = whole.pop(MANIFEST)
    without = {name: entry for name, entry in whole.items() if name != "replay.fp16.onnx"}
    assert "lacks replay.fp16.onnx" in refusal(packed(without, manifest))
    unnamed = json.loads(manifest)
    del unnamed["entries"]["step.fp16.onnx"]
    assert "names other entries" in refusal(packed(whole, json.dumps(unnamed).encode()))
    assert "is altered: step.fp16.onnx" in refusal(packed({**whole, "step.fp16.onnx": b""}, manifest))
    with pytest.raises(BundleError, match="holds a step graph"):
        written(tmp_path, "other.lvedge", half={**half, "step": half["replay"]})
    assert not (tmp_path / "other.lvedge").exists()


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    written(tmp_path, "one.lvedge")
    written(tmp_path, "two.lvedge", about=dict(reversed(ABOUT.items())))
    assert (tmp_path / "one.lvedge").read_bytes() == (tmp_path / "two.lvedge").read_bytes()


def test_a_bundle_is_a_zip_file_that_others_can_read(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert file.testzip() is None
        assert file.namelist() == [MANIFEST, *ENTRIES]
        assert {name: file.read(name) for name in file.namelist()} == entries_from_archive(data)
        assert all(stat.S_ISREG(info.external_attr >> 16) for info in file.infolist())


def test_a_bundle_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    before = (tmp_path / "tiny.lvedge").read_bytes()

    def fail(part: Path, target: Path) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(BundleError, match="cannot be written: the disk is full"):
            written(tmp_path, about={**ABOUT, "name": "other"})
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.lvedge"]
    assert (tmp_path / "tiny.lvedge").read_bytes() == before


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be written"):
        written(tmp_path / "nowhere")


def test_every_flipped_byte_is_refused(data: bytes) -> None:
    headers = [k for k in range(len(data)) if k % 11 == 0 or k < 40 or k > len(data) - 500]
    for place in headers:
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(BundleError):
            open_tiny(bytes(damaged))


def test_every_flipped_byte_of_the_manifest_is_refused(data: bytes) -> None:
    end = data.index(b"PK\x03\x04", 4)
    for place in range(0, end, 3):
        damaged = bytearray(data)
        damaged[place] = (damaged[place] + 1) % 256
        with pytest.raises(BundleError):
            open_tiny(bytes(damaged))


def test_cut_and_lengthened_files_are_refused(data: bytes) -> None:
    for length in range(0, len(data), 97):
        refusal(data[:length])
    for other in (data + b"\0", b"\0" + data, data + data, b"not a zip file" * 100):
        refusal(other)
    assert "is no bundle, or is cut short" in refusal(b"")


def test_compressed_entries_are_refused(data: bytes) -> None:
    assert "compressed: pack it with lvedge-export" in refusal(zipped(data, zipfile.ZIP_DEFLATED))


def test_a_bomb_is_refused(data: bytes) -> None:
    bomb = zipped(data, zipfile.ZIP_DEFLATED, **{MANIFEST: bytes(10_000_000)})
    assert len(bomb) < 100_000
    assert "more than 20 times" in refusal(bomb)


def test_the_bytes_of_another_tool_are_refused(data: bytes) -> None:
    assert "not packed by lvedge-export" in refusal(zipped(data))


def test_an_entry_that_is_there_twice_is_refused(data: bytes) -> None:
    file = io.BytesIO(zipped(data))
    with zipfile.ZipFile(file, "a") as target, pytest.warns(UserWarning, match="Duplicate"):
        target.writestr("step.onnx", b"another")
    assert "'step.onnx' twice" in refusal(file.getvalue())


@pytest.mark.parametrize(
    "name", ["../step.onnx", "/etc/passwd", "a/b.onnx", "a\\b", ".hidden", "é.onnx", "x" * 65]
)
def test_an_entry_with_an_unusual_name_is_refused(data: bytes, name: str) -> None:
    assert "are refused" in refusal(zipped(data, **{name: b"x"}))


def test_a_link_is_refused(data: bytes) -> None:
    file = io.BytesIO(zipped(data))
    with zipfile.ZipFile(file, "a") as target:
        link = zipfile.ZipInfo("extra.onnx")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        target.writestr(link, "/etc/passwd")
    assert "as a link" in refusal(file.getvalue())


def test_an_encrypted_entry_is_refused(data: bytes) -> None:
    damaged = bytearray(data)
    place = data.index(b"PK\x01\x02") + 8
    damaged[place] |= 1
    assert "encrypted" in refusal(bytes(damaged))


def test_too_many_entries_are_refused(data: bytes) -> None:
    assert "39 entries" in refusal(zipped(data, **{f"x{k}": b"" for k in range(33)}))
    with pytest.raises(BundleError, match="33 entries"):
        archive_bytes({f"x{k}": b"" for k in range(33)})


def test_too_many_bytes_are_refused(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed = bytearray(data)
    place = data.index(b"PK\x01\x02") + 20
    claimed[place : place + 8] = struct.pack("<2L", 0xF0000000, 0xF0000000)
    assert "unpacks to more than" in refusal(bytes(claimed))
    monkeypatch.setattr(bundle, "MOST_BYTES", 100)
    monkeypatch.setattr(archive, "MOST_BYTES", 100)
    (tmp_path / "large.lvedge").write_bytes(data)
    with pytest.raises(BundleError, match="is larger than"):
        open_bundle(tmp_path / "large.lvedge")
    with pytest.raises(BundleError, match="exceed"):
        archive_bytes({"x": bytes(101)})


def test_overlapping_entries_are_refused(data: bytes) -> None:
    damaged = bytearray(data)
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    damaged[second + 42 : second + 46] = bytes(4)
    refusal(bytes(damaged))


def test_missing_and_unknown_entries_are_refused(data: bytes) -> None:
    entries = entries_from_archive(data)
    assert "holds notes.txt, which none may" in refusal(archive_bytes({**entries, "notes.txt": b""}))
    for name in (MANIFEST, *ENTRIES):
        rest = {key: content for key, content in entries.items() if key != name}
        assert f"lacks {name}" in refusal(archive_bytes(rest))


def test_an_entry_that_the_manifest_does_not_mean_is_refused(data: bytes) -> None:
    entries = entries_from_archive(data)
    entries["model-card.md"] = b"# Best of all\n"
    assert "model-card.md is not what the manifest says" in refusal(archive_bytes(entries))


def put(key: str, content: Any, *path: str) -> Change:
    """A change of one value of the manifest."""

    def change(manifest: dict[str, Any]) -> None:
        for step in path:
            manifest = manifest[step]
        manifest[key] = content

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("contract", 2), "of contract 2, this lvedge takes 1: update the older of both"),
        (put("contract", True), "of contract True"),
        (put("format", None), "of format None"),
        (put("name", ""), "its name"),
        (put("name", "two\nlines"), "its name"),
        (put("version", 3), "its version"),
        (put("version", "3b"), "its version as numbers with dots"),
        (put("modality", None), "its modality"),
        (put("notice", "\x1b[31mred", "licence"), "its licence"),
        (put("licence", {}), "its licence"),
        (put("accuracy", []), "its accuracy"),
        (put("quality", None), "its quality"),
        (put("entries", {}), "other entries"),
        (put("size", 1, "entries", "step.onnx"), "step.onnx is not what"),
        (put("sha256", "0" * 64, "entries", "LICENSE"), "LICENSE is not what"),
        (put("shapes", []), "the shapes"),
        (put("view_px", 0, "shapes"), "view_px is 0"),
        (put("view_px", 16.0, "shapes"), "view_px is 16.0"),
        (put("view_px", True, "shapes"), "view_px is True"),
        (put("features", 10**9, "shapes"), "features is 1000000000"),
        (put("view_mm_per_px", -1.5, "shapes"), "view_mm_per_px is -1.5"),
        (put("view_mm_per_px", "1.5", "shapes"), "view_mm_per_px is '1.5'"),
        (put("depth", 3, "shapes"), "the shapes"),
        (put("sectors", 5, "shapes", "layout"), "impossible layout"),
        (put("rays", 5, "shapes", "layout"), "impossible layout"),
        (put("view_px", 32, "shapes"), "frame in another shape"),
        (put("features", 6, "shapes"), "features in another shape"),
    ],
)
def test_a_manifest_that_cannot_stand_is_refused(data: bytes, change: Change, words: str) -> None:
    assert words in refusal(repacked(data, change))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"format": 1, "format": 1}',
        b'{"format": NaN}',
        b'{"format": 1e999}',
        b" " * (1024 * 1024 + 1),
    ],
)
def test_a_manifest_that_is_no_manifest_is_refused(data: bytes, text: bytes) -> None:
    refusal(packed({k: v for k, v in entries_from_archive(data).items() if k != MANIFEST}, text))


def test_a_licence_that_is_no_text_is_refused(data: bytes) -> None:
    entries = entries_from_archive(data)
    manifest = json.loads(entries.pop(MANIFEST))
    entries["LICENSE"] = b"\xff\xfe"
    manifest["entries"]["LICENSE"] = bundle._fingerprint(entries["LICENSE"])
    assert "LICENSE, which is no text" in refusal(packed(entries, json.dumps(manifest).encode()))


def step_with(**changes: Any) -> bytes:
    """A step graph in which some parts are others."""
    parts = {
        "nodes": nodes_of("step"),
        "tensors": constants_of("step"),
        "inputs": tensors_of("step", 0),
        "outputs": tensors_of("step", 1),
    }
    return model(graph(**{**parts, **changes}))


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (b"\x3a\x7f", "is cut short"),
        (tiny_graph("replay"), "takes 'features', 'h_regression'"),
        (step_with(inputs=tensors_of("step", 0)[::-1]), "and not frame, h_regression"),
        (step_with(outputs=tensors_of("step", 1)[:-1]), "gives"),
        (step_with(outputs=[value("secret", ("B", 1)), *tensors_of("step", 1)[1:]]), "gives 'secret'"),
        (
            step_with(inputs=[value("frame", ("B", 1, 16, 17)), *tensors_of("step", 0)[1:]]),
            "takes frame in another",
        ),
        (
            step_with(inputs=[value("frame", (1, 1, 16, 16)), *tensors_of("step", 0)[1:]]),
            "takes frame in another",
        ),
        (step_with(inputs=[value("frame", ("B", 1, 16, 16), 10), *tensors_of("step", 0)[1:]]), "takes frame"),
        (step_with(nodes=[node("Relu", [], [], domain="com.microsoft")]), "outside the ONNX standard"),
        (tiny_graph("step", domains=("", "com.example")), "outside the ONNX standard ('com.example')"),
        (tiny_graph("step", functions=[b""]), "functions of its own"),
        (
            step_with(tensors=[tensor(n, w, "/etc/passwd") for n, w in WEIGHTS.items()]),
            "weights lie in another file",
        ),
        (tiny_graph("step", opset=19), "opset 19"),
        (tiny_graph("step", ir=11), "IR 11"),
        (tiny_graph("step", domains=()), "opset 0"),
    ],
)
def test_a_graph_that_is_not_the_contract_s_is_refused(tmp_path: Path, step: bytes, words: str) -> None:
    with pytest.raises(BundleError) as caught:
        written(tmp_path, graphs={**tiny_graphs(), "step": step})
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_is_no_json_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no JSON"):
        written(tmp_path, about={**ABOUT, "accuracy": {"mae": float("nan")}})
    with pytest.raises(BundleError, match="its created"):
        written(tmp_path, about={key: v for key, v in ABOUT.items() if key != "created"})


def test_a_path_that_holds_no_bundle_is_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.lvedge"):
        with pytest.raises(BundleError, match="there is no bundle at"):
            open_bundle(path)


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(BundleError, match=r"tiny\.lvedge cannot be read: Permission denied"):
        open_bundle(tmp_path / "tiny.lvedge")


def test_a_build_without_weights_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "DEFAULT_PATH", tmp_path / "default.lvedge")
    with pytest.raises(BundleError, match="ships no weights: name a bundle with --bundle"):
        open_bundle()


def test_the_bundle_that_ships_is_sound(bundle: Bundle) -> None:
    assert bundle.modality == "MR"
    assert "non-commercial" in bundle.licence_notice
    assert set(bundle.manifest["training"]) == {"acdc", "york"}
