"""The command ``import``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ellipsoid.cli.arrays import read_array
from ellipsoid.cli.printing import say
from ellipsoid.runs import RunFolder
from ellipsoid.workflows import import_run


@dataclass(frozen=True)
class Import:
    """Make a run of an autoencoder of another framework, and fit a PCA state to its latents.

    ONNX models need `pip install "ellipsoid[onnx]"`. Layout and sizes are read off them, and the range of the
    pixels is found by encoding and decoding images.
    """

    decoder: str
    """ONNX file from latents to images; or a Python function of float32 latents (n, D), by its name
    module:function, that gives images (n, H, W, C), uint8 or floats."""
    out: Path
    """Run folder: configuration, copies of the ONNX models, latents.npy and state.npz."""
    encoder: str | None = None
    """ONNX file from images to latents; or a Python function of uint8 images (n, H, W, C), by its name."""
    images: str | None = None
    """Images that the autoencoder was trained on, as for train."""
    latents: Path | None = None
    """Latents of such images in the place of an encoder, as for fit."""
    array: str | None = None
    """Name of the array in a .npz file of several."""
    pixel_range: tuple[float, float] | None = None
    """Black and white of decoded floats, such as 0 1, -1 1 or 0 255. Those by which images come back best by
    default."""
    input_range: tuple[float, float] | None = None
    """Black and white of floats that the encoder takes, if they are not those of the decoder."""
    image_size: int | None = None
    """Height and width that images are brought to for Python functions; ONNX models have their own."""
    channels: Literal[1, 3] | None = None
    """Channels that images are brought to for Python functions."""
    split: Literal["all", "train", "valid", "test"] = "all"
    """Part of CelebA."""
    cache: Path | None = None
    """A .npy file to keep decoded images in, which may be larger than memory."""

    def run(self) -> None:
        """Examine, copy, encode, fit."""
        from ellipsoid.models.imported import TRUSTED_MODULES

        found = import_run(
            self.encoder,
            self.decoder,
            self.images,
            self.out,
            latents=None if self.latents is None else read_array("latents", self.latents, self.array),
            pixel_range=self.pixel_range,
            input_range=self.input_range,
            image_size=self.image_size,
            channels=self.channels,
            split=self.split,
            cache=self.cache,
        )
        say(found.text)
        run = RunFolder(self.out)
        parts = [path for path in (run.encoder, run.decoder, run.latents, run.state) if path.exists()]
        say(f"wrote {self.out}: {', '.join(path.name for path in parts)}")
        modules = ",".join(found.autoencoder.modules)
        if modules:
            say(f"other commands on it call its functions if {TRUSTED_MODULES}={modules} is set")
