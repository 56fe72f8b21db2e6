"""The folder of a run: its paths, the reading of its files, and the fits in it."""

import hashlib
import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from ellipsoid.advice import MeasuredLatents
from ellipsoid.archive import check_declared_sizes, digest, reading_error
from ellipsoid.blocks import row_slices
from ellipsoid.files import published, replace_file
from ellipsoid.fitting import fit_moments
from ellipsoid.holding import held
from ellipsoid.moments import Moments
from ellipsoid.outputs import check_output
from ellipsoid.shapes import Shape, load
from ellipsoid.state import PCAState

if TYPE_CHECKING:
    from ellipsoid.models.autoencoder import Autoencoder, AutoencoderConfig, ImageAutoencoder, ImageShape
    from ellipsoid.models.images import ImageSet
    from ellipsoid.models.imported import ImportedAutoencoder
    from ellipsoid.models.steps import TrainConfig

#: Source of a demonstration's images in its configuration; they are drawn, and not kept in files.
DRAWN_FACES = "demo"

_FORMAT = "ellipsoid.run"
_VERSION = 2
# Options that had other names when the first runs were written.
_FORMER_NAMES = {"mirror": "horizontal_flip", "shift": "max_shift"}
# Number of latents in a block of the sums, the same as in `fit`, so that the state has the same bits.
_ROWS = 4096
# Number of training images that are compared with the latents of a run.
_COMPARED = 32
# Number of images, evenly spaced, whose digest identifies a set of images.
_N_DIGESTED = 256
# Orbax reads these as patterns, and would not find its own files, or find those of other runs.
_PATTERNS = "*?[\\"
# Folders in the root that Orbax reads as cloud buckets.
_BUCKETS = ("gs", "s3", "az", "hf")
# Label of images outside the class folders.
_NO_LABEL = "none"
# Size of weights in bytes up to which a network is always built.
_ALWAYS_LOADED = 2**26


class RunFolder:
    """Paths in the folder of a run, its configuration and its history.

    No file needs to exist: a folder that only holds latents is a run folder as well. The object can be passed
    wherever a path is expected.

    Parameters
    ----------
    path : path

    Attributes
    ----------
    path : Path
        The folder itself.
    config : Path
        Configuration of the autoencoder and the training, and the source of the images.
    holder : Path
        Record of the process that trains or fits in the folder, while it does.
    metrics : Path
        History of the training, one line for each epoch.
    checkpoints : Path
        Folder of the newest and best states of the training, written by Orbax.
    encoder, decoder : Path
        ONNX models of an imported autoencoder.
    latents : Path
        Latents of the training images, ``(n, D)``.
    test_latents : Path
        Latents of images that were not trained on, ``(m, D)``.
    labels : Path
        Labels and attributes of the training images, if they have any.
    state : Path
        PCA state fitted to the latents.
    mixture, flow : Path
        Other shapes fitted to the same latents.
    directions : Path
        Directions of attributes, learned from the latents.
    evaluation : Path
        Folder with the tables and figures of the evaluation.
    feature_network : Path
        Network whose features the evaluation compares images by.
    recommendation : Path
        Recommended settings for each goal.
    report : Path
        Page of the report.
    diagnostics : Path
        Numbers of the report, for programs.
    component_table, pair_table : Path
        Numbers of the report for each component, and for each pair of components.
    figures : Path
        Folder of the report's figures.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.holder = self.path / "holder.json"
        self.metrics = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.encoder = self.path / "encoder.onnx"
        self.decoder = self.path / "decoder.onnx"
        self.latents = self.path / "latents.npy"
        self.test_latents = self.path / "latents_test.npy"
        self.labels = self.path / "labels.npz"
        self.state = self.path / "state.npz"
        self.mixture = self.path / "mixture.npz"
        self.flow = self.path / "flow.npz"
        self.directions = self.path / "directions.npz"
        self.evaluation = self.path / "evaluation"
        self.feature_network = self.evaluation / "network.npz"
        self.recommendation = self.path / "recommendation.json"
        self.report = self.path / "report.html"
        self.diagnostics = self.path / "diagnostics.json"
        self.component_table = self.path / "diagnostics-components.csv"
        self.pair_table = self.path / "diagnostics-pairs.csv"
        self.figures = self.path / "figures"

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    def evaluation_figure(self, name: str) -> Path:
        """Path of a figure of the evaluation, a PNG file, by its name."""
        return self.evaluation / f"{name}.png"

    def recommended_state(self, goal: str) -> Path:
        """Path of the shape that is recommended for a goal, if it is not among the run's own."""
        return self.path / f"recommended-{goal}.npz"

    @property
    def has_autoencoder(self) -> bool:
        """Whether the run has an autoencoder."""
        return self.checkpoints.is_dir() or (self.config.exists() and "imported" in self.read_config())

    # --- what is in the files ---

    def read_config(self) -> dict[str, Any]:
        """Read the configuration, with the current names of the options.

        Returns
        -------
        dict
            Fields of the configurations ``autoencoder`` and ``training``, or of ``imported`` for an imported
            autoencoder; ``validation``, ``images`` and ``data`` (the identity of the images), unless the run
            is older than they are.

        Raises
        ------
        FileNotFoundError
            If the folder is not a run folder.
        ValueError
            If the configuration is damaged.
        """
        if not self.config.exists():
            raise FileNotFoundError(
                f"run: expected a run folder, as `ellipsoid train` makes; got {self.path}, with no "
                f"{self.config.name}"
            )
        try:
            description = json.loads(self.config.read_text())
            if description["format"] != _FORMAT or description["version"] != _VERSION:
                raise ValueError(f"format {description['format']} {description['version']}")
            if "imported" in description:
                return description
            training, _ = description["training"], description["autoencoder"]
            description["training"] = {_FORMER_NAMES.get(name, name): training[name] for name in training}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.config}: not the configuration of a run ({error})") from None
        return description

    def write_config(self, description: dict[str, Any]) -> None:
        """Write the configuration, completely or not at all.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        description = {"format": _FORMAT, "version": _VERSION} | description
        replace_file(self.config, json.dumps(description, indent=2).encode() + b"\n")

    def read_metrics(self) -> list[dict[str, float]]:
        """Read the history of the training, one record for each epoch; empty before the first.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        if not self.metrics.exists():
            return []
        return [json.loads(line) for line in self.metrics.read_text().splitlines()]

    def write_metrics(self, history: Sequence[dict[str, float]]) -> None:
        """Write the history of the training, completely or not at all.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        content = "".join(json.dumps(record) + "\n" for record in history)
        replace_file(self.metrics, content.encode())

    def read_latents(self) -> np.ndarray:
        """Read the latents of the training images, ``(n, D)``, into memory.

        Raises
        ------
        FileNotFoundError
            If the folder has no latents.
        ValueError
            If the file is damaged.
        """
        if not self.latents.is_file():
            name = self.latents.name
            raise FileNotFoundError(
                f"run: expected a run folder, or a folder with {name}; got {self.path}, with no {name}"
            )
        return _read_array(self.latents)

    def read_test_latents(self) -> np.ndarray | None:
        """Read the latents of unseen images, ``(m, D)``; None if the run has none.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        return _read_array(self.test_latents) if self.test_latents.is_file() else None

    def read_shapes(self) -> dict[str, Shape]:
        """Load all shapes of the run by their names, the simplest first.

        Raises
        ------
        ValueError
            If a file is damaged.
        """
        return {path.stem: load(path) for path in (self.state, self.mixture, self.flow) if path.is_file()}

    def read_measured(self, shape: Shape) -> MeasuredLatents | None:
        """Read the measurements of the report; None without a report, or for a report on another shape.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        if not self.diagnostics.exists():
            return None
        try:
            numbers = json.loads(self.diagnostics.read_bytes())
            if numbers.get("state_digest") != digest(shape):
                return None
            levels = numbers["levels_holding"]
            return MeasuredLatents(
                frozenset(numbers["concerns"]), float(levels["0.9"]), float(levels["0.99"])
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self.diagnostics}: expected the numbers of a report; got {error!r}; make the report again"
            ) from None

    def write_labels(self, images: "ImageSet") -> None:
        """Write the labels and attributes of the training images, row by row, if they have any.

        Raises
        ------
        OSError
            If they cannot be written.
        """
        arrays: dict[str, Any] = {}
        if images.labels is not None:
            names = np.array([*images.label_names, _NO_LABEL])  # -1 is an image beside the class folders
            arrays["labels"] = names[images.labels] if images.label_names else images.labels
        if images.attributes:
            arrays["names"] = np.array(list(images.attributes))
            arrays["attributes"] = np.stack(list(images.attributes.values()), axis=1)
        if arrays:
            with published(self.labels) as temporary, open(temporary, "xb") as file:
                np.savez_compressed(file, **arrays)

    def read_labels(self, names: Sequence[str]) -> np.ndarray | dict[str, np.ndarray]:
        """Read labels of the training images, as :func:`ellipsoid.fit_by_label` takes them.

        Parameters
        ----------
        names : sequence of str
            Names of attributes, or only ``label`` for the class of each image.

        Returns
        -------
        array of n labels, or dict of str to (n,) bool array

        Raises
        ------
        FileNotFoundError
            If the run has no labels.
        ValueError
            If a name is unknown, or the file is damaged.
        """
        if not self.labels.is_file():
            raise FileNotFoundError(
                f"by: expected a run whose images have labels or attributes; got {self.path}, with no "
                f"{self.labels.name}"
            )
        try:
            with self.labels.open("rb") as file:
                check_declared_sizes(file)
                with np.load(file, allow_pickle=False) as archive:
                    arrays = dict(archive)
            named = arrays["names"].tolist() if "names" in arrays else []
            columns = dict(zip(named, arrays["attributes"].T, strict=True)) if named else {}
        except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{self.labels}: not the labels of a run ({error})") from None
        if list(names) == ["label"] and "labels" in arrays:
            return arrays["labels"]
        if unknown := [name for name in names if name not in columns]:
            known = [*(["label"] if "labels" in arrays else []), *columns]
            raise ValueError(f"by: expected names among {', '.join(known)}; got {', '.join(unknown)}")
        return {name: columns[name] for name in names}

    def held(self) -> AbstractContextManager[None]:
        """Return a context in which no other living process trains or fits in the folder.

        Raises
        ------
        FileExistsError
            If another process does; the message names it.
        """
        return held(self.holder, str(self.path), "out")

    def remove_fitted(self) -> None:
        """Remove latents, shapes and directions, which belong to weights that training is about to change."""
        fitted = (self.latents, self.test_latents, self.state, self.mixture, self.flow, self.directions)
        for path in fitted:
            path.unlink(missing_ok=True)


def _read_array(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:
            check_declared_sizes(file)
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a readable .npy array ({reading_error(error)})") from None


def check_run_folder(folder: str | os.PathLike[str], resume: bool = False) -> None:
    """Check that a run can be made in this folder. The check comes before any work.

    Parameters
    ----------
    folder : path
    resume : bool
        Whether the folder may hold a run.

    Raises
    ------
    FileExistsError
        If the path is a file, the folder holds anything but a run to resume, or another process trains or
        fits in it.
    PermissionError
        If the folder is not writable.
    ValueError
        If checkpoints could not be read back, because of its name or that of a folder above it.
    """
    folder = Path(folder)
    _check_names(folder)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"out: expected a run folder; got {folder}, a file; choose another name")
    if RunFolder(folder).holder.exists():
        with RunFolder(folder).held():
            pass  # its process has ended
    _check_content(folder, resume)
    above = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not above.is_dir():
        raise FileExistsError(f"out: expected a run folder; got {folder}, and {above} is a file")
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(f"out: expected a writable run folder; got {folder}, and {above} is read-only")


@contextmanager
def held_run_folder(folder: str | os.PathLike[str], resume: bool = False) -> Iterator[None]:
    """Hold a folder while the block makes a run in it. Missing parent folders are made.

    Parameters and errors are those of :func:`check_run_folder`.
    """
    check_run_folder(folder, resume)
    with RunFolder(folder).held():
        _check_content(Path(folder), resume)  # another process may have come and gone
        yield


def _check_content(folder: Path, resume: bool) -> None:
    """Refuse a folder that holds anything but a run to resume."""
    # A process that is killed while it writes its first file leaves a temporary one.
    harmless = {RunFolder(folder).holder}
    if folder.exists() and any(not _is_temporary(path) for path in {*folder.iterdir()} - harmless):
        if not RunFolder(folder).config.exists():
            raise FileExistsError(
                f"out: expected a new run folder; got {folder}, which is not empty and not a run"
            )
        if not resume:
            raise FileExistsError(
                f"out: expected a new run folder; got {folder}, which is not empty: "
                "choose another, remove it, or resume its training"
            )


def _check_names(folder: Path) -> None:
    """Refuse names that Orbax misreads: it would write checkpoints that cannot be read back."""
    _, *names = folder.absolute().parts  # the root of Windows has a colon and a backslash
    for name in names:
        if found := set(_PATTERNS) & set(name):
            reason = f"{min(found)} in a name is a pattern"
        elif name.endswith(":"):
            reason = "a name that ends in a colon is a protocol"
        elif name.encode(errors="replace").decode() != name:
            reason = "a name must be UTF-8"
        elif name == names[0] in _BUCKETS and folder.absolute().anchor == "/":
            reason = f"/{name} is a cloud bucket"
        else:
            continue
        raise ValueError(
            f"out: expected a run folder whose checkpoints can be read back; got {folder}: to Orbax, which "
            f"writes them, {reason}; choose another name"
        )


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".tmp")


def check_report_files(folder: str | os.PathLike[str], *, force: bool = False) -> None:
    """Check that a report only replaces files of a report.

    Parameters
    ----------
    folder : path
        Run folder, or a folder that only holds latents.
    force : bool
        Permission to replace any file.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    FileExistsError
        If the page, the numbers or a table was not written by a report, and `force` is off.
    PermissionError
        If the folder is not writable.
    """
    run = RunFolder(folder)
    for path, title, read in (
        (run.report, "a page of a report", _read_page),
        (run.diagnostics, "numbers of a report", _read_diagnostics),
        (run.component_table, "numbers of a report", _reader_of_table("component,scale,")),
        (run.pair_table, "numbers of a report", _reader_of_table("first,second,correlation,")),
    ):
        check_output("run", path, title, read, force=force)


def _read_page(path: Path) -> None:
    if '<svg class="mark" viewBox="0 0 72 40"' not in path.read_text(encoding="utf-8"):
        raise ValueError(f"{path}: not the page of a report")


def _read_diagnostics(path: Path) -> None:
    if not {"concerns", "law", "level"} <= set(json.loads(path.read_text(encoding="utf-8"))):
        raise ValueError(f"{path}: not the numbers of a report")


def _reader_of_table(start: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        with path.open(encoding="utf-8") as file:
            if not file.read(len(start)) == start:
                raise ValueError(f"{path}: not a table of a report")

    return read


def read_metrics(folder: str | os.PathLike[str]) -> list[dict[str, float]]:
    """Read the history of a run, one record for each epoch; empty before the first.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    return RunFolder(folder).read_metrics()


# --- the images of a run -----------------------------------------------------------------------------


def record_images(folder: str | os.PathLike[str], source: str, **options: Any) -> None:
    """Record in the configuration of a run which images it was trained on.

    Parameters
    ----------
    folder : path
    source : str
        Path, which is made absolute, or a name.
    **options
        Further arguments of :func:`ellipsoid.models.load_images` for these images: paths or plain values.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder is not a run folder, or its configuration is damaged.
    OSError
        If the configuration cannot be written.
    """
    run = RunFolder(folder)
    run.write_config(run.read_config() | {"images": described_images(source, **options)})


def described_images(source: str, **options: Any) -> dict[str, Any]:
    """Describe the source of images as the configuration of a run records it, with absolute paths.

    Parameters are those of :func:`record_images`.

    Returns
    -------
    dict
        ``source`` and the options.
    """
    options = {
        name: str(value.absolute()) if isinstance(value, Path) else value for name, value in options.items()
    }
    return {"source": str(Path(source).absolute()) if Path(source).exists() else source, **options}


def image_identity(images: np.ndarray) -> dict[str, Any]:
    """Identity of images: their number, their shape, and a digest of a sample.

    Parameters
    ----------
    images : (n, H, W, C) uint8 array
        Images, which may be memory-mapped. Up to 256 of them, evenly spaced, are read.

    Returns
    -------
    dict
        Plain values ``count``, ``shape`` and ``digest``.
    """
    rows = np.unique(np.linspace(0, len(images) - 1, _N_DIGESTED).astype(int))
    digest = hashlib.sha256(np.ascontiguousarray(images[rows]).tobytes()).hexdigest()
    return {"count": len(images), "shape": list(images.shape[1:]), "digest": digest}


def check_image_identity(
    folder: str | os.PathLike[str], identity: dict[str, Any], name: Literal["images", "validation"] = "images"
) -> None:
    """Check that images are those that a run was trained or validated with, if it records them.

    Parameters
    ----------
    folder : path
    identity : dict
        Identity of the images, from :func:`image_identity`.
    name : {"images", "validation"}
        Images of the training, or of its validation.

    Raises
    ------
    FileNotFoundError
        If the folder is not a run folder.
    ValueError
        If they are other images, or the configuration of the run is damaged.
    """
    expected = RunFolder(folder).read_config().get("data" if name == "images" else "validation_data")
    if expected not in (None, identity):
        before, now = _described(expected), _described(identity)
        raise ValueError(
            f"{name}: expected the images that {Path(folder)} was trained with, {before}; "
            f"got {'as many other images' if now == before else now}"
        )


def _described(identity: dict[str, Any]) -> str:
    return f"{identity['count']:,} of shape {tuple(identity['shape'])}"


def recorded_images(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Source and options of the images that a run was trained on; None if it does not record them.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder is not a run folder, or its configuration is damaged.
    """
    return RunFolder(folder).read_config().get("images")


def drawn_faces(n: int, size: int, seed: int, *, unseen: bool = False) -> np.ndarray:
    """Draw the faces that a demonstration is trained or tested with.

    Parameters
    ----------
    n : int
        Number of faces.
    size : int
        Height and width in pixels.
    seed : int
        Random seed of the demonstration.
    unseen : bool
        Whether the faces of the test are drawn.

    Returns
    -------
    (n, size, size, 3) uint8 array
    """
    import jax.random as jr

    from ellipsoid.models.faces import procedural_faces
    from ellipsoid.random import key

    return procedural_faces(n, size, key=jr.split(key(seed), 3)[int(unseen)]).images


def training_attributes(folder: str | os.PathLike[str]) -> dict[str, np.ndarray] | None:
    """Find the attributes or classes of the images that a run was trained on.

    Parameters
    ----------
    folder : path

    Returns
    -------
    dict of str to (n,) bool array, or None
        Attributes by name, or classes: folders, or the labels of an array file. None if the run does not
        record its images, or they have neither.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError, OSError
        As :func:`load_training_images`.
    """
    import jax.random as jr

    from ellipsoid.models.faces import face_attributes
    from ellipsoid.random import key

    recorded = recorded_images(folder)
    if recorded is not None and recorded["source"] == DRAWN_FACES:
        return face_attributes(recorded["n"], key=jr.split(key(recorded["seed"]), 3)[0])
    image_set = load_training_images(folder)
    if image_set is None or (image_set.labels is None and not image_set.attributes):
        return None
    if image_set.attributes:
        return image_set.attributes
    labels, names = np.asarray(image_set.labels), image_set.label_names
    return {
        str(names[label] if names else label): labels == label
        for label in np.unique(labels).tolist()
        if not (names and label < 0)  # images beside the class folders
    }


def load_training_images(folder: str | os.PathLike[str], images: Any = None) -> "ImageSet | None":
    """Load the images that a run was trained on, with their labels if there are any.

    Parameters
    ----------
    folder : path
    images : path, name or array, optional
        Images, as for :func:`ellipsoid.models.load_images`, if they have moved. By default the images that
        the run records.

    Returns
    -------
    ImageSet or None
        None if neither the caller nor the run names images.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder is not a run folder, or its configuration is damaged.
    TypeError, ValueError, OSError
        If the images cannot be read; see :func:`ellipsoid.models.load_images`.
    """
    from ellipsoid.models.images import ImageSet, load_image_set

    description = RunFolder(folder).read_config()
    config = _image_shape(description)
    recorded = description.get("images") or {}
    source = recorded.get("source") if images is None else images
    if source is None:
        return None
    if images is None and source == DRAWN_FACES:
        return ImageSet(drawn_faces(recorded["n"], config.image_size, recorded["seed"]))
    # Images that have moved are read with the same options, so that they are the same part.
    options = {name: recorded[name] for name in ("split", "cache") if name in recorded}
    return load_image_set(source, config.image_size, config.channels, **options)


def load_test_images(folder: str | os.PathLike[str]) -> np.ndarray | None:
    """Load the unseen images of a run, which show how well its autoencoder reconstructs.

    Parameters
    ----------
    folder : path

    Returns
    -------
    (m, H, W, C) uint8 array or None
        None unless the run is a demonstration that records their number.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder is not a run folder, or its configuration is damaged.
    """
    description = RunFolder(folder).read_config()
    recorded = description.get("images") or {}
    if recorded.get("source") != DRAWN_FACES or "n_test" not in recorded:
        return None
    size = _autoencoder_config(description).image_size
    return drawn_faces(recorded["n_test"], size, recorded["seed"], unseen=True)


def check_training_images(images: np.ndarray, autoencoder: "ImageAutoencoder", latents: np.ndarray) -> None:
    """Check that images belong to the latents of a run, by the first 32 of them.

    Nearest neighbours among other images would mean nothing.

    Parameters
    ----------
    images : (m, H, W, C) uint8 array
        Training images in any number and order.
    autoencoder : Autoencoder or ImportedAutoencoder
        Autoencoder of the run. Without an encoder, nothing is checked.
    latents : (n, D) array
        Latents of the training images.

    Raises
    ------
    TypeError, ValueError
        If an image has no latents, or the shape of the images is not that of the autoencoder.
    """
    from ellipsoid.models.autoencoder import encode_images

    if autoencoder.encoder is None:
        return
    codes = encode_images(autoencoder, images[:_COMPARED])
    distances = np.array([np.min(np.linalg.norm(latents - code, axis=1)) for code in codes])
    typical = np.median(np.linalg.norm(latents - latents[0], axis=1))
    n_strangers = int(np.sum(distances > 0.01 * typical))
    if n_strangers:
        raise ValueError(
            f"images: expected the training images of the run; got other images: {n_strangers} of the first "
            f"{len(codes)} have no latents in the run"
        )


# --- loading and fitting -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """The content of a run folder.

    Attributes
    ----------
    autoencoder : Autoencoder or ImportedAutoencoder
        Autoencoder with the weights of the checkpoint. Its configuration is ``autoencoder.config``.
    training : TrainConfig or None
        Configuration of the training; None for an imported autoencoder.
    epoch : int
        Epoch of the checkpoint, from 1; 0 for an imported autoencoder.
    optimizer_state : object
        Optax state after that epoch; None for an imported autoencoder.
    state : PCAState or None
        State fitted to the latents of the training images; None before the fit.
    metrics : list of dict
        One record for each epoch, as :func:`ellipsoid.models.train` returns them.
    validation : {"split", "given"}
        Source of the validation images: split off the training images, or given apart.
    """

    autoencoder: "Autoencoder | ImportedAutoencoder"
    training: "TrainConfig | None"
    epoch: int
    optimizer_state: Any
    state: PCAState | None
    metrics: list[dict[str, float]]
    validation: Literal["split", "given"]


def load_run(folder: str | os.PathLike[str], checkpoint: Literal["best", "newest"] = "best") -> Run:
    """Load a run.

    Parameters
    ----------
    folder : path
        Run folder made by :func:`ellipsoid.models.train`.
    checkpoint : {"best", "newest"}
        Checkpoint of the lowest validation loss, to which latents and state belong, or of the last epoch.

    Returns
    -------
    Run

    Raises
    ------
    FileNotFoundError
        If the folder is not a run folder or has no checkpoint.
    ValueError
        If its configuration, its checkpoint or its state is damaged, or `checkpoint` is unknown.
    ImportError, PermissionError
        If an imported autoencoder cannot run here; see :func:`ellipsoid.models.imported.load_imported`.
    """
    from flax import nnx

    from ellipsoid.models.autoencoder import Autoencoder
    from ellipsoid.models.checkpoints import Checkpoints
    from ellipsoid.models.steps import TrainConfig, TrainState

    if checkpoint not in ("best", "newest"):
        raise ValueError(f"checkpoint: expected best or newest; got {checkpoint!r}")
    run = RunFolder(folder)
    description = run.read_config()
    state = PCAState.load(run.state) if run.state.exists() else None
    if "imported" in description:
        return Run(_load_imported(run, description), None, 0, None, state, [], "given")
    config = _autoencoder_config(description)
    # Shapes alone: drawing weights that are not used takes seconds of compilation.
    graph, weights = nnx.split(nnx.eval_shape(lambda: Autoencoder(config, rngs=nnx.Rngs(0))))
    _check_size(run, weights)
    try:
        training = TrainConfig(**description["training"])
    except TypeError as error:
        raise ValueError(f"training configuration: {error}") from None
    with closing(Checkpoints(run.checkpoints, create=False)) as checkpoints:
        epoch = checkpoints.best if checkpoint == "best" else checkpoints.newest
        if epoch is None:
            raise FileNotFoundError(
                f"run: expected a run with a checkpoint; got {run.path}, with none: continue its training "
                "with `ellipsoid train --resume`"
            )
        expected = jax.eval_shape(lambda weights: TrainState.new(training, weights), weights)
        restored = checkpoints.restore(epoch, _on_one_device(expected))
    return Run(
        nnx.merge(graph, restored.model_weights),
        training,
        epoch,
        restored.optimizer,
        state,
        run.read_metrics(),
        description.get("validation", "split"),
    )


def _on_one_device(tree: Any) -> Any:
    """Shapes of arrays that are all to lie on the first device."""
    place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), tree)


def _check_size(run: RunFolder, weights: Any) -> None:
    """Refuse a configuration with far more weights than the checkpoints hold, before they occupy memory."""
    n_bytes = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(weights))
    stored = sum(path.stat().st_size for path in run.checkpoints.rglob("*") if path.is_file())
    # Checkpoints are compressed, but trained weights hardly shrink.
    if n_bytes > max(_ALWAYS_LOADED, 10 * stored):
        raise ValueError(
            f"{run.config}: expected the network of the checkpoints, which have {stored:,} bytes; got a "
            f"network with weights of {n_bytes:,} bytes"
        )


def _image_shape(description: dict[str, Any]) -> "ImageShape":
    from ellipsoid.models.imported import ImportedConfig

    if "imported" not in description:
        return _autoencoder_config(description)
    try:
        return ImportedConfig.from_json(description["imported"])
    except TypeError as error:
        raise ValueError(f"configuration of an imported autoencoder: {error}") from None


def _autoencoder_config(description: dict[str, Any]) -> "AutoencoderConfig":
    from ellipsoid.models.autoencoder import AutoencoderConfig

    return AutoencoderConfig.from_json(description["autoencoder"])


def load_autoencoder(folder: str | os.PathLike[str]) -> "Autoencoder | ImportedAutoencoder":
    """Load the autoencoder of a run: the imported one, or the checkpoint of the lowest validation loss.

    Raises
    ------
    FileNotFoundError, ImportError, PermissionError, ValueError
        As :func:`load_run`.
    """
    return load_run(folder).autoencoder


def _load_imported(run: RunFolder, description: dict[str, Any]) -> "ImportedAutoencoder":
    from ellipsoid.models.imported import load_imported

    try:
        return load_imported(description["imported"], run.encoder, run.decoder)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{run.config}: not the configuration of a run ({error!r})") from None


def record_imported(
    folder: str | os.PathLike[str], autoencoder: "ImportedAutoencoder", **description: Any
) -> None:
    """Write the models and the configuration of an imported autoencoder into a run folder.

    Parameters
    ----------
    folder : path
    autoencoder : ImportedAutoencoder
    **description
        Further entries of the configuration: ``images`` and ``data``.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    from ellipsoid.models.imported import describe_imported
    from ellipsoid.models.onnx_network import OnnxNetwork

    run = RunFolder(folder)
    for path, part in ((run.encoder, autoencoder.encoder), (run.decoder, autoencoder.decoder)):
        if isinstance(part, OnnxNetwork):
            replace_file(path, part.content)
    run.write_config({"imported": describe_imported(autoencoder), **description})


def fit_run(
    autoencoder: "ImageAutoencoder",
    images: np.ndarray,
    out: str | os.PathLike[str],
    *,
    test: np.ndarray | None = None,
    progress: bool = True,
) -> tuple[np.ndarray, PCAState]:
    """Encode the images of a run and fit a PCA state to them.

    Parameters
    ----------
    autoencoder : Autoencoder or ImportedAutoencoder
        Trained autoencoder.
    images : (n, H, W, C) uint8 array
        Training images. They may be memory-mapped and need not fit into memory.
    out : path
        Run folder. Its ``latents.npy`` and ``state.npz`` are replaced, and directions of former latents
        removed.
    test : (m, H, W, C) uint8 array, optional
        Unseen images. Their latents go to ``latents_test.npy``.
    progress : bool
        Whether a progress bar is shown.

    Returns
    -------
    latents : (n, D) float32 array
        Latents of the training images, memory-mapped.
    state : PCAState

    Raises
    ------
    TypeError, ValueError
        If the images are not uint8, have another shape than the autoencoder's, or are fewer than two.
    FileExistsError
        If another process trains or fits in the folder.
    OSError
        If a file cannot be written.
    """
    run = RunFolder(out)
    with run.held():
        run.directions.unlink(missing_ok=True)
        _write_latents(autoencoder, images, run.latents, progress)
        if test is not None:
            _write_latents(autoencoder, test, run.test_latents, progress)
        return _fit_state(run)


def fit_run_latents(latents: np.ndarray, out: str | os.PathLike[str]) -> tuple[np.ndarray, PCAState]:
    """Write given latents into a run, and fit a PCA state to them, as `fit_run` does.

    Parameters
    ----------
    latents : (n, D) array
    out : path
        Run folder. Its ``latents.npy`` and ``state.npz`` are replaced.

    Returns
    -------
    latents : (n, D) float32 array
        Latents of the training images, memory-mapped.
    state : PCAState

    Raises
    ------
    ValueError
        If there are fewer than two latents.
    OSError
        If a file cannot be written.
    """
    run = RunFolder(out)
    with run.held():
        run.directions.unlink(missing_ok=True)
        with published(run.latents) as temporary, open(temporary, "xb") as file:
            np.save(file, np.asarray(latents, np.float32))
        return _fit_state(run)


def _fit_state(run: RunFolder) -> tuple[np.ndarray, PCAState]:
    latents = np.load(run.latents, mmap_mode="r")
    moments = Moments.empty(latents.shape[1])
    for block in row_slices(len(latents), _ROWS):
        moments = moments.update(latents[block])
    state = fit_moments(moments)
    state.save(run.state)
    return latents, state


def _write_latents(autoencoder: "ImageAutoencoder", images: np.ndarray, path: Path, progress: bool) -> None:
    from ellipsoid.models.autoencoder import encoded_batches

    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)),
        "fortran_order": False,
        "shape": (len(images), autoencoder.config.latent_dim),
    }
    # Not through a memory map: on a full disk a write to one kills the process.
    with published(path) as temporary, open(temporary, "xb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _, latents in encoded_batches(autoencoder, images, progress=progress):
            file.write(latents.data)
