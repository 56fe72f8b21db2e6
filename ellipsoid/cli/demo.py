"""The command ``demo``."""

from dataclasses import dataclass
from pathlib import Path

from ellipsoid.cli.printing import print_table, say


@dataclass(frozen=True)
class Demo:
    """Show the whole method on embedded data: train, fit, draw, decode, report.

    The demonstration takes a few minutes on two cores and downloads nothing.
    """

    out: Path = Path("run")
    """Run folder that is made: autoencoder, latents, shapes, pictures and report."""
    full: bool = False
    """Images of 64 x 64 pixels and 256 latents, the sizes of the original study, in place of 40 x 40 and 64.
    This takes about half an hour on two cores."""
    seed: int = 0
    """Random seed of the demonstration."""

    def run(self) -> None:
        """Run the demonstration and print what was measured."""
        from ellipsoid.demo import DemoConfig, run_demo
        from ellipsoid.runs import RunFolder

        config = DemoConfig.full(self.seed) if self.full else DemoConfig.small(self.seed)
        measured, page = run_demo(self.out, config), RunFolder(self.out).report
        print_table(measured.items(), measurements=measured)
        say(f"wrote {self.out}; open {page} in a browser", written=[self.out, page])
