"""The report holds the numbers of the JSON lines, coded; read without highdicom."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
import pytest
from object_room import code_of, faults, groups_of, masks_of, texts_of, values_of
from pydicom import dcmread
from pydicom.dataset import Dataset

from lvedge import __version__
from lvedge.bundle import Bundle
from lvedge.indices import SECTOR_NAMES, IndexLayout
from lvedge_runtime.cli import main
from lvedge_runtime.derived import code
from lvedge_runtime.sinks.overlay import HEIGHT_PX, WIDTH_PX

MID = ("396649001", "264847005", "396655006", "396656007", "264848000", "396647004")
BESIDE = tuple(f"wall-{name}" for name in SECTOR_NAMES)


@dataclass(frozen=True)
class Run:
    """What one run of the command wrote, and its lines.

    Args:
        folder: of the objects.
        frames: by slice and frame.
        cycles: by slice.
    """

    folder: Path
    frames: dict[tuple[int, int], dict[str, Any]]
    cycles: dict[int, dict[str, Any]]
    volumes: list[dict[str, Any]]

    def files(self, kind: str) -> list[Path]:
        return sorted((self.folder / "out").glob(f"*_{kind}*.dcm"))

    @property
    def report(self) -> Dataset:
        (path,) = self.files("sr")
        return dcmread(path)


def run_of(folder: Path, source: str, *options: str) -> Run:
    """One run with all sinks that objects are compared with."""
    sinks = [f"jsonl:{folder}/out.jsonl", *(f"{s}:{folder}/out" for s in ("dicomsr", "dicomseg", "dicomsc"))]
    arguments = [part for sink in (*sinks, f"nifti:{folder}/nifti") for part in ("--sink", sink)]
    assert main(["--stream", source, "--quiet", *arguments, *options]) == 0
    return read_run(folder)


def read_run(folder: Path) -> Run:
    """The lines and objects below a folder."""
    lines = [json.loads(line) for line in (folder / "out.jsonl").read_text("utf-8").splitlines()]
    frames = [line for line in lines if "frame" in line and not line["provisional"]]
    cycles = [line["cycle"] for line in lines if "cycle" in line and not line["cycle"]["provisional"]]
    return Run(
        folder,
        {(line["slice"], line["frame"]): line for line in frames},
        {cycle["slice"]: cycle for cycle in cycles},
        [line["volumes"] for line in lines if "volumes" in line],
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Run:
    """The phantom, measured with the bundle that ships."""
    return run_of(tmp_path_factory.mktemp("demo"), "demo:")


def expected_of_frame(line: dict[str, Any], sites: tuple[str, ...]) -> list[tuple[object, ...]]:
    """A frame's values as the report has to hold them."""
    walls = [("122445", (s,), "mm", v) for s, v in zip(sites, line["rwt_mm"], strict=True)]
    across = [("81827009", (sites[k], sites[k + 3]), "mm", v) for k, v in enumerate(line["dims_mm"])]
    areas = [
        ("42798000", (s,), "mm2", v) for s, v in zip(("cavity", "49848007"), line["areas_mm2"], strict=True)
    ]
    last = [("wall-max", (), "mm", line["wall_max_mm"]), ("quality", (), "1", line["quality"])]
    return [*walls, *across, *areas, *last]


def expected_of_beat(cycle: dict[str, Any], sites: tuple[str, ...]) -> list[tuple[object, ...]]:
    """A beat's values as the report has to hold them, shares as per cent."""
    shares = zip(sites, cycle["thickening"], strict=True)
    thickening = [("59092-7", (s,), "%", pytest.approx(100 * v)) for s, v in shares]
    fac = ("399287000", (), "%", pytest.approx(100 * cycle["fac"]))
    return [fac, *thickening, ("quality", (), "1", cycle["quality"])]


def expected_of_run(run: Run) -> dict[str, list[tuple[object, ...]]]:
    """All that the report of a run has to hold, from its JSON lines."""
    count = 1 + max(place for place, _ in run.frames)
    groups: dict[str, list[tuple[object, ...]]] = {}
    for place, cycle in run.cycles.items():
        if cycle["fac"] is None:
            continue
        sites = MID if count >= 3 and 0.2 <= place / (count - 1) <= 0.8 else BESIDE
        for phase in ("ed", "es"):
            line = run.frames[place, cycle[f"{phase}_frame"]]
            assert line["rwt_mm"] == cycle[phase]["rwt_mm"]
            groups[f"slice {place} {phase.upper()}"] = expected_of_frame(line, sites)
        groups[f"slice {place} beat"] = expected_of_beat(cycle, sites)
    for volumes in run.volumes:
        if volumes["ef"] is not None:
            keys = (("8821-1", "edv_ml", "ml"), ("8823-7", "esv_ml", "ml"), ("8811-2", "ef", "%"))
            groups["stack"] = [
                (concept, (), unit, pytest.approx(volumes[key] * (100 if unit == "%" else 1)))
                for concept, key, unit in (*keys, ("18087-7", "mass_g", "g"))
            ]
    return groups


def test_the_numbers_are_those_of_the_json_lines(demo: Run) -> None:
    groups = groups_of(demo.report)
    expected = expected_of_run(demo)
    assert len(expected) == 9
    assert {name: values_of(group) for name, group in groups.items()} == expected


def test_groups_say_their_phase_and_what_measured_them(demo: Run, bundle: Bundle) -> None:
    phases = {"ED": "416190007", "ES": "416430001", "beat": None}
    for name, group in groups_of(demo.report).items():
        stated = [i for i in group.ContentSequence if code_of(i) == "246092007"]
        assert [i.ConceptCodeSequence[0].CodeValue for i in stated] == [
            p for p in [phases[name.split()[2]]] if p
        ]
        said = {}
        for item in group.ContentSequence:
            if item.ValueType == "TEXT":
                said.setdefault(code_of(item), []).append(item.TextValue)
        assert said["111001"] == ["lvedge"]
        assert said["111003"] == [__version__]
        assert said["111002"] == [
            f"bundle {bundle.name} {bundle.version}",
            f"bundle sha256 {bundle.sha256}",
            f"engine {demo.frames[0, 0]['engine']}",
        ]


def test_the_case_comes_with_its_caveat_and_the_report_with_its_notice(demo: Run) -> None:
    report = demo.report
    for place, cycle in demo.cycles.items():
        group = groups_of(report)[f"slice {place} beat"]
        cases = [item for item in group.ContentSequence if code_of(item) == "case"]
        told = [{"label": c.TextValue, **texts_of(c)} for c in cases]
        assert cycle["findings"]
        assert told == [
            {"label": f["label"], "caveat": f["caveat"], "case-source": f["source"], "case-row": f["row"]}
            for f in cycle["findings"]
        ]
    assert texts_of(report)["121106"] == "Research use, not for diagnosis."
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    (scheme,) = report.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == code.SCHEME


def test_every_object_of_the_phantom_is_valid(demo: Run) -> None:
    files = [path for kind in ("sr", "seg", "sc") for path in demo.files(kind)]
    assert len(files) == 4
    for path in files:
        assert faults(path) == []


def test_masks_are_those_that_nifti_has(demo: Run) -> None:
    for path, phase in zip(demo.files("seg"), ("ed", "es"), strict=True):
        with masks_of(path) as masks:
            images = {
                tuple(
                    float(v) for v in g.PlanePositionSequence[0].ImagePositionPatient
                ): g.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
                for g in masks.PerFrameFunctionalGroupsSequence
            }
            volume = masks.get_pixels_by_source_instance(list(images.values()), combine_segments=True)
        for place, position in enumerate(images):
            (found,) = [s for s in demo.cycles if np.allclose(_position(demo, s, phase), position, atol=1e-3)]
            stored = nib.load(_nifti(demo, demo.cycles[found][f"{phase}_frame"]))
            assert (volume[place] == np.asarray(stored.dataobj)[:, :, found].T).all()
            assert volume[place].max() == 3


def _nifti(run: Run, frame: int) -> Path:
    (path,) = (run.folder / "nifti").glob(f"*_t{frame:02d}.nii.gz")
    return path


def _position(run: Run, place: int, phase: str) -> np.ndarray:
    """Centre of a slice's first pixel, LPS, from NIfTI's affine."""
    affine = nib.load(_nifti(run, run.cycles[place][f"{phase}_frame"])).affine
    return np.asarray((affine @ [0, 0, place, 1])[:3] * [-1, -1, 1])


def test_the_pictures_are_the_overlays_and_a_bullseye(demo: Run, tmp_path: Path) -> None:
    (path,) = demo.files("sc")
    capture = dcmread(path)
    order = [(s, phase) for s in demo.cycles for phase in ("ed", "es")]
    assert list(capture.FrameLabelVector) == ["bull's-eye", *(f"slice {s} {p.upper()}" for s, p in order)]
    pages = capture.pixel_array
    assert pages.shape == (1 + len(order), HEIGHT_PX, WIDTH_PX, 3)
    assert main(["--stream", "demo:", "--quiet", "--sink", f"png:{tmp_path}"]) == 0
    for page, (place, phase) in zip(pages[1:], order, strict=True):
        frame = demo.cycles[place][f"{phase}_frame"]
        (drawn,) = tmp_path.glob(f"*_s{place:02d}_t{frame:02d}.png")
        np.testing.assert_array_equal(page[..., ::-1], cv2.imread(str(drawn)))
    # Colour, not grey: the rings of the bull's-eye.
    assert (np.ptp(pages[0].astype(int), axis=-1) > 60).mean() > 0.05


def test_only_the_middle_of_a_stack_claims_aha_segments() -> None:
    layout = IndexLayout()
    assert [s.value for s in code.sector_sites(layout, 5, 11).values()] == list(MID)
    for place, count in ((0, 11), (10, 11), (0, 1), (0, None)):
        assert [s.value for s in code.sector_sites(layout, place, count).values()] == list(BESIDE)
    other = code.sector_sites(IndexLayout(4, 2), 1, 3)
    assert [(name, s.value) for name, s in other.items()] == [(f"S{k}", f"wall-{k}-4") for k in range(1, 5)]


def test_the_table_of_codes_is_that_of_the_docs() -> None:
    """Every coded concept is explained, and standard codes are what pydicom's dictionary says."""
    from pydicom.sr._concepts_dict import concepts
    from pydicom.sr.coding import Code

    page = Path(__file__).resolve().parents[2] / "docs" / "derived-objects.md"
    table = page.read_text("utf-8").split("## The codes")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| (\S+) \| ([^|]+) \|", table, re.MULTILINE)
    stated = {(scheme, value): meaning.strip() for value, scheme, meaning in rows}
    used = [c for c in vars(code).values() if isinstance(c, Code)]
    used += [*code.MID_SEGMENTS.values(), *code.sector_sites(IndexLayout(), 0, None).values()]
    assert stated == {(c.scheme_designator, c.value): c.meaning for c in used}
    for concept in used:
        if concept.scheme_designator in ("SCT", "DCM", "LN"):
            known = [v for words in concepts[concept.scheme_designator].values() for v in words]
            assert concept.value in known, concept
