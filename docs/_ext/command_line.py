"""The page of the command line, made of the help that each command prints.

The page says ``<!-- commands -->`` where the commands belong.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from unittest import mock

from sphinx.application import Sphinx
from sphinx.util import logging

from ellipsoid.cli import main

_log = logging.getLogger(__name__)
_PAGE = "cli"
_MARK = "<!-- commands -->"


def help_of(*words: str) -> str:
    """Help of a command as text without boxes, colours or wrapped lines."""
    printed = io.StringIO()  # it has no encoding, so the help is printed in ASCII
    terminal = mock.patch.dict(os.environ, {"COLUMNS": "1000", "NO_COLOR": "1"})
    with terminal, contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    return printed.getvalue()


def command_names() -> list[str]:
    """Names of the commands in the order of the program's own help."""
    return re.findall(r"^  (\w+) {2,}\S", help_of(), flags=re.MULTILINE)


def section(command: str) -> str:
    """Section of one command in Markdown: its usage, its description, and a list of its options."""
    usage, _, rest = help_of(command).partition("\n\n")
    blocks = re.split(r"^ (.+?) *\n -+ *\n", rest, flags=re.MULTILINE)
    description, titled = blocks[0], zip(blocks[1::2], blocks[2::2], strict=True)
    lines = [
        f"## {command}",
        "",
        "```text",
        usage.removeprefix("usage: "),
        "```",
        "",
        _escaped(description),
        "",
    ]
    for title, block in titled:
        options, *notes = re.split(r"^(?=\S)", block, flags=re.MULTILINE)
        lines += [f"**{title.capitalize()}**", ""]
        for name, text in _entries(options):
            lines += [f"`{name}`", f": {_escaped(text)}", ""]
        lines += [_escaped("".join(notes)), ""]
    return "\n".join(lines)


def _entries(block: str) -> Iterator[tuple[str, str]]:
    """Names and descriptions of options; a description may begin beside its name or below it."""
    for entry in re.split(r"^  (?=\S)", block, flags=re.MULTILINE)[1:]:
        name, _, text = re.sub(r"\n|$", "  ", entry, count=1).partition("  ")
        yield name, " ".join(text.split())


def _escaped(text: str) -> str:
    return re.sub(r"([\\*_<>\[\]{}$|])", r"\\\1", text)


def _fill(app: Sphinx, page: str, source: list[str]) -> None:
    if page != _PAGE:
        return
    sections = [section(name) for name in command_names()]
    if _MARK not in source[0] or not sections or not all("`-h, --help`" in one for one in sections):
        _log.warning("cli: expected the line %s, and options of every command", _MARK, location=page)
    source[0] = source[0].replace(_MARK, "\n".join(sections))


def setup(app: Sphinx) -> dict[str, bool]:
    """Fill the page whenever the site is built."""
    app.connect("source-read", _fill)
    app.connect("env-get-outdated", lambda *_: [_PAGE])
    return {"parallel_read_safe": True, "parallel_write_safe": True}
