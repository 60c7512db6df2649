"""The exported graphs before they are in any bundle, and an engine over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lvedge.bundle import Bundle
from lvedge.contract import ContractShapes
from lvedge.graph import graph_file
from lvedge_runtime.engines import Engine, open_engine


@dataclass(frozen=True)
class Exported:
    """The three graphs in FP32, and what every graph made from them states.

    Args:
        shapes: sizes of all tensors.
        checkpoint: file name to SHA-256 of what the weights come from.
        graphs: ONNX bytes of "step", "replay" and "locator".
    """

    shapes: ContractShapes
    checkpoint: Mapping[str, str]
    graphs: Mapping[str, bytes]

    def bundle(self, **instead: bytes) -> Bundle:
        """The graphs as an engine takes them; nothing else is in it.

        Args:
            instead: graphs by name that take the place of the FP32 ones.
        """
        entries = {graph_file(name): data for name, data in {**self.graphs, **instead}.items()}
        return Bundle(manifest={}, shapes=self.shapes, sha256="", origin="export", entries=entries)

    def engine(self, **instead: bytes) -> Engine:
        """ONNX Runtime on the CPU, one thread, over ``bundle``; to be used inside ``with``."""
        return open_engine(self.bundle(**instead), "onnxruntime-cpu")
