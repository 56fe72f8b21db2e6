"""Output of a command: lines and tables for a person, one JSON object for a program, or nothing."""

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ellipsoid.progress import without_progress


@dataclass(frozen=True)
class OutputOptions:
    """Options that every command has."""

    quiet: bool = False
    """Silence: no progress, no summary and no warnings. Errors are still printed."""
    json: bool = False
    """Summary as one JSON object on standard output. Progress, warnings and errors go to standard error."""


@dataclass
class _Output:
    """Output of the command under way, and what it has said so far."""

    options: OutputOptions = dataclasses.field(default_factory=OutputOptions)
    messages: list[str] = dataclasses.field(default_factory=list)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    is_summarised: bool = False

    @property
    def is_text(self) -> bool:
        return not (self.options.quiet or self.options.json)


_output: ContextVar[_Output | None] = ContextVar("output", default=None)


@contextmanager
def output_as(options: OutputOptions) -> Iterator[None]:
    """Let everything that is said in the block go out as the options ask for."""
    token = _output.set(_Output(options))
    try:
        with without_progress(options.quiet):
            yield
    finally:
        _output.reset(token)


def say(text: str, **facts: Any) -> None:
    """Print a line at once, and keep the facts in it for programs.

    Parameters
    ----------
    text : str
        Line for a person.
    **facts
        The same in values: numbers, strings, paths, and lists or dictionaries of them.
    """
    output = note(**facts)
    output.messages.append(text)
    if output.is_text:
        print(text, flush=True)


def print_table(rows: Iterable[Sequence[str]], header: Sequence[str] = (), **facts: Any) -> None:
    """Print rows of text in columns, with lines around them unless there is a header; keep the facts."""
    if not note(**facts).is_text:
        return
    from rich.box import HEAVY_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, show_header=bool(header), box=None if header else HEAVY_HEAD)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def print_summary(command: str) -> None:
    """Print the JSON object of a command once, if it is asked for: its name, its facts and its lines."""
    output = _output.get()
    if output is not None and output.options.json and not output.is_summarised:
        output.is_summarised = True
        summary = {"command": command, **output.facts, "messages": output.messages}
        print(json.dumps(_plain(summary), allow_nan=False, default=str), flush=True)


def note(**facts: Any) -> _Output:
    """Keep facts for programs, without a line for a person."""
    output = _output.get() or _Output()
    output.facts.update(facts)
    return output


def _plain(value: Any) -> Any:
    """Give a value of the kinds that JSON has; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # numbers and arrays of NumPy and JAX
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
