"""Fills the README's example and its table of figures: ``python docs/make_readme.py --data DIR``.

The example is a real run on sunnybrook (CC0, so its picture may be shown); the table is what
``benchmarks/results/cross_validation.json`` says. Each stands between two comments, which stay.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lvedge_runtime.cli import main as lvedge_run

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "images" / "sunnybrook.png"
ACCURACY = ROOT / "benchmarks" / "results" / "cross_validation.json"
SUBJECT = "SCD0000101"
SLICE = 6
"""A slice in the middle of the subject's twelve."""


def lines_of(folder: Path, out: Path) -> list[dict[str, Any]]:
    """The JSON lines of a run on the subject; its pictures lie in ``out`` afterwards.

    Raises:
        RuntimeError: if the run did not measure everything.
    """
    lines = out / "values.jsonl"
    code = lvedge_run(["--stream", str(folder), "--sink", f"jsonl:{lines}", "--sink", f"png:{out}"])
    if code != 0:
        raise RuntimeError(f"lvedge-run ended with {code}")
    return [json.loads(line) for line in lines.read_text("utf-8").splitlines()]


def shown(value: dict[str, Any]) -> str:
    """An object with one key a line."""
    rows = [f"  {json.dumps(key)}: {json.dumps(inner, ensure_ascii=False)}" for key, inner in value.items()]
    return "{\n" + ",\n".join(rows) + "\n}"


def example(lines: list[dict[str, Any]]) -> tuple[str, str]:
    """The example's text, and the name of its picture: the slice at end diastole, and its beat."""
    (cycle,) = (c for line in lines if (c := line.get("cycle")) and c["slice"] == SLICE)
    (frame,) = (f for f in lines if f.get("slice") == SLICE and f.get("frame") == cycle["ed_frame"])
    brief = ("series", "slice", "frames", "measured", "ed_frame", "es_frame", "fac", "thickening", "result")
    text = (
        f"The frame at end diastole, slice {SLICE} of {SUBJECT} (Sunnybrook Cardiac Data, CC0), one line of"
        " `values.jsonl`, broken here:\n\n"
        f"```json\n{shown(frame)}\n```\n\n"
        f"and of that slice's beat, in part:\n\n```json\n{shown({key: cycle[key] for key in brief})}\n```\n\n"
        f"![The same frame with its walls, sectors and values]({PICTURE.relative_to(ROOT)})"
    )
    return text, f"{frame['series']}_s{SLICE:02d}_t{frame['frame']:02d}.png"


def accuracy(figures: dict[str, Any]) -> str:
    """The tables of figures, each below the comment that says where they come from."""
    from lvedge.training.evaluation.table import markdown

    source = f"<!-- figures: {ACCURACY.relative_to(ROOT)} -->\n"
    tables = [source + table for table in markdown(figures).strip().split("\n\n")]
    return "\n\n".join(tables)


def filled(text: str, name: str, content: str) -> str:
    """The text with what stands between ``<!-- name -->`` and ``<!-- end name -->`` replaced.

    Raises:
        ValueError: if the two comments are not there.
    """
    start, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{README.name} has no place for the {name}: write {start} and {end}")
    return pattern.sub(lambda _: f"{start}\n{content}\n{end}", text)


def main() -> None:
    """Run, and write the page and its picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder that holds sunnybrook/"
    )
    options = parser.parse_args()
    text = README.read_text("utf-8")
    with TemporaryDirectory() as out:
        words, picture = example(lines_of(options.data / "sunnybrook" / SUBJECT, Path(out)))
        PICTURE.parent.mkdir(exist_ok=True)
        shutil.copyfile(Path(out) / picture, PICTURE)
    text = filled(text, "example", words)
    if ACCURACY.is_file():
        text = filled(text, "accuracy", accuracy(json.loads(ACCURACY.read_text("utf-8"))))
    else:
        sys.stderr.write(f"no figures at {ACCURACY}: the table stays as it is\n")
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
