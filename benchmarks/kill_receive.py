"""Kills lvedge-run while it receives, measures, delivers and sends, and looks at what is left.

    python -m benchmarks.kill_receive --kills 200 --out benchmarks/results/kill_receive.json

Two small cines arrive by turns; the command is killed (SIGKILL) at eight random moments and started again.
After each kill every instance that was acknowledged has to be in the journal with its file; at the end
Orthanc, the JSON lines and the CSV file have to hold what an undisturbed run gives, each exactly once.
Orthanc is needed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "runtime"))

from kills import Trial, zygote
from orthanc import orthanc

from benchmarks.provenance import provenance

KILLS_A_TRIAL = 8
MEASURES = (
    "runtime/lvedge_runtime/journal",
    "runtime/lvedge_runtime/sender",
    "runtime/lvedge_runtime/receiver/durable.py",
    "runtime/lvedge_runtime/receiver/replay.py",
    "runtime/lvedge_runtime/receiver/intake.py",
    "runtime/lvedge_runtime/delivery.py",
    "runtime/lvedge_runtime/derived/store.py",
    "runtime/lvedge_runtime/sinks/textfile.py",
)
"""What decides over what is durable when."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200, help="how many, eight a trial")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments")
    parser.add_argument("--out", type=Path, help="the JSON to write (default: only print)")
    options = parser.parse_args()
    command = f"python -m benchmarks.kill_receive --kills {options.kills} --seed {options.seed}"
    head = provenance(command, MEASURES) if options.out else None
    drawn, moments = random.Random(options.seed), Counter[str]()
    trials = -(-options.kills // KILLS_A_TRIAL)
    with TemporaryDirectory() as name, orthanc(Path(name) / "pacs") as pacs, zygote() as starter:
        expected = Trial(Path(name) / "undisturbed", starter, pacs).run(0, drawn)
        broken = 0
        for number in range(trials):
            pacs.clear()
            trial = Trial(Path(name) / str(number), starter, pacs)
            left = trial.run(KILLS_A_TRIAL, drawn)
            moments.update(trial.moments)
            if left != expected:
                broken += 1
                sys.stderr.write(f"trial {number}: {left.difference(expected)}\n")
    found = {
        "kills": sum(moments.values()),
        "trials": trials,
        "broken": broken,
        "killed_while": dict(sorted(moments.items())),
        "each_trial": {
            "instances": len(trial.data),
            "json_lines": len(expected.frames),
            "csv_rows": len(expected.rows),
            "objects": len(expected.objects),
        },
    }
    if head:
        options.out.write_text(json.dumps({**head, "results": found}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
