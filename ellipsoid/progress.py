"""The progress bar of all long work: rate and time left, on standard error; it can be switched off."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: ``advance(count, note="")`` moves a bar on; the note, such as a loss, follows the bar.
Advance = Callable[..., None]


@contextmanager
def progress_bar(label: str, total: int, *, enabled: bool = True, unit: str = "rows") -> Iterator[Advance]:
    """Show progress towards a total while the block runs.

    Parameters
    ----------
    label : str
        Text before the bar.
    total : int
        Number of units of the full bar.
    enabled : bool
        Whether to show a bar.
    unit : str
        Plural of the counted unit, for the rate.

    Yields
    ------
    Advance
        Function that moves the bar.
    """
    if not enabled:
        yield lambda count, note="": None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            # A finished bar shows the mean rate: steps that end in one burst would look too fast.
            speed = task.completed / task.finished_time if task.finished_time else task.speed
            return Text(f"{speed:,.0f} {unit}/s" if speed else "", style="progress.data.speed")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=total, note="")
        yield lambda count, note="": progress.update(task, advance=count, note=note)
