"""The lint: what a graph must not hold, so that TensorRT 10.1 and newer build an engine from it."""

from __future__ import annotations

import onnx
from onnx import TensorProto

from lvedge.contract import ContractShapes
from lvedge.errors import BundleError
from lvedge.graph import check_graph

OLDEST_OPSET = 17

_TAKEN = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu
Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div
Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gemm
GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GRU HardSigmoid HardSwish
Identity If InstanceNormalization IsNaN LRN LSTM LeakyRelu Less LessOrEqual Log LogSoftmax Loop
LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min Mod Mul Neg NonMaxSuppression
NonZero Not OneHot Or PRelu Pad Pow QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform
RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign Round Scan
ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign
SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where
Xor
"""

OPERATORS = frozenset(_TAKEN.split())
"""Standard operators that NVIDIA's ONNX parser took by TensorRT 8.5 (docs/operators.md of onnx/onnx-tensorrt,
opset 17); parsers only added to it since. What came later is left out: nothing here needs it."""

TYPES = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.INT8: "int8",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.BOOL: "bool",
}
"""Types of weights and casts that TensorRT computes with."""


def faults(graph: bytes, name: str, shapes: ContractShapes) -> list[str]:
    """What keeps a graph from a device, one phrase each; empty for a good one.

    Args:
        graph: the ONNX bytes.
        name: "step", "replay" or "locator".
        shapes: sizes of its tensors.
    """
    found = []
    try:
        check_graph(name, graph, shapes)
    except BundleError as err:
        found.append(str(err))
    model = onnx.load_from_string(graph)
    opset = max((entry.version for entry in model.opset_import), default=0)
    if opset < OLDEST_OPSET:
        found.append(f"is of opset {opset}, older than {OLDEST_OPSET}")
    foreign = sorted({node.op_type for node in model.graph.node} - OPERATORS)
    if foreign:
        found.append(f"uses {', '.join(foreign)}, which TensorRT 10.1 lacks")
    types = {tensor.data_type for tensor in model.graph.initializer}
    types |= {
        a.i for node in model.graph.node if node.op_type == "Cast" for a in node.attribute if a.name == "to"
    }
    odd = sorted(TensorProto.DataType.Name(kind).lower() for kind in types - set(TYPES))
    if odd:
        found.append(f"computes in {', '.join(odd)}, not in {', '.join(TYPES.values())}")
    return found
