"""Every layer's structure as the patent says, and every tensor's shape."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from lvedge.indices import IndexLayout  # noqa: E402
from lvedge.network.classification import ClassificationLayer  # noqa: E402
from lvedge.network.config import LocatorConfig, NetworkConfig, contract_shapes  # noqa: E402
from lvedge.network.convolution import ConvolutionLayer  # noqa: E402
from lvedge.network.model import LeftVentricleNetwork  # noqa: E402
from lvedge.network.recurrent import RecurrentLayer, RecurrentState  # noqa: E402
from lvedge.network.segmentation import (  # noqa: E402
    DenseBlock,
    DownStage,
    ExpansionBlock,
    SegmentationLayer,
    UpStage,
)

SMALL = NetworkConfig(
    view_px=32,
    stem=4,
    growth=(2, 3, 4, 5),
    expansion=(2, 3, 4, 5),
    down=(6, 7, 8, 9),
    up=(10, 11, 12, 13),
    last_squeeze=7,
    hidden=(3, 4, 5, 6, 7),
    shared=8,
    radii=30,
    regression_state=9,
    phase_state=5,
)


def shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def watched(module: nn.Module) -> list[tuple[tuple[int, ...], Tensor]]:
    """Shape of the first input and the output of each coming call of a module."""
    seen: list[tuple[tuple[int, ...], Tensor]] = []
    module.register_forward_hook(lambda _, inputs, output: seen.append((shape(inputs[0]), output)))
    return seen


def test_a_dense_block_reads_all_that_came_before() -> None:
    block = DenseBlock(5, growth=3, convolutions=4).eval()
    seen = [watched(layer) for layer in block.layers]
    x = torch.rand(2, 5, 8, 8)
    out = block(x)
    assert shape(out) == (2, block.outputs, 8, 8) == (2, 17, 8, 8)
    assert [calls[0][0][1] for calls in seen] == [5, 8, 11, 14]
    torch.testing.assert_close(out, torch.cat([x, *(calls[0][1] for calls in seen)], dim=1))


def test_an_expansion_block_reads_the_dense_block_at_three_rates() -> None:
    stage = DownStage(4, 6, 1, SMALL).eval()
    assert [rate[0].dilation for rate in stage.expansion.rates] == [(1, 1), (3, 3), (5, 5)]
    assert [rate[0].kernel_size for rate in stage.expansion.rates] == [(3, 3)] * 3
    rates = [watched(rate) for rate in stage.expansion.rates]
    expansion = watched(stage.expansion)
    down, dense = stage(torch.rand(1, 4, 16, 16))
    # Each rate reads the dense block's output, not the rate before it.
    assert [calls[0][0] for calls in rates] == [shape(dense)] * 3 == [(1, 10, 16, 16)] * 3
    torch.testing.assert_close(expansion[0][1], torch.cat([calls[0][1] for calls in rates], dim=1))
    assert shape(expansion[0][1]) == (1, stage.expansion.outputs, 16, 16) == (1, 9, 16, 16)
    assert shape(down) == (1, 6, 8, 8)
    assert [type(m).__name__ for m in stage.down] == ["Sequential", "MaxPool2d"]


def test_the_dilations_reach_as_far_as_they_say() -> None:
    block = ExpansionBlock(1, 1, (1, 3, 5)).eval()
    for rate in block.rates:
        nn.init.ones_(rate[0].weight)
    picture = torch.zeros(1, 1, 15, 15)
    picture[0, 0, 7, 7] = 1.0
    for answer, reach in zip(block(picture)[0], (1, 3, 5), strict=True):
        rows, columns = torch.nonzero(answer, as_tuple=True)
        expected = {7 - reach, 7, 7 + reach}
        assert (set(rows.tolist()), set(columns.tolist())) == (expected, expected)


def test_four_stages_down_and_four_up_with_skips_of_equal_size() -> None:
    layer = SegmentationLayer(SMALL).eval()
    assert [type(stage) for stage in layer.down] == [DownStage] * 4
    assert [type(stage) for stage in layer.up] == [UpStage] * 4
    down, up, dense = (
        [watched(module) for module in modules]
        for modules in (layer.down, layer.up, [stage.dense for stage in layer.down])
    )
    squeeze, last = watched(layer.squeeze), watched(layer.last)
    feature_map, logits = layer(torch.rand(2, 1, 32, 32))
    assert [calls[0][0][1:] for calls in down] == [(4, 32, 32), (6, 16, 16), (7, 8, 8), (8, 4, 4)]
    assert [shape(calls[0][1]) for calls in dense] == [
        (2, 8, 32, 32),
        (2, 12, 16, 16),
        (2, 15, 8, 8),
        (2, 18, 4, 4),
    ]
    # up1 ++ dense(down4) → up2, up2 ++ dense(down3) → up3, up3 ++ dense(down2) → up4, up4 ++ dense(down1).
    assert [calls[0][0][1:] for calls in up] == [
        (9, 2, 2),
        (10 + 18, 4, 4),
        (11 + 15, 8, 8),
        (12 + 12, 16, 16),
    ]
    assert squeeze[0][0][1:] == (13 + 8, 32, 32)
    assert last[0][0][1:] == (7, 32, 32)
    assert shape(feature_map) == (2, layer.outputs, 32, 32) == (2, 11, 32, 32)
    assert shape(logits) == (2, 4, 32, 32)


def test_skips_are_the_dense_blocks_outputs() -> None:
    layer = SegmentationLayer(SMALL).eval()
    dense = [watched(stage.dense) for stage in layer.down]
    inputs: list[Tensor] = []
    for module in (*layer.up, layer.squeeze):
        module.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    layer(torch.rand(1, 1, 32, 32))
    for given, calls in zip(inputs[1:], reversed(dense), strict=True):
        skip = calls[0][1]
        torch.testing.assert_close(given[:, -skip.shape[1] :], skip)


def test_five_hidden_layers_to_one_vector() -> None:
    layer = ConvolutionLayer(11, SMALL).eval()
    kinds = [
        type(m) for block in layer.hidden for m in (block if isinstance(block, nn.Sequential) else [block])
    ]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d] * 5
    assert shape(layer(torch.rand(3, 11, 32, 32))) == (3, layer.outputs) == (3, 7)
    assert ConvolutionLayer(48, NetworkConfig()).outputs == 64 * 2 * 2


def test_two_lstm_cells_read_one_feature_vector() -> None:
    layer = RecurrentLayer(12, SMALL)
    cells = [m for m in layer.modules() if isinstance(m, nn.RNNCellBase)]
    assert cells == [layer.regression, layer.phase]
    assert {type(cell) for cell in cells} == {nn.LSTMCell}
    given: list[Tensor] = []
    for cell in cells:
        cell.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    features, drawn = torch.rand(3, 12), torch.rand(3, 11)
    values, hidden, state = layer(features, drawn, layer.zero_state(3, features))
    assert given[0] is features
    assert given[1] is features
    assert shape(values) == (3, 11)
    assert shape(hidden) == (3, 5)
    assert hidden is state.h_phase
    assert [shape(part) for part in state] == [(3, 9), (3, 9), (3, 5), (3, 5)]
    # Untrained, the values are the drawn ones.
    torch.testing.assert_close(values, drawn)


def test_a_state_matters_and_is_not_written_to() -> None:
    torch.manual_seed(0)
    layer = RecurrentLayer(12, SMALL)
    features, drawn = torch.rand(1, 12), torch.zeros(1, 11)
    start = RecurrentState(*(torch.rand_like(part) for part in layer.zero_state(1, features)))
    kept = [part.clone() for part in start]
    _, warm, _ = layer(features, drawn, start)
    _, cold, _ = layer(features, drawn, layer.zero_state(1, features))
    assert not torch.allclose(warm, cold)
    for before, after in zip(kept, start, strict=True):
        torch.testing.assert_close(before, after)


@torch.no_grad()
def test_a_cell_whose_gates_stay_open_stops_at_the_limit() -> None:
    layer = RecurrentLayer(12, replace(SMALL, cell_limit=20.0))
    for cell in (layer.regression, layer.phase):
        cell.bias_ih += 10.0  # every gate open: a cell gains nearly 1 a frame
    state = layer.zero_state(1, torch.zeros(1))
    largest = []
    for _ in range(60):
        _, _, state = layer(torch.zeros(1, 12), torch.zeros(1, 11), state)
        largest.append(max(float(state.c_regression.abs().max()), float(state.c_phase.abs().max())))
    assert largest[18] == pytest.approx(19.0, abs=0.1)  # as far as it would go without a limit
    assert largest[19:] == pytest.approx([20.0] * 41, abs=0.1)
    assert max(largest) <= 20.0


def test_two_classes_from_the_second_lstm() -> None:
    assert shape(ClassificationLayer(SMALL)(torch.rand(4, 5))) == (4, 2)


def test_the_whole_network_step_by_step_is_the_whole_clip() -> None:
    torch.manual_seed(1)
    network = LeftVentricleNetwork(SMALL).eval()
    nn.init.normal_(network.recurrent.values.weight)
    clip = torch.rand(2, 3, 1, 32, 32)
    with torch.no_grad():
        seen, steps = network(clip)
        state = network.zero_state(2)
        for t in range(3):
            frame, out = network.step(clip[:, t], state)
            torch.testing.assert_close(frame.features, seen[t].features)
            torch.testing.assert_close(out.indices, steps[t].indices)
            torch.testing.assert_close(out.phase_logits, steps[t].phase_logits)
            torch.testing.assert_close(network.recur(frame.features, state), out)
            state = out.state
    assert shape(seen[0].mask_logits) == (2, 4, 32, 32)
    assert shape(seen[0].features) == (2, network.features) == (2, 11 + 2 + 6 + 8)
    assert shape(seen[0].drawn) == shape(steps[0].indices) == (2, 11)
    assert shape(seen[0].septum) == shape(steps[0].phase_logits) == (2, 2)
    # The memory is read: a frame after two others is not what it is alone.
    alone = network.step(clip[:, 2], network.zero_state(2))[1]
    assert not torch.allclose(alone.indices, steps[2].indices)


def test_gradients_reach_every_weight() -> None:
    torch.manual_seed(2)
    network = LeftVentricleNetwork(SMALL).train()
    nn.init.normal_(network.recurrent.values.weight)
    _, steps = network(torch.rand(2, 2, 1, 32, 32))
    loss = torch.stack([s.indices.square().mean() + s.phase_logits.square().mean() for s in steps]).sum()
    loss.backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert without == []


@pytest.mark.parametrize("layout", [IndexLayout(4, 2), IndexLayout(8, 3), IndexLayout(12, 6)])
def test_m_and_n_are_configuration(layout: IndexLayout) -> None:
    network = LeftVentricleNetwork(replace(SMALL, layout=layout)).eval()
    seen, out = network.step(torch.rand(1, 1, 32, 32), network.zero_state())
    assert shape(seen.drawn) == shape(out.indices) == (1, layout.size)
    contract = contract_shapes(network.config, network.features, LocatorConfig())
    assert contract.tensor_shape("indices") == (layout.size,)
    assert contract.tensor_shape("features") == shape(seen.features)[1:]
    assert contract.tensor_shape("h_regression") == shape(out.state.h_regression)[1:]
    assert contract.tensor_shape("c_phase_next") == shape(out.state.c_phase)[1:]
    assert contract.tensor_shape("mask") == shape(seen.mask_logits)[1:]
    assert contract.tensor_shape("frame") == (1, 32, 32)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"view_px": 72}, "divisible by 16, not 72"),
        ({"growth": (16, 16, 32)}, "growth needs 4 numbers"),
        ({"expansion": (8,) * 5}, "expansion needs 4 numbers"),
        ({"down": ()}, "down needs 4 numbers"),
        ({"up": (96, 64, 48)}, "up needs 4 numbers"),
        ({"layout": IndexLayout(10, 5)}, "72 rays do not divide among 10 sectors"),
        ({"rays": 70}, "70 rays do not divide among 6 sectors"),
    ],
)
def test_sizes_that_cannot_be(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        NetworkConfig(**fields)  # type: ignore[arg-type]
