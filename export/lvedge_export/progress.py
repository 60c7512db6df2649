"""How far the building of an engine is, on a terminal."""

from __future__ import annotations

from collections import defaultdict
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TimeElapsedColumn


class BuildBars:
    """A bar for each phase that a builder is in, on standard error; nothing where that is no terminal.

    Args:
        console: where they are drawn.
    """

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._phases: dict[str, list[TaskID]] = defaultdict(list)
        self._depths: dict[str, int] = {}
        self.graph = ""

    def __enter__(self) -> BuildBars:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def started(self, phase: str, parent: str | None, steps: int) -> None:
        """As in ``lvedge_runtime.engines.trt_build.Progress``."""
        depth = self._depths[phase] = 0 if parent is None else self._depths.get(parent, 0) + 1
        name = f"{self.graph}: {phase}" if parent is None else f"{'  ' * depth}{phase}"
        self._phases[phase].append(self._bars.add_task(name, total=steps))

    def stepped(self, phase: str, step: int) -> None:
        """As in ``lvedge_runtime.engines.trt_build.Progress``."""
        self._bars.update(self._phases[phase][-1], completed=step + 1)

    def finished(self, phase: str) -> None:
        """As in ``lvedge_runtime.engines.trt_build.Progress``."""
        self._bars.remove_task(self._phases[phase].pop())
