"""The command ``generate``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ellipsoid.cli.counts import Count
from ellipsoid.cli.draw_options import DrawOptions, say_what_was_written
from ellipsoid.runs import load_autoencoder
from ellipsoid.workflows import write_images


@dataclass(frozen=True)
class Generate:
    """Draw latents from a run's state and decode them into images."""

    folder: Annotated[Positional[Path], arg(name="run")]
    """A run folder, as made by train or demo."""
    n: Count
    """Number of images."""
    out: str
    """A folder for PNG images, or a name that ends in .npy, .zarr or .tar."""
    state: Path | None = None
    """A state or mixture (.npz) to draw from instead of the run's own."""
    draw: Annotated[DrawOptions, arg(name="")] = field(default_factory=DrawOptions)

    def run(self) -> None:
        """Draw, decode and write."""
        self.draw.join_processes()
        autoencoder = load_autoencoder(self.folder)
        drawing = self.draw.settle(self.folder if self.state is None else self.state)
        written = write_images(autoencoder, drawing, self.n, self.out, **self.draw.writing)
        say_what_was_written(written, self.n, self.out, kind="images", dtype=self.draw.dtype)
