"""The command line, one module a command: it calls the library, and says what was written.

The parsers need no JAX: each command imports what it works with when it starts to work.

Exit codes: 0 when the work is done, 1 for an error, 2 for wrong usage, 3 where ``copies`` finds copies, 130
after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP. An interrupted command keeps the work it has done.
"""

import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ellipsoid.cli.parsing import UnknownCommand, overview, parsed
from ellipsoid.cli.printing import OutputOptions, output_as, print_summary
from ellipsoid.cli.streams import unfailing_output
from ellipsoid.provenance import commanded
from ellipsoid.version import __version__

# Signals that end a command as Ctrl-C does; Windows lacks one.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
# Advice of the library, in words of the command line.
_OWN_WORDS = {
    "fit a mixture with ellipsoid.fit_by_label": "fit a mixture with `ellipsoid fit --labels`",
    "sink: ": "--out: ",
    "path: ": "",
    "the same call ": "the same command ",
}


def main(args: Sequence[str] | None = None) -> int:
    """Parse and run one command.

    Parameters
    ----------
    args : sequence of str, optional
        Words of the command. By default those that the program was started with.

    Returns
    -------
    int
        Exit status: 0 when the work is done, 1 for an error, 3 where copies are found, and 128 plus the
        number of the signal for a command that is interrupted: 130 for Ctrl-C.

    Raises
    ------
    SystemExit
        After ``--help`` of a command, and for wrong usage.
    """
    words = sys.argv[1:] if args is None else list(args)
    with unfailing_output(), _interruptible(is_program=args is None) as received:
        try:
            try:
                return _run(words)
            except KeyboardInterrupt as error:
                return _say_interrupted(error, received, words)
        except KeyboardInterrupt as error:  # one more, in the moment of the message
            return _say_interrupted(error, received, words)


def _run(words: list[str]) -> int:
    try:
        if words in ([], ["-h"], ["--help"]):
            print(overview(), file=sys.stdout if words else sys.stderr)
            return 0 if words else 2
        if words == ["--version"]:
            print(f"ellipsoid {__version__}")
            return 0
        try:
            asked = parsed(words)
        except UnknownCommand as error:
            _say(str(error))
            return 2
        with (
            commanded(["ellipsoid", *words]),
            output_as(asked.output),
            _warnings_in_one_line(words, asked.output),
        ):
            status = asked.command.run() or 0
            print_summary(asked.name)
            return status
    except (ValueError, TypeError, OSError, RuntimeError, ImportError, MemoryError) as error:
        if any(isinstance(cause, KeyboardInterrupt) for cause in _chain(error)):
            raise KeyboardInterrupt from error  # a module that was cut while it was imported, say
        text = _in_own_words(" ".join(str(error).split()) or type(error).__name__, words)
        _say("; ".join([text, *getattr(error, "__notes__", ())]))
        return 1


# --- errors ------------------------------------------------------------------------------------------


def _say(text: str) -> None:
    """Print one line on standard error; names of files may hold anything, also what a terminal obeys."""
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    print(f"ellipsoid: {line}", file=sys.stderr, flush=True)


@contextmanager
def _warnings_in_one_line(words: list[str], options: OutputOptions) -> Iterator[None]:
    """Print each warning of the block as errors are printed, without the line of code that raised it."""

    def show(message: Warning | str, *_: Any) -> None:
        _say(f"warning: {_in_own_words(' '.join(str(message).split()), words)}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        if options.quiet:
            warnings.simplefilter("ignore")
        yield


def _in_own_words(text: str, words: list[str]) -> str:
    """Name the option in a message of the library that names an argument, if that option was given."""
    name, colon, rest = text.partition(": ")
    option = f"--{name.replace('_', '-')}"
    if colon and any(word.partition("=")[0].replace("_", "-") == option for word in words):
        text = f"{option}: {rest}"
    text = re.sub(r"(?<=cannot be combined with )[\w, ]+", lambda names: _as_options(names[0]), text)
    for theirs, ours in _OWN_WORDS.items():
        if text.startswith(theirs) or not theirs.endswith(": "):
            text = text.replace(theirs, ours)
    return text


def _as_options(names: str) -> str:
    return ", ".join(f"--{name.strip().replace('_', '-')}" for name in names.split(","))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Follow the error to what it was raised from or during."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


# --- signals -----------------------------------------------------------------------------------------


@contextmanager
def _interruptible(*, is_program: bool) -> Iterator[list[int]]:
    """Let the block be interrupted by SIGTERM and SIGHUP as by Ctrl-C; gives the numbers of those received.

    At the end of a program, signals end it without a word: Python's own handler would print a traceback.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # Python handles signals in the main thread only
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def interrupt(number: int, frame: Any) -> None:
        received.append(number)
        # Training, for example, waits for the end of the epoch.
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):
            raise KeyboardInterrupt
        handler(number, frame)

    for number, handler in before.items():
        # A signal that is ignored, under nohup for example, stays ignored.
        if number != signal.SIGINT and handler is signal.SIG_DFL:
            signal.signal(number, interrupt)
    try:
        yield received
    finally:
        for number, handler in before.items():
            if is_program and handler is not signal.SIG_IGN:
                handler = signal.SIG_DFL
            if handler is not None:
                signal.signal(number, handler)


def _say_interrupted(error: KeyboardInterrupt, received: list[int], words: list[str]) -> int:
    """Say what is kept; no further signal can come in between."""
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    # A second interruption has no message; the first may have one.
    kept = (" ".join(str(cause).split()) for cause in _chain(error) if isinstance(cause, KeyboardInterrupt))
    _say(_in_own_words(next(filter(None, kept), "interrupted"), words))
    return 128 + (received[-1] if received else signal.SIGINT)
