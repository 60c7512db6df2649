"""The settings' file: what it may say, and every way in which it cannot be meant."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from cine_files import content_of, ge, multi_frame, others
from peers import written

from lvedge.errors import UsageError
from lvedge_runtime.config import config_from_file
from lvedge_runtime.receiver.rule import DEFAULT_RULES, Rule, reason_to_drop
from lvedge_runtime.receiver.setting import (
    MEASURED_CLASSES,
    OTHER_CLASSES,
    Limits,
    Peer,
    Settings,
    TlsFiles,
    settings_from_config,
)
from lvedge_runtime.sources.dicom_header import header_from_bytes
from lvedge_runtime.sources.dicom_image import Image, images_from_header

WHOLE = """
[dicom]
ae_title = "HEART BOX"
provisional = false
window = 16
gap_s = 0.5
series_s = 8
keep_s = 60
fewest_phases = 8
other_classes = ["1.2.3.4", "1.2.840.10008.5.1.4.1.1.7"]

[[dicom.peers]]
ae_title = "SCANNER"
address = "10.1.2.0/24"

[[dicom.peers]]
ae_title = "SERVICE"

[dicom.tls]
certificate = "box.pem"
key = "/keys/box.key"
clients = "ca.pem"

[dicom.limits]
associations = 4
picture_bytes = 1000000

[[series]]
name = "ours by name"
take = true
description = "lv[ _]cine"
phases = [8, 60]

[[series]]
defaults = true

[[series]]
name = "what is left"
"""


def settings_of(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "lvedge.toml"
    path.write_text(text)
    return settings_from_config(config_from_file(path))


def test_all_that_can_be_said(tmp_path: Path) -> None:
    expected = Settings(
        ae_title="HEART BOX",
        peers=(Peer("SCANNER", ip_network("10.1.2.0/24")), Peer("SERVICE")),
        tls=TlsFiles(tmp_path / "box.pem", Path("/keys/box.key"), tmp_path / "ca.pem"),
        limits=Limits(associations=4, picture_bytes=1_000_000),
        provisional=False,
        window=16,
        gap_s=0.5,
        series_s=8,
        keep_s=60,
        fewest_phases=8,
        other_classes=(*OTHER_CLASSES, "1.2.3.4"),
        rules=(
            Rule("ours by name", True, re.compile("lv[ _]cine", re.IGNORECASE), phases=(8.0, 60.0)),
            *DEFAULT_RULES,
            Rule("what is left"),
        ),
    )
    assert settings_of(tmp_path, WHOLE) == expected
    assert settings_of(tmp_path, "") == Settings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[dicom", "no TOML"),
        ("[dicm]", "dicm: no such setting (known: run, service, dicom, series, journal, outbox)"),
        ("dicom = 3", "dicom: expected a table"),
        ("[dicom]\nwindows = 3", "dicom.windows: no such setting (known: "),
        ("[dicom]\nwindow = 0", "dicom.window: 0 is not a whole number above 0"),
        ("[dicom]\nwindow = 1.5", "dicom.window: 1.5 is not a whole number above 0"),
        ("[dicom]\nwindow = true", "dicom.window: True is not a whole number above 0"),
        ("[dicom]\ngap_s = nan", "dicom.gap_s: nan is not a number above 0"),
        ("[dicom]\ngap_s = '1'", "dicom.gap_s: '1' is not a number above 0"),
        ("[dicom]\nprovisional = 1", "dicom.provisional: expected true or false"),
        ("[dicom]\nae_title = 'SEVENTEEN LETTERS'", "is no AE title: 1 to 16 printable characters"),
        ("[dicom]\nae_title = 'A\\B'", "is no AE title"),
        ("[dicom]\nother_classes = ['MR']", "'MR' is no UID"),
        ("[dicom]\npeers = []", "write one [[dicom.peers]] with an ae_title for each"),
        ("[[dicom.peers]]\naddress = '10.0.0.1'", "dicom.peers: each needs an ae_title"),
        ("[[dicom.peers]]\nae_title = 'A'\naddress = '10.0.0'", "'10.0.0' is none, write 10.1.2.3"),
        ("[dicom]\nother_classes = 5", "dicom.other_classes: expected a list of UIDs"),
        (
            "[[dicom.peers]]\nae_title = 'A'\nport = 104",
            "dicom.peers.port: 1 to 65535, beside the one address",
        ),
        ("[dicom.tls]\ncertificate = 'a.pem'", "dicom.tls.key: name a PEM file"),
        ("[dicom.limits]\nidle = 3", "dicom.limits.idle: no such setting (known: associations"),
        ("[series]\nname = 'x'", "write one [[series]] for each rule"),
        ("[[series]]\ntake = true", "series.name: every rule needs a name"),
        ("[[series]]\nname = 'x'\ntaken = true", "series.taken: no such setting (known: defaults, name"),
        ("[[series]]\nname = 'x'\ntake = 1", "series.take of 'x': expected true or false"),
        ("[[series]]\nname = 'x'\ndescription = '('", "series.description of 'x' is no regular expression"),
        ("[[series]]\nname = 'x'\nimage_type = 'M'", "series.image_type of 'x': expected a list of words"),
        ("[[series]]\nname = 'x'\nphases = [3]", "series.phases of 'x': expected two numbers"),
    ],
)
def test_what_cannot_be_meant_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        settings_of(tmp_path, text)
    assert words in str(refused.value)
    assert str(refused.value).startswith(f"{tmp_path}/lvedge.toml: ")
    assert "\n" not in str(refused.value)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        settings_of(tmp_path, "[dicom]\nwindow = 0\nwindows = 3\n[dicom.limits]\nidle_s = 0\n[[series]]\n")
    assert str(refused.value).split("; ") == [
        f"{tmp_path}/lvedge.toml: dicom.limits.idle_s: 0 is not a number above 0",
        "dicom.windows: no such setting (known: window, gap_s, series_s, keep_s, fewest_phases, peers, tls, "
        "limits, other_classes, provisional, ae_title)",
        "dicom.window: 0 is not a whole number above 0",
        "series.name: every rule needs a name of 1 to 80 characters, as 'localiser'",
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        settings_from_config(config_from_file(tmp_path / "none.toml"))


def image_of(data, path: Path = Path("1.dcm")) -> Image:
    content = content_of(data)
    return images_from_header(path, path.name, header_from_bytes(content))[0]


@pytest.mark.parametrize(
    "name",
    [
        "cine SAX",
        "tfisp_cine_sa",
        "sBTFE_BH",
        "FIESTA SA",
        "CINE_segmented_SAX",
        "SA STACK",
        "ssfp short axis",
        "Cine eje corto de VI",
        "cine petit axe de la base",
        "Herz DE",
        "SAX cine cardiac workflow",
        "SAX performed BH",
        "perfect cine SA",
    ],
)
def test_usual_names_of_short_axis_cines_are_ours(name: str) -> None:
    assert reason_to_drop(image_of(ge(sizes=(1.0,), SeriesDescription=name)[0]), DEFAULT_RULES) is None


@pytest.mark.parametrize(
    "protocol", ["CARDIAC VIABILITY", "Cardiac Function + LGE", "HEART/FLOW", "Perf/MDE"]
)
def test_a_protocol_s_name_may_be_that_of_the_whole_examination(protocol: str) -> None:
    cine = ge(sizes=(1.0,), SeriesDescription="FIESTA SAX", ProtocolName=protocol)[0]
    assert reason_to_drop(image_of(cine), DEFAULT_RULES) is None
    nameless = ge(sizes=(1.0,), SeriesDescription="", ProtocolName=protocol)[0]
    assert str(reason_to_drop(image_of(nameless), DEFAULT_RULES)).startswith("not ours: ")


@pytest.mark.parametrize("word", ["T1", "T2", "T2_STAR"])
def test_a_weighting_is_no_map_in_an_enhanced_mr(tmp_path: Path, word: str) -> None:
    kind = ["ORIGINAL", "PRIMARY", word, "NONE"]
    classic = ge(sizes=(1.0,), ImageType=kind)[0]
    assert reason_to_drop(image_of(classic), DEFAULT_RULES) == "not ours: map or other derived picture"
    enhanced = multi_frame()
    enhanced.ImageType = kind
    (path,) = written(tmp_path / "files", [enhanced]).iterdir()
    assert reason_to_drop(image_of(enhanced, path), DEFAULT_RULES) is None


@pytest.mark.parametrize(
    ("network", "address", "there"),
    [
        ("10.1.2.0/24", "10.1.2.7", True),
        ("10.1.2.0/24", "::ffff:10.1.2.7", True),  # as a socket for both kinds of address tells it
        ("10.1.2.0/24", "::ffff:10.1.3.7", False),
        ("fd00::/8", "fd00::7", True),
        ("fd00::/8", "10.1.2.7", False),
    ],
)
def test_where_a_peer_is(network: str, address: str, there: bool) -> None:
    assert Peer("SCANNER", ip_network(network)).is_at(address) is there


@pytest.mark.parametrize(
    "uid",
    [
        "1.2.840.10008.5.1.4.1.1.2",  # CT
        "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
        "1.2.840.10008.5.1.4.1.1.88.59",  # Key Object
        "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
        "1.2.840.10008.5.1.4.1.1.30",  # Parametric Map
        "1.2.840.10008.5.1.4.1.1.104.1",  # Encapsulated PDF
        "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray, for presentation
        "1.3.46.670589.11.0.0.12.4",  # Philips' ExamCard
    ],
)
def test_what_comes_by_the_same_route_is_acknowledged(uid: str) -> None:
    assert uid in OTHER_CLASSES
    assert uid not in MEASURED_CLASSES


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("localizer", "localiser"),
        ("BH_3-plane loc", "localiser"),
        ("T1map_MOLLI_sax", "map"),
        ("t2_map_sax", "map"),
        ("LGE_sax", "late enhancement or another inversion recovery"),
        ("DelEnh MDE SA", "late enhancement or another inversion recovery"),
        ("PSIR_TFL_sax", "late enhancement or another inversion recovery"),
        ("flow_aorta", "flow"),
        ("stress perf SA", "perfusion"),
        ("cine_2ch", "long axis"),
        ("4 chamber cine", "long axis"),
        ("LVOT", "long axis"),
        ("SAX tagging", "tagging"),
    ],
)
def test_usual_names_of_others_are_not(name: str, reason: str) -> None:
    picture = image_of(ge(sizes=(1.0,), SeriesDescription=name)[0])
    assert reason_to_drop(picture, DEFAULT_RULES) == f"not ours: {reason}"


def test_the_first_rule_that_fits_decides() -> None:
    long_axis = image_of(others()["named long axis"][0])
    wanted = Rule("wanted", take=True, description=re.compile("4ch"))
    assert reason_to_drop(long_axis, (wanted, *DEFAULT_RULES)) is None
    assert reason_to_drop(long_axis, (*DEFAULT_RULES, wanted)) == "not ours: long axis"


def test_a_picture_without_directions_is_neither_short_nor_long_axis() -> None:
    image = image_of(ge(sizes=(1.0,), ImageOrientationPatient=None, ImagePositionPatient=None)[0])
    rules = (Rule("short", short_axis=True), Rule("long", short_axis=False))
    assert reason_to_drop(image, rules) is None


def test_the_page_states_the_defaults(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "dicom.md"
    (text,) = re.findall(r"```toml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    stated = settings_of(tmp_path, text)
    assert [rule.name for rule in stated.rules[:1]] == ["our cines"]
    assert stated.rules[1:] == DEFAULT_RULES
    assert stated.peers == (Peer("SCANNER1", ip_network("10.1.2.0/24")),)
    assert stated.journal.folder == Path("/var/lib/lvedge/journal")
    others_than_these = replace(
        stated,
        rules=DEFAULT_RULES,
        peers=(),
        tls=None,
        journal=replace(stated.journal, folder=None),
    )
    assert others_than_these == Settings()
