"""Printing never stops any work."""

import io
import os
import subprocess
import sys

import pytest

from ellipsoid import cli
from ellipsoid.cli.parsing import Invocation
from ellipsoid.cli.streams import UnfailingStream, unfailing_output


class Told:
    """A command that prints a table and a line."""

    def run(self):
        from ellipsoid.cli.printing import print_table, say

        print_table([["Fréchet", "±"]], ("setting", "error"))
        say("Fréchet ± 0.1")


def test_a_character_without_a_code_is_a_question_mark(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1251", errors="strict"))
    monkeypatch.setattr(cli, "parsed", lambda _: Invocation("told", Told()))
    assert cli.main(["told"]) == 0
    assert sys.stdout.errors == "strict"
    assert "Fr?chet ± 0.1" in written.getvalue().decode("cp1251")


def test_nobody_reads_what_is_printed(monkeypatch):
    """The reader of the pipe has gone: neither the command nor a later write to the pipe fails."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        monkeypatch.setattr(cli, "parsed", lambda _: Invocation("told", Told()))
        assert cli.main(["told"]) == 0
        pipe.write("goes nowhere")


def test_a_closed_or_missing_stream(monkeypatch):
    closed = io.StringIO()
    closed.close()
    stream = UnfailingStream(closed)
    assert stream.write("text") == 4
    stream.writelines(["more", "lines"])
    stream.flush()
    monkeypatch.setattr(sys, "stdout", None)
    with unfailing_output():
        print("nothing")
    assert sys.stdout is None


def test_other_errors_than_those_of_printing_pass():
    stream = UnfailingStream(io.StringIO())
    with pytest.raises(TypeError):
        stream.write(3)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1251", "ascii", "utf-8"])
def test_a_real_command_into_a_pipe_that_nobody_reads(trained_run, tmp_path, encoding):
    words = f"sample {trained_run} --n 5 --out {tmp_path}/z.npy"
    command = f"set -o pipefail; {sys.executable} -m ellipsoid {words} | true"
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, check=True
    )
    assert "Errno" not in done.stderr
    assert (tmp_path / "z.npy").exists()
    command = f"set -o pipefail; {sys.executable} -m ellipsoid train --help | head -1"
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("usage: ellipsoid train ")
    assert done.stderr == ""
