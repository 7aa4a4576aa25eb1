"""Progress bars as a terminal shows them; importing what draws them takes a tenth of a second, so whoever draws none does not."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["Bars", "bars"]


class Bars(Progress):
    """Bars, and below them how the work goes: beside them it would push count and time left off a terminal of 80 columns."""

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield the table of bars, and a line of words for each that has some."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if task.fields["status"]:
                yield Text(f"    {task.fields['status']}", no_wrap=True, overflow="ellipsis")


def bars() -> Bars:
    """Return bars on standard error that vanish when the work is done."""
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    return Bars(*columns, console=Console(stderr=True), transient=True)
