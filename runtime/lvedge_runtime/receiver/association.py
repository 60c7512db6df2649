"""Associations: who may have one, the answers over it, and what is told of it when it ends."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from pynetdicom import evt
from pynetdicom.association import Association

from lvedge_runtime.receiver.intake import CANNOT_UNDERSTAND, SUCCESS, Intake, Tally
from lvedge_runtime.receiver.rate import Rate
from lvedge_runtime.receiver.setting import Settings
from lvedge_runtime.trace import places_of

LOG = logging.getLogger("lvedge_runtime.receiver")

_VERSION_UNKNOWN, _CALLING_UNKNOWN, _CALLED_UNKNOWN = (2, 2), (1, 3), (1, 7)
"""Source and reason of an A-ASSOCIATE-RJ (DICOM PS3.8, table 9-21)."""

_FIRST_VERSION = 1
"""Bit of the protocol version; the others are not to be looked at (PS3.8, 9.3.2)."""

SENDING_BURST_S = 1.0


@dataclass
class _Visit:
    """What came over one association.

    Args:
        began: when, seconds.
        statuses: how often which status was answered.
        received_bytes: size of its instances.
    """

    began: float = field(default_factory=time.monotonic)
    statuses: Counter[int] = field(default_factory=Counter)
    received_bytes: int = 0


class Associations:
    """Answers on every association, each from a thread of its own.

    Args:
        settings: AE titles, peers, limits.
        intake: acknowledges.
        tally: counts associations.
    """

    def __init__(self, settings: Settings, intake: Intake, tally: Tally) -> None:
        self._settings = settings
        self._intake = intake
        self._tally = tally
        self._visits: WeakKeyDictionary[Association, _Visit] = WeakKeyDictionary()
        self._sending = Rate(settings.limits.peer_messages_a_s, SENDING_BURST_S)

    @property
    def handlers(self) -> list[Any]:
        """What pynetdicom calls, and when."""
        return [
            (evt.EVT_ACCEPTED, self._accepted),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_RELEASED, self._released),
            (evt.EVT_ABORTED, self._aborted),
            (evt.EVT_C_STORE, self._stored),
            (evt.EVT_C_ECHO, self._echoed),
        ]

    def rejection(self, address: str, version: int, calling: str, called: str) -> tuple[int, int] | None:
        """Why there is no association for who is not on the list, or calls another; counted and told.

        Returns:
            Source and reason of an A-ASSOCIATE-RJ (DICOM PS3.8, table 9-21); None where there is one.
        """
        if not version & _FIRST_VERSION:
            answer, why = _VERSION_UNKNOWN, "it speaks another version of DICOM's protocol"
        elif called != self._settings.ae_title:
            answer, why = _CALLED_UNKNOWN, "it calls another AE title than ours"
        elif self._settings.peers and not any(
            peer.ae_title == calling and peer.is_at(address) for peer in self._settings.peers
        ):
            answer, why = _CALLING_UNKNOWN, "its AE title is not listed with its address"
        else:
            return None
        self._tell_rejected(address, why)
        return answer

    def _rejected(self, event: evt.Event) -> None:
        """pynetdicom rejects where it has too many associations."""
        self._tell_rejected(_address(event.assoc), "there are too many associations")

    def _tell_rejected(self, address: str, why: str) -> None:
        LOG.warning(
            "an association from %s was rejected: %s",
            address,
            why,
            extra={"fields": {"event": "association rejected"}},
        )
        self._intake.tally.add("rejected")
        self._tally.add("rejected")

    def _accepted(self, event: evt.Event) -> None:
        self._visits[event.assoc] = _Visit()
        self._tally.add("accepted")
        LOG.debug(
            "an association from %s began",
            _address(event.assoc),
            extra={"fields": {"event": "association began"}},
        )

    def _released(self, event: evt.Event) -> None:
        self._ended(event.assoc, "released")

    def _aborted(self, event: evt.Event) -> None:
        self._ended(event.assoc, "aborted")

    def _ended(self, association: Association, how: str) -> None:
        visit = self._visits.pop(association, None)
        if visit is None:
            return
        self._tally.add(how)
        count, right = visit.statuses.total(), visit.statuses[SUCCESS]
        seconds = time.monotonic() - visit.began
        fields = {
            "event": f"association {how}",
            "instances": count,
            "refused": count - right,
            "bytes": visit.received_bytes,
            "seconds": round(seconds, 3),
        }
        LOG.info(
            "an association from %s was %s after %.1f s: %d instances, %d of them refused",
            _address(association),
            how,
            seconds,
            count,
            count - right,
            extra={"fields": fields},
        )

    def _stored(self, event: evt.Event) -> int:
        self._hold_back(event.assoc)
        visit = self._visits.setdefault(event.assoc, _Visit())
        try:
            content = event.encoded_dataset()
            visit.received_bytes += len(content)
            status = self._intake.take(content)
        except Exception as err:  # noqa: BLE001 - whatever a peer's instance does, the next one is served
            LOG.error(
                "an instance could not be taken in: %s",
                places_of(err),
                extra={"fields": {"event": "instance failed"}},
            )
            self._intake.tally.add("failed")
            status = CANNOT_UNDERSTAND
        visit.statuses[status] += 1
        _answered(event)
        if status != SUCCESS:
            LOG.warning(
                "an instance was answered with 0x%04X",
                status,
                extra={"fields": {"event": "instance refused", "status": status}},
            )
        return status

    def _echoed(self, event: evt.Event) -> int:
        self._hold_back(event.assoc)
        self._intake.tally.add("echo")
        _answered(event)
        return SUCCESS

    def _hold_back(self, association: Association) -> None:
        """Let a peer that sends too fast wait: its own association's thread sleeps."""
        while wait_s := self._sending.wait_s(_address(association), time.monotonic()):
            time.sleep(wait_s)


def _address(association: Association) -> str:
    """Where an association comes from."""
    peer = association.requestor.address_info
    return "" if peer is None else peer.address


def _answered(event: evt.Event) -> None:
    connection = event.assoc.dul.socket
    bounds = getattr(connection.socket if connection is not None else None, "bounds", None)
    if bounds is not None:
        bounds.answered()
