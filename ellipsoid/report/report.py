"""The report of a run: every claim of the method, measured, drawn and judged on one page."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import ellipsoid as el
from ellipsoid import diagnostics
from ellipsoid.diagnostics import Verdict
from ellipsoid.files import replace_file
from ellipsoid.progress import progress_bar
from ellipsoid.report.page import write_page
from ellipsoid.report.sections import ReportInputs, Sections


def load_report_inputs(run: str | os.PathLike[str], images: Any = None) -> ReportInputs:
    """Read what a report needs from a run folder, or from a folder with nothing but ``latents.npy``.

    Without ``state.npz`` a state is fitted to the latents; without checkpoints there will be no pictures of
    images.

    Parameters
    ----------
    run : path
    images : path, name or array, optional
        The training images, as for :func:`ellipsoid.models.load_images`.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no ``latents.npy`` in it.
    ValueError
        If a file in it is damaged, there are images but no autoencoder, or they are others.
    """
    run = Path(run)
    path = run / "latents.npy"
    if not path.is_file():
        raise FileNotFoundError(
            f"run: expected a run folder, or a folder with latents.npy in it; there is none in {run}"
        )
    try:
        latents = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path}: not a readable .npy array ({error})") from None
    state = el.PCAState.load(run / "state.npz") if (run / "state.npz").exists() else el.fit(latents)
    if not (run / "checkpoints").is_dir():
        if images is not None:
            raise ValueError(f"images: expected a run with an autoencoder to go with them; {run} has none")
        return ReportInputs(state, latents)

    from ellipsoid.models.autoencoder import decode_latents, encode_images
    from ellipsoid.models.images import load_images
    from ellipsoid.runs import load_run

    trained = load_run(run)
    autoencoder, config = trained.autoencoder, trained.autoencoder.config
    if images is not None:
        images = load_images(images, config.image_size, config.channels)
        _check_that_they_belong(images, encode_images(autoencoder, images[:32]), latents)
    return ReportInputs(
        state,
        latents,
        decode=lambda z: decode_latents(autoencoder, np.asarray(z)),
        encode=lambda x: encode_images(autoencoder, x),
        images=images,
        history=trained.metrics,
        run=run,
    )


def _check_that_they_belong(images: np.ndarray, codes: np.ndarray, latents: np.ndarray) -> None:
    """Raise ValueError if images have no latents: nearest neighbours among others would mean nothing."""
    apart = np.array([np.min(np.linalg.norm(latents - code, axis=1)) for code in codes])
    strangers = int(np.sum(apart > 0.01 * np.median(np.linalg.norm(latents - latents[0], axis=1))))
    if strangers:
        raise ValueError(
            f"images: expected the training images of the run; of the first {len(codes)}, {strangers} have "
            "no latents in latents.npy"
        )


def write_report(
    run: str | os.PathLike[str],
    material: ReportInputs,
    *,
    title: str = "From autoencoder to generator",
    summary: Sequence[tuple[str, Any]] = (),
    seed: int = 0,
    progress: bool = True,
) -> Verdict:
    """Measure, draw and judge the latents of a run.

    Writes ``report.html``, ``diagnostics.json`` with the numbers, and ``figures/`` with every figure as PNG,
    as SVG too unless it shows images, and animations as GIF.

    Parameters
    ----------
    run : path
        Folder of the run.
    material : ReportInputs
    title : str
    summary : sequence of (label, value)
        Shown at the top of the page.
    seed : int
        Of everything that is drawn.
    progress : bool
        Show progress bars.

    Returns
    -------
    Verdict
    """
    run = Path(run)
    found = diagnostics.diagnose(material.state, material.latents, progress=progress)
    verdict = diagnostics.assess(material.state, found)
    parts = Sections(run / "figures", material, found, el.key(seed)).in_order
    sections = []
    with progress_bar("report", len(parts), enabled=progress, unit="sections") as advance:
        for part in parts:
            sections.append(part())
            advance(1)
    numbers = found.summary() | {
        "concerns": [concern.name for concern in verdict.concerns],
        "law": verdict.law,
        "level": verdict.level,
    }
    replace_file(run / "diagnostics.json", json.dumps(numbers, indent=1).encode() + b"\n")
    write_page(
        run / "report.html",
        title=title,
        lead=f"{verdict.headline} Draw with the law {verdict.law} at level {verdict.level:.3g}. "
        + verdict.reason,
        warnings=[concern.text for concern in verdict.concerns],
        remarks=verdict.findings,
        summary=summary,
        sections=[section for section in sections if section is not None],
    )
    return verdict
