"""The default job: the bundle, whether it is trusted, the case table, and an engine that takes a step."""

from __future__ import annotations

import stat
from collections.abc import Iterator

import numpy as np

from lvedge import bundle as bundle_module
from lvedge.bundle import Bundle, open_bundle, shipped_sha256
from lvedge.casetable import has_case_table, open_case_table
from lvedge.errors import LvedgeError
from lvedge.signature import version_from_text
from lvedge.trust import trust_folder, trust_from_settings
from lvedge_runtime.doctor.check import Check, Standing
from lvedge_runtime.engines import open_engine


def job_checks() -> Iterator[Check]:
    """What ``lvedge-run`` without further options would work with, tried."""
    yield _trust()
    try:
        bundle = open_bundle()
    except LvedgeError as err:
        yield Check(
            "bundle", Standing.FAULT, str(err), "lvedge-bundle update FILE, or lvedge-run --bundle FILE"
        )
    else:
        yield _bundle(bundle)
        yield Check("signature", Standing.USED, _signed(bundle))
        yield _engine(bundle)
    yield _cases()


def _bundle(bundle: Bundle) -> Check:
    """The bundle in use; one that was installed stays in use when a newer lvedge brings a newer one."""
    found = f"{bundle.name} {bundle.version}, {bundle.origin}"
    try:
        shipped = open_bundle(bundle_module.DEFAULT_PATH)
    except LvedgeError:
        return Check("bundle", Standing.USED, found)
    ours, theirs = version_from_text(bundle.version), version_from_text(shipped.version)
    if ours is None or theirs is None or shipped.name != bundle.name or theirs <= ours:
        return Check("bundle", Standing.USED, found)
    remedy = f"lvedge-bundle update {shipped.origin}"
    return Check(
        "bundle", Standing.WORTH_MENDING, f"{found}; lvedge ships the newer {shipped.version}", remedy
    )


def _trust() -> Check:
    folder = trust_folder()
    try:
        trust = trust_from_settings()
    except LvedgeError as err:
        return Check("trusted keys", Standing.FAULT, str(err), f"ls -la {folder}")
    if folder is None or not trust.keys:
        return Check(
            "trusted keys", Standing.ABSENT, "none: only the bundle that ships and those named are taken"
        )
    if folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        found = f"{', '.join(sorted(trust.keys))}, but others than the owner may write to {folder}"
        return Check("trusted keys", Standing.WORTH_MENDING, found, f"sudo chmod go-w {folder}")
    rules = [f"{len(trust.revoked)} revoked"] if trust.revoked else []
    rules += [f"lowest version {'.'.join(map(str, trust.lowest))}"] if trust.lowest else []
    return Check("trusted keys", Standing.USED, ", ".join([*sorted(trust.keys), *rules]))


def _signed(bundle: Bundle) -> str:
    if bundle.sha256 == shipped_sha256():
        return "none needed: it is the bundle that ships, known by its hash"
    return f"by the trusted key {bundle.signature.key}" if bundle.signature else "none"


def _engine(bundle: Bundle) -> Check:
    """An engine that located, took a step and replayed it on an empty frame."""
    try:
        with open_engine(bundle) as engine:
            frame = np.zeros((1, *engine.shapes.tensor_shape("frame")), dtype=np.float32)
            engine.locate(np.zeros((1, *engine.shapes.locator_shape), dtype=np.float32))
            step = engine.step(frame, engine.zero_state())
            engine.replay(step.features, engine.zero_state())
            if not np.isfinite(step.indices).all():
                return Check(
                    "engine", Standing.FAULT, f"{engine.name} gives no numbers", "lvedge-bundle rollback"
                )
            return Check("engine", Standing.USED, f"{engine.name}, took a step")
    except LvedgeError as err:
        return Check("engine", Standing.FAULT, str(err), "pip install --force-reinstall onnxruntime")


def _cases() -> Check:
    try:
        if not has_case_table():
            remedy = "lvedge-cases update FILE"
            return Check("case table", Standing.WORTH_MENDING, "none: nothing is looked up", remedy)
        with open_case_table() as table:
            title, version = table.meta.get("title", "untitled"), table.meta.get("version", "?")
            return Check("case table", Standing.USED, f"{title}, version {version}")
    except LvedgeError as err:
        return Check(
            "case table", Standing.FAULT, str(err), "lvedge-cases rollback, or lvedge-cases update FILE"
        )
