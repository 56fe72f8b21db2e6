"""The command ``import``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ellipsoid.cli.printing import say


@dataclass(frozen=True)
class Import:
    """Import an autoencoder of another framework as a run, and fit a PCA state to its latents.

    ONNX models need the packages onnx and onnxruntime. Their layout and sizes are read from the files. The
    range of their pixels is found by encoding and decoding images.
    """

    decoder: str
    """Decoder: an ONNX file, or the name module:function of a Python function. The function takes float32
    latents (n, D) and returns images (n, H, W, C), uint8 or floats."""
    out: Path
    """Run folder that is made: configuration, copies of the ONNX models, latents.npy and state.npz."""
    encoder: str | None = None
    """Encoder: an ONNX file, or the name module:function of a Python function that takes uint8 images (n, H,
    W, C) and returns latents (n, D)."""
    images: str | None = None
    """Images that the autoencoder was trained on: any source that `ellipsoid train` takes."""
    latents: Path | None = None
    """Latents of the training images, if there is no encoder: a .npy, .npz, .csv or .parquet file."""
    array: str | None = None
    """Name of the array in --latents, if the file holds several."""
    pixel_range: tuple[float, float] | None = None
    """Decoded values of black and white, such as 0 1, -1 1 or 0 255. By default the range that reproduces the
    images best."""
    input_range: tuple[float, float] | None = None
    """Values of black and white that the encoder takes, if they differ from --pixel-range."""
    image_size: int | None = None
    """Height and width that images are resized to for Python functions. ONNX models define their own."""
    channels: Literal[1, 3] | None = None
    """Colour channels that images are converted to for Python functions. ONNX models define their own."""
    split: Literal["all", "train", "valid", "test"] = "all"
    """Part of CelebA to encode."""
    cache: Path | None = None
    """File (.npy) for the decoded images. They are decoded once, and may be larger than memory."""

    def run(self) -> None:
        """Examine, copy, encode, fit."""
        from ellipsoid.cli.arrays import read_array
        from ellipsoid.models.imported import TRUSTED_MODULES
        from ellipsoid.runs import RunFolder
        from ellipsoid.workflows import import_run

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
        say(found.text, error=found.error, mean_error=found.mean_error)
        run = RunFolder(self.out)
        parts = [path for path in (run.encoder, run.decoder, run.latents, run.state) if path.exists()]
        say(f"wrote {self.out}: {', '.join(path.name for path in parts)}", written=parts)
        modules = ",".join(found.autoencoder.modules)
        if modules:
            say(
                f"other commands call the functions of this run only if {TRUSTED_MODULES}={modules} is set",
                trusted_modules=found.autoencoder.modules,
            )
