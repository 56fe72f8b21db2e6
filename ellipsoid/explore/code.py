"""Lines of Python that make a picture again, without the page."""

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
    is_centre: bool = False,
) -> str:
    """Lines that load a shape, find a point, move it and decode it.

    Parameters
    ----------
    space : Space
    name : str
        Name of the shape.
    settings : DrawSettings
        How the point was drawn, if it was.
    moves : mapping of str to float
        Standard deviations along axes, as far as they were made.
    part : int, optional
        Part of a mixture on whose axes the point moves.
    drawn : mapping, optional
        ``row``, ``seed`` and ``label`` of a draw.
    is_centre : bool
        Whether the point begins at the centre. Any other point that is no draw is read from the file of
        latents that the page exports.

    Returns
    -------
    str
        Lines that define ``latents``, (1, D), and ``image`` if the space is that of a run with a decoder.
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
        lines.append('latents = np.load("latents.npz")["start"]')
    components = {int(axis[1:]): amount for axis, amount in moves.items() if axis.startswith("c")}
    if components:
        frame = f"shape.part({part})" if is_mixture else "shape"
        lines += [f"frame = {frame}", "scores = frame.project(latents)", "moved = scores"]
        lines += [
            f"moved = moved.at[:, {index}].add({amount:.6g} * frame.scale[{index}])"
            for index, amount in components.items()
        ]
        lines.append("latents = latents + frame.reconstruct(moved) - frame.reconstruct(scores)")
    if folder is not None and space.has_decoder:
        lines += [
            "from ellipsoid.models import decode_latents",
            "from ellipsoid.runs import load_autoencoder",
            f"image = decode_latents(load_autoencoder({folder!r}), latents)[0]",
        ]
    return "\n".join(lines)
