"""Writing of a report: the page, its figures and its numbers."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import ellipsoid as el
from ellipsoid import diagnostics
from ellipsoid.archive import digest
from ellipsoid.diagnostics import Verdict
from ellipsoid.evaluation.recommend import Recommendation, load_recommendation, recommend
from ellipsoid.files import replace_file
from ellipsoid.progress import progress_bar
from ellipsoid.provenance import provenance, told
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
    """Measure and assess the latents of a run, and write a page about them.

    The page is ``report.html``. The numbers are in ``diagnostics.json``; those of each component and each
    pair are in ``diagnostics-components.csv`` and ``diagnostics-pairs.csv``. The folder ``figures/`` holds
    every figure as PNG, also as SVG unless it shows images, and animations as GIF. The page and each file
    of numbers are replaced completely or not at all. If the run was evaluated with this state, the page
    leads with the recommendation of the evaluation.

    Parameters
    ----------
    run : path
        Folder of the run.
    inputs : ReportInputs
        State and latents, and optional images, decoder and further results.
    title : str
        Heading of the page.
    summary : sequence of (label, value)
        Table at the top of the page. By default, the table of an earlier report on the same state is kept.
    seed : int
        Random seed of all draws.
    progress : bool
        Whether to show progress bars.

    Returns
    -------
    Verdict
        Assessment at the top of the page.

    Raises
    ------
    OSError
        If a file cannot be written.
    TypeError, ValueError
        If the latents are not a finite real matrix of at least 8 rows that fits the state, if the state has
        only one component, or if the decoder does not return images in `inputs.pixel_range`.
    """
    folder = RunFolder(run)
    inputs = inputs.examined()  # before minutes of measuring
    measured = diagnostics.diagnose(inputs.state, inputs.latents, progress=progress)
    verdict = diagnostics.assess(inputs.state, measured)
    evaluated = _evaluated(inputs)
    advice = evaluated or recommend(inputs.state, diagnostics=measured)
    study = make_study(inputs, measured, advice, folder.figures, key=el.key(seed))
    sections = []
    with progress_bar("report", len(CHAPTERS), enabled=progress, unit="chapters") as advance:
        for chapter in CHAPTERS:
            sections.append(chapter(study))
            advance(1)
    state_digest, made = digest(inputs.state), provenance()
    rows = [[label, str(value)] for label, value in summary] or _summary_of_before(folder, state_digest)
    numbers = measured.summary() | {
        "state_digest": state_digest,
        "concerns": [concern.name for concern in verdict.concerns],
        "law": advice.law,
        "level": advice.level,
        "advice": "evaluation" if evaluated else "latents",
        "summary": rows,
        "provenance": made,
    }
    for path, table in (
        (folder.component_table, diagnostics.component_table(measured)),
        (folder.pair_table, diagnostics.pair_table(measured)),
    ):
        replace_file(path, diagnostics.as_csv(table).encode())
    replace_file(folder.diagnostics, json.dumps(numbers, indent=1).encode() + b"\n")
    write_page(
        folder.report,
        title=title,
        lead=_lead(verdict, evaluated),
        warnings=[concern.text for concern in verdict.concerns],
        remarks=[*verdict.findings, *inputs.notes],
        summary=[(label, value) for label, value in rows],
        sections=[section for section in sections if section is not None],
        provenance=_provenance_rows(folder, state_digest, made, evaluated),
    )
    return verdict


def _evaluated(inputs: ReportInputs) -> Recommendation | None:
    """Recommendation of an evaluation of the run, if there is one that can be used."""
    try:
        return None if inputs.run is None else load_recommendation(inputs.run)
    except ValueError:  # the chapter on the evaluation tells the reason
        return None


def _lead(verdict: Verdict, evaluated: Recommendation | None) -> str:
    if evaluated is None:
        way = f"Draw with the law {verdict.law} at level {verdict.level:.3g}. {verdict.reason}"
    elif evaluated.measured is None:  # latents alone decided
        way = f"This run draws with {evaluated.way}. {evaluated.reason}"
    else:
        way = (
            f"Draw with {evaluated.way}. Among all ways to draw that were compared by their images, this one "
            "has the best balance of fidelity and diversity."
        )
    return f"{verdict.headline}\n\n{way}"


def _summary_of_before(folder: RunFolder, state_digest: str) -> list[list[str]]:
    """Rows of the table in an existing report on the same state; none without one."""
    try:
        numbers = json.loads(folder.diagnostics.read_bytes())
        if numbers["state_digest"] != state_digest:
            return []
        return [[str(label), str(value)] for label, value in numbers["summary"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _provenance_rows(
    folder: RunFolder, state_digest: str, made: Mapping[str, str], evaluated: Recommendation | None
) -> list[tuple[str, str]]:
    rows = [("Run", folder.path.resolve().name), ("Shape", state_digest[:16]), ("Report", told(made))]
    if evaluated is not None and evaluated.provenance:
        rows.append(("Evaluation", told(evaluated.provenance)))
    return rows
