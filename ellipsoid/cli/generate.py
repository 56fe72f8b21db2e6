"""The command ``generate``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ellipsoid.cli.counts import Count
from ellipsoid.cli.draw_options import DrawOptions, as_edits, say_what_was_written
from ellipsoid.runs import load_autoencoder
from ellipsoid.shapes import check_shape
from ellipsoid.workflows import decoder_of, write_images, write_latents


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
    """Shape (.npz) to draw from instead of the run's own."""
    edit: tuple[str, ...] = ()
    """Edit of every image, as in smiling=1.5: an attribute of the run's directions, and how many standard
    deviations to move along it; or several. Images that leave the region are pulled towards the average.
    Columns beside the images are those of the draws before the edit."""
    draw: Annotated[DrawOptions, arg(name="")] = field(default_factory=DrawOptions)

    def run(self) -> None:
        """Draw, decode and write."""
        self.draw.join_processes()
        autoencoder = load_autoencoder(self.folder)
        drawing = self.draw.settle(self.folder if self.state is None else self.state)
        if self.edit:
            from ellipsoid.run_directions import edited_decoder, run_direction

            edits = [(run_direction(self.folder, name), amount) for name, amount in as_edits(self.edit)]
            shape = check_shape(drawing.shape, self.draw.writing["label"])
            where = {name: value for name, value in drawing.options.items() if name != "law"}
            decode, decoder_digest = edited_decoder(*decoder_of(autoencoder), shape, edits, **where)
            options = {**self.draw.writing, "decode": decode, "decoder_digest": decoder_digest}
            written = write_latents(drawing, self.n, self.out, **options)
        else:
            written = write_images(autoencoder, drawing, self.n, self.out, **self.draw.writing)
        say_what_was_written(written, self.n, self.out, kind="images", dtype=self.draw.dtype)
