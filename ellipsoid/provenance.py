"""Provenance of results: their date, version and command."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from ellipsoid.version import __version__

_command: ContextVar[str | None] = ContextVar("command", default=None)


@contextmanager
def commanded(words: Sequence[str]) -> Iterator[None]:
    """Record the command that asked for the results made in the block.

    Parameters
    ----------
    words : sequence of str
        Words of the command, as a shell would split it.
    """
    token = _command.set(shlex.join(words))
    try:
        yield
    finally:
        _command.reset(token)


def provenance() -> dict[str, str]:
    """Return the provenance of a result made now.

    Returns
    -------
    dict
        ``date`` in UTC, in ISO 8601; ``version`` of this package; and ``command``, if there is one.

    Examples
    --------
    >>> with commanded(["ellipsoid", "report", "my run"]):
    ...     made = provenance()
    >>> sorted(made), made["command"]
    (['command', 'date', 'version'], "ellipsoid report 'my run'")
    """
    command = _command.get()
    made = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "version": __version__}
    return made if command is None else made | {"command": command}


def told(made: Mapping[str, str]) -> str:
    """Format a provenance for a reader.

    Parameters
    ----------
    made : mapping
        Provenance from :func:`provenance`.

    Examples
    --------
    >>> told({"date": "2026-11-29T02:15:00+00:00", "version": "0.1.0", "command": "ellipsoid report run"})
    '2026-11-29 02:15 UTC by ellipsoid 0.1.0, `ellipsoid report run`'
    """
    date = datetime.fromisoformat(made["date"]).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    command = f", `{made['command']}`" if "command" in made else ""
    return f"{date} by ellipsoid {made['version']}{command}"
