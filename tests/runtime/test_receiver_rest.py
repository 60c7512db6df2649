"""Associations on which nothing happens: they cost next to nothing, and are awake at the first byte."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from peers import QUICK, receiver
from pynetdicom import AE
from pynetdicom.transport import AssociationSocket

from lvedge_runtime.receiver import rest

REST_S = 1.5


def test_who_rests_looks_seldom_and_is_awake_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    look = AssociationSocket.ready.fget
    monkeypatch.setattr(
        AssociationSocket, "ready", property(lambda there: (looks.append(there), look(there))[1])
    )
    monkeypatch.setattr(rest, "AWAKE_S", 0.2)
    monkeypatch.setattr(rest, "LOOK_S", 0.5)
    ae = AE("SCANNER")
    ae.add_requested_context("1.2.840.10008.1.1")
    with receiver(tmp_path, QUICK) as there:
        association = ae.associate("127.0.0.1", there.source.port, ae_title="LVEDGE")
        for _ in range(3):
            time.sleep(0.5)  # it rests
            looks.clear()
            time.sleep(REST_S)
            ours = [there for there in looks if isinstance(there, rest._Socket)]
            assert len(ours) <= REST_S / 0.5 + 1
            began = time.monotonic()
            assert association.send_c_echo().Status == 0
            # Nobody waited for the next look.
            assert time.monotonic() - began < 0.25
        association.release()


def test_who_rests_for_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "AWAKE_S", 0.2)
    ae = AE("SCANNER")
    ae.add_requested_context("1.2.840.10008.1.1")
    with receiver(tmp_path, f"{QUICK}[dicom.limits]\nidle_s = 1\n") as there:
        association, began = ae.associate("127.0.0.1", there.source.port, ae_title="LVEDGE"), time.monotonic()
        while association.is_established and time.monotonic() - began < 20:
            time.sleep(0.01)
        assert association.is_aborted
        assert 0.9 < time.monotonic() - began < 3.0
