"""The command ``sample``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ellipsoid.cli.counts import Count
from ellipsoid.cli.draw_options import DrawOptions, say_what_was_written
from ellipsoid.workflows import write_latents


@dataclass(frozen=True)
class Sample:
    """Draw latents from a state."""

    state: Positional[Path]
    """Shape (.npz), or a run folder."""
    n: Count
    """Number of latents."""
    out: str
    """File or folder for the latents: a name that ends in .npy, .zarr, .parquet or .tar."""
    draw: Annotated[DrawOptions, arg(name="")] = field(default_factory=DrawOptions)

    def run(self) -> None:
        """Draw and write."""
        self.draw.join_processes()
        drawing = self.draw.settle(self.state)
        written = write_latents(drawing, self.n, self.out, **self.draw.writing)
        say_what_was_written(written, self.n, self.out, kind="latents", dtype=self.draw.dtype)
