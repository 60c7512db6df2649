"""Device memory through one small interface, over pycuda or over cuda-bindings."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from lvedge.errors import EngineError, UsageError
from lvedge_runtime.engines.cuda.device import Device

__all__ = ["PROVIDERS", "Device", "open_device"]

PROVIDERS: Mapping[str, str] = {
    "pycuda": "lvedge_runtime.engines.cuda.by_pycuda:PyCudaDevice",
    "cuda-bindings": "lvedge_runtime.engines.cuda.by_bindings:BindingsDevice",
}
"""Package to ``module:class``, the first choice first: who has compiled pycuda wants it."""

_HOW = (
    "pip install 'cuda-bindings>=12.9,<13' (JetPack 6 and other CUDA 12), 'cuda-bindings>=13,<14' (JetPack 7,"
    " CUDA 13), or pycuda where the CUDA toolkit is"
)


def open_device(provider: str | None = None) -> Device:
    """The first GPU, ready to be used; the caller closes it.

    Args:
        provider: "pycuda" or "cuda-bindings"; None for the first of them that is installed.

    Raises:
        UsageError: if there is no provider of that name.
        EngineError: if no provider is installed, or there is no driver or no GPU.
    """
    if provider is not None and provider not in PROVIDERS:
        raise UsageError(f"there is no provider {provider!r}: name one of {', '.join(PROVIDERS)}")
    missing = []
    for name in PROVIDERS if provider is None else (provider,):
        module, kind = PROVIDERS[name].split(":")
        try:
            device: Device = getattr(import_module(module), kind)()
        except ImportError as err:
            missing.append(f"{name} ({' '.join(str(err).split())})")
        else:
            return device
    raise EngineError(f"no package reaches the GPU's memory: {', '.join(missing)} cannot be imported: {_HOW}")
