"""The command line, one module a command: it parses, calls the library, and says what was written.

Exit codes: 0 when the work is done, 1 for an error that is said in one line, 2 for words that are no command,
3 where ``copies`` finds copies, 130 after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP. An interrupted
command keeps what it has.
"""

import functools
import operator
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ellipsoid.cli.streams import unfailing_output
from ellipsoid.provenance import commanded

# All of these end a command in the way of Ctrl-C; Windows lacks one.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_EXIT_CODES = "Exit codes: 0 done, 1 error, 2 unknown words, 3 copies, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP."
# What the library advises its callers, in words of the command line.
_OWN_WORDS = {
    "fit a mixture with ellipsoid.fit_by_label": "fit a mixture with `ellipsoid fit --labels`",
    "sink: ": "--out: ",
}


def main(args: Sequence[str] | None = None) -> int:
    """Parse and run one command.

    Parameters
    ----------
    args : sequence of str, optional
        Words of the command; those that the program was started with when absent.

    Returns
    -------
    int
        Exit status: 0, 1 for an error that is said in one line, 3 where copies are found, 130 when
        interrupted by Ctrl-C, 128 and the number of the signal when by another one.

    Raises
    ------
    SystemExit
        After ``--help``, and for words that are no command.
    """
    words = sys.argv[1:] if args is None else list(args)
    with unfailing_output(), _interruptible(is_program=args is None) as received:
        try:
            try:
                return _run(words)
            except KeyboardInterrupt as error:
                return _say_interrupted(error, received)
        except KeyboardInterrupt as error:  # one more, in the moment of the message
            return _say_interrupted(error, received)


def _run(words: list[str]) -> int:
    try:
        if words in ([], ["-h"], ["--help"]):
            print(_help(), file=sys.stdout if words else sys.stderr)
            return 0 if words else 2
        if words == ["--version"]:
            from ellipsoid import __version__

            print(f"ellipsoid {__version__}")
            return 0
        with commanded(["ellipsoid", *words]):
            return _parsed(words).run() or 0
    except (ValueError, TypeError, OSError, RuntimeError, ImportError, MemoryError) as error:
        if any(isinstance(cause, KeyboardInterrupt) for cause in _chain(error)):
            raise KeyboardInterrupt from error  # a module that was cut while it was imported, say
        text = _in_own_words(" ".join(str(error).split()) or type(error).__name__, words)
        _say("; ".join([text, *getattr(error, "__notes__", ())]))
        return 1


def _commands() -> list[type]:
    from ellipsoid.cli.copies import Copies
    from ellipsoid.cli.demo import Demo
    from ellipsoid.cli.directions import Directions
    from ellipsoid.cli.edit import Edit
    from ellipsoid.cli.evaluate import Evaluate
    from ellipsoid.cli.explore import Explore
    from ellipsoid.cli.fit import Fit
    from ellipsoid.cli.generate import Generate
    from ellipsoid.cli.importing import Import
    from ellipsoid.cli.report import Report
    from ellipsoid.cli.sample import Sample
    from ellipsoid.cli.train import Train

    return [
        Demo,
        Train,
        Import,
        Fit,
        Sample,
        Generate,
        Directions,
        Edit,
        Report,
        Evaluate,
        Copies,
        Explore,
    ]


def _help() -> str:
    """Say what all commands do, a line each."""
    lines = [
        f"  {command.__name__.lower():12}{(command.__doc__ or '').partition(chr(10))[0]}"
        for command in _commands()
    ]
    return "\n".join(
        [
            "usage: ellipsoid [-h] [--version] COMMAND ...",
            "",
            "Turn a plain autoencoder into a generator.",
            "",
            *lines,
            "",
            "Options of a command: ellipsoid COMMAND --help",
            _EXIT_CODES,
        ]
    )


def _parsed(words: list[str]) -> Any:
    import tyro

    commands: Any = functools.reduce(operator.or_, _commands())
    return tyro.cli(
        commands,
        prog="ellipsoid",
        description=f"Turn a plain autoencoder into a generator. {_EXIT_CODES}",
        args=words,
        config=(
            tyro.conf.OmitSubcommandPrefixes,
            tyro.conf.OmitArgPrefixes,
            tyro.conf.FlagCreatePairsOff,
        ),
    )


# --- errors ------------------------------------------------------------------------------------------


def _say(text: str) -> None:
    """Print one line on standard error; names of files may hold anything, also what a terminal obeys."""
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    print(f"ellipsoid: {line}", file=sys.stderr, flush=True)


def _in_own_words(text: str, words: list[str]) -> str:
    """Message of the library, with the option where that names an argument which was given by it."""
    name, colon, rest = text.partition(": ")
    option = f"--{name.replace('_', '-')}"
    if colon and any(word.partition("=")[0].replace("_", "-") == option for word in words):
        text = f"{option}: {rest}"
    for theirs, ours in _OWN_WORDS.items():
        if text.startswith(theirs) or not theirs.endswith(": "):
            text = text.replace(theirs, ours)
    return text


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
        # Training, for one, waits for the end of the epoch.
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):
            raise KeyboardInterrupt
        handler(number, frame)

    for number, handler in before.items():
        # What is ignored, under nohup for example, stays ignored.
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


def _say_interrupted(error: KeyboardInterrupt, received: list[int]) -> int:
    """Say what is kept; no further signal can come in between."""
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    # Of two interruptions, the first may have a message and the second has none.
    kept = (" ".join(str(cause).split()) for cause in _chain(error) if isinstance(cause, KeyboardInterrupt))
    _say(next(filter(None, kept), "interrupted"))
    return 128 + (received[-1] if received else signal.SIGINT)
