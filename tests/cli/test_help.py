"""Help: it comes at once, is complete, and fits narrow terminals."""

import re
import subprocess
import sys

import pytest

from ellipsoid.cli import main
from ellipsoid.cli.parsing import EXIT_CODES, overview

COMMANDS = re.findall(r"^  (\w+) {2,}\S", overview(), flags=re.MULTILINE)


def test_the_program_starts_as_a_module():
    command = [sys.executable, "-m", "ellipsoid", "--help"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == overview()


def test_help_and_version_need_no_jax():
    code = f"""
import contextlib, io, sys
from ellipsoid.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    main(["--version"])
    main(["--help"])
    assert "numpy" not in sys.modules
    for command in {COMMANDS}:
        with contextlib.suppress(SystemExit):
            main([command, "--help"])
print(*sys.modules)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert {"jax", "flax", "scipy", "matplotlib"} & set(output.split()) == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, monkeypatch, capsys):
    """Every option has a description that begins with a noun, and the lines fit the terminal."""
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert " ".join(printed.split()).endswith(EXIT_CODES)
    usage, *lines = printed.splitlines()
    assert max(map(len, lines)) <= 60
    assert usage.startswith(f"usage: ellipsoid {command} ")
    described = " ".join(re.sub(r"[│╭╰─╯╮]", " ", printed).split())
    options = re.findall(r" (--[a-z-]+) (?:[A-Z|{\[][^ ]*(?: \[.*?\]\])? )?([A-Z][a-z]+)", described)
    assert {"--quiet", "--json"} <= {option for option, _ in options}
    assert {word for _, word in options} & {"Of", "What", "As", "Whether", "If", "The"} == set()


def test_a_mistyped_command_or_option_gets_a_suggestion(capsys):
    assert main(["smaple", "x"]) == 2
    assert "got smaple; did you mean sample?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["sample", "x", "--n", "3", "--out", "z.npy", "--sede", "3"])
    assert "--seed" in capsys.readouterr().err
