"""A pytest plugin for a machine that has the real data: no test marked ``real`` may be skipped there."""

from __future__ import annotations

import pytest


class RealTests:
    """Counts what became of the tests marked ``real``."""

    def __init__(self) -> None:
        self.executed: set[str] = set()
        self.skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if "real" not in report.keywords:
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
    if not hasattr(config, "workerinput"):  # one process hears what all workers of pytest-xdist report
        config.pluginmanager.register(RealTests())
