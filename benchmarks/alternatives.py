"""What a user would pick instead, on the same slice: when the first result is there, and what a frame takes.

    python -m benchmarks.alternatives --stream ../shared/data/sunnybrook/SCD0000101 \\
        --out benchmarks/results/alternatives.json

- ``lvedge``, live: locate, then view, step, reading of each frame as it comes.
- ``whole_clip``: in the manner of ukbb_cardiac (Bai et al., JCMR 20:65, 2018): all frames through the network
  first, the results after. The network is lvedge's, so that only the manner differs.
- ``unet``: MONAI's residual U-Net in torch eager on the whole of each frame, as who has no locator runs it;
  its weights are untrained, which changes nothing in its time. A mask and its reading; no memory, no phase.
- ``unet_in_view``: the same on lvedge's view of each frame, which it is given.
- ``myopari``: its shipped full-frame network with its own preparation and cleaning up, frame by frame.

The slice in the middle of the stack, which shows the LV throughout: where it is lost it is looked for again.
One thread each, in its own time, all in turn; frames are decoded already. Medians over the rounds, of
the milliseconds to the first result and of the clip's a frame, with 95 % bootstrap intervals against ours.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import thread_time
from typing import Any

import cv2
import numpy as np

from benchmarks.baselines.myopari import Myopari
from benchmarks.baselines.unet import residual_unet
from benchmarks.provenance import provenance
from lvedge.aim import view_input
from lvedge.bundle import Bundle, open_bundle
from lvedge.contract import Floats
from lvedge.errors import UsageError
from lvedge.frame import Frame
from lvedge.measure import SliceMeasurer
from lvedge.quality import QualityModel
from lvedge.reading import read_mask
from lvedge.view import View, normalise
from lvedge_runtime.bench.interval import paired_ratio
from lvedge_runtime.engines import Engine, open_engine
from lvedge_runtime.sources import SourceOptions, open_source

MEASURES = [
    "benchmarks/alternatives.py",
    "benchmarks/baselines/myopari.py",
    "benchmarks/baselines/unet.py",
    "lvedge/aim.py",
    "lvedge/geometry.py",
    "lvedge/measure.py",
    "lvedge/reading.py",
    "lvedge/view.py",
    "runtime/lvedge_runtime/engines/onnxruntime_base.py",
    "runtime/lvedge_runtime/engines/session.py",
]
OURS = "lvedge"
UNET_MULTIPLE = 16
"""By what both sides of its picture have to be divisible."""

Ways = Mapping[str, Callable[[], Iterator[object]]]
"""Name to what plays the clip once, a result at a time."""


def ways(frames: Sequence[Frame], bundle: Bundle, engine: Engine) -> Ways:
    """The ways through a clip."""
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    quality = QualityModel.from_manifest(bundle.quality)
    unet, myopari = residual_unet().eval(), Myopari()
    view = next((m.view for m in SliceMeasurer(engine, quality).measure_closed(frames) if m.view), None)
    if view is None:
        raise UsageError("no heart was located in the middle slice: take another source")
    seen: View = view

    def ours() -> Iterator[object]:
        measurer = SliceMeasurer(engine, quality)
        for frame in frames:
            yield measurer.measure_live(frame)

    def drawn(pixels: Floats) -> Floats:
        with torch.inference_mode():
            shares = torch.softmax(unet(torch.from_numpy(pixels)), dim=1)
        return np.asarray(shares[0].numpy(), dtype=np.float32)

    def in_view() -> Iterator[object]:
        for frame in frames:
            yield read_mask(drawn(view_input(frame, seen)), seen.mm_per_px)

    def whole() -> Iterator[object]:
        for frame in frames:
            margins = [(0, -size % UNET_MULTIPLE) for size in frame.pixels.shape]
            pixels = np.pad(normalise(frame.pixels), margins)[None, None]
            yield read_mask(drawn(pixels), frame.spacing_mm[0])

    def full_frames() -> Iterator[object]:
        for frame in frames:
            top = max(float(frame.pixels.max()), 1.0)
            yield myopari.labels((frame.pixels.T[:, :, None] * (255.0 / top)).astype(np.uint8))

    def whole_clip() -> Iterator[object]:
        yield from SliceMeasurer(engine, quality).measure_closed(frames, once=True)

    return {
        OURS: ours,
        "whole_clip": whole_clip,
        "unet": whole,
        "unet_in_view": in_view,
        "myopari": full_frames,
    }


def played(way: Callable[[], Iterator[object]], frames: int) -> tuple[float, float]:
    """Milliseconds until the first result, and of the clip a frame."""
    started = thread_time()
    results = way()
    next(results)
    first = thread_time()
    for _ in results:
        pass
    return 1e3 * (first - started), 1e3 * (thread_time() - started) / frames


def compared(taken: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, Any]:
    """Each way's medians, and how many times as long as ours it takes."""
    ms = {name: np.array(rounds).T for name, rounds in taken.items()}
    kinds = ("first_result", "frame")
    return {
        name: {
            **{f"{kind}_ms": round(float(np.median(of[k])), 2) for k, kind in enumerate(kinds)},
            **{
                f"{kind}_over_ours": paired_ratio(of[k], ms[OURS][k]).as_json()
                for k, kind in enumerate(kinds)
            },
        }
        for name, of in ms.items()
    }


def middle_slice(uri: str, most: int) -> list[Frame]:
    """The frames of the slice in the middle of a source's first series, as many as are wanted."""
    slices: dict[tuple[str, int], list[Frame]] = defaultdict(list)
    with open_source(uri, SourceOptions()) as source:
        for item in source:
            if isinstance(item, Frame):
                slices[item.series, item.slice_index].append(item)
    if not slices:
        raise UsageError("the source gives no frame: take another one")
    series = [place for place in slices if place[0] == next(iter(slices))[0]]
    return slices[series[len(series) // 2]][:most]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--stream", default="demo:", metavar="SOURCE", help="as lvedge-run takes it")
    parser.add_argument("--bundle", type=Path, metavar="PATH", help="default: the one in use")
    parser.add_argument("--frames", type=int, default=20, help="of the slice, at most")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    options = parser.parse_args()
    command = f"python -m benchmarks.alternatives --stream SOURCE --rounds {options.rounds} --out JSON"
    head = provenance(command, MEASURES)
    frames, bundle = middle_slice(options.stream, options.frames), open_bundle(options.bundle)
    with open_engine(bundle, "onnxruntime-cpu", threads=1) as engine:
        all_ways = ways(frames, bundle, engine)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in all_ways}
        for turn in range(1 + options.rounds):
            for name, way in all_ways.items():
                spent = played(way, len(frames))
                if turn:  # the first one warms up
                    taken[name].append(spent)
    found = compared(taken)
    shape = list(frames[0].pixels.shape)
    record = {**head, "frames": len(frames), "shape": shape, "rounds": options.rounds, "ways": found}
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
