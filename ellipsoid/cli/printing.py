"""Lines and tables on standard output."""

from collections.abc import Iterable, Sequence


def say(text: str) -> None:
    """Print a line, at once."""
    print(text, flush=True)


def print_table(rows: Iterable[Sequence[str]], header: Sequence[str] = ()) -> None:
    """Print rows of text in columns, with lines around them unless there is a header."""
    from rich.box import HEAVY_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, show_header=bool(header), box=None if header else HEAVY_HEAD)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
