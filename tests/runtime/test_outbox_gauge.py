"""The outbox in numbers over a real one, and objects of an address that a PACS has no more."""

from __future__ import annotations

from pathlib import Path

import pytest
from disc_bundle import disc_bundle
from service_process import values

from lvedge_runtime.cli import main
from lvedge_runtime.journal.cli import main as outbox_main
from lvedge_runtime.journal.journal import Delivery, Journal
from lvedge_runtime.journal.outbox import ItemState, Outgoing
from lvedge_runtime.journal.setting import JournalSettings
from lvedge_runtime.service.health import Health
from lvedge_runtime.service.meter import Meter

NOW = 1_800_000_000.0
SMALL = JournalSettings(least_free_bytes=1)
OLD, NEW = "store://old:104", "store://new:104"


class Clock:
    """A wall clock that stands where it is put."""

    now = NOW

    def __call__(self) -> float:
        return self.now


def put(journal: Journal, destination: str, *uids: str) -> None:
    made = [Outgoing(destination, "1.2.840.10008.5.1.4.1.1.88.33", uid, "1.2", b"x") for uid in uids]
    journal.deliver(Delivery(outgoing=made))


def test_the_outbox_s_figures_are_those_of_its_objects(tmp_path: Path) -> None:
    clock, meter = Clock(), Meter(1.0)
    with Journal(tmp_path / "state", SMALL, clock) as journal, Health(lambda: 0.0, 30.0) as health:
        figures = journal.figures([NEW])
        meter.follow(figures)
        health.follow(figures)

        def told() -> dict[str, float]:
            return {n: v for n, v in values(meter.text()).items() if n.startswith("lvedge_outbox")}

        names = ("age_seconds", "waiting", "held", "dead")
        of_new = {f"lvedge_outbox_{name} {NEW}": 0.0 for name in names}
        assert told() == {**of_new, "lvedge_outbox_stranded": 0.0}
        assert health.state() == {"status": "ok", "reasons": []}
        put(journal, NEW, "9.1", "9.2", "9.3", "9.4")
        clock.now += 3000
        put(journal, OLD, "9.1", "9.2")
        clock.now += 1000
        journal.outbox.confirm(1, clock.now)
        journal.outbox.refuse(2, "refused with 0x0122", 1)
        assert told() == {
            **of_new,
            f"lvedge_outbox_age_seconds {NEW}": 4000.0,
            f"lvedge_outbox_age_seconds {OLD}": 1000.0,
            f"lvedge_outbox_waiting {NEW}": 2.0,
            f"lvedge_outbox_waiting {OLD}": 2.0,
            f"lvedge_outbox_dead {NEW}": 1.0,
            "lvedge_outbox_stranded": 2.0,
        }
        assert health.state() == {
            "status": "degraded",
            "reasons": [
                "outbox_age_seconds is 4000, more than 3600",
                "outbox_dead is 1, more than 0",
                "outbox_stranded is 2, more than 0",
            ],
        }


def test_objects_of_an_address_that_changed_are_told_and_moved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disc_bundle(tmp_path / "discs.lvedge")
    state = ("--state", str(tmp_path / "state"))
    with Journal(tmp_path / "state", SMALL) as journal:
        put(journal, OLD, "9.1", "9.2", "9.3")
        put(journal, NEW, "9.1")
        journal.outbox.confirm(3, NOW)
    (tmp_path / "box.toml").write_text(
        f'[run]\nstream = "demo:"\nlimit = 1\nsinks = ["jsonl:{tmp_path}/out.jsonl"]\n'
        f'bundle = "{tmp_path}/discs.lvedge"\n[journal]\nfolder = "state"\nleast_free_bytes = 1\n'
    )
    assert main(["--config", str(tmp_path / "box.toml")]) == 0
    rest = "which no sink names: name it, or lvedge-outbox move them or drop them"
    warned = [line for line in capsys.readouterr().err.splitlines() if "objects wait" in line]
    assert warned == [
        f"lvedge-run: 1 objects wait for {NEW}, {rest}",
        f"lvedge-run: 2 objects wait for {OLD}, {rest}",
    ]
    assert outbox_main(["move", OLD, f"{OLD}?called=A", *state]) == 2
    said = f"lvedge-outbox: error: {OLD} is one destination: name another to move to\n"
    assert capsys.readouterr().err == said
    assert outbox_main(["move", f"{OLD}?called=A", NEW, *state]) == 0
    assert outbox_main(["move", OLD, NEW, *state]) == 2
    said = capsys.readouterr()
    assert said.out == "2 moved\n"
    assert said.err == f"lvedge-outbox: error: nothing waits for {OLD}: see lvedge-outbox list\n"
    with Journal(tmp_path / "state", SMALL) as journal:
        found = [(item.destination, item.uid, item.state) for item in journal.outbox.items()]
        # Once there, whichever was first; what was sent stays noted.
        assert found == [
            (NEW, "9.2", ItemState.WAITING),
            (OLD, "9.3", ItemState.SENT),
            (NEW, "9.1", ItemState.WAITING),
        ]
        assert journal.outbox.content(2) == b"x"
