"""Second stage: the recurrent and the classification layer, from clips of frozen feature vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lvedge.indices import DEFAULT_LAYOUT
from lvedge.network.model import LeftVentricleNetwork
from lvedge.phase import end_frames, is_systole, smoothed
from lvedge.training.checkpoint import config_as_dict
from lvedge.training.clips import BEAT_FRAMES, Clip, Walk, acdc_walk, other_timing, played, york_walk
from lvedge.training.loop import LoopConfig, Losses, train
from lvedge.training.losses import tolerances, value_loss

NAME = "recurrence"


@dataclass(frozen=True)
class ClipMix:
    """How clips are drawn and weighed.

    Args:
        york: share of york clips in a batch; the rest is acdc's.
        single: share of batches with one-frame clips.
        as_stored: share of york's multi-frame batches at the stored rate from the stored first frame.
        frames: fewest and most frames a beat.
        longest: most frames of a clip.
        drop: share of the shared layer's outputs that are dropped for a whole clip.
        york_values: weight of york's values, whose sizes are nominal and whose readers draw otherwise than
            acdc's: enough to see all frames of a beat, too little to be pulled their way.
        phase: weight of the phase against the values.
        first_beat: weight of the phase in the first beat of several; a closed cine reports the second.
        timing: largest change of speed along a york beat, by each of two harmonics.
        seen: share of york's phase target that follows the cavity area as the network sees it. Experts'
            contours wander by some percent from frame to frame, and with them the first maximum of a
            flat curve; what the network sees of the same frames wanders otherwise.
    """

    york: float = 0.5
    single: float = 0.12
    as_stored: float = 0.3
    frames: tuple[int, int] = (12, 40)
    longest: int = 80
    drop: float = 0.5
    york_values: float = 0.05
    phase: float = 1.0
    first_beat: float = 0.2
    timing: float = 0.4
    seen: float = 0.5


OPEN_GATES = 2.0
"""Added to the bias of the phase LSTM's forget gates before training, so that it remembers a beat."""


def train_recurrence(
    network: LeftVentricleNetwork,
    clips: list[Clip],
    watched: list[Clip],
    folder: Path,
    loop: LoopConfig,
    mix: ClipMix | None = None,
) -> LeftVentricleNetwork:
    """Train the last two layers on clips of one to three beats.

    Args:
        network: with trained first layers; these stay as they are.
        clips: training clips.
        watched: clips of watched subjects, for the log.
        folder: where checkpoint and log go; a checkpoint there is resumed.
        loop: how long and how fast.
        mix: how clips are drawn.

    Returns:
        The averaged network.
    """
    mix = mix or ClipMix()
    torch.manual_seed(loop.seed)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for layer in (network.recurrent, network.classification):
        for parameter in layer.parameters():
            parameter.requires_grad_(True)
    _open_forget_gates(network.recurrent.phase)
    tolerance = tolerances(network.config.layout, network.config.view_mm_per_px)
    york, acdc = by_source(clips)

    def losses_of_step(step: int) -> Losses:
        rng = np.random.default_rng((loop.seed, step))
        batch = draw_clips(york, acdc, loop.batch, mix, rng)
        features = batch.features
        if mix.drop:
            keep = torch.from_numpy(rng.random((loop.batch, 1, network.config.shared)) >= mix.drop)
            features = features.clone()
            features[..., -network.config.shared :] *= keep / (1.0 - mix.drop)
        indices, phase = played_through(network, features)
        return clip_losses(indices, phase, batch, mix, tolerance)

    header = {"network_config": config_as_dict(network.config)}
    averaged = train(network, losses_of_step, lambda m: watch(m, watched), loop, folder, NAME, header)
    if not isinstance(averaged, LeftVentricleNetwork):
        raise TypeError("the loop returned another module than it was given")
    return averaged


def played_through(network: LeftVentricleNetwork, features: Tensor) -> tuple[Tensor, Tensor]:
    """Feature clips [B, T, F] through the last two layers: values [B, T, L] and phase logits [B, T, 2].

    What ``recur`` gives step by step, with each LSTM run over the whole clip at once.
    """
    layer = network.recurrent
    drawn = features[..., : network.config.layout.size]
    values = drawn + layer.values(_hidden_over(layer.regression, features))
    phase: Tensor = network.classification(_hidden_over(layer.phase, features))
    return values * network.scale + network.offset, phase


def _hidden_over(cell: nn.LSTMCell, features: Tensor) -> Tensor:
    """Hidden states [B, T, H] of a cell over clips [B, T, F] from the zero state."""
    whole = nn.LSTM(cell.input_size, cell.hidden_size, batch_first=True, device=features.device)
    weights: dict[str, Tensor] = {f"{name}_l0": parameter for name, parameter in cell.named_parameters()}
    hidden: Tensor = torch.func.functional_call(whole, weights, (features,))[0]
    return hidden


@torch.no_grad()
def _open_forget_gates(cell: nn.LSTMCell) -> None:
    """Let a cell that has not been trained yet keep what it has seen."""
    gates = slice(cell.hidden_size, 2 * cell.hidden_size)  # order of the gates: input, forget, cell, output
    cell.bias_ih[gates] += OPEN_GATES


@torch.no_grad()
def watch(model: nn.Module, clips: list[Clip]) -> dict[str, float]:
    """Phase error of watched york clips (closed: second pass) and warm errors of watched acdc clips."""
    if not isinstance(model, LeftVentricleNetwork):
        return {}
    figures: dict[str, float] = {}
    york = [clip for clip in clips if clip.source == "york"]
    for name, starts in (("stored", (0,)), ("random", range(0, BEAT_FRAMES, 3))):
        wrong = [phase_error(model, clip, start) for clip in york for start in starts]
        if wrong:
            figures[f"phase_error_{name}"] = float(np.mean(wrong))
    errors = []
    for clip in clips:
        if clip.source == "acdc":
            walk = acdc_walk(24, 2, 0, np.random.default_rng(0))
            features, truth = played(clip, walk)
            values, _ = played_through(model, features[None])
            errors.append((values[0, 24:] - truth[24:]).abs())
    if errors:
        error, layout, mm = torch.cat(errors), model.config.layout, model.config.view_mm_per_px
        figures["warm_rwt_mm"] = float(error[:, layout.rwt].nanmean()) * mm
        figures["warm_dims_mm"] = float(error[:, layout.dims].nanmean()) * mm
        figures["warm_areas_mm2"] = float(error[:, layout.areas].nanmean()) * mm * mm
    return figures


@torch.no_grad()
def phase_error(network: LeftVentricleNetwork, clip: Clip, start: float) -> float:
    """Share of wrong phases on the second pass over a york clip, played from any position."""
    walk = york_walk(clip, BEAT_FRAMES, 2, start)
    features, _ = played(clip, walk)
    _, phase = played_through(network, features[None])
    said = phase[0].argmax(dim=1).bool().numpy()
    return float((said != walk.systole)[-BEAT_FRAMES:].mean())


def by_source(clips: list[Clip]) -> tuple[list[list[Clip]], list[list[Clip]]]:
    """york's clips and acdc's, each grouped by subject."""
    york, acdc = ([clip for clip in clips if clip.source == name] for name in ("york", "acdc"))
    return _by_subject(york), _by_subject(acdc)


def _by_subject(clips: list[Clip]) -> list[list[Clip]]:
    subjects: dict[str, list[Clip]] = {}
    for clip in clips:
        subjects.setdefault(clip.subject, []).append(clip)
    return list(subjects.values())


@dataclass(frozen=True)
class ClipBatch:
    """Clips of one length.

    Args:
        features: [B, T, F].
        values: [B, T, L].
        systole: [B, T] share of systole in the phase target, 0 .. 1.
        weight: [T] of the phase, summing to 1.
        nominal: [B] whether sizes are nominal.
    """

    features: Tensor
    values: Tensor
    systole: Tensor
    weight: Tensor
    nominal: Tensor


def clip_losses(indices: Tensor, phase: Tensor, batch: ClipBatch, mix: ClipMix, tolerance: Tensor) -> Losses:
    """What clips are taught: the values where they are true, the phase of every frame.

    Args:
        indices: [B, T, L] view pixels and square view pixels.
        phase: [B, T, 2] logits.
        batch: the clips that these were said of.
        mix: weighs them.
        tolerance: [L] one unit of error.
    """
    true, nominal = ~batch.nominal, batch.nominal
    values = value_loss(indices[true], batch.values[true], tolerance)
    values = values + mix.york_values * value_loss(indices[nominal], batch.values[nominal], tolerance)
    log_p = torch.log_softmax(phase, dim=2)
    cross = -(batch.systole * log_p[..., 1] + (1.0 - batch.systole) * log_p[..., 0]).mean(dim=0)
    return {"values": 4.0 * values, "phase": mix.phase * (cross * batch.weight).sum()}


def draw_clips(
    york: list[list[Clip]], acdc: list[list[Clip]], batch: int, mix: ClipMix, rng: np.random.Generator
) -> ClipBatch:
    """Clips of one length, each by its subject and under a timing of its own."""
    frames = int(rng.integers(mix.frames[0], mix.frames[1] + 1))
    beats = int(rng.integers(1, 4))
    stored = rng.random() < mix.as_stored
    if stored:
        frames = BEAT_FRAMES
    length = 1 if rng.random() < mix.single else min(frames * beats, mix.longest)
    features, values, systole, nominal = [], [], [], []
    for _ in range(batch):
        is_york = bool(york) and (not acdc or rng.random() < mix.york)
        subjects = york if is_york else acdc
        subject = subjects[rng.integers(len(subjects))]
        clip = subject[rng.integers(len(subject))]
        if is_york:
            timing = () if stored else other_timing(rng, mix.timing)
            walk = york_walk(clip, frames, beats, 0.0 if stored else rng.uniform(0, BEAT_FRAMES), timing)
        else:
            walk = acdc_walk(frames, beats, int(rng.integers(frames)), rng)
            if length == 1 or rng.random() < 0.2:
                # Begin on a frame whose values are true, so that the cold start keeps its share.
                walk = walk.from_frame(int(rng.choice(np.flatnonzero(walk.true_values))))
        clip_features, clip_values = played(clip, walk)
        features.append(clip_features[:length])
        values.append(clip_values[:length])
        target = walk.systole.astype(np.float32)
        if is_york and mix.seen:
            target = (1.0 - mix.seen) * target + mix.seen * systole_as_seen(clip, walk)
        systole.append(torch.from_numpy(target[:length]).float())
        nominal.append(is_york)
    weight = torch.ones(length)
    if length > frames:
        weight[:frames] = mix.first_beat
    return ClipBatch(
        torch.stack(features),
        torch.stack(values),
        torch.stack(systole),
        weight / weight.sum(),
        torch.tensor(nominal),
    )


def systole_as_seen(clip: Clip, walk: Walk) -> NDArray[np.bool_]:
    """The phase along a walk by the cavity area that the network itself draws, smoothed twice."""
    cavity = clip.features[:, DEFAULT_LAYOUT.areas.start].numpy()
    ed, es = end_frames(smoothed(cavity))
    return is_systole(walk.positions, ed, es, BEAT_FRAMES)
