"""A pytest plugin for a machine that has the real data: no test marked ``real`` may be skipped there."""

from __future__ import annotations

import pytest


class RealTests:
    """Counts what became of the tests marked ``real``."""

    def __init__(self) -> None:
        self.marked: set[str] = set()
        self.executed: set[str] = set()
        self.skipped: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.marked = {item.nodeid for item in items if item.get_closest_marker("real")}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid not in self.marked:
            return
        if report.skipped:
            self.skipped[report.nodeid] = str(report.longrepr)
        elif report.when == "call":
            self.executed.add(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.skipped or not self.executed:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        executed, skipped = len(self.executed), len(self.skipped)
        terminalreporter.write_line(f"tests on real data: {executed} executed, {skipped} skipped")
        for name, reason in self.skipped.items():
            terminalreporter.write_line(f"must not be skipped where the data is: {name}: {reason}", red=True)
        if not self.executed:
            terminalreporter.write_line("no test on real data was executed", red=True)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(RealTests())
