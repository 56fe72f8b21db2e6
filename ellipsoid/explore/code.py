"""Python code that reproduces a picture without the page."""

from collections.abc import Mapping
from typing import Any

from ellipsoid.explore.space import Space
from ellipsoid.mixture import Mixture
from ellipsoid.settings import DrawSettings


def lines_of_python(
    space: Space,
    name: str,
    settings: DrawSettings,
    moves: Mapping[str, float],
    *,
    part: int | None = None,
    drawn: Mapping[str, Any] | None = None,
    keep_inside: bool = False,
    is_centre: bool = False,
) -> str:
    """Write Python code that loads a shape, finds a point, moves it and decodes it.

    Parameters
    ----------
    space : Space
        Space of the point.
    name : str
        Name of the shape.
    settings : DrawSettings
        Settings of the draws and of the region.
    moves : mapping of str to float
        Moves along axes, in standard deviations.
    part : int, optional
        Part of a mixture along whose axes the point moves.
    drawn : mapping, optional
        Values ``row``, ``seed`` and ``label`` of a draw.
    keep_inside : bool
        Whether a move that leaves the region is pulled towards the centre.
    is_centre : bool
        Whether the point starts at the centre. Any other point that is not a draw is read from the file of
        latents that the page exports.

    Returns
    -------
    str
        Code that defines ``latents``, (1, D), and ``image`` for a run with a decoder.
    """
    shape, folder = space.shapes[name], space.folder
    is_mixture = isinstance(shape, Mixture)
    file = f"{name}.npz" if folder is None else f"{folder}/{name}.npz"
    lines = ["import ellipsoid as el", f"shape = el.load({file!r})"]
    if drawn is not None:
        options = {"law": settings.law, "level": float(settings.radius), "region": settings.region}
        if drawn["label"] is not None:
            options["label"] = drawn["label"]
        words = ", ".join(f"{option}={value!r}" for option, value in options.items())
        lines.append(f"draws = el.sample_at(el.key({drawn['seed']}), shape, [{drawn['row']}], {words})")
        lines.append("latents = draws.latents")
    elif is_centre:
        centre = "shape.shared.mean" if is_mixture else f"shape.reconstruct([0.0] * {shape.n_components})"
        lines.append(f"latents = {centre}[None]")
    else:
        lines.insert(1, "import numpy as np")
        lines.append('latents = np.load("latents.npz")["start"]  # the file that the page exports')
    if moves:
        lines.append("moved = latents")
        if any(axis.startswith("d:") for axis in moves):
            known = "directions.npz" if folder is None else f"{folder}/directions.npz"
            lines.append(f"directions = el.Directions.load({known!r})")
        if any(axis.startswith("c") for axis in moves):
            lines.append(f"frame = shape.part({part})" if is_mixture else "frame = shape")
            lines.append("scores = frame.project(latents)")
            lines += [
                f"scores = scores.at[:, {axis[1:]}].add({amount:.6g} * frame.scale[{axis[1:]}])"
                for axis, amount in moves.items()
                if axis.startswith("c")
            ]
            lines.append(
                "moved = moved + frame.reconstruct(scores) - frame.reconstruct(frame.project(latents))"
            )
        lines += [
            f"moved = moved + {amount:.6g} * directions[{axis[2:]!r}].vector[None]"
            for axis, amount in moves.items()
            if axis.startswith("d:")
        ]
        if keep_inside:
            inside = {"towards": "centre", "level": float(settings.radius), "region": settings.region}
            lines.append(f"inside = {inside!r}")
            lines.append("latents = el.edit(shape, latents, (moved - latents)[0], 1.0, **inside).latents")
        else:
            lines.append("latents = moved")
    if folder is not None and space.has_decoder:
        lines += [
            "from ellipsoid.models import decode_latents",
            "from ellipsoid.runs import load_autoencoder",
            f"image = decode_latents(load_autoencoder({folder!r}), latents)[0]",
        ]
    return "\n".join(lines)
