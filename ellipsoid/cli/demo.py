"""The command ``demo``."""

from dataclasses import dataclass
from pathlib import Path

from ellipsoid.cli.printing import print_table, say
from ellipsoid.runs import RunFolder


@dataclass(frozen=True)
class Demo:
    """See the whole method at work on embedded data: train, fit, draw, decode, report.

    Takes a few minutes on two cores and downloads nothing.
    """

    out: Path = Path("run")
    """Folder for everything that is made."""
    full: bool = False
    """The source's shape: 64 pixels, 256 latents. Takes about half an hour on two cores."""
    seed: int = 0
    """Seed of everything random."""

    def run(self) -> None:
        """Run the demonstration and print what was measured."""
        from ellipsoid.demo import DemoConfig, run_demo

        config = DemoConfig.full(self.seed) if self.full else DemoConfig.small(self.seed)
        print_table(run_demo(self.out, config).items())
        say(f"wrote {self.out}; open {RunFolder(self.out).report} in a browser")
