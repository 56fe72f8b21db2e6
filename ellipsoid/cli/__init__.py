"""The command line, one module a command: it parses, calls the library, and says what was written."""

import sys
from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> int:
    """Parse and run one command.

    Parameters
    ----------
    args : sequence of str, optional
        Words of the command; those that the program was started with when absent.

    Returns
    -------
    int
        Exit status: 0, 1 for an error that is said in one line, 130 when interrupted.

    Raises
    ------
    SystemExit
        After ``--help``, and for words that are no command.
    """
    try:
        _parsed(args).run()
    except KeyboardInterrupt as error:
        print(f"ellipsoid: {error or 'interrupted'}", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        print(f"ellipsoid: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _parsed(args):
    import tyro

    from ellipsoid.cli.demo import Demo
    from ellipsoid.cli.evaluate import Evaluate
    from ellipsoid.cli.fit import Fit
    from ellipsoid.cli.generate import Generate
    from ellipsoid.cli.report import Report
    from ellipsoid.cli.sample import Sample
    from ellipsoid.cli.train import Train

    return tyro.cli(
        Demo | Train | Fit | Sample | Generate | Report | Evaluate,
        prog="ellipsoid",
        description="Turn a plain autoencoder into a generator.",
        args=args,
        config=(
            tyro.conf.OmitSubcommandPrefixes,
            tyro.conf.OmitArgPrefixes,
            tyro.conf.FlagCreatePairsOff,
        ),
    )
