"""The documentation against the project: links, commands, figures, and what no page may say."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import jsonschema
import pytest

from lvedge.bundle import DEFAULT_PATH, open_bundle

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])

LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)?)\)")
FIGURES = re.compile(r"<!-- figures: (\S+) -->")
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")
ACCURACY = re.compile(r"\b(MAE|Dice|coverage|p99)\b", re.IGNORECASE)

# Written in pieces, so that this file does not hold what it looks for.
NOT_OURS = re.compile(
    "|".join(
        [
            r"/ro" + r"ot/",
            r"/wo" + r"rk/",
            r"/ho" + r"me/\w",
            r"py" + r"pi\.org",
            r"python" + r"hosted",
            r"npm" + r"js",
        ]
    )
)


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def without_code(text: str) -> str:
    """The text without fenced and indented code, in which brackets mean something else."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^(    |\t).*$", "", text, flags=re.MULTILINE)


def anchors_of(page: Path) -> set[str]:
    """The anchors that headings give."""
    headings = re.findall(r"^#+ +(.*)$", without_code(page.read_text("utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path):
    broken = []
    for target in LINK.findall(without_code(page.read_text("utf-8"))):
        if re.match(r"https?://|mailto:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        place = (page.parent / path).resolve() if path else page
        here = place.exists() and ROOT in (place, *place.parents)
        if not here or (anchor and place.suffix == ".md" and anchor not in anchors_of(place)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_exist(page: Path):
    text = page.read_text("utf-8")
    scripts = (ROOT / "pyproject.toml").read_text("utf-8").split("[project.scripts]")[1].split("\n[")[0]
    commands = set(re.findall(r"^(lvedge-[\w-]+) =", scripts, re.MULTILINE))
    assert set(re.findall(r"(?<![\w/.\[])(lvedge-[a-z]+)(?![\w*.-])", text)) <= commands
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = re.findall(r"(?:^ {4}|`)make ([a-z][a-z-]*)", text, re.MULTILINE)
    assert set(named) <= targets


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_options_exist(page: Path):
    """Every option of a command that a page shows stands in that command's help."""
    sections = (ROOT / "docs" / "cli.md").read_text("utf-8").split("\n## ")
    helps = {section.split("\n", 1)[0].strip(): section for section in sections}
    unknown = []
    for command, rest in re.findall(
        r"(?<![\w/.-])(lvedge-[a-z]+)((?:[^\n`|&]|\\\n)*)", page.read_text("utf-8")
    ):
        options = re.findall(r"(?<=\s)--[a-z][\w-]*", rest)
        unknown += [f"{command} {option}" for option in options if option not in helps.get(command, "")]
    assert unknown == []


def tables_with_figures(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Each table below a ``figures`` comment: the JSON file that it cites, and its rows."""
    source, rows = "", list[str]()
    for line in [*page.read_text("utf-8").splitlines(), ""]:
        if found := FIGURES.fullmatch(line.strip()):
            source = found[1]
        elif line.startswith("|") and source:
            rows.append(line)
        elif rows:
            yield source, rows[2:]
            source, rows = "", []


def numbers_in(value: object) -> Iterator[float]:
    """Every number in a JSON document."""
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield float(value)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from numbers_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers_in(inner)


def is_shown(text: str, numbers: list[float]) -> bool:
    """Whether a number in a table is one of the numbers, or a percentage of one, as rounded there."""
    half = 0.5 * 10.0 ** -len(text.partition(".")[2]) + 1e-9
    shown = float(text)
    return any(abs(number * scale - shown) <= half for number in numbers for scale in (1.0, 100.0))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_tables_agree_with_the_results_they_cite(page: Path):
    wrong = []
    for source, rows in tables_with_figures(page):
        numbers = list(numbers_in(json.loads((ROOT / source).read_text("utf-8"))))
        for row in rows:
            cells = "|".join(row.split("|")[2:])  # the first column names the row
            wrong += [f"{text} in {row}" for text in NUMBER.findall(cells) if not is_shown(text, numbers)]
    assert wrong == []


@pytest.mark.parametrize("page", [ROOT / "README.md"], ids=page_id)
def test_accuracy_is_never_shown_without_its_source(page: Path):
    lines = page.read_text("utf-8").splitlines()
    heads = [k for k, line in enumerate(lines[:-1]) if line.startswith("|") and lines[k + 1].startswith("|-")]
    bare = [
        lines[k] for k in heads if ACCURACY.search(lines[k]) and not FIGURES.fullmatch(lines[k - 1].strip())
    ]
    assert bare == []


def test_the_example_is_a_line_of_the_bundle_that_ships():
    """The README's frame holds against the schema and names the shipped bundle: run docs/make_readme.py."""
    blocks = re.findall(
        r"^```json\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    if not DEFAULT_PATH.is_file():
        pytest.skip("this build ships no weights")
    frame, beat = (json.loads(block) for block in blocks)
    schema = ROOT / "runtime" / "lvedge_runtime" / "sinks" / "result.schema.json"
    jsonschema.validate(frame, json.loads(schema.read_text("utf-8")))
    bundle = open_bundle(DEFAULT_PATH)
    assert frame["bundle"] == f"{bundle.name} {bundle.version}"
    assert beat["ed_frame"] == frame["frame"]


def test_a_figure_that_the_results_do_not_hold_is_found():
    numbers = [1.2345, 0.871, 40.0]
    assert is_shown("1.23", numbers)
    assert is_shown("87.1", numbers)
    assert is_shown("40", numbers)
    assert not is_shown("1.24", numbers)
    assert not is_shown("86.9", numbers)


def written_files() -> list[Path]:
    """Every text file of the project: what git tracks, else what lies in its folders."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        folders = ("lvedge", "export", "runtime", "tests", "docs", "benchmarks")
        paths = [*ROOT.glob("*.*"), *(path for folder in folders for path in (ROOT / folder).rglob("*.*"))]
    kinds = {".py", ".md", ".toml", ".json", ".csv", ".yaml", ".yml", ""}
    return [path for path in paths if path.is_file() and path.suffix in kinds]


def test_no_file_names_a_machine_or_a_registry():
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in written_files()
        if (match := NOT_OURS.search(path.read_text("utf-8", errors="replace")))
    ]
    assert found == []
