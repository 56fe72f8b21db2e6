"""The page that shows whether a generator copies, and its worst pairs side by side."""

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
    """Write a page on the copies among generated rows, completely or not at all.

    Parameters
    ----------
    path : path
        The HTML file.
    report : CopyReport
    generated, train : arrays, shapes (m, ...) and (t, ...)
        What was compared, as people look at it: uint8 images, or rows of numbers.
    compared_by : str
        What distances were measured in: "standardised columns".
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
                "How near is near",
                "A ratio below 1 means that the nearest training row is closer than the nearest unseen one. "
                "Copies lie far to the left, near 0. An honest generator has the ratios of unseen rows.",
                [
                    (
                        plot,
                        f"Ratios of all rows; below {test.threshold:.3g} a row counts as close",
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
                ("By chance", f"{test.expected:.4g}"),
                ("p-value", f"{test.p_value:.2g}, called copying below {report.significance:g}"),
                ("Equal to a training row", f"{report.n_identical:,}"),
            ],
            sections=sections,
        )


def _pairs(
    report: CopyReport, generated: np.ndarray, train: np.ndarray, columns: Sequence[str], folder: Path
) -> Section:
    """Show the pairs of the smallest ratios, whatever the verdict is."""
    test, (own, theirs) = report.test, report.pairs.T
    title = f"The {len(own)} nearest pairs"
    text = (
        "Each generated row stands beside the training row that is nearest to it. These are the pairs of the "
        "smallest ratios. Any generator has nearest pairs: how alike they are counts."
    )
    if generated.ndim == 4:
        # Row by row: a memory map of many images is not read as a whole.
        above, below = (
            np.stack([images[row] for row in rows]) for images, rows in ((generated, own), (train, theirs))
        )
        figure = figures.plot_nearest(above, below[:, None], test.generated_distances[own][:, None])
        picture = figures.save(figure, folder / "pairs.png")
        caption = "Generated images, and below each the nearest training image with its distance"
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
    """Ratios that can be drawn: of a row that is equal to an unseen one, the ratio is infinite."""
    return ratios[np.isfinite(ratios)]
