"""The words of a command line, parsed into the dataclass of its command."""

import ast
import dataclasses
import difflib
import importlib
import inspect
import itertools
import shutil
import textwrap
from dataclasses import dataclass, field
from typing import Annotated, Any, get_type_hints

from ellipsoid.cli.printing import OutputOptions

EXIT_CODES = (
    "Exit codes: 0 done, 1 error, 2 wrong usage, 3 copies found, 130 stopped by Ctrl-C, 143 by SIGTERM, "
    "129 by SIGHUP."
)
_TITLE = "Turn a plain autoencoder into a generator."
# Modules and classes of the commands, in the order of their help.
_COMMANDS = {
    "demo": ("demo", "Demo"),
    "train": ("train", "Train"),
    "import": ("importing", "Import"),
    "fit": ("fit", "Fit"),
    "sample": ("sample", "Sample"),
    "generate": ("generate", "Generate"),
    "directions": ("directions", "Directions"),
    "edit": ("edit", "Edit"),
    "report": ("report", "Report"),
    "evaluate": ("evaluate", "Evaluate"),
    "copies": ("copies", "Copies"),
    "fid": ("fid", "Fid"),
    "explore": ("explore", "Explore"),
}


@dataclass(frozen=True)
class Invocation:
    """A command that was asked for.

    Attributes
    ----------
    name : str
        Its name.
    command : object
        Its options, with a method ``run``.
    output : OutputOptions
        Options that all commands have.
    """

    name: str
    command: Any
    output: OutputOptions = field(default_factory=OutputOptions)


class UnknownCommand(ValueError):
    """A word that is not a command. The message suggests one that is."""


def parsed(words: list[str]) -> Invocation:
    """Parse the words of one command.

    Raises
    ------
    UnknownCommand
        For a name that is not a command.
    SystemExit
        After ``--help``, and for unknown options: the parser has printed the reason, with a suggestion.
    """
    n_flags = next((i for i, word in enumerate(words) if word not in ("--quiet", "--json")), len(words))
    name, *options = [*words[n_flags:], *words[:n_flags]]
    if name not in _COMMANDS:
        similar = difflib.get_close_matches(name, _COMMANDS, n=1)
        suggestion = f"; did you mean {similar[0]}?" if similar else f", which are {', '.join(_COMMANDS)}"
        raise UnknownCommand(f"expected one of the commands; got {name}{suggestion}")
    import tyro

    command = _command(name)
    whole = dataclasses.make_dataclass(
        "Words",
        [
            ("command", Annotated[command, tyro.conf.arg(name="")]),
            ("output", Annotated[OutputOptions, tyro.conf.arg(name="")]),
        ],
    )
    registry = tyro.constructors.ConstructorRegistry()
    registry.struct_rule(_options_of)
    try:
        words_of = tyro.cli(
            whole,
            prog=f"ellipsoid {name}",
            description=_wrapped(command.__doc__ or "", indent="  "),
            args=options,
            config=(
                tyro.conf.OmitArgPrefixes,
                tyro.conf.FlagCreatePairsOff,
                tyro.conf.DisallowNone,
                tyro.conf.PositionalMetavarFromFieldName,
            ),
            registry=registry,
        )
    except SystemExit as ended:
        if not ended.code:
            print(_wrapped(EXIT_CODES))
        raise
    return Invocation(name, words_of.command, words_of.output)


def overview() -> str:
    """Say what all commands do, a line each."""
    lines = [
        f"  {name:12}{(_command(name).__doc__ or '').partition(chr(10))[0].rstrip('.')}" for name in _COMMANDS
    ]
    return "\n".join(
        [
            "usage: ellipsoid [-h] [--version] COMMAND ...",
            "",
            _TITLE,
            "",
            *lines,
            "",
            "Options of a command: ellipsoid COMMAND --help",
            _wrapped(EXIT_CODES),
        ]
    )


def _command(name: str) -> type:
    module, command = _COMMANDS[name]
    return getattr(importlib.import_module(f"ellipsoid.cli.{module}"), command)


def _options_of(info: Any) -> Any:
    """Build the parser's rule for a dataclass: descriptions are whole paragraphs, and defaults are shown."""
    from tyro.conf import FlagConversionOff, arg
    from tyro.constructors import MISSING_NONPROP, StructConstructorSpec, StructFieldSpec

    if not dataclasses.is_dataclass(info.type):
        return None
    cls: Any = info.type
    hints, texts = get_type_hints(cls, include_extras=True), _descriptions(cls)
    fields = []
    for option in dataclasses.fields(cls):
        default = option.default
        if dataclasses.is_dataclass(info.default):
            default = getattr(info.default, option.name)
        elif option.default_factory is not dataclasses.MISSING:
            default = option.default_factory()
        hint: Any = hints[option.name]
        if default is dataclasses.MISSING:
            default = MISSING_NONPROP
        elif default is None or default is False or default == ():
            # An option without a default value takes a word, True or False.
            words = () if default is False else (FlagConversionOff,)
            hint = Annotated[(hint, arg(help_behavior_hint=""), *words)]
        fields.append(StructFieldSpec(option.name, hint, default, texts.get(option.name)))
    return StructConstructorSpec(cls, tuple(fields))


def _descriptions(cls: type) -> dict[str, str]:
    """Give the strings below the fields of a dataclass, by the names of the fields."""
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except OSError:
        return {}  # it was made by a function, or is installed without its source
    texts = {}
    for option, below in itertools.pairwise(ast.parse(source).body[0].body):  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(option, ast.AnnAssign) and isinstance(option.target, ast.Name):
            match below:
                case ast.Expr(ast.Constant(str(text))):
                    texts[option.target.id] = " ".join(text.split())
    return texts


def _wrapped(text: str, indent: str = "") -> str:
    """Wrap the paragraphs of a text to the width of the terminal, or to 100 letters.

    The parser joins the lines of a description, except those that are indented.
    """
    width = min(shutil.get_terminal_size().columns, 100)
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    return "\n\n".join(textwrap.fill(part, width, subsequent_indent=indent) for part in paragraphs)
