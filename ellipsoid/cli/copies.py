"""The command ``copies``."""

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from ellipsoid.cli.printing import say

if TYPE_CHECKING:
    import numpy as np

#: Exit status where training data are copied.
COPIED = 3

_TABLES = (".csv", ".parquet")


@dataclass(frozen=True)
class Copies:
    """Test whether generated images, latents or table rows are copies of training data.

    Each generated row is compared with the nearest training row and the nearest unseen row. Unseen rows tell
    how often a row lies as close to a training row by chance. Exit code 3 means that copies were found.
    """

    generated: Annotated[Positional[Path], arg(name="generated")]
    """Generated data: a folder or .zip file of images, a .npy or .npz array of images or rows, or a .csv or
    .parquet table of numbers."""
    train: Path
    """Training data of the generator, of the same kind."""
    unseen: Path
    """Data of the same kind that the generator was not trained on: at least 19 rows, independent of each
    other and of the training data."""
    out: Path = Path("copies.html")
    """File (.html) for the page with the result and the nearest pairs side by side."""
    features: Literal["pixels", "efficientnet", "faces"] = "pixels"
    """Features that images are compared by: principal components of the pixels; the features of
    EfficientNet-Lite0, if the extra "judges" is installed; or those of identity, for aligned faces, if the
    extra "faces" is installed."""
    image_size: int | None = None
    """Height and width that all images are resized to. By default those of the training images."""
    standardise: bool | None = None
    """Division of each column by its standard deviation over the training rows. By default columns of .csv
    and .parquet tables are standardised, and those of arrays are not."""
    quantile: float = 0.05
    """Share of the unseen rows that count as close to a training row. A small share is more sensitive to a
    few copies."""
    significance: float = 0.01
    """Significance level of the test: the probability that a generator without copies is accused."""
    pairs: int = 20
    """Number of pairs on the page."""
    force: bool = False
    """Permission to replace a file that is not a page of this command."""

    def run(self) -> int:
        """Test, write the page, and give the exit status."""
        from ellipsoid.cli.arrays import check_data, read_array
        from ellipsoid.metrics import copy_report
        from ellipsoid.outputs import check_output
        from ellipsoid.report import write_copy_page

        sources = {"generated": self.generated, "train": self.train, "unseen": self.unseen}
        check_output(
            "out",
            self.out,
            "a page of `ellipsoid copies`",
            _read_page,
            inputs=sources.values(),
            force=self.force,
        )
        for name, path in sources.items():
            check_data(name, path)
        columns = _common_columns(sources)
        data = self._images(sources) or {name: read_array(name, path) for name, path in sources.items()}
        if data["train"].ndim == 4:
            rows, standardise = self._features(data), bool(self.standardise)
        else:
            is_table = self.train.suffix.lower() in _TABLES
            rows, standardise = data, is_table if self.standardise is None else self.standardise
        report = copy_report(
            **rows,
            standardise=standardise,
            quantile=self.quantile,
            significance=self.significance,
            n_pairs=self.pairs,
            progress=True,
        )
        n_columns = rows["train"].shape[1]
        compared_by = f"{n_columns} columns" if rows is data else f"{self.features} of images"
        page = write_copy_page(
            self.out,
            report,
            data["generated"],
            data["train"],
            compared_by=f"{compared_by}, standardised" if standardise else compared_by,
            columns=columns if len(columns) == n_columns else (),
        )
        say(
            report.verdict,
            is_copying=report.is_copying,
            p_value=report.test.p_value,
            share=report.test.share.value,
            share_error=report.test.share.error,
            expected_share=report.test.expected,
            identical=report.n_identical,
            unseen_identical=report.n_unseen_identical,
        )
        say(f"wrote {page}", written=[page])
        return COPIED if report.is_copying else 0

    def _images(self, sources: dict[str, Path]) -> "dict[str, np.ndarray] | None":
        """Read images, all of one size; None if the sources are rows of numbers."""
        holds_images = {name: _holds_images(path) for name, path in sources.items()}
        if not any(holds_images.values()):
            return None
        if not all(holds_images.values()):
            kinds = ", ".join(
                f"{sources[name]} with {'images' if yes else 'rows'}" for name, yes in holds_images.items()
            )
            raise ValueError(f"generated: expected data of the same kind as --train; got {kinds}")
        from ellipsoid.models.images import load_images

        train = load_images(self.train, self.image_size)
        height, width, channels = train.shape[1:]
        size = self.image_size or (height if height == width else None)
        others = {name: load_images(sources[name], size, channels) for name in ("generated", "unseen")}
        return {**others, "train": train}

    def _features(self, images: "dict[str, np.ndarray]") -> "dict[str, np.ndarray]":
        from ellipsoid.models.features import feature_space

        space = feature_space(self.features, images=images["train"])
        return {name: space(batch) for name, batch in images.items()}


def _holds_images(path: Path) -> bool:
    """Tell if a source holds images: a folder, a zip file, an array of over two axes, or one named images."""
    suffix = path.suffix.lower()
    if suffix in _TABLES:
        return False
    if path.is_dir() or suffix == ".zip":
        return True
    import numpy as np

    try:
        if suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return "images.npy" in archive.namelist()
        return suffix == ".npy" and np.load(path, mmap_mode="r", allow_pickle=False).ndim > 2
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        return False  # the reader names the error


def _common_columns(sources: dict[str, Path]) -> list[str]:
    """Give the names of the columns, if the tables have any: the same ones in the same order."""
    names = {name: _column_names(path) for name, path in sources.items()}
    for name, columns in names.items():
        if columns and names["train"] and columns != names["train"]:
            raise ValueError(
                f"{name}: expected the columns of --train, {', '.join(names['train'])}; "
                f"got {', '.join(columns)}"
            )
    return names["train"]


def _column_names(path: Path) -> list[str]:
    try:
        if path.suffix.lower() == ".csv" and path.is_file():
            with path.open(encoding="utf-8-sig", newline="") as file:
                words = next(csv.reader(file), [])
            return words if any(_is_word(word) for word in words) else []
        if path.suffix.lower() == ".parquet" and path.is_file():
            import pyarrow.parquet as pq

            return [name for name in pq.read_schema(path).names if not name.startswith("__index_level_")]
    except (ImportError, ValueError, OSError):
        pass  # the reader names the error
    return []


def _is_word(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return True
    return False


def _read_page(path: Path) -> None:
    if "<title>Are training data copied?</title>" not in path.read_text(encoding="utf-8"):
        raise ValueError(f"{path}: no page of this command")
