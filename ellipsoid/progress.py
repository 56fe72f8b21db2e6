"""The progress bar of all long work: rate and time left, on standard error; it can be switched off."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: ``advance(count, note="")`` moves a bar on; the note, such as a loss, follows the bar.
Advance = Callable[..., None]

# Widths of a terminal from which counts are shown, and below which only the share and the time are.
_WIDE, _NARROW = 90, 60

_is_silent: ContextVar[bool] = ContextVar("is_silent", default=False)


@contextmanager
def without_progress(silent: bool = True) -> Iterator[None]:
    """Let no bar be shown in the block, whatever is asked for there.

    Parameters
    ----------
    silent : bool
        Whether bars are hidden at all.
    """
    token = _is_silent.set(silent or _is_silent.get())
    try:
        yield
    finally:
        _is_silent.reset(token)


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
    if not enabled or _is_silent.get():
        yield lambda count, note="": None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            # A finished bar shows the mean rate: steps that end in one burst would look too fast.
            speed = task.completed / task.finished_time if task.finished_time else task.speed
            return Text(f"{speed:,.0f} {unit}/s" if speed else "", style="progress.data.speed")

    console = Console(stderr=True)
    is_wide, is_narrow = console.width >= _WIDE, console.width < _NARROW
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24 if is_wide else 8),
        MofNCompleteColumn() if is_wide else TaskProgressColumn(),
        *([] if is_narrow else [Rate(table_column=Column(no_wrap=True))]),
        TimeRemainingColumn(compact=is_narrow, elapsed_when_finished=True),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(label, total=total, note="")
        yield lambda count, note="": progress.update(task, advance=count, note=note)
