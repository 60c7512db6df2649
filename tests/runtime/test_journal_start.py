"""The start of a run whose journal holds much: it is watched, and may be stopped."""

from __future__ import annotations

from pathlib import Path

from cine_files import ge
from peers import QUICK, receiver
from test_journal_command import SMALL, send

from lvedge.frame import Frame
from lvedge_runtime.config import config_from_file
from lvedge_runtime.journal.journal import Journal
from lvedge_runtime.receiver.source import ReceiverSource
from lvedge_runtime.sources import SourceOptions
from lvedge_runtime.uri import parse_uri


def acknowledged(folder: Path) -> None:
    """A journal with 36 pictures that were acknowledged and not delivered."""
    with Journal(folder / "state", SMALL) as journal, receiver(folder, journal=journal) as there:
        send(there.at, folder / "files", ge())


def test_a_request_to_stop_ends_the_taking_in_and_loses_nothing(tmp_path: Path) -> None:
    acknowledged(tmp_path)
    turns: list[int] = []
    with Journal(tmp_path / "state", SMALL) as journal:
        path = tmp_path / "receiver.toml"
        path.write_text(QUICK)

        def turned() -> None:
            turns.append(len(turns) + 1)
            if len(turns) == 5:
                source.stop()

        options = SourceOptions(config=config_from_file(path), journal=journal, turned=turned)
        source = ReceiverSource(parse_uri("dicom://127.0.0.1:0", ["dicom://"]), options)
        with source:
            items = list(source)
        assert turns == [1, 2, 3, 4, 5]
        assert len(items) <= 4
        assert all(isinstance(item, Frame) and item.provisional for item in items)
        assert len(journal.instances.undelivered()) == 36


def test_the_watchdog_is_fed_with_every_picture_of_the_journal(tmp_path: Path) -> None:
    acknowledged(tmp_path)
    turns: list[None] = []
    with Journal(tmp_path / "state", SMALL) as journal:
        path = tmp_path / "receiver.toml"
        path.write_text("[dicom]\nseries_s = 0.2\nprovisional = false\n")
        options = SourceOptions(
            config=config_from_file(path), journal=journal, turned=lambda: turns.append(None)
        )
        with ReceiverSource(parse_uri("dicom://127.0.0.1:0", ["dicom://"]), options) as source:
            first = next(iter(source))
        assert isinstance(first, Frame)
        assert not first.provisional
        # Each of them, and at least once more until the series is whole.
        assert len(turns) > 36
