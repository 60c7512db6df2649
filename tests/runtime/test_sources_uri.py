from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvedge.errors import UsageError
from lvedge_runtime.sources import SOURCES, open_source
from lvedge_runtime.uri import Uri, parse_uri

KNOWN = ("demo", "dicom", "nifti", "dicom://", "web://", "store+x://")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("demo:", Uri("demo")),
        ("dicom:/a b/c?d", Uri("dicom", "/a b/c?d")),
        ("DICOM:Folder", Uri("dicom", "Folder")),
        ("nifti:a:b.nii", Uri("nifti", "a:b.nii")),
        ("/a/b:c", Uri("", "/a/b:c")),
        ("./dicom:x", Uri("", "./dicom:x")),
        ("folder", Uri("", "folder")),
        ("dicom://", Uri("dicom", "", "127.0.0.1", 11112)),
        ("dicom://:104", Uri("dicom", "", "127.0.0.1", 104)),
        ("web://", Uri("web", "", "127.0.0.1", 8080)),
        ("web://0.0.0.0", Uri("web", "", "0.0.0.0", 8080)),
        ("web://0.0.0.0:0", Uri("web", "", "0.0.0.0", 0)),
        ("web://[::1]:81/a%20b?x=1&y=", Uri("web", "/a b", "::1", 81, {"x": "1", "y": ""})),
        ("web://Scanner-2.ward:81", Uri("web", "", "scanner-2.ward", 81)),
        ("store+x://pacs:1", Uri("store+x", "", "pacs", 1)),
    ],
)
def test_a_uri_says(text: str, expected: Uri) -> None:
    assert parse_uri(text, KNOWN) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "an empty source: give one of demo:, dicom:, nifti:, dicom://, web://, store+x:// or a path"),
        ("mrd://:9002", "unknown source mrd:// (known: demo:, dicom:, nifti:, dicom://"),
        ("watch:folder", "unknown source watch: (known: demo:"),
        ("nifti://tmp/x", "nifti: takes a path and no host; write nifti:/folder/file"),
        ("web:8080", "web:// takes a host and a port; write web://host:port"),
        ("web://me@host:1", "'me@host:1' is no host and port"),
        ("web://host:1a", "'host:1a' is no host and port"),
        ("web://host:65536", "65536 is no port; the highest is 65535"),
        ("store+x://host", "store+x:// has no default port"),
        ("dicom:a\0b", "NUL"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_uri(text, KNOWN)
    assert reason in str(caught.value)


@given(
    st.one_of(st.text(max_size=40), st.from_regex(r"(web|dicom|x)://[^/]{0,10}(/.{0,5})?", fullmatch=True))
)
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        uri = parse_uri(text, KNOWN)
    except UsageError:
        return
    assert uri.key in KNOWN or not uri.scheme
    assert (uri.host is None) == (uri.port is None)
    assert parse_uri(str(uri), KNOWN) == uri


@pytest.mark.parametrize("scheme", SOURCES)
def test_every_source_of_the_registry_can_be_opened(scheme: str) -> None:
    uris = {"demo": "demo:", "camera": "camera:0", "dicom://": "dicom://:0"}
    source = open_source(uris.get(scheme, f"{scheme}:x"))
    assert source.live == (scheme == "camera")


@pytest.mark.parametrize("scheme", sorted(SOURCES.keys() - {"demo", "dicom://"}))
def test_a_source_that_names_nothing_is_refused(scheme: str) -> None:
    with pytest.raises(UsageError, match=f"write what to read behind {scheme}:"):
        open_source(f"{scheme}:")


def test_a_scheme_that_does_not_exist_lists_those_that_do() -> None:
    with pytest.raises(UsageError, match="known: demo:, dicom:, nifti:, npz:, png:, video:, camera:"):
        open_source("dicomweb+http://host/x")
