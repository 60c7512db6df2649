"""JSON lines against their published schema, and CSV against the same values."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from importlib.resources import files

import jsonschema
import numpy as np
import pytest

from lvedge.frame import Rejected
from lvedge.indices import IndexLayout, Indices
from lvedge.measurement import Cycle, Mode
from lvedge.volume import StackVolumes
from lvedge_runtime.sinks import RunContext, open_sink

CONTEXT = RunContext(engine="onnxruntime", bundle="default", bundle_version="1.2")

FRAME_KEYS = [
    "series",
    "slice",
    "frame",
    "time_ms",
    "spacing",
    "measured",
    "reason",
    "rwt_mm",
    "dims_mm",
    "areas_mm2",
    "phase",
    "p_systole",
    "quality",
    "wall_max_mm",
    "geometric",
    "view",
    "mode",
    "phase_settled",
    "result",
    "latency_ms",
    "engine",
    "bundle",
]


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    text = files("lvedge_runtime.sinks").joinpath("result.schema.json").read_text("utf-8")
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    return jsonschema.Draft202012Validator(json.loads(text))


def lines_of(tmp_path, items, context=CONTEXT):
    path = tmp_path / "out" / "results.jsonl"
    with open_sink(f"jsonl:{path}", context) as sink:
        for item in items:
            sink.write(item)
    return [json.loads(line, parse_constant=pytest.fail) for line in path.read_text("utf-8").splitlines()]


def test_a_measured_frame_has_exactly_the_public_keys_and_values(tmp_path, schema, make_measurement):
    measurement = make_measurement(slice_index=3, frame_index=2, turned_deg=12.5)
    (line,) = lines_of(tmp_path, [measurement])
    schema.validate(line)
    assert list(line) == FRAME_KEYS
    values = np.round(measurement.indices.vector, 3)
    assert line == {
        "series": "phantom",
        "slice": 3,
        "frame": 2,
        "time_ms": 80.0,
        "spacing": {"mm": [1.25, 1.25], "source": "tags"},
        "measured": True,
        "reason": None,
        "rwt_mm": values[:6].tolist(),
        "dims_mm": values[6:9].tolist(),
        "areas_mm2": values[9:].tolist(),
        "phase": "systole",
        "p_systole": 0.875,
        "quality": 0.938,
        "wall_max_mm": round(measurement.wall_max_mm, 3),
        "geometric": {
            "rwt_mm": values[:6].tolist(),
            "dims_mm": values[6:9].tolist(),
            "areas_mm2": values[9:].tolist(),
        },
        "view": {
            "centre_px": [70.0, 60.0],
            "septum_deg": 192.5,
            "septum_inferred": False,
            "mm_per_px": 1.5,
            "orientation": "tags",
        },
        "mode": "closed",
        "phase_settled": True,
        "result": {
            "case": "HCM",
            "label": "consistent with a thick wall: ≥ 15 mm",
            "source": "a guideline, doi 10.1000/1",
            "caveat": "not a diagnosis",
            "row": "rule 12",
            "severity": 2,
            "distance": None,
        },
        "latency_ms": {"decode": 1.0, "step": 12.25, "total": 13.25},
        "engine": "onnxruntime",
        "bundle": "default 1.2",
    }


def test_a_frame_without_an_lv_says_why_and_invents_nothing(
    tmp_path, schema, make_measurement, make_unmeasured
):
    nothing = make_unmeasured(make_measurement(), "no LV in this frame")
    # Values that were read before the frame was found wanting do not leave either.
    doubtful = replace(make_measurement(), measured=False, reason="no closed ring", quality=0.0)
    for line, reason in zip(
        lines_of(tmp_path, [nothing, doubtful]), ("no LV in this frame", "no closed ring"), strict=True
    ):
        schema.validate(line)
        assert (line["measured"], line["reason"], line["quality"]) == (False, reason, 0.0)
        for key in ("rwt_mm", "dims_mm", "areas_mm2", "phase", "p_systole", "wall_max_mm"):
            assert line[key] is None
        assert line["geometric"] == {"rwt_mm": None, "dims_mm": None, "areas_mm2": None}


def test_septum_of_the_view_stands_in_where_the_frame_shows_none(tmp_path, make_measurement):
    measurement = replace(make_measurement(septum_deg=170.0), septum_deg=None, septum_inferred=True)
    (line,) = lines_of(tmp_path, [measurement])
    assert (line["view"]["septum_deg"], line["view"]["septum_inferred"]) == (170.0, True)


def test_a_beat_comes_after_its_frames_under_one_key(tmp_path, schema, make_beat):
    measurements, cycle = make_beat()
    lines = lines_of(tmp_path, [*measurements, cycle])
    for line in lines:
        schema.validate(line)
    assert ["cycle" in line for line in lines] == [False] * 8 + [True]
    beat = lines[-1]["cycle"]
    assert list(lines[-1]) == ["cycle"]
    assert (beat["frames"], beat["measured"], beat["ed_frame"], beat["es_frame"]) == (8, 7, 0, 3)
    assert beat["ed"]["areas_mm2"] == np.round(cycle.ed.areas_mm2, 3).tolist()
    assert beat["es"]["rwt_mm"] == np.round(cycle.es.rwt_mm, 3).tolist()
    assert beat["fac"] == round(cycle.fac, 3)
    assert beat["thickening"] == np.round(cycle.thickening, 3).tolist()
    assert beat["result"] == beat["findings"][0]
    assert beat["reason"] is None


def test_a_slice_without_a_beat_says_so(tmp_path, schema):
    (line,) = lines_of(tmp_path, [Cycle("phantom", 0, Mode.LIVE, 5, 0, reason="no LV in this slice")])
    schema.validate(line)
    assert line["cycle"]["reason"] == "no LV in this slice"
    assert line["cycle"]["ed"] is line["cycle"]["fac"] is line["cycle"]["thickening"] is None
    assert line["cycle"]["findings"] == []


VOLUMES = StackVolumes("phantom", 8, 10, 10.0, 0, 7, 131.25, 47.5, 0.638095, 104.0)
NO_VOLUMES = StackVolumes("phantom", 2, 12, reason="2 slices show an LV; volumes need at least 5")


def test_a_stack_s_volumes_are_one_object(tmp_path, schema):
    some, none = lines_of(tmp_path, [VOLUMES, NO_VOLUMES])
    for line in (some, none):
        schema.validate(line)
    assert some == {
        "volumes": {
            "series": "phantom",
            "slices": 8,
            "slice_count": 10,
            "distance_mm": 10.0,
            "ed_frame": 0,
            "es_frame": 7,
            "edv_ml": 131.25,
            "esv_ml": 47.5,
            "ef": 0.638,
            "mass_g": 104.0,
            "reason": None,
        }
    }
    assert none["volumes"]["reason"] == NO_VOLUMES.reason
    assert [none["volumes"][key] for key in ("distance_mm", "edv_ml", "esv_ml", "ef", "mass_g")] == [None] * 5


def test_a_refused_item_is_one_object(tmp_path, schema):
    (line,) = lines_of(tmp_path, [Rejected("7.dcm", "truncated: copy the file again", "phantom")])
    schema.validate(line)
    assert line == {
        "rejected": {"item": "7.dcm", "reason": "truncated: copy the file again", "series": "phantom"}
    }


def test_values_that_are_not_numbers_become_null_in_strict_json(tmp_path, schema, make_measurement):
    vector = make_measurement().indices.vector.copy()
    vector[[0, 6]] = np.nan, np.inf
    measurement = replace(
        make_measurement(), indices=Indices(vector), quality=float("nan"), p_systole=float("inf")
    )
    (line,) = lines_of(tmp_path, [measurement])
    schema.validate(line)
    assert line["rwt_mm"][0] is line["dims_mm"][0] is line["p_systole"] is None
    assert line["quality"] == 0.0


def test_other_layouts_have_as_many_values_as_they_say(tmp_path, schema, make_measurement):
    layout = IndexLayout(4, 2)
    measurement = replace(make_measurement(), indices=Indices(np.arange(8.0), layout), geometric=None)
    (line,) = lines_of(tmp_path, [measurement])
    schema.validate(line)
    assert (line["rwt_mm"], line["dims_mm"]) == ([0, 1, 2, 3], [4, 5])


def test_each_line_is_there_as_soon_as_it_is_written(tmp_path, make_measurement):
    path = tmp_path / "results.jsonl"
    sink = open_sink(f"jsonl:{path}", CONTEXT)
    for count in (1, 2):
        sink.write(make_measurement(frame_index=count))
        assert len(path.read_text("utf-8").splitlines()) == count
    sink.close()
    sink.close()


def test_standard_output_stays_open_and_ascii(capsys, make_measurement):
    with open_sink("jsonl:-", CONTEXT) as sink:
        sink.write(make_measurement())
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out)["result"]["label"] == "consistent with a thick wall: ≥ 15 mm"


def test_the_schema_refuses_what_is_not_a_result(schema, tmp_path, make_measurement):
    (line,) = lines_of(tmp_path, [make_measurement()])
    for wrong in (
        {k: v for k, v in line.items() if k != "quality"},
        line | {"extra": 1},
        line | {"phase": "diastasis"},
        line | {"measured": False},
        {"cycle": {}},
        {"rejected": {"item": "a"}},
    ):
        assert not schema.is_valid(wrong)


def test_csv_holds_the_same_values_as_the_json_lines(tmp_path, make_beat):
    measurements, cycle = make_beat()
    items = [*measurements, cycle, Rejected("7.dcm", "truncated")]
    lines = lines_of(tmp_path, items)
    path = tmp_path / "results.csv"
    with open_sink(f"csv:{path}", CONTEXT) as sink:
        for item in items:
            sink.write(item)
        assert not path.exists()
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []
    for row, line in zip(rows, lines, strict=False):
        assert (row["series"], int(row["frame"]), row["reason"]) == (
            "phantom",
            line["frame"],
            line["reason"] or "",
        )
        assert row["measured"] == str(int(line["measured"]))
        spacing = [float(row["spacing_row_mm"]), float(row["spacing_column_mm"])]
        assert {"mm": spacing, "source": row["spacing_source"]} == line["spacing"]
        if not line["measured"]:
            assert row["rwt_IS_mm"] == row["area_cavity_mm2"] == row["phase"] == row["centre_x_px"] == ""
            continue
        assert [float(row[f"rwt_{name}_mm"]) for name in ("IS", "I", "IL", "AL", "A", "AS")] == line["rwt_mm"]
        assert float(row["geometric_area_myocardium_mm2"]) == line["geometric"]["areas_mm2"][1]
        assert float(row["dim_IS-AL_mm"]) == line["dims_mm"][0]
        assert [float(row["centre_x_px"]), float(row["centre_y_px"])] == line["view"]["centre_px"]
        assert (row["phase"], row["case"], float(row["latency_ms"])) == (line["phase"], "HCM", 13.25)
        assert (row["septum_inferred"], row["engine"], row["bundle"]) == ("0", "onnxruntime", "default 1.2")


def test_csv_goes_to_standard_output_too(capsys, make_measurement):
    with open_sink("csv:-", CONTEXT) as sink:
        sink.write(make_measurement())
    header, row = capsys.readouterr().out.splitlines()
    assert header.startswith("series,slice,frame,time_ms,measured,reason,rwt_IS_mm")
    assert row.startswith("phantom,0,0,0.0,1,,")
