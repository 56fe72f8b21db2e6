"""Features of the Inception network, those of published FID figures."""

import hashlib
import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ellipsoid.blocks import map_rows
from ellipsoid.checks import check_choice, check_images
from ellipsoid.models.features.resizing import resized

#: Ways to resize images for Inception.
Resize = Literal["original", "clean"]

_BATCH_SIZE = 32
_SIDE = 299  # pixels that the network takes


@dataclass(frozen=True, eq=False)
class InceptionFeatures:
    """The 2,048 features of the Inception network by which published FID figures are made.

    Attributes
    ----------
    extractor : torch_fidelity.FeatureExtractorInceptionV3
    device : str
        Device that PyTorch computes on.
    comparable : bool
        Whether the weights are the published ones.
    resize : {"original", "clean"}
        How images are resized.
    """

    extractor: Any
    device: str
    comparable: bool
    resize: Resize = "original"
    name: str = field(default="inception", init=False)

    @property
    def note(self) -> str:
        """One sentence that says what the features are."""
        if not self.comparable:
            return (
                "2,048 features of Inception with weights of your own; published FID figures cannot be held "
                "against them."
            )
        figure = "FID" if self.resize == "original" else "clean-FID"
        return (
            f"2,048 features of Inception: their Fréchet distance is {figure}, comparable with figures "
            "published for the same real images and the same number of rows, usually 50,000."
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Give the features `(n, 2048)`; grey images are repeated in all three channels."""
        import torch  # pyright: ignore[reportMissingImports]

        check_images("images", images, channels=(1, 3))

        def tensor(batch: np.ndarray) -> Any:
            colour = np.broadcast_to(batch, (*batch.shape[:3], 3)).transpose(0, 3, 1, 2)
            return torch.from_numpy(np.ascontiguousarray(colour)).to(self.device)

        def extract(batch: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                if self.resize == "original":
                    return self.extractor(tensor(batch))[0].cpu().numpy()
                pixels = (tensor(resized(batch, _SIDE, np.float32)) - 128) / 128
                # The extractor takes bytes alone and resizes them; its first layer gets these pixels instead.
                first = self.extractor.Conv2d_1a_3x3
                with first.register_forward_pre_hook(lambda *_: (pixels,)):
                    return self.extractor(tensor(batch))[0].cpu().numpy()

        size = min(_BATCH_SIZE, max(len(images), 1))
        return map_rows(extract, images, size, np.empty((len(images), 2048), np.float32))


def inception_features(
    weights: str | os.PathLike[str] | None = None,
    *,
    download: bool = False,
    resize: Resize = "original",
    device: str = "cpu",
) -> InceptionFeatures:
    """Judge images by Inception's features, those of published FID figures; needs ``ellipsoid[fidelity]``.

    Parameters
    ----------
    weights : path, optional
        File of the weights, as torch-fidelity publishes it: ``weights-inception-2015-12-05-6726825d.pth``.
    download : bool
        Permission for PyTorch to download the weights (91 MB), or to find them in its cache, if there is no
        file.
    resize : {"original", "clean"}
        How images are resized to 299 x 299 pixels: as by the first code for FID, bilinearly and without
        antialiasing, or as by clean-fid (Parmar et al., 2022), by Pillow's bicubic filter without rounding.
        Figures of the two cannot be compared. Papers mean the original unless they say otherwise.
    device : str
        Device that PyTorch computes on, such as "cuda".

    Raises
    ------
    ImportError
        If torch-fidelity is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If there is neither a file nor `download`, the file holds other weights, or more than weights, or
        `resize` is unknown.
    """
    check_choice("resize", resize, get_args(Resize))
    if weights is None and not download:
        raise ValueError(
            "weights: expected the file of Inception's weights; pass its path, or download=True to fetch it"
        )
    try:
        import torch  # pyright: ignore[reportMissingImports]
        from torch_fidelity import feature_extractor_inceptionv3 as v3  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        message = f'inception needs torch-fidelity ({error}): pip install "torch-fidelity>=0.4"'
        raise ImportError(message) from None

    url = Path(v3.URL_INCEPTION_V3)
    if weights is None:
        torch.hub.load_state_dict_from_url(v3.URL_INCEPTION_V3, check_hash=True, weights_only=True)
        weights = Path(torch.hub.get_dir(), "checkpoints", url.name)
    if not Path(weights).is_file():
        raise FileNotFoundError(f"weights: expected the file {url.name}; got {weights}, no such file")
    content = Path(weights).read_bytes()
    try:
        arrays = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        # torch-fidelity unpickles everything in its file, so it gets a file that holds these arrays alone.
        buffer = io.BytesIO()
        torch.save(dict(arrays), buffer)
        buffer.seek(0)
        extractor = v3.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], buffer)
    except Exception as error:
        message = f"weights: expected a file of Inception's weights alone, {url.name}; got {weights}"
        raise ValueError(message) from error
    genuine = hashlib.sha256(content).hexdigest().startswith(url.stem.rpartition("-")[2])
    return InceptionFeatures(extractor.to(device), device, genuine, resize)
