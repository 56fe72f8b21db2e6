"""The command ``fid``."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from ellipsoid.cli.printing import print_table, say

if TYPE_CHECKING:
    import numpy as np

    from ellipsoid.models.features import FeatureSpace

# Images whose features are computed between two moves of the bar.
_BLOCK = 256


@dataclass(frozen=True)
class Fid:
    """Compute FID and other published figures of generated images.

    Each network has its figures: Inception FID, KID, precision and recall; DINOv2 FD-DINOv2, precision and
    recall; CLIP CMMD. They can be compared with published ones only for the same real images and as many
    images as those have, usually 50,000.
    """

    generated: Annotated[Positional[Path], arg(name="generated")]
    """Generated images: a folder or .zip file, or a .npy or .npz array."""
    real: Annotated[Positional[Path], arg(name="real")]
    """Real images, in the same forms."""
    weights: Path | None = None
    """File of the network's weights: weights-inception-2015-12-05-6726825d.pth, as torch-fidelity publishes
    it; or model.safetensors, as Hugging Face publishes it, of facebook/dinov2-large or of
    openai/clip-vit-large-patch14-336."""
    features: Literal["inception", "dinov2", "clip"] = "inception"
    """Network whose features the figures are computed from. Inception needs the extra "fidelity", the others
    the extra "judges"."""
    resize: Literal["original", "clean"] = "original"
    """Way to resize images for Inception: that of the first code for FID, or that of clean-fid. Figures of
    the two cannot be compared."""
    download: bool = False
    """Permission to download Inception's weights (91 MB) if --weights is not given."""
    image_size: int | None = None
    """Height and width that all images are resized to first. By default real images get the size of generated
    ones that are square, and others keep theirs."""

    def run(self) -> None:
        """Compute the features and the figures, and print them."""
        from ellipsoid.cli.arrays import check_data
        from ellipsoid.metrics import published_figures
        from ellipsoid.models.features import feature_space

        check_data("generated", self.generated)
        check_data("real", self.real)
        space = feature_space(self.features, weights=self.weights, download=self.download, resize=self.resize)
        generated, size = self._features("generated", self.generated, self.image_size, space)
        real, _ = self._features("real", self.real, size, space)
        result = published_figures(generated, real, self.features, comparable=space.comparable, progress=True)
        print_table(
            [(name, f"{one.value:.6g}", f"{one.error:.2g}") for name, one in result.figures.items()],
            ("figure", "value", "standard error"),
            figures={name: one._asdict() for name, one in result.figures.items()},
        )
        say(space.note, features=self.features, resize=self.resize, weights=self.weights)
        for caveat in result.caveats:
            say(caveat)
        say(
            f"{len(generated):,} generated and {len(real):,} real images",
            generated=len(generated),
            real=len(real),
            caveats=result.caveats,
        )

    def _features(
        self, name: str, path: Path, size: int | None, space: "FeatureSpace"
    ) -> "tuple[np.ndarray, int | None]":
        """Give the features of a source of images, and the size of the images if they are square.

        The images lie on the disk meanwhile.
        """
        import numpy as np

        from ellipsoid.blocks import row_slices
        from ellipsoid.models.images import load_images
        from ellipsoid.progress import progress_bar

        try:
            with tempfile.TemporaryDirectory() as folder:
                images = load_images(path, size, cache=Path(folder, "images.npy"))
                rows = []
                with progress_bar(f"features of {name} images", len(images), unit="images") as advance:
                    for block in row_slices(len(images), _BLOCK):
                        rows.append(space(np.ascontiguousarray(images[block])))
                        advance(len(rows[-1]))
                height, width = images.shape[1:3]
                return np.concatenate(rows), size or (height if height == width else None)
        except KeyboardInterrupt:
            pass  # its message tells where the images lie, which are gone now
        raise KeyboardInterrupt
