"""Tables of an evaluation, and a folder with its tables and figures."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

from ellipsoid.evaluation.drawings import draw_curves, draw_equal_precision
from ellipsoid.evaluation.results import Evaluation, Result
from ellipsoid.files import replace_file


def write_evaluation(evaluation: Evaluation, folder: str | os.PathLike[str]) -> list[Path]:
    """Write tables, curves and images of an evaluation.

    ``table.md`` and ``table.csv`` have one line for each candidate; ``evaluation.json`` has the same
    content for programs. ``fidelity_diversity``, ``coverage_density``, ``regions`` and ``components`` are
    figures (PNG and SVG). ``equal_precision.png`` shows images of each family at the precision of the best
    single region.

    Parameters
    ----------
    evaluation : Evaluation
        Evaluation with at least one result.
    folder : path
        Folder of the files. It is created if it does not exist.

    Returns
    -------
    list of Path
        Files that were written.

    Raises
    ------
    OSError
        If a file cannot be written.
    ValueError
        If the evaluation has no results.
    """
    from ellipsoid import figures

    folder, written = Path(folder), []

    def write(name: str, content: str) -> None:
        replace_file(folder / name, content.encode())
        written.append(folder / name)

    rows = [_numbers(result) for result in evaluation.all_results]
    if not rows:
        raise ValueError("evaluation: expected at least one result; got none")
    sheet = io.StringIO()
    table = csv.DictWriter(sheet, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write("table.csv", sheet.getvalue())
    lines = table_of(evaluation)
    ruled = [list(lines[0]), ["---"] * len(lines[0]), *(line.values() for line in lines)]
    write("table.md", "\n".join(f"| {' | '.join(line)} |" for line in ruled) + f"\n\n{evaluation.note}\n")
    results = ("results", "floor", "reconstructions")
    about: dict[str, Any] = {name: value for name, value in vars(evaluation).items() if name not in results}
    if evaluation.reconstructions is not None:
        about["reconstructions"] = _numbers(evaluation.reconstructions)
    write("evaluation.json", json.dumps({**about, "results": rows}, indent=1) + "\n")
    for name, figure in draw_curves(evaluation.all_results).items():
        written += [
            figures.save(figure, folder / f"{name}.png"),
            figures.save(figure, folder / f"{name}.svg"),
        ]
    written.append(figures.save(draw_equal_precision(evaluation.all_results), folder / "equal_precision.png"))
    return written


# The candidate stands in the column "setting" of all tables, since programs read existing files by this name.


def table_of(evaluation: Evaluation) -> list[dict[str, str]]:
    """Format a table with a line for each candidate, by the names of the columns, with standard errors."""
    return [_line(result) for result in evaluation.all_results]


def _line(result: Result) -> dict[str, str]:
    m, recipe = result.measurements, result.recipe
    shares = {"precision": m.precision, "recall": m.recall, "F-score": m.f_score()}
    shares |= {"density": m.density, "coverage": m.coverage}
    copies = m.copies and f"{m.copies.value:.1%}, expected {m.copies_expected:.1%}"
    return {
        "setting": result.name,
        "level": "" if recipe is None else f"{recipe.settings.level:.3g}",
        **{name: f"{share.value:.3f} ± {share.error:.3f}" for name, share in shares.items()},
        "Fréchet": str(m.frechet),
        "kernel": str(m.kernel),
        "Wasserstein": str(m.wasserstein),
        "copies": copies or "",
    }


def _numbers(result: Result) -> dict[str, Any]:
    row: dict[str, Any] = {"setting": result.name, "family": result.family.name, "spread": result.spread}
    row |= dict.fromkeys(("law", "level", "region", "n_components"))
    if result.recipe is not None:
        settings = result.recipe.settings
        row |= {"law": settings.law, "level": settings.level, "region": settings.region}
        row["n_components"] = result.recipe.n_components
    for name, value in vars(result.measurements).items():
        if name in ("copies_expected", "copies_p_value"):
            row[name] = value
        else:
            row[name], row[f"{name}_error"] = value or (None, None)
    return row
