"""The page on copies of training data: the verdict, and the nearest pairs side by side."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ellipsoid import figures
from ellipsoid.metrics import CopyReport
from ellipsoid.report.page import Section, write_page

#: Heading of the page.
TITLE = "Are training data copied?"

_MOST_COLUMNS = 8


def write_copy_page(
    path: str | os.PathLike[str],
    report: CopyReport,
    generated: np.ndarray,
    train: np.ndarray,
    *,
    compared_by: str,
    columns: Sequence[str] = (),
) -> Path:
    """Write a page on copies of training rows among generated rows, completely or not at all.

    Parameters
    ----------
    path : path
        The HTML file.
    report : CopyReport
        Result of the test for copies.
    generated, train : arrays, shapes (m, ...) and (t, ...)
        Generated and training data to show: uint8 images, or rows of numbers.
    compared_by : str
        Name of the features in which distances were measured, such as "standardised columns".
    columns : sequence of str
        Names of the columns, if the rows are numbers that have names.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OSError
        If the page cannot be written.
    """
    test = report.test
    with tempfile.TemporaryDirectory() as folder:
        ratios = {"unseen": _finite(test.unseen_ratios), "generated": _finite(test.generated_ratios)}
        ratios = {name: values for name, values in ratios.items() if len(values)}
        plot = figures.save(
            figures.plot_distances(ratios, xlabel="distance to training rows / to unseen rows"),
            Path(folder) / "ratios.svg",
        )
        sections = [
            _pairs(report, generated, train, columns, Path(folder)),
            Section(
                "Distance ratios of all rows",
                "Are generated rows closer to training rows than unseen rows are? The ratio divides the "
                "distance to the nearest training row by the distance to the nearest unseen row. Copies have "
                "ratios near 0, at the far left. A generator that does not copy has the same ratios as "
                "unseen rows.",
                [
                    (
                        plot,
                        f"Ratios of unseen and generated rows. Below {test.threshold:.3g} a row counts as "
                        "close to a training row",
                    )
                ],
            ),
        ]
        return write_page(
            path,
            title=TITLE,
            lead=report.verdict,
            summary=[
                ("Generated rows", f"{len(test.generated_ratios):,}"),
                ("Unseen rows", f"{len(test.unseen_ratios):,}"),
                ("Training rows", f"{len(train):,}"),
                ("Compared by", compared_by),
                ("Close to a training row", str(test.share)),
                ("Expected by chance", f"{test.expected:.4g}"),
                ("p-value", f"{test.p_value:.2g}; below {report.significance:g} the verdict is copying"),
                ("Equal to a training row", f"{report.n_identical:,}"),
            ],
            sections=sections,
        )


def _pairs(
    report: CopyReport, generated: np.ndarray, train: np.ndarray, columns: Sequence[str], folder: Path
) -> Section:
    """Show the pairs with the smallest ratios, for any verdict."""
    test, (own, theirs) = report.test, report.pairs.T
    title = f"The {len(own)} nearest pairs"
    text = (
        "Do the most suspicious rows look like copies? Each generated row is shown with its nearest training "
        "row, for the smallest ratios. Every generator has nearest pairs; only pairs that are almost equal "
        "are copies."
    )
    if generated.ndim == 4:
        # Single rows are read, since a memory map of many images may exceed the memory.
        above, below = (
            np.stack([images[row] for row in rows]) for images, rows in ((generated, own), (train, theirs))
        )
        figure = figures.plot_nearest(above, below[:, None], test.generated_distances[own][:, None])
        picture = figures.save(figure, folder / "pairs.png")
        caption = "Generated images, and below each its nearest training image with the distance"
        return Section(title, text, [(picture, caption)])
    shown = range(min(generated.shape[1], _MOST_COLUMNS))
    names = [columns[column] if columns else f"column {column + 1}" for column in shown]
    table = [["generated / training", "ratio", "distance", *names]]
    for mine, other in report.pairs:
        values = [f"{generated[mine, column]:.5g}\n{train[other, column]:.5g}" for column in shown]
        numbers = (f"{ratio[mine]:.3g}" for ratio in (test.generated_ratios, test.generated_distances))
        table.append([f"row {mine + 1:,}\nrow {other + 1:,}", *numbers, *values])
    more = generated.shape[1] - len(shown)
    text += f" The first {len(shown)} columns are shown; {more} more were compared." if more else ""
    return Section(title, text, table=table)


def _finite(ratios: np.ndarray) -> np.ndarray:
    """Ratios that can be drawn: a row that is equal to an unseen one has an infinite ratio."""
    return ratios[np.isfinite(ratios)]
