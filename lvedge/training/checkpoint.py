"""Checkpoints: weights and everything needed to go on, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lvedge.errors import DataError
from lvedge.indices import IndexLayout
from lvedge.network.config import LocatorConfig, NetworkConfig
from lvedge.network.locator import Locator
from lvedge.network.model import LeftVentricleNetwork


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write beside the target, flush to disk, then rename: a half-written checkpoint cannot exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    with beside.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint; tensors and plain values only, no code is run.

    Raises:
        DataError: if the file is missing or is no checkpoint.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as err:
        raise DataError(f"no checkpoint at {path}: train first, or name another with --run") from err
    except Exception as err:
        raise DataError(f"{path} is not a checkpoint: {type(err).__name__}") from err
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a checkpoint: it holds a {type(content).__name__}")
    return content


@contextmanager
def of_this_version(path: Path) -> Iterator[None]:
    """What a checkpoint's content is used in: what does not fit, or is not there, is the file's fault.

    Raises:
        DataError: if the content is another network's, another stage's or another version's.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as err:
        reason = " ".join(str(err).split())[:200]
        raise DataError(
            f"{path} is no checkpoint of this stage and version: train into another folder with --run "
            f"({type(err).__name__}: {reason})"
        ) from err


def read_network(path: Path) -> LeftVentricleNetwork:
    """The network of a checkpoint file, in evaluation mode.

    Raises:
        DataError: if the file is missing, damaged or of something else.
    """
    content = read_checkpoint(path)
    with of_this_version(path):
        return network_from_checkpoint(content)


def read_locator(path: Path) -> Locator:
    """The locator of a checkpoint file, in evaluation mode; raises as ``read_network``."""
    content = read_checkpoint(path)
    with of_this_version(path):
        return locator_from_checkpoint(content)


def config_as_dict(config: NetworkConfig | LocatorConfig) -> dict[str, Any]:
    """A configuration as plain values."""
    return asdict(config)


def network_from_checkpoint(content: dict[str, Any], weights: str = "weights") -> LeftVentricleNetwork:
    """The network with its averaged weights, in evaluation mode."""
    fields = dict(content["network_config"])
    fields["layout"] = IndexLayout(**fields["layout"])
    network = LeftVentricleNetwork(NetworkConfig(**_tuples(fields)))
    network.load_state_dict(content[weights], strict=True)
    return network.eval()


def locator_from_checkpoint(content: dict[str, Any], weights: str = "weights") -> Locator:
    """The locator with its averaged weights, in evaluation mode."""
    locator = Locator(LocatorConfig(**_tuples(dict(content["locator_config"]))))
    locator.load_state_dict(content[weights], strict=True)
    return locator.eval()


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
