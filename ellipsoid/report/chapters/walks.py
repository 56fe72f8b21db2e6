"""Walks along components, between images and around ellipses."""

import numpy as np

from ellipsoid import figures
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study


def walks(study: Study) -> Section | None:
    """Walk along components, between images and around ellipses."""
    decode = study.inputs.decode
    if decode is None:
        return None
    leading = range(min(8, study.state.n_components))
    steps = np.linspace(-3, 3, 9)
    traversals = [decode(_latents_at(study, {i: steps * study.scale[i]}, len(steps))) for i in leading]
    straight = [decode(latents) for latents in _straight_paths(study)]
    planes = _planes(study.state.n_components)
    circles = [decode(_circle(study, plane)) for plane in planes]
    return Section(
        "Walks through the latent space",
        "How do images change along paths through the latent space? The first figure moves along one "
        f"component after another, for the {len(leading)} leading ones, with all others at their average. "
        "The second figure moves straight from one image to another, and around the ellipse of a pair of "
        "components at level 2. If the images on the way look real, draws between the training latents "
        "decode well.",
        [
            study.save(
                "traversals",
                figures.strips(
                    traversals, [f"component {i + 1}" for i in leading], [f"{step:+.3g}" for step in steps]
                ),
                "Images along the leading components, from -3 to 3 standard deviations",
                svg=False,
            ),
            study.save(
                "paths",
                figures.strips(
                    [*(images[::3] for images in straight), *(images[::4] for images in circles)],
                    [
                        "between two images",
                        "between two draws",
                        *(f"around {i + 1} and {j + 1}" for i, j in planes),
                    ],
                ),
                "Images along straight and circular paths",
                svg=False,
            ),
            (
                figures.save_animation(
                    np.concatenate([straight[0], straight[0][-2:0:-1]]), study.folder / "between_images.gif"
                ),
                "From one training image to another and back",
                "Animation of one image that changes.",
            ),
            (
                figures.save_animation(circles[0][:-1], study.folder / "circle.gif"),
                f"Around the ellipse of components {planes[0][0] + 1} and {planes[0][1] + 1}",
                "Animation of one image that changes and returns to its start.",
            ),
        ],
        walks=[
            study.walk(f"walk_component_{i + 1}", decode, step, f"component {i + 1}")
            for i, step in enumerate(study.scale[:6, None] * np.asarray(study.state.components[:6]))
        ],
    )


def _planes(k: int) -> list[tuple[int, int]]:
    return [(i, i + 1) for i in sorted({0, 2, k // 4}) if i + 1 < k]


def _circle(study: Study, plane: tuple[int, int]) -> np.ndarray:
    """Latents (33, D) around the ellipse of a pair of components at level 2."""
    (i, j), turn = plane, np.linspace(0, 2 * np.pi, 33)
    scores = {i: 2 * np.cos(turn) * study.scale[i], j: 2 * np.sin(turn) * study.scale[j]}
    return _latents_at(study, scores, len(turn))


def _straight_paths(study: Study) -> list[np.ndarray]:
    """Latents (25, D) from one training image to another, and from one draw to another."""
    fraction = np.linspace(0, 1, 25)[:, None]
    latents, draws = study.latents, study.drawn_latents
    ends = [(latents[0], latents[len(latents) // 2]), (draws[0], draws[1])]
    return [(1 - fraction) * start + fraction * end for start, end in ends]


def _latents_at(study: Study, scores: dict[int, np.ndarray], n: int) -> np.ndarray:
    """Latents (n, D) with the given scores of some components, by index, and zero for all others."""
    path = np.zeros((n, study.state.n_components), np.float32)
    for i, values in scores.items():
        path[:, i] = values
    return np.asarray(study.state.reconstruct(path))
