"""The command ``generate``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ellipsoid.cli.counts import Count
from ellipsoid.cli.draw_options import DrawOptions, as_edits, say_what_was_written


@dataclass(frozen=True)
class Generate:
    """Draw new latents from a run and decode them into images."""

    folder: Annotated[Positional[Path], arg(name="run")]
    """Run folder made by `ellipsoid train`, `import` or `demo`."""
    n: Count
    """Number of images to generate."""
    out: str
    """Folder for PNG files, or a name that ends in .npy, .zarr or .tar. Each PNG file occupies whole disk
    blocks, so .tar or .zarr suits more than about 100,000 images."""
    state: Path | None = None
    """Fitted shape (.npz) to draw from instead of the run's own."""
    edit: tuple[str, ...] = ()
    """Edits of every image, as in smiling=1.5: an attribute of `ellipsoid directions`, and the number of
    standard deviations to move along it. Images that leave the region are pulled towards the average. The
    columns of --beside describe the draws before the edit."""
    draw: Annotated[DrawOptions, arg(name="")] = field(default_factory=DrawOptions)

    def run(self) -> None:
        """Draw, decode and write."""
        self.draw.join_processes()
        from ellipsoid.runs import load_autoencoder
        from ellipsoid.workflows import decoder_of, write_images, write_latents

        autoencoder = load_autoencoder(self.folder)
        drawing = self.draw.settle(self.folder if self.state is None else self.state)
        if self.edit:
            from ellipsoid.run_directions import edited_decoder, run_direction
            from ellipsoid.shapes import check_shape

            edits = [(run_direction(self.folder, name), amount) for name, amount in as_edits(self.edit)]
            shape = check_shape(drawing.shape, self.draw.writing["label"])
            where = {name: value for name, value in drawing.options.items() if name != "law"}
            decode, decoder_digest = edited_decoder(*decoder_of(autoencoder), shape, edits, **where)
            options = {**self.draw.writing, "decode": decode, "decoder_digest": decoder_digest}
            written = write_latents(drawing, self.n, self.out, **options)
        else:
            written = write_images(autoencoder, drawing, self.n, self.out, **self.draw.writing)
        say_what_was_written(written, self.n, self.out, kind="images", dtype=self.draw.dtype)
