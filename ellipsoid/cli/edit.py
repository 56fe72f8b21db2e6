"""The command ``edit``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from ellipsoid.cli.printing import say
from ellipsoid.outputs import check_output
from ellipsoid.run_directions import edit_picture, run_direction
from ellipsoid.runs import load_autoencoder
from ellipsoid.settings import DEFAULT_LEVEL
from ellipsoid.workflows import how_to_draw

# Files of this command say so, by which it knows them again.
_SOFTWARE = "ellipsoid edit"


@dataclass(frozen=True)
class Edit:
    """Move a picture along a direction of a run's latents, step by step."""

    folder: Annotated[Positional[Path], arg(name="run")]
    """A run folder, as made by train or demo."""
    picture: Positional[Path]
    """File of an image, of which the largest centred square is taken."""
    along: str
    """Attribute to change, one of the run's directions."""
    out: Path
    """File for the strip, a .png file: the picture, its reconstruction, and the picture after each step."""
    amounts: tuple[float, ...] = (-3, -2, -1, 0, 1, 2, 3)
    """Numbers of standard deviations to move by."""
    level: float = DEFAULT_LEVEL
    """Half-width of each ellipse in standard deviations, for the region that the picture stays in. A picture
    outside of it goes no further out than it was."""
    free: bool = False
    """Permission to leave the region."""

    def run(self) -> None:
        """Encode, move, decode and save."""
        from ellipsoid import figures

        if self.out.suffix.lower() != ".png":
            raise ValueError(f"out: expected a name that ends in .png; got {self.out}")
        check_output("out", self.out, "a strip of this command", _read_strip, inputs=[self.picture])
        if not self.amounts:
            raise ValueError("amounts: expected one or more numbers; got none")
        autoencoder, direction = load_autoencoder(self.folder), run_direction(self.folder, self.along)
        shape = how_to_draw(self.folder, level=self.level).shape
        strip = edit_picture(
            autoencoder,
            shape,
            self.picture,
            direction,
            self.amounts,
            keep_inside=not self.free,
            towards="centre",
            level=self.level,
        )
        steps = [f"{amount:+g}" for amount in self.amounts]
        figure = figures.strips(
            [np.stack([strip.original, strip.reconstruction, *strip.images])],
            column_labels=["picture", "as encoded", *steps],
            title=f"{self.along}: this picture lies at {strip.score:+.2f} standard deviations",
        )
        figures.save(figure, self.out, software=_SOFTWARE)
        say(f"{self.picture} lies at {strip.score:+.2f} standard deviations along {self.along}")
        say(f"wrote {self.out}: gauge {strip.gauge.min():.2f} to {strip.gauge.max():.2f}")


def _read_strip(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        if image.info.get("Software") != _SOFTWARE:
            raise ValueError(f"{path}: not a strip of this command")
