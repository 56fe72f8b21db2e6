"""The command ``sample``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ellipsoid.cli.counts import Count
from ellipsoid.cli.draw_options import DrawOptions, say_what_was_written


@dataclass(frozen=True)
class Sample:
    """Draw new latents from a fitted shape."""

    state: Positional[Path]
    """Fitted shape to draw from: a .npz file written by `ellipsoid fit`, or a run folder."""
    n: Count
    """Number of latents to draw."""
    out: str
    """File or folder for the latents: a name that ends in .npy, .zarr, .parquet or .tar."""
    draw: Annotated[DrawOptions, arg(name="")] = field(default_factory=DrawOptions)

    def run(self) -> None:
        """Draw and write."""
        self.draw.join_processes()
        from ellipsoid.workflows import write_latents

        drawing = self.draw.settle(self.state)
        written = write_latents(drawing, self.n, self.out, **self.draw.writing)
        say_what_was_written(written, self.n, self.out, kind="latents", dtype=self.draw.dtype)
