"""How the values, the flags and the refusals of a run hold up under worse pictures.

    python benchmarks/robustness.py --run runs/default --out benchmarks/results/robustness.json \
        --plots benchmarks/results/robustness --page docs/robustness.md

The held-out subjects of acdc at every severity of every effect in ``lvedge/training/degradation.py``, and
tilted slices, each frame cold and through the located view. About 20 minutes on one free core.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from robustness_page import CLEAN, page_part, plot, write_page

from lvedge import __version__
from lvedge.aim import Stack
from lvedge.contract import Stepper
from lvedge.errors import LvedgeError
from lvedge.frame import Frame
from lvedge.indices import FloatArray
from lvedge.measure import SliceMeasurer
from lvedge.measurement import Measurement
from lvedge.phantom import random_phantom
from lvedge.quality import DEFAULT_QUALITY, QualityModel
from lvedge.training.argument import whole_number
from lvedge.training.data import FOLDS, Sample, data_root, read_acdc, read_split, stacks_of
from lvedge.training.degradation import DEGRADATIONS, Degradation
from lvedge.training.evaluation.figure import GROUPS, by_subject
from lvedge.training.evaluation.fold import quality_of_run
from lvedge.training.evaluation.standin import drawn_of, mean_values_of
from lvedge.training.judging import is_gross
from lvedge.training.scoring import frame_of_sample, truth_of
from lvedge.training.stepper import stepper_from_run
from lvedge.training.tilt import THICKEST_MM, depth_reached_mm, tilted, tilted_phantom

TILTS_DEG = (5.0, 10.0, 15.0, 20.0, 30.0)
PHANTOMS = range(16)

PROTOCOL = (
    "hold-out by subject (split.json); acdc's mid slices at ED and ES, k/(n-1) in [0.2, 0.8] with RV, "
    "myocardium and cavity drawn, each a one-frame clip (cold) through the located view; the mid slices of "
    "a stack know of each other, the other slices are not shown; one effect at a time, the same draw at all "
    "severities; truth is what was drawn, and for tilted slices what was drawn cut by the same plane; tilt "
    f"of stacks: slices at most {THICKEST_MM:g} mm apart whose LV stays within the stack at the largest "
    "tilt; tilt of phantoms: hearts drawn at random, at ED and ES, taken as drawn out along their axis, "
    "exact values; where no LV is returned the training set's mean values are scored; gross: any sector off "
    "by more than 3 mm or any area by more than 400 mm2 in the reported values; silent: gross, returned and "
    "not flagged; trusted: returned and not flagged; headline = mean over subjects of the subject's mean, "
    "95 % interval by subject bootstrap"
)


@dataclass(frozen=True)
class Shown:
    """A picture to measure.

    Args:
        subject: whose it is.
        stack: which stack it lies in.
        frame: the picture.
        truth: [L] mm and mm².
    """

    subject: str
    stack: str
    frame: Frame
    truth: FloatArray


@dataclass(frozen=True)
class Outcome:
    """What a user got for a picture.

    Args:
        subject: whose it is.
        returned: whether an LV was.
        flagged: whether it was, with a quality under the limit.
        gross: whether a returned value is grossly wrong.
        error: [L] absolute errors, of the mean values where nothing was returned.
    """

    subject: str
    returned: bool
    flagged: bool
    gross: bool
    error: FloatArray


class Bench:
    """Measures pictures as a user gets them.

    Args:
        stepper: executes the network.
        quality: judges the values.
        means: [L] scored where no LV is returned.
    """

    def __init__(self, stepper: Stepper, quality: QualityModel, means: FloatArray) -> None:
        self._stepper = stepper
        self._quality = quality
        self._means = means

    def figures(self, pictures: Sequence[Shown]) -> dict[str, Any]:
        """The figures of one severity."""
        stacks: dict[str, Stack] = defaultdict(Stack)
        outcomes = []
        for shown in pictures:
            measurer = SliceMeasurer(self._stepper, self._quality, stacks[shown.stack])
            (measurement,) = measurer.measure_closed([shown.frame])
            outcomes.append(outcome_of(shown, measurement, self._quality, self._means))
        return figures_of(outcomes)


def outcome_of(shown: Shown, measurement: Measurement, quality: QualityModel, means: FloatArray) -> Outcome:
    """A picture's measurement set against its truth."""
    said = measurement.indices.vector if measurement.indices is not None else means
    return Outcome(
        subject=shown.subject,
        returned=measurement.measured,
        flagged=measurement.measured and measurement.quality < quality.flag_below,
        gross=measurement.measured and is_gross(said, shown.truth),
        error=np.abs(said - shown.truth),
    )


def figures_of(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Errors, coverage, flags and silent nonsense over the pictures of one severity."""
    subjects = [o.subject for o in outcomes]
    returned, flagged, gross = (
        np.array([getattr(o, name) for o in outcomes], dtype=bool)
        for name in ("returned", "flagged", "gross")
    )
    error = np.stack([o.error for o in outcomes])
    trusted = returned & ~flagged
    silent = gross & trusted

    def share(of: np.ndarray) -> float:
        return float(by_subject(subjects, of.astype(float))["mean"])

    figures: dict[str, Any] = {"pictures": len(outcomes), "subjects": len(set(subjects))}
    for name, where in GROUPS:
        figures[name] = by_subject(subjects, error[:, where].mean(axis=1))
    figures["trusted"] = {
        name: by_subject(subjects, np.where(trusted, error[:, where].mean(axis=1), np.nan)).get("mean")
        for name, where in GROUPS
    }
    figures |= {"coverage": share(returned), "flagged": share(flagged), "gross": share(gross)}
    figures["silent"] = by_subject(subjects, silent.astype(float))
    # Pooled: few frames are grossly wrong, and most subjects have none.
    figures["silent_of_gross"] = round(float(silent.sum() / gross.sum()), 4) if gross.any() else None
    return figures


def degraded(samples: Sequence[Sample], effect: Degradation, severity: float) -> Iterator[Shown]:
    """The samples under one effect, slice by slice."""
    for sample in samples:
        frame = effect.apply(frame_of_sample(sample), severity, _draw(sample.key, effect.name))
        yield _shown(sample, frame)


def tilted_stacks(samples: Sequence[Sample], tilt_deg: float) -> Iterator[Shown]:
    """The mid slices of thinly sliced stacks, cut again at an angle.

    Args:
        samples: whole subjects.
        tilt_deg: out of the slice, about a line drawn for each slice.
    """
    for stack in stacks_of(samples):
        for index, sample in enumerate(stack):
            if not (sample.is_mid_slice and sample.slice_mm and sample.slice_mm <= THICKEST_MM):
                continue
            room_mm = min(index, len(stack) - 1 - index) * sample.slice_mm
            if depth_reached_mm(sample, max(TILTS_DEG)) > room_mm:
                continue
            axis_deg = _draw(sample.key, "tilt").uniform(0.0, 180.0)
            cut = tilted(stack, index, tilt_deg, axis_deg)
            yield _shown(cut, frame_of_sample(cut))


def tilted_phantoms(seeds: Sequence[int], tilt_deg: float) -> Iterator[Shown]:
    """Random hearts at ED and ES cut at an angle, each picture on its own."""
    for seed in seeds:
        phantom = random_phantom(np.random.default_rng(seed))
        phantom = replace(phantom, placement=replace(phantom.placement, mirrored=False))
        for index in (phantom.heart.ed_frame, phantom.heart.es_frame):
            frame, truth = tilted_phantom(phantom, index, tilt_deg)
            yield Shown(phantom.series, f"{phantom.series}-{index}", frame, truth)


def measured(bench: Bench, samples: Sequence[Sample], phantoms: Sequence[int]) -> dict[str, Any]:
    """The undegraded figures, and by effect its unit and the figures of each severity.

    Args:
        bench: measures.
        samples: whole subjects of acdc.
        phantoms: seeds of the phantoms.
    """
    mid = [sample for stack in stacks_of(samples) for sample in stack if sample.is_mid_slice]

    def figures(what: str, pictures: Iterable[Shown]) -> dict[str, Any]:
        found = bench.figures(list(pictures))
        _say(what, found)
        return found

    clean = figures(CLEAN, (_shown(sample, frame_of_sample(sample)) for sample in mid))
    curves: dict[str, Any] = {}
    for effect in DEGRADATIONS:
        points = [
            {"severity": s, **figures(f"{effect.name} {s:g}", degraded(mid, effect, s))}
            for s in effect.severities
        ]
        curves[effect.name] = {"unit": effect.unit, "points": points}
    for name, pictures in (
        ("tilt, stacks", partial(tilted_stacks, samples)),
        ("tilt, phantoms", partial(tilted_phantoms, phantoms)),
    ):
        level = list(pictures(0.0))
        if not level:  # no stack is thin enough
            continue
        curves[name] = {
            "unit": "degrees",
            "clean": figures(f"{name}: {CLEAN}", level),
            "points": [{"severity": t, **figures(f"{name} {t:g}", pictures(t))} for t in TILTS_DEG],
        }
    return {"clean": clean, "curves": curves}


def main(args: Sequence[str] | None = None) -> int:
    """Measure and write; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", metavar="DIR", help="default: $LVEDGE_DATA, else ../shared/data")
    parser.add_argument("--run", type=Path, metavar="DIR", default=Path("runs/default"))
    parser.add_argument("--quality", metavar="JSON", help="default: the run's quality.json")
    parser.add_argument("--fold", type=whole_number(0, FOLDS - 1), default=0, metavar="K")
    parser.add_argument("--part", choices=("test", "watch"), default="test")
    parser.add_argument("--limit", type=whole_number(1), metavar="N", help="only the first N subjects")
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="where the curves go")
    parser.add_argument("--page", type=Path, metavar="MD", help="the page that shows the table")
    words = list(args) if args is not None else sys.argv[1:]
    options = parser.parse_args(words)
    try:
        figures = _run(options, words)
    except LvedgeError as error:
        sys.stderr.write(f"robustness: error: {error}\n")
        return 2
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if options.plots:
        plot(figures, options.plots)
    if options.page:
        write_page(options.page, page_part(figures, options.out, options.plots, options.page))
    return 0


def _run(options: argparse.Namespace, words: list[str]) -> dict[str, Any]:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    root, split = data_root(options.data), read_split(fold=options.fold)
    quality = quality_of_run(options.run, options.quality)
    stepper = stepper_from_run(options.run)
    means = mean_values_of([drawn_of(list(read_acdc(root, u))) for u in split.subjects("acdc", "train")])
    subjects = split.subjects("acdc", options.part)[: options.limit]
    samples = [s for u in subjects for s in read_acdc(root, u)]
    return {
        "protocol": PROTOCOL,
        "command": "python benchmarks/robustness.py " + " ".join(words),
        "part": options.part,
        "fold": options.fold,
        "subjects": len(subjects),
        "quality": {
            "fitted": quality is not DEFAULT_QUALITY,
            "flag_below": quality.flag_below,
            "presence": quality.presence is not None,
            "heart": quality.heart is not None,
        },
        "versions": {"lvedge": __version__, "torch": torch.__version__, "python": platform.python_version()},
        **measured(Bench(stepper, quality, means), samples, PHANTOMS[: options.limit]),
    }


def _shown(sample: Sample, frame: Frame) -> Shown:
    return Shown(sample.subject, f"{sample.subject}-{sample.phase}", frame, truth_of(sample))


def _draw(key: str, effect: str) -> np.random.Generator:
    """The same draw for a slice at every severity of an effect."""
    return np.random.default_rng((zlib.crc32(key.encode()), zlib.crc32(effect.encode())))


def _say(what: str, figures: dict[str, Any]) -> None:
    error = " / ".join(f"{figures[name]['mean']:.2f}" for name, _ in GROUPS)
    shares = ", ".join(f"{name} {figures[name]:.3f}" for name in ("coverage", "flagged", "gross"))
    sys.stderr.write(f"{what}: {error}; {shares}, silent {figures['silent']['mean']:.3f}\n")


if __name__ == "__main__":
    raise SystemExit(main())
