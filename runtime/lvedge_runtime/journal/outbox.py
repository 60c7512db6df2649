"""Objects on their way to other systems: each with its state, from before the first attempt."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from lvedge_runtime.journal.database import Database


class ItemState(str, Enum):
    """Where an object is on its way."""

    HELD = "held"
    """Somebody has to release it."""
    WAITING = "waiting"
    """It is sent as soon as its destination takes it."""
    SENT = "sent"
    """Its destination has confirmed it."""
    DEAD = "dead"
    """Its destination refused it for good, or failed over it, so often that it is not tried any more."""


@dataclass(frozen=True)
class Outgoing:
    """An object to be sent; neither its bytes nor its UIDs change any more.

    Args:
        destination: the ``store://`` URI that it goes to.
        sop_class, uid, syntax: SOP Class UID, SOP Instance UID and Transfer Syntax UID.
        content: the object as a file, with preamble and meta information.
    """

    destination: str
    sop_class: str
    uid: str
    syntax: str
    content: bytes


@dataclass(frozen=True)
class Item:
    """What is known of an object in the outbox, beside its bytes.

    Args:
        number: names it.
        destination: where it goes.
        sop_class, uid, syntax: SOP Class UID, SOP Instance UID and Transfer Syntax UID.
        state: where it is on its way.
        attempts: how often it was tried.
        refusals: how often it was refused for good.
        reason: what came of the last attempt.
        made: when it was put in, seconds since 1970.
        size: of its file, bytes; 0 once it was sent.
    """

    number: int
    destination: str
    sop_class: str
    uid: str
    syntax: str
    state: ItemState
    attempts: int
    refusals: int
    reason: str
    made: float
    size: int


_ITEMS = (
    "SELECT number, destination, sop_class, uid, syntax, state, attempts, refusals, reason, made, "
    "coalesce(length(bytes), 0) FROM item LEFT JOIN content ON content.item = item.number "
)


def _item(values: Sequence[Any]) -> Item:
    item = Item(*values)
    return replace(item, state=ItemState(item.state))


class Outbox:
    """The objects that the journal holds, of all destinations.

    Args:
        database: has them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @staticmethod
    def put(rows: sqlite3.Connection, outgoing: Outgoing, held: bool, now: float) -> None:
        """Put an object in, within a transaction; one that is there already stays as it is.

        Args:
            rows: the transaction.
            outgoing: the object.
            held: it waits for a release.
            now: seconds since 1970.
        """
        state = ItemState.HELD if held else ItemState.WAITING
        done = rows.execute(
            "INSERT OR IGNORE INTO item (destination, sop_class, uid, syntax, state, made) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (outgoing.destination, outgoing.sop_class, outgoing.uid, outgoing.syntax, state.value, now),
        )
        if done.rowcount:
            rows.execute("INSERT INTO content VALUES (?, ?)", (done.lastrowid, outgoing.content))

    def items(self, state: ItemState | None = None, destination: str | None = None) -> list[Item]:
        """The objects in a state and for a destination, or all, in the order in which they were put in."""
        query = f"{_ITEMS} WHERE coalesce(? = state, 1) AND coalesce(? = destination, 1) ORDER BY number"
        with self._database.look() as rows:
            found = rows.execute(query, (None if state is None else state.value, destination)).fetchall()
        return [_item(values) for values in found]

    def counts(self, state: ItemState) -> dict[str, float]:
        """How many objects are in a state, by destination; those without any are left out."""
        query = "SELECT destination, count(*) FROM item WHERE state = ? GROUP BY destination"
        with self._database.look() as rows:
            found = rows.execute(query, (state.value,)).fetchall()
        return {name: float(count) for name, count in found}

    def ages_s(self, now: float) -> dict[str, float]:
        """Since when the oldest object that waits has been there, s, by destination."""
        query = "SELECT destination, min(made) FROM item WHERE state = 'waiting' GROUP BY destination"
        with self._database.look() as rows:
            found = rows.execute(query).fetchall()
        return {name: max(now - float(made), 0.0) for name, made in found}

    def stranded(self, named: Collection[str]) -> dict[str, int]:
        """How many objects wait or are held for destinations other than these, by destination."""
        query = (
            "SELECT destination, count(*) FROM item WHERE state IN ('waiting', 'held') GROUP BY destination"
        )
        with self._database.look() as rows:
            found = rows.execute(query).fetchall()
        return {name: count for name, count in found if name not in named}

    def move(self, old: str, new: str) -> int:
        """Let what was not sent to one destination go to another; gives how much.

        What that has already, waiting or sent, is not put there twice.
        """
        if old == new:
            return 0
        with self._database.change() as rows:
            moved = rows.execute(
                "UPDATE OR IGNORE item SET destination = ?, refusals = 0, failures = 0, reason = '' "
                "WHERE destination = ? AND state != 'sent'",
                (new, old),
            ).rowcount
            twice = rows.execute(
                "DELETE FROM item WHERE destination = ? AND state != 'sent'", (old,)
            ).rowcount
        return moved + twice

    def content(self, number: int) -> bytes | None:
        """An object's file, or None where it was sent or dropped meanwhile."""
        with self._database.look() as rows:
            found = rows.execute("SELECT bytes FROM content WHERE item = ?", (number,)).fetchone()
        return None if found is None else bytes(found[0])

    def confirm(self, number: int, now: float) -> None:
        """It arrived: its bytes go, that it was sent is kept for a while."""
        with self._database.change() as rows:
            rows.execute(
                "UPDATE item SET state = 'sent', sent = ?, attempts = attempts + 1, reason = '' "
                "WHERE number = ?",
                (now, number),
            )
            rows.execute("DELETE FROM content WHERE item = ?", (number,))

    def put_off(self, numbers: Collection[int], reason: str) -> None:
        """An attempt at these failed; they go on waiting."""
        with self._database.change() as rows:
            rows.executemany(
                "UPDATE item SET attempts = attempts + 1, reason = ? WHERE number = ?",
                [(reason, number) for number in numbers],
            )

    def refuse(self, number: int, reason: str, most: int) -> None:
        """It was refused for good; after ``most`` times it is dead."""
        with self._database.change() as rows:
            rows.execute(
                "UPDATE item SET attempts = attempts + 1, refusals = refusals + 1, reason = ?, "
                "state = CASE WHEN refusals + 1 >= ? THEN 'dead' ELSE state END WHERE number = ?",
                (reason, most, number),
            )

    def fail(self, number: int, reason: str, most: int) -> bool:
        """It failed, which may pass; after ``most`` times it is dead. Gives whether it is."""
        with self._database.change() as rows:
            rows.execute(
                "UPDATE item SET attempts = attempts + 1, failures = failures + 1, reason = ?, "
                "state = CASE WHEN failures + 1 >= ? THEN 'dead' ELSE state END WHERE number = ?",
                (reason, most, number),
            )
            query = "SELECT 1 FROM item WHERE number = ? AND state = 'dead'"
            return rows.execute(query, (number,)).fetchone() is not None

    def release(self, numbers: Collection[int] | None = None) -> int:
        """Let held objects go, these or all; gives how many."""
        return self._move("state = 'waiting'", ItemState.HELD, numbers)

    def retry(self, numbers: Collection[int] | None = None) -> int:
        """Try dead objects again, these or all; gives how many."""
        return self._move("state = 'waiting', refusals = 0, failures = 0", ItemState.DEAD, numbers)

    def _move(self, change: str, state: ItemState, numbers: Collection[int] | None) -> int:
        chosen = [item.number for item in self.items(state) if numbers is None or item.number in numbers]
        with self._database.change() as rows:
            return sum(
                rows.execute(
                    f"UPDATE item SET {change} WHERE number = ? AND state = ?",  # nosec B608 - ours
                    (number, state.value),
                ).rowcount
                for number in chosen
            )

    def drop(self, numbers: Collection[int]) -> int:
        """Remove objects that were not sent; gives how many."""
        with self._database.change() as rows:
            return sum(
                rows.execute("DELETE FROM item WHERE number = ? AND state != 'sent'", (number,)).rowcount
                for number in numbers
            )
