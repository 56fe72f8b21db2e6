"""From inputs to files: the page of a report, its figures and its numbers."""

import json
import os
from collections.abc import Sequence
from typing import Any

import ellipsoid as el
from ellipsoid import diagnostics
from ellipsoid.archive import digest
from ellipsoid.diagnostics import Verdict
from ellipsoid.files import replace_file
from ellipsoid.progress import progress_bar
from ellipsoid.report.chapters import CHAPTERS
from ellipsoid.report.inputs import ReportInputs
from ellipsoid.report.page import write_page
from ellipsoid.report.study import make_study
from ellipsoid.runs import RunFolder


def write_report(
    run: str | os.PathLike[str],
    inputs: ReportInputs,
    *,
    title: str = "From autoencoder to generator",
    summary: Sequence[tuple[str, Any]] = (),
    seed: int = 0,
    progress: bool = True,
) -> Verdict:
    """Measure, draw and assess the latents of a run.

    Writes ``report.html``, ``diagnostics.json`` with the numbers, and ``figures/`` with every figure as PNG,
    as SVG too unless it shows images, and animations as GIF. The page and the numbers are each replaced
    completely or not at all.

    Parameters
    ----------
    run : path
        Folder of the run.
    inputs : ReportInputs
        State and latents, and what else there is to show.
    title : str
        Heading of the page.
    summary : sequence of (label, value)
        Table at the top of the page.
    seed : int
        Seed of everything that is drawn.
    progress : bool
        Whether to show progress bars.

    Returns
    -------
    Verdict
        The assessment at the top of the page.

    Raises
    ------
    OSError
        If a file cannot be written.
    TypeError, ValueError
        If the latents are not a finite real matrix of at least 8 rows that fits the state, the state has one
        component only, or the decoder gives something else than images in `inputs.pixel_range`.
    """
    folder = RunFolder(run)
    inputs = inputs.examined()  # before minutes of measuring
    measured = diagnostics.diagnose(inputs.state, inputs.latents, progress=progress)
    verdict = diagnostics.assess(inputs.state, measured)
    study = make_study(inputs, measured, folder.figures, key=el.key(seed))
    sections = []
    with progress_bar("report", len(CHAPTERS), enabled=progress, unit="chapters") as advance:
        for chapter in CHAPTERS:
            sections.append(chapter(study))
            advance(1)
    numbers = measured.summary() | {
        "state_digest": digest(inputs.state),
        "concerns": [concern.name for concern in verdict.concerns],
        "law": verdict.law,
        "level": verdict.level,
    }
    replace_file(folder.diagnostics, json.dumps(numbers, indent=1).encode() + b"\n")
    write_page(
        folder.report,
        title=title,
        lead=f"{verdict.headline} Draw with the law {verdict.law} at level {verdict.level:.3g}. "
        + verdict.reason,
        warnings=[concern.text for concern in verdict.concerns],
        remarks=verdict.findings,
        summary=summary,
        sections=[section for section in sections if section is not None],
    )
    return verdict
