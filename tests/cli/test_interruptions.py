"""One place handles all signals and all errors of all commands."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ellipsoid import cli
from ellipsoid.cli import main
from ellipsoid.cli.parsing import Invocation


@pytest.fixture
def run(monkeypatch, capsys):
    """Exit status and standard error of a command that runs the given function."""

    def ended(act):
        command = type("Command", (), {"run": lambda _: act()})()
        monkeypatch.setattr(cli, "parsed", lambda _: Invocation("works", command))
        handlers = [signal.getsignal(number) for number in cli._SIGNALS]
        status = main(["command"])
        assert [signal.getsignal(number) for number in cli._SIGNALS] == handlers
        return status, capsys.readouterr().err

    return ended


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_every_signal_interrupts(run, name, status):
    assert run(lambda: signal.raise_signal(getattr(signal, name))) == (status, "ellipsoid: interrupted\n")


def test_sigterm_waits_for_what_waits_for_a_key_press(run):
    seen = []

    def act():
        before = signal.signal(signal.SIGINT, lambda *_: seen.append("end of the epoch"))
        signal.raise_signal(signal.SIGTERM)
        signal.signal(signal.SIGINT, before)

    assert run(act) == (0, "")
    assert seen == ["end of the epoch"]


def test_a_second_key_press_does_not_skip_the_message(run, monkeypatch):
    def act():
        try:
            raise KeyboardInterrupt("interrupted: 40 rows are kept")
        finally:
            signal.raise_signal(signal.SIGINT)

    assert run(act) == (130, "ellipsoid: interrupted: 40 rows are kept\n")

    say_interrupted, calls = cli._say_interrupted, []

    def pressed_again(error, *about):
        calls.append(error)
        if len(calls) == 1:
            signal.raise_signal(signal.SIGINT)
        return say_interrupted(error, *about)

    monkeypatch.setattr(cli, "_say_interrupted", pressed_again)
    assert run(act) == (130, "ellipsoid: interrupted: 40 rows are kept\n")
    assert len(calls) == 2


def test_an_import_that_is_cut_is_an_interruption(run):
    def act():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("module is half initialised")  # noqa: B904

    assert run(act) == (130, "ellipsoid: interrupted\n")


def test_notes_are_part_of_the_line_and_nothing_reaches_the_terminal_as_an_order(run):
    def act():
        error = OSError("can't write\n \x1b[31mfile")
        error.add_note("40 rows are kept")
        raise error

    assert run(act) == (1, "ellipsoid: can't write \\x1b[31mfile; 40 rows are kept\n")

    def lack():
        raise MemoryError

    assert run(lack) == (1, "ellipsoid: MemoryError\n")


_PROGRAM = """
import sys, time
from ellipsoid import cli
from ellipsoid.cli.parsing import Invocation

class Command:
    def run(self):
        print("ready", flush=True)
        time.sleep(float(sys.argv[1]))

cli.parsed = lambda _: Invocation("works", Command())
status = cli.main()
print("done", flush=True)
time.sleep(1)
sys.exit(status)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("seconds", ["30", "0"])
def test_a_real_process_ends_without_a_traceback(name, seconds):
    """A real process ends without a traceback, both during its work and after it."""
    number = getattr(signal, name)
    command = [sys.executable, "-c", _PROGRAM, seconds]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=os.environ, **pipes) as process:
        awaited = "ready" if seconds == "30" else "done"
        while awaited not in process.stdout.readline():
            time.sleep(0.01)
        process.send_signal(number)
        _, error = process.communicate(timeout=30)
    if seconds == "30":
        assert (process.returncode, error) == (128 + number, "ellipsoid: interrupted\n")
    else:
        assert (process.returncode, error) == (-number, "")
