"""The command ``edit``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ellipsoid.cli.printing import say
from ellipsoid.options import DEFAULT_LEVEL

# The command recognises its files by this name in them.
_SOFTWARE = "ellipsoid edit"


@dataclass(frozen=True)
class Edit:
    """Move a picture along an attribute's direction, step by step."""

    folder: Annotated[Positional[Path], arg(name="run")]
    """Run folder made by `ellipsoid train`, `import` or `demo`."""
    picture: Positional[Path]
    """Image file to edit. Its largest centred square is used."""
    along: str
    """Attribute to change, one of those that `ellipsoid directions` has learned."""
    out: Path
    """File (.png) for the strip: the picture, its reconstruction, and the picture after each step."""
    amounts: tuple[float, ...] = (-3, -2, -1, 0, 1, 2, 3)
    """Steps along the direction, in standard deviations."""
    level: float = DEFAULT_LEVEL
    """Half-width of each ellipse of the region in standard deviations. A picture inside the region stays
    inside; one outside moves no further out."""
    free: bool = False
    """Permission to leave the region."""
    force: bool = False
    """Permission to replace a file that this command did not make."""

    def run(self) -> None:
        """Encode, move, decode and save."""
        from ellipsoid.outputs import check_output

        if self.out.suffix.lower() != ".png":
            raise ValueError(f"out: expected a name that ends in .png; got {self.out}")
        check_output(
            "out", self.out, "a strip of this command", _read_strip, inputs=[self.picture], force=self.force
        )
        if not self.amounts:
            raise ValueError("amounts: expected at least one number; got none")
        self._draw()

    def _draw(self) -> None:
        import numpy as np

        from ellipsoid import figures
        from ellipsoid.run_directions import edit_picture, run_direction
        from ellipsoid.runs import load_autoencoder
        from ellipsoid.workflows import how_to_draw

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
        say(
            f"{self.picture} lies at {strip.score:+.2f} standard deviations along {self.along}",
            along=self.along,
            score=strip.score,
            amounts=self.amounts,
        )
        say(
            f"wrote {self.out}: gauge {strip.gauge.min():.2f} to {strip.gauge.max():.2f} (1 is the "
            "boundary of the region)",
            gauge=strip.gauge,
            written=[self.out],
        )


def _read_strip(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        if image.info.get("Software") != _SOFTWARE:
            raise ValueError(f"{path}: not a strip of this command")
